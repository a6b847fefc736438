"""Pooling over 1 to 3 spatial axes: maximum with its position, mean, adaptive bins, the gradients.

Arrays are [N, C, spatial...] and results lie channels last, which convolution prefers; images that
lie otherwise are brought into that order first. float32 and float64 run in vector code, other
dtypes through the one that holds their numbers. Padding is (low, high) per axis, flattened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels import reduce
from dyn.kernels import windows as code
from dyn.kernels.copy import place
from dyn.kernels.layout import channels_last
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.memory import empty, maker

Window = Sequence[int]

GRAIN = 16384
"""Numbers read that are worth a chunk."""


def output_sizes(
    sizes: Window, kernel: Window, stride: Window, padding: Window, dilation: Window, ceil: bool
) -> tuple[int, ...]:
    """Number of window positions per axis; with `ceil` the last window may stick out."""
    found = []
    for i, size in enumerate(sizes):
        low, high = padding[2 * i], padding[2 * i + 1]
        span = size + low + high - dilation[i] * (kernel[i] - 1) - 1
        n = (-(-span // stride[i]) if ceil else span // stride[i]) + 1
        if ceil and (n - 1) * stride[i] >= size + low:
            n -= 1
        found.append(n)
    return tuple(found)


# ---- tables ------------------------------------------------------------------------------------


class _Axis(NamedTuple):
    """What the windows along one axis cover: of `size` elements each from `first`, `count` many.

    `share` is what each covered element counts in a mean; `step` lies between covered elements.
    """

    size: int
    first: np.ndarray
    count: np.ndarray
    share: np.ndarray
    step: int


def _sliding(
    size: int, out: int, kernel: int, stride: int, low: int, high: int, dilation: int, inside: bool
) -> _Axis:
    """Sliding windows; a mean divides by what is inside the image, or within the padding."""
    start = np.arange(out) * stride - low
    skipped = np.maximum(-(start // dilation), 0)
    first = start + skipped * dilation
    beyond = np.minimum(start + dilation * (kernel - 1), size - 1)
    count = np.maximum((beyond - first) // dilation + 1, 0)
    padded = np.minimum(start + kernel, size + high) - start
    divisor = count if inside else padded
    return _Axis(size, first, count, 1.0 / np.maximum(divisor, 1), dilation)


def bins(size: int, count: int) -> list[tuple[int, int]]:
    """Adaptive bins: from floor(i * size / count) to ceil((i + 1) * size / count)."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _binned(size: int, out: int) -> _Axis:
    """Adaptive bins."""
    edges = np.array(bins(size, out), np.int64).reshape(-1, 2)
    count = edges[:, 1] - edges[:, 0]
    return _Axis(size, edges[:, 0], count, 1.0 / count, 1)


def _transposed(axis: _Axis) -> _Axis:
    """For each element the windows that it lies in (step 1, counts never falling at the ends)."""
    last = axis.first + axis.count - 1
    places = np.arange(axis.size)
    first = np.searchsorted(last, places, "left")
    stop = np.searchsorted(axis.first, places, "right")
    return _Axis(len(axis.first), first, np.maximum(stop - first, 0), axis.share, 1)


class _Plan:
    """What the kernels are told about windows, and how many there are along each axis."""

    def __init__(self, words: np.ndarray, tables: list[np.ndarray]):
        self.words = words
        self.tables = tables  # kept because the words hold their addresses
        self.out = tuple(int(n) for n in words[code.OUT_D : code.OUT_D + 3])
        self.sizes = tuple(int(n) for n in words[code.IN_D : code.IN_D + 3])


@lru_cache(1024)
def _launch(plan: _Plan, kernel: Any, samples: int) -> Launch:
    """A kernel over as many images."""
    channels = int(plan.words[code.CHANNELS])
    read, written = (samples * channels * math.prod(sizes) for sizes in (plan.sizes, plan.out))
    rows = samples * math.prod(plan.out[:-1]) if written else 0
    chunks = min(rows, chunks_of(max(read, written), GRAIN))
    return Launch([(kernel, chunks)], 3, plan.words.ctypes.data, samples, holds=plan)


def _plan(axes: Sequence[_Axis], channels: int, size: int, by_source: bool, extra: float) -> _Plan:
    """The plan of windows over 1 to 3 axes; `extra` multiplies every share."""
    one = _Axis(1, np.zeros(1, np.int64), np.ones(1, np.int64), np.ones(1), 1)
    full = [one] * (3 - len(axes)) + list(axes)
    words = np.zeros(code.WORDS, np.int64)
    words[code.CHANNELS], words[code.SIZE] = channels, size
    words[code.SCALED_BY_SOURCE] = by_source
    tables = []
    for i, axis in enumerate(full):
        table = np.ascontiguousarray(np.stack([axis.first, axis.count], 1), np.int64)
        share = np.ascontiguousarray(axis.share * (extra if i == 0 else 1.0), np.float64)
        tables += [table, share]
        words[code.OUT_D + i], words[code.IN_D + i] = len(table), axis.size
        words[code.STEP_D + i] = axis.step
        words[code.TABLE_D + i], words[code.SCALE_D + i] = table.ctypes.data, share.ctypes.data
    return _Plan(words, tables)


@lru_cache(512)
def _sliding_axes(
    spatial: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil: bool,
    inside: bool,
) -> tuple[_Axis, ...]:
    out = output_sizes(spatial, kernel, stride, padding, dilation, ceil)
    return tuple(
        _sliding(n, o, k, s, padding[2 * i], padding[2 * i + 1], d, inside)
        for i, (n, o, k, s, d) in enumerate(
            zip(spatial, out, kernel, stride, dilation, strict=True)
        )
    )


@lru_cache(512)
def _sliding_plan(channels: int, size: int, spatial: Any, *window: Any) -> _Plan:
    axes = _sliding_axes(spatial, *window)
    # A window whose taps all lie in the padding must name a position in the image all the same.
    axes = [axis._replace(first=np.clip(axis.first, 0, axis.size - 1)) for axis in axes]
    return _plan(axes, channels, size, False, 1.0)


@lru_cache(512)
def _mean_plan(
    channels: int, size: int, transposed: bool, divisor: int | None, spatial: Any, *window: Any
) -> _Plan:
    axes = _sliding_axes(spatial, *window)
    extra = 1.0
    if divisor:
        axes = tuple(axis._replace(share=np.ones_like(axis.share)) for axis in axes)
        extra = 1.0 / divisor
    axes = tuple(map(_transposed, axes)) if transposed else axes
    return _plan(axes, channels, size, transposed, extra)


@lru_cache(512)
def _adaptive_plan(channels: int, size: int, transposed: bool, spatial: Any, out: Any) -> _Plan:
    axes = tuple(_binned(n, o) for n, o in zip(spatial, out, strict=True))
    axes = tuple(map(_transposed, axes)) if transposed else axes
    return _plan(axes, channels, size, transposed, 1.0)


# ---- runs --------------------------------------------------------------------------------------

Run = Callable[..., Any]


def _attrs(kernel: Window, stride: Window, padding: Window, dilation: Window) -> tuple[Any, ...]:
    return tuple(kernel), tuple(stride), tuple(padding), tuple(dilation)


def _max_of(shape: tuple[int, ...], dtype: np.dtype, plan_of: Run) -> Run:
    """The largest values in the windows of arrays of a shape, and their positions."""
    if dtype not in code.MAX:
        wide = np.result_type(dtype, np.float32)
        run = _max_of(shape, wide, plan_of)

        def cast(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            out, index = run(x.astype(wide))
            return out.astype(dtype), index

        return cast
    make, launch = _bound(shape, dtype, plan_of, code.MAX)
    make_index, _ = _bound(shape, np.dtype(np.int32), plan_of, None)

    def largest(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out, index = make(), make_index()
        launch(channels_last(x), out, index)
        return out, index

    return largest


def _mean_of(shape: tuple[int, ...], dtype: np.dtype, plan_of: Run) -> Run:
    """The means of the windows of arrays of a shape."""
    if dtype not in code.SUM:
        run = _mean_of(shape, np.dtype(np.float32), plan_of)
        return lambda x: run(x.astype(np.float32)).astype(dtype)
    make, launch = _bound(shape, dtype, plan_of, code.SUM)

    def mean(x: np.ndarray) -> np.ndarray:
        out, x = make(), channels_last(x)
        launch(x, out, x)
        return out

    return mean


def _bound(shape: tuple[int, ...], dtype: np.dtype, plan_of: Run, kernels: Any) -> tuple[Run, Any]:
    """What makes an array of one number per window, and the launch of a kernel over them.

    Args:
        shape, dtype: of the images.
        plan_of: the plan for a number of channels and the bytes of an element.
        kernels: by dtype; None for no launch.
    """
    plan = plan_of(shape[1], dtype.itemsize)
    make = maker((*shape[:2], *plan.out[5 - len(shape) :]), dtype, "channels_last")
    return make, kernels and _launch(plan, kernels[dtype], shape[0])


# ---- calls -------------------------------------------------------------------------------------


def max_pool_of(
    shape: tuple[int, ...],
    dtype: np.dtype,
    *,
    kernel: Window,
    stride: Window,
    padding: Window,
    dilation: Window,
    ceil_mode: bool = False,
) -> Run:
    """`max_pool` of arrays of one shape and dtype."""
    window = (*_attrs(kernel, stride, padding, dilation), ceil_mode, True)
    return _max_of(shape, dtype, lambda c, size: _sliding_plan(c, size, shape[2:], *window))


def max_pool(x: np.ndarray, **window: Any) -> tuple[np.ndarray, np.ndarray]:
    """Largest value in each window (NaN wins), and its flat position among the spatial axes.

    Args:
        x: [N, C, spatial...].
        window: kernel, stride, padding, dilation, ceil_mode: see `max_pool_of`.

    Returns:
        out [N, C, positions...] and index, int32, of the same shape: the winner's position in x's
        spatial axes, row-major.
    """
    return max_pool_of(x.shape, x.dtype, **window)(x)


def adaptive_max_pool(x: np.ndarray, *, sizes: Window) -> tuple[np.ndarray, np.ndarray]:
    """Largest value of each bin, and its flat position (int32) among the spatial axes."""
    spatial, out = x.shape[2:], tuple(sizes)
    run = _max_of(x.shape, x.dtype, lambda c, size: _adaptive_plan(c, size, False, spatial, out))
    return run(x)


def max_pool_grad(g: np.ndarray, index: np.ndarray, *, x_shape: Window) -> np.ndarray:
    """Each gradient added at the position that won; zero elsewhere."""
    return max_pool_grad_of(g.shape, g.dtype, tuple(x_shape))(g, index)


def max_pool_grad_of(shape: tuple[int, ...], dtype: np.dtype, x_shape: tuple[int, ...]) -> Run:
    """`max_pool_grad` of arrays of one shape and dtype."""
    if dtype not in code.MAX:
        run = max_pool_grad_of(shape, np.dtype(np.float32), x_shape)
        return lambda g, index: run(g.astype(np.float32), index).astype(dtype)
    windows, pixels = math.prod(shape[2:]), math.prod(x_shape[2:])
    chunks = min(shape[0], chunks_of(math.prod(x_shape), GRAIN))
    launch = Launch([(code.SCATTER[dtype], chunks)], 3, shape[0], windows, pixels, shape[1])
    make = maker(x_shape, dtype, "channels_last")

    def scatter(g: np.ndarray, index: np.ndarray) -> np.ndarray:
        out = make()
        launch(channels_last(g), channels_last(index), out)
        return out

    return scatter


def avg_pool_of(
    shape: tuple[int, ...],
    dtype: np.dtype,
    *,
    kernel: Window,
    stride: Window,
    padding: Window,
    ceil_mode: bool = False,
    exclusive: bool = True,
    divisor: int | None = None,
    x_shape: Window | None = None,
) -> Run:
    """`avg_pool` of arrays of one shape and dtype; with `x_shape`, its gradient."""
    window = (*_attrs(kernel, stride, padding, (1,) * len(kernel)), ceil_mode, exclusive)
    back, spatial = x_shape is not None, tuple((x_shape or shape)[2:])
    return _mean_of(
        shape, dtype, lambda c, size: _mean_plan(c, size, back, divisor, spatial, *window)
    )


def avg_pool(x: np.ndarray, **window: Any) -> np.ndarray:
    """Mean of each window of x [N, C, spatial...].

    Args:
        x: the images.
        window: kernel, stride, padding, ceil_mode; `exclusive`: padding does not count; `divisor`
            replaces the count: see `avg_pool_of`.
    """
    return avg_pool_of(x.shape, x.dtype, **window)(x)


def avg_pool_grad(g: np.ndarray, *, x_shape: Window, **window: Any) -> np.ndarray:
    """Each gradient spread evenly over its window."""
    return avg_pool_of(g.shape, g.dtype, x_shape=x_shape, **window)(g)


def adaptive_avg_pool(x: np.ndarray, *, sizes: Window) -> np.ndarray:
    """Mean of each bin; [N, C, *sizes]."""
    return adaptive_avg_pool_of(x.shape, x.dtype, tuple(sizes))(x)


def adaptive_avg_pool_of(shape: tuple[int, ...], dtype: np.dtype, sizes: tuple[int, ...]) -> Run:
    """`adaptive_avg_pool` of arrays of one shape and dtype."""
    if dtype in code.SUM and 0 not in shape and math.prod(sizes) == 1:
        axes = tuple(range(2, len(shape)))
        general = partial(reduce.mean, axes=axes, keepdims=True)
        if dtype != np.float32:
            return general
        return reduce.bound("mean", shape, axes, general, keepdims=True)
    spatial = shape[2:]
    return _mean_of(shape, dtype, lambda c, size: _adaptive_plan(c, size, False, spatial, sizes))


def adaptive_avg_pool_grad(g: np.ndarray, *, x_shape: Window) -> np.ndarray:
    """Each gradient spread evenly over its bin."""
    spatial = tuple(x_shape[2:])
    if g.dtype in code.SUM and math.prod(g.shape[2:]) == 1:
        out = empty(tuple(x_shape), g.dtype, "channels_last")
        place(out, np.broadcast_to(g / g.dtype.type(math.prod(spatial)), x_shape))
        return out
    out = g.shape[2:]
    run = _mean_of(g.shape, g.dtype, lambda c, size: _adaptive_plan(c, size, True, spatial, out))
    return run(g)
