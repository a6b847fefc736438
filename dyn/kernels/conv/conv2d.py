"""Convolution of images and its gradients: the choice of the algorithm for each shape.

float32 and float64; stride (h, w), padding (top, bottom, left, right), dilation (h, w). Activations
leave with channels last in memory, which is also how they are best given; weights may lie in any
order, best [kh][kw][ci][co]. Each algorithm has files of its own: direct sums over the window
(`bands`, `weight`), few output channels (`planes`, `weight_rows`), many windows in a small result
(`scatter`), one window (`whole`), depthwise convolution (`depthwise`, `depthwise_weight`), and
Winograd's filtering (the folder `winograd`).

Which one is taken depends on shapes, memory layout and `precise` alone, so equal calls give equal
bits. Only results that Winograd's filtering makes infinite or NaN are computed again, directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.conv import depthwise, depthwise_weight, planes, scatter, weight_rows, whole
from dyn.kernels.conv.bands import forward_phases, full_phase, transposed_phases
from dyn.kernels.conv.depthwise import DepthwisePlan
from dyn.kernels.conv.depthwise_weight import DepthwiseWeightPlan
from dyn.kernels.conv.plan import BandPlan
from dyn.kernels.conv.plan import steps as band_steps
from dyn.kernels.conv.planes import PlanesPlan
from dyn.kernels.conv.scatter import ScatterPlan
from dyn.kernels.conv.shapes import Channels, View
from dyn.kernels.conv.weight import WeightPlan
from dyn.kernels.conv.weight_rows import WeightRowsPlan
from dyn.kernels.conv.whole import WholePlan, WholeWeightPlan
from dyn.kernels.conv.winograd import cost as winograd_cost
from dyn.kernels.conv.winograd.plan import WinogradPlan
from dyn.kernels.conv.winograd.weight import WinogradWeightPlan
from dyn.kernels.layout import to_channels_last
from dyn.kernels.runtime.derived import derived
from dyn.kernels.runtime.memory import empty

Sizes = Sequence[int]

PLANS = 1024
"""Plans that are remembered of each kind; the least recently used ones go first."""

_precise = False


def set_precise(precise: bool) -> None:
    """Whether convolutions prefer the smaller error to speed, from now on and in every thread.

    The fast algorithm for 3 x 3 windows, F(4 x 4), rounds about twice as much as the plain sum, and
    near a number that is a thousand times larger than its neighbours it loses three digits. Precise
    convolutions use F(2 x 2) instead, which rounds less than the plain sum.
    """
    global _precise
    _precise = bool(precise)


def is_precise() -> bool:
    """What `set_precise` was last told; False by default."""
    return _precise


def output_sizes(
    sizes: Sizes, window: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> tuple[int, int]:
    """Number of window positions along both axes."""
    rows, columns = (
        (n + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (window[i] - 1) - 1) // stride[i]
        + 1
        for i, n in enumerate(sizes)
    )
    return rows, columns


def _readable(x: np.ndarray) -> np.ndarray:
    """x in a layout that the plain sums read: dense channels or dense rows."""
    view = View.of(x)
    dense = view.has_channels_last or view.has_rows or x.shape[1] == 1 == x.shape[3]
    return x if x.flags.aligned and dense else to_channels_last(x)


def _last(x: np.ndarray) -> np.ndarray:
    """x with dense channels."""
    return x if x.flags.aligned and View.of(x).has_channels_last else to_channels_last(x)


def _dense_view(shape: tuple[int, ...], dtype: np.dtype) -> View:
    """The view of a result: channels last."""
    _, c, h, w = shape
    size = dtype.itemsize
    return View(shape, (h * w * c * size, size, w * c * size, c * size), dtype)


def _is_depthwise(w: tuple[int, ...], groups: int) -> bool:
    """Whether every channel of the result has one channel of the input, its own."""
    return groups > 1 and groups == w[0] and w[1] == 1


def _channels(w: View, groups: int, *, transposed: bool = False) -> Channels:
    """Which weights meet, in `conv2d` or in its gradient by the input."""
    so, si, *window = w.strides
    outer, inner = w.shape[0] // groups, w.shape[1]
    window_steps = (window[0], window[1])
    if _is_depthwise(w.shape, groups):
        return Channels(1, 1, w.shape[0], 0, 0, so, window_steps, lanewise=True)
    if transposed:
        return Channels(groups, outer, inner, so * outer, so, si, window_steps, lanewise=False)
    return Channels(groups, inner, outer, so * outer, si, so, window_steps, lanewise=False)


def _winograd_side(
    out: Sizes,
    images: int,
    w: View,
    attrs: tuple[Any, ...],
    *,
    precise: bool,
    transposed: bool = False,
) -> int:
    """Side of the tiles of Winograd's filtering; 0 where the sum over the window is better."""
    stride, padding, dilation, groups = attrs
    if w.shape[2:] != (3, 3) or stride != (1, 1) or groups != 1 or w.dtype != np.float32:
        return 0
    if transposed and any(2 * d < p for d, p in zip(dilation, padding[::2], strict=True)):
        return 0
    inner, outer = (w.shape[0], w.shape[1]) if transposed else (w.shape[1], w.shape[0])
    return winograd_cost.best_side(images, out, dilation, inner, outer, precise)


# ---- forward -----------------------------------------------------------------------------------


@lru_cache(PLANS)
def _forward_side(shape: Any, w: View, attrs: Any, precise: bool) -> int:
    out = output_sizes(shape[2:], w.shape[2:], *attrs[:3])
    return _winograd_side(out, shape[0], w, attrs, precise=precise)


@lru_cache(PLANS)
def _forward_plan(x: View, w: View, attrs: Any, relu: bool, side: int) -> Any:
    stride, padding, dilation, groups = attrs
    if whole.fits(x.shape[2:], w.shape[2:], attrs):
        return WholePlan(transposed=False, relu=relu)
    out = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    target = _dense_view((x.shape[0], w.shape[0], *out), x.dtype)
    channels = _channels(w, groups)
    if side:
        return WinogradPlan(x, target, padding[::2], dilation, channels, side, relu=relu)
    phases = forward_phases(out, x.shape[2:], w.shape[2:], stride, padding, dilation)
    if channels.lanewise and depthwise.fits(x, phases, stride[1]):
        window = (w.shape[2], w.shape[3])
        return DepthwisePlan(x, target, phases, stride, channels, window, relu=relu)
    if planes.fits(x, phases, stride[1], channels):
        return PlanesPlan(x, target, phases[0], stride[0], channels, relu=relu)
    return BandPlan(x, target, phases, stride, channels, relu=relu)


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    activation: str | None = None,
    precise: bool | None = None,
    owner: np.ndarray | None = None,
) -> np.ndarray:
    """x [N, Ci, H, W] convolved with w [Co, Ci / groups, Kh, Kw], plus bias [Co].

    Args:
        activation: None or "relu".
        precise: see `set_precise`, which decides where this is None.
        owner: the array with which what is made of w alone is kept: w, unless w is a passing view.

    Returns:
        [N, Co, H', W'], channels last in memory.
    """
    out = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = empty((x.shape[0], w.shape[0], *out), x.dtype, order="channels_last")
    if not y.size or not w.size:
        y[...] = 0 if bias is None else bias[:, None, None]
        return np.maximum(y, 0) if activation else y
    attrs, relu = (stride, padding, dilation, groups), activation == "relu"
    view = View.of(w)
    side = _forward_side(x.shape, view, attrs, _precise if precise is None else precise)
    x = _last(x) if side else _readable(x)
    plan = _forward_plan(View.of(x), view, attrs, relu, side)
    owner = w if owner is None else owner
    if not plan.run(x, derived(owner, plan.packing, lambda: plan.pack(w)), bias, y):
        plan = _forward_plan(View.of(x), view, attrs, relu, 0)
        plan.run(x, plan.pack(w), bias, y)
    return y


# ---- gradient by the input ---------------------------------------------------------------------


@lru_cache(PLANS)
def _transposed_side(images: int, size: Any, w: View, attrs: Any, precise: bool) -> int:
    return _winograd_side(size, images, w, attrs, precise=precise, transposed=True)


@lru_cache(PLANS)
def _transposed_plan(g: View, w: View, size: Any, attrs: Any, side: int) -> Any:
    stride, padding, dilation, groups = attrs
    if whole.fits(size, w.shape[2:], attrs):
        return WholePlan(transposed=True)
    target = _dense_view((g.shape[0], w.shape[1] * groups, *size), g.dtype)
    channels = _channels(w, groups, transposed=True)
    if side:
        low = (2 * dilation[0] - padding[0], 2 * dilation[1] - padding[2])
        return WinogradPlan(g, target, low, dilation, channels, side, reverse=True)
    phases = transposed_phases(size, g.shape[2:], w.shape[2:], stride, padding, dilation)
    if not phases:
        return None
    window = (w.shape[2], w.shape[3])
    if channels.lanewise and depthwise.fits(g, phases, 1):
        return DepthwisePlan(g, target, phases, (1, 1), channels, window)
    in_planes = stride == (1, 1) and planes.fits(g, phases, 1, channels)
    steps = planes.steps(g, phases[0], channels) if in_planes else band_steps(g, phases, channels)
    if scatter.fits(g, size, window, *attrs[:3], channels, steps):
        return ScatterPlan(g, target, window, stride, padding, dilation[0], channels)
    if in_planes:
        return PlanesPlan(g, target, phases[0], 1, channels)
    return BandPlan(g, target, phases, (1, 1), channels)


def conv2d_grad_x(
    g: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    size: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    precise: bool | None = None,
    owner: np.ndarray | None = None,
) -> np.ndarray:
    """The adjoint of `conv2d`: g [N, Co, H', W'] spread to [N, Ci, *size], plus bias [Ci].

    Args:
        size: height and width of the result.
        precise, owner: as in `conv2d`.
    """
    size = tuple(size)
    y = empty((g.shape[0], w.shape[1] * groups, *size), g.dtype, order="channels_last")
    attrs, view, side, plan = (stride, padding, dilation, groups), View.of(w), 0, None
    if y.size and g.size:
        precise = _precise if precise is None else precise
        side = _transposed_side(g.shape[0], size, view, attrs, precise)
        g = _last(g) if side else _readable(g)
        plan = _transposed_plan(View.of(g), view, size, attrs, side)
    if plan is None or not plan.covers(size):
        y[...] = 0 if bias is None else bias[:, None, None]
    if plan is None:
        return y
    owner = w if owner is None else owner
    if not plan.run(g, derived(owner, plan.packing, lambda: plan.pack(w)), bias, y):
        plan = _transposed_plan(View.of(g), view, size, attrs, 0)
        plan.run(g, plan.pack(w), bias, y)
    return y


# ---- gradient by the weight --------------------------------------------------------------------


@lru_cache(PLANS)
def _weight_side(g: Any, x: Any, window: Any, attrs: Any, dtype: Any, precise: bool) -> int:
    w = View((g[1], x[1] // attrs[3], *window), (0, 0, 0, 0), dtype)
    side = _winograd_side(g[2:], g[0], w, attrs, precise=precise)
    if not side:
        return 0
    return winograd_cost.best_weight_side(g[0], g[2:], attrs[2], x[1], g[1], precise)


@lru_cache(PLANS)
def _weight_plan(g: View, x: View, window: Any, attrs: Any, side: int) -> Any:
    stride, padding, dilation, groups = attrs
    if whole.fits(x.shape[2:], window, attrs):
        return WholeWeightPlan()
    if side:
        return WinogradWeightPlan(x, g, padding[::2], dilation, side)
    size, co, ci = x.dtype.itemsize, g.shape[1], x.shape[1] // groups
    phase = full_phase(g.shape[2:], window, padding, dilation)
    line = ci * co * size
    w = View((co, ci, *window), (size, co * size, window[1] * line, line), x.dtype)
    channels = _channels(w, groups)
    if channels.lanewise and depthwise_weight.fits(x, g, phase, stride[1]):
        return DepthwiseWeightPlan(x, g, phase, stride, channels)
    if weight_rows.fits(x, g, phase, channels):
        return WeightRowsPlan(x, g, phase, stride, channels)
    return WeightPlan(x, g, phase, stride, channels)


def conv2d_grad_w(
    g: np.ndarray,
    x: np.ndarray,
    *,
    window: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    precise: bool | None = None,
) -> np.ndarray:
    """The gradient of `conv2d` by w [Co, Ci / groups, *window], for g [N, Co, H', W'].

    Returns:
        An array that lies in memory as [kh][kw][ci][co].
    """
    window = tuple(window)
    flat = empty((*window, x.shape[1] // groups, g.shape[1]), x.dtype)
    w = flat.transpose(3, 2, 0, 1)
    if not g.size or not x.size:
        flat[...] = 0
        return w
    attrs = (stride, padding, dilation, groups)
    precise = _precise if precise is None else precise
    side = _weight_side(g.shape, x.shape, window, attrs, x.dtype, precise)
    g, x = (_last(g), _last(x)) if side else (_readable(g), _readable(x))
    plan = _weight_plan(View.of(g), View.of(x), window, attrs, side)
    if not plan.run(x, g, flat.reshape(-1)):
        _weight_plan(View.of(g), View.of(x), window, attrs, 0).run(x, g, flat.reshape(-1))
    return w
