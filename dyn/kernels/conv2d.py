"""Convolution of images, its gradients, and the choice of the algorithm for each shape.

float32 and float64; stride (h, w), padding (top, bottom, left, right), dilation (h, w). Activations
come with dense channels or dense rows (others are copied) and leave with channels last; weights may
lie in any order, best [kh][kw][ci][co]. The algorithms are in rooms of their own: `conv_bands`,
`conv_weight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.kernels.conv_bands import Phase, forward_phases, transposed_phases
from dyn.kernels.conv_plan import BandPlan, Channels, View, remembered
from dyn.kernels.conv_weight import WeightPlan
from dyn.kernels.derived import derived
from dyn.kernels.memory import empty

Sizes = Sequence[int]


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
    """x in a layout that the kernels read: dense channels or dense rows."""
    view = View.of(x)
    if x.flags.aligned and (
        view.has_channels_last or view.has_rows or x.shape[1] == 1 == x.shape[3]
    ):
        return x
    made = empty(x.shape, x.dtype, order="channels_last")
    made[...] = x
    return made


def _dense_view(shape: tuple[int, ...], dtype: np.dtype) -> View:
    """The view of a result: channels last."""
    _, c, h, w = shape
    size = dtype.itemsize
    return View(shape, (h * w * c * size, size, w * c * size, c * size), dtype)


def _is_depthwise(w: tuple[int, ...], groups: int) -> bool:
    """Whether every channel of the result has one channel of the input, its own."""
    return groups > 1 and groups == w[0] and w[1] == 1


def _channels(w: View, groups: int, transposed: bool) -> Channels:
    """Which weights meet, in `conv2d` or in its gradient by the input."""
    so, si, *window = w.strides
    outer, inner = w.shape[0] // groups, w.shape[1]
    window_steps = (window[0], window[1])
    if _is_depthwise(w.shape, groups):
        return Channels(1, 1, w.shape[0], 0, 0, so, window_steps, True)
    if transposed:
        return Channels(groups, outer, inner, so * outer, so, si, window_steps, False)
    return Channels(groups, inner, outer, so * outer, si, so, window_steps, False)


# ---- forward -----------------------------------------------------------------------------------


@remembered
def _forward_plan(
    x: View, w: View, stride: Any, padding: Any, dilation: Any, groups: int, relu: bool
) -> BandPlan:
    out = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    target = _dense_view((x.shape[0], w.shape[0], *out), x.dtype)
    phases = forward_phases(out, w.shape[2:], padding, dilation)
    return BandPlan(x, target, phases, stride, _channels(w, groups, False), relu)


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    *,
    owner: np.ndarray,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    activation: str | None = None,
) -> np.ndarray:
    """x [N, Ci, H, W] convolved with w [Co, Ci / groups, Kh, Kw], plus bias [Co].

    Args:
        owner: the array of which w is a view and with which packed weights are kept.
        activation: None or "relu".
    """
    out = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = empty((x.shape[0], w.shape[0], *out), x.dtype, order="channels_last")
    if not y.size or not w.size:
        y[...] = 0 if bias is None else bias[:, None, None]
        return np.maximum(y, 0) if activation else y
    x = _readable(x)
    relu = activation == "relu"
    plan = _forward_plan(View.of(x), View.of(w), stride, padding, dilation, groups, relu)
    plan.run(x, derived(owner, plan.packing, lambda: plan.pack(w)), bias, y)
    return y


# ---- gradient by the input ---------------------------------------------------------------------


@remembered
def _transposed_plan(
    g: View, w: View, size: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> BandPlan | None:
    target = _dense_view((g.shape[0], w.shape[1] * groups, *size), g.dtype)
    phases = transposed_phases(size, w.shape[2:], stride, padding, dilation)
    return (
        BandPlan(g, target, phases, (1, 1), _channels(w, groups, True), False) if phases else None
    )


def conv2d_grad_x(
    g: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    owner: np.ndarray,
    size: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> np.ndarray:
    """The adjoint of `conv2d`: g [N, Co, H', W'] spread to [N, Ci, *size], plus bias [Ci]."""
    y = empty((g.shape[0], w.shape[1] * groups, *size), g.dtype, order="channels_last")
    plan = None
    if y.size and g.size:
        g = _readable(g)
        plan = _transposed_plan(
            View.of(g), View.of(w), tuple(size), stride, padding, dilation, groups
        )
    if plan is None or not plan.covers(size):
        y[...] = 0 if bias is None else bias[:, None, None]
    if plan is not None:
        plan.run(g, derived(owner, plan.packing, lambda: plan.pack(w)), bias, y)
    return y


# ---- gradient by the weight --------------------------------------------------------------------


@remembered
def _weight_plan(
    g: View, x: View, window: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> WeightPlan:
    size, co, ci = x.dtype.itemsize, g.shape[1], x.shape[1] // groups
    phase: Phase = forward_phases(g.shape[2:], window, padding, dilation)[0]
    line = ci * co * size
    w = View((co, ci, *window), (size, co * size, window[1] * line, line), x.dtype)
    return WeightPlan(x, g, phase, stride, _channels(w, groups, False))


def conv2d_grad_w(
    g: np.ndarray,
    x: np.ndarray,
    *,
    window: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> np.ndarray:
    """The gradient of `conv2d` by w [Co, Ci / groups, *window], for g [N, Co, H', W']."""
    flat = empty((*window, x.shape[1] // groups, g.shape[1]), x.dtype)
    w = flat.transpose(3, 2, 0, 1)
    if not g.size or not x.size:
        flat[...] = 0
        return w
    g, x = _readable(g), _readable(x)
    plan = _weight_plan(View.of(g), View.of(x), tuple(window), stride, padding, dilation, groups)
    plan.run(x, g, flat.reshape(-1))
    return w
