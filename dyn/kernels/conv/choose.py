"""The choice of the algorithm of a convolution for shapes and memory layouts, and its plan.

It is made once and remembered. Each algorithm has files of its own: direct sums over the window
(`bands`, `weight`), few output channels or few in each group (`planes`, `weight_rows`), much
padding around small images (`scatter`), windows of the whole image (`whole`) or of one pixel
(`pointwise`), depthwise convolution (`depthwise`, `depthwise_weight`), groups one by one
(`grouped`), and Winograd's filtering (folder `winograd`). No number is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.conv import (
    depthwise,
    depthwise_weight,
    grouped,
    planes_plan,
    pointwise,
    scatter_plan,
    weight_rows,
    whole,
)
from dyn.kernels.conv.bands import Phase, forward_phases, full_phase, transposed_phases
from dyn.kernels.conv.depthwise import DepthwisePlan
from dyn.kernels.conv.depthwise_weight import DepthwiseWeightPlan
from dyn.kernels.conv.grouped import GroupsPlan
from dyn.kernels.conv.plan import BandPlan
from dyn.kernels.conv.plan import steps as band_steps
from dyn.kernels.conv.planes_plan import PlanesPlan
from dyn.kernels.conv.pointwise import PointwisePlan, PointwiseWeightPlan
from dyn.kernels.conv.scatter_plan import ScatterPlan
from dyn.kernels.conv.shapes import Channels, View
from dyn.kernels.conv.weight import WeightPlan
from dyn.kernels.conv.weight_rows import WeightRowsPlan
from dyn.kernels.conv.whole import WholePlan, WholeWeightPlan
from dyn.kernels.conv.winograd import cost as winograd_cost
from dyn.kernels.conv.winograd import large
from dyn.kernels.conv.winograd.large import LargeWinogradPlan
from dyn.kernels.conv.winograd.plan import WinogradPlan
from dyn.kernels.conv.winograd.weight import WinogradWeightPlan
from dyn.kernels.runtime.memory import maker

Sizes = Sequence[int]
Layout = tuple[tuple[int, ...], tuple[int, ...], np.dtype, bool]
"""Shape, strides and dtype of an array, and whether numpy calls it aligned."""
Attributes = tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int], int]
"""Stride (h, w), padding (top, bottom, left, right), dilation (h, w), groups."""

PLANS = 1024
"""Choices that are remembered of each kind; the least recently used ones go first."""


class Choice(NamedTuple):
    """What is done with operands of certain layouts.

    Attributes:
        make: makes the result, or for a weight the memory that it is a view of.
        plan: what computes it; None where there is nothing to add up.
        copied: for each array that windows move over, whether it is copied before, with channels
            last.
        covers: whether the plan computes every number of the result.
        as_is: whether the plan reads a weight itself the first time it is asked for, as training
            does at every step, and packs it from the second time on.
    """

    make: Callable[[], np.ndarray]
    plan: Any
    copied: tuple[bool, ...]
    covers: bool
    as_is: bool = False


def layout_of(x: np.ndarray) -> Layout:
    """The layout of an array."""
    return x.shape, x.strides, x.dtype, x.flags.aligned


def _readable(layout: Layout, side: int) -> tuple[View, bool]:
    """How an array is read, and whether it is copied first.

    Plain sums read dense channels or dense rows; Winograd's filtering, in tiles of a `side`, reads
    dense channels.
    """
    shape, strides, dtype, aligned = layout
    view = View.of(shape, strides, dtype)
    dense = view.has_channels_last
    if not side:
        dense = dense or view.has_rows or shape[1] == 1 == shape[3]
    return (view, False) if aligned and dense else (_dense_view(shape, dtype), True)


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


def _dense_view(shape: tuple[int, ...], dtype: np.dtype) -> View:
    """The view of a result: channels last."""
    _, c, h, w = shape
    size = dtype.itemsize
    return View(shape, (h * w * c * size, size, w * c * size, c * size), dtype)


def _is_depthwise(w: tuple[int, ...], groups: int) -> bool:
    """Whether every channel of the result has one channel of the input, its own."""
    return groups > 1 and groups == w[0] and w[1] == 1


def channels_of(w: View, groups: int, *, transposed: bool = False) -> Channels:
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


def _filtered_plan(
    source: View, target: View, low: Any, gaps: Any, channels: Channels, side: int, **kind: bool
) -> WinogradPlan | LargeWinogradPlan:
    """Winograd's filtering; small weights are transformed before, large ones meanwhile."""
    is_large = large.fits(channels.inner, channels.outer, side)
    plan = LargeWinogradPlan if is_large else WinogradPlan
    return plan(source, target, low, gaps, channels, side, **kind)


def _is_read_as_is(plan: Any) -> bool:
    """Whether a plan reads a weight that is asked for only once as it lies."""
    return isinstance(plan, LargeWinogradPlan | PointwisePlan) and plan.as_is


# ---- the three --------------------------------------------------------------------------------


@lru_cache(PLANS)
def forward(
    x: Layout, w: Layout, attrs: Attributes, relu: bool, precise: bool, direct: bool
) -> Choice:
    """The choice for `conv2d`; `direct`: without Winograd's filtering."""
    shape, window = x[0], w[0][2:]
    out = output_sizes(shape[2:], window, *attrs[:3])
    size = (shape[0], w[0][0], *out)
    make = maker(size, x[2], "channels_last")
    if 0 in size or 0 in w[0]:
        return Choice(make, None, (False,), covers=False)
    view = View.of(*w[:3])
    side = 0 if direct else _winograd_side(out, shape[0], view, attrs, precise=precise)
    source, copied = _readable(x, side)
    plan = _forward_plan(source, view, attrs, relu, side)
    return Choice(make, plan, (copied,), covers=True, as_is=_is_read_as_is(plan))


def _forward_plan(x: View, w: View, attrs: Any, relu: bool, side: int) -> Any:
    stride, padding, dilation, groups = attrs
    if pointwise.fits(x, w.shape[2:], attrs):
        return PointwisePlan(x, w, relu=relu)
    if whole.fits(x.shape[2:], w.shape[2:], attrs):
        return WholePlan(w, relu=relu)
    out = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    target = _dense_view((x.shape[0], w.shape[0], *out), x.dtype)
    channels = channels_of(w, groups)
    if side:
        return _filtered_plan(x, target, padding[::2], dilation, channels, side, relu=relu)
    phases = forward_phases(out, x.shape[2:], w.shape[2:], stride, padding, dilation)
    if channels.lanewise and depthwise.fits(x, phases, stride[1]):
        return DepthwisePlan(x, target, phases, stride, channels, w, relu=relu)
    in_planes = planes_plan.fits(x, phases, stride[1], channels)
    back = _mirrored(w.shape[2:], padding, dilation)
    if stride == (1, 1) and min(back) >= 0:
        steps = _steps(x, phases, channels, in_planes=in_planes)
        window = (w.shape[2], w.shape[3])
        if scatter_plan.fits(x, out, window, stride, back, dilation, channels, steps):
            return ScatterPlan(
                x, target, window, stride, back, dilation, channels, reverse=True, relu=relu
            )
        alone = _by_groups(
            x, w, target, attrs, channels, steps,
            lambda x, w, attrs: _forward_plan(x, w, attrs, relu, 0),
        )  # fmt: skip
        if alone is not None:
            return alone
    if in_planes:
        return PlanesPlan(x, target, phases[0], stride[0], channels, relu=relu)
    return BandPlan(x, target, phases, stride, channels, relu=relu)


def _mirrored(window: Sizes, padding: Sizes, dilation: Sizes) -> tuple[int, int, int, int]:
    """The padding of the gradient by the input that is a convolution, its window turned around."""
    top, bottom, left, right = padding
    down, across = ((n - 1) * gap for n, gap in zip(window, dilation, strict=True))
    return down - top, down - bottom, across - left, across - right


def _steps(source: View, phases: list[Phase], channels: Channels, *, in_planes: bool) -> float:
    """Sums of a vector that a convolution takes, with pixels or with channels in the vectors."""
    if in_planes:
        return planes_plan.steps(source, phases[0], channels)
    return band_steps(source, phases, channels)


def _by_groups(
    source: View,
    w: View,
    target: View,
    attrs: Attributes,
    channels: Channels,
    steps: float,
    plan_of: Callable[[View, View, Attributes], Any],
) -> GroupsPlan | None:
    """Group by group, if the plan for one scatters; None where all together are better."""
    groups, taps = channels.groups, w.shape[2] * w.shape[3]
    if not grouped.pays(channels, taps, steps, source.dtype):
        return None
    weights = View((w.shape[0] // groups, *w.shape[1:]), w.strides, w.dtype)
    plan = plan_of(grouped.group_of(source, groups), weights, (*attrs[:3], 1))
    if not isinstance(plan, ScatterPlan):
        return None
    return GroupsPlan(plan, groups, grouped.group_of(target, groups))


@lru_cache(PLANS)
def transposed(
    g: Layout, w: Layout, size: Sizes, attrs: Attributes, precise: bool, direct: bool
) -> Choice:
    """The choice for `conv2d_grad_x`; `direct`: without Winograd's filtering."""
    shape = (g[0][0], w[0][1] * attrs[3], *size)
    make = maker(shape, g[2], "channels_last")
    if 0 in shape or 0 in g[0]:
        return Choice(make, None, (False,), covers=False)
    view, side = View.of(*w[:3]), 0
    if not direct:
        side = _winograd_side(size, g[0][0], view, attrs, precise=precise, transposed=True)
    source, copied = _readable(g, side)
    plan = _transposed_plan(source, view, size, attrs, side)
    covers = plan is not None and plan.covers(size)
    return Choice(make, plan, (copied,), covers, as_is=_is_read_as_is(plan))


def _transposed_plan(g: View, w: View, size: Any, attrs: Any, side: int) -> Any:
    stride, padding, dilation, groups = attrs
    if pointwise.fits(g, w.shape[2:], attrs):
        return PointwisePlan(g, w, transposed=True)
    if whole.fits(size, w.shape[2:], attrs):
        return WholePlan(w, transposed=True)
    target = _dense_view((g.shape[0], w.shape[1] * groups, *size), g.dtype)
    channels = channels_of(w, groups, transposed=True)
    if side:
        low = (2 * dilation[0] - padding[0], 2 * dilation[1] - padding[2])
        return _filtered_plan(g, target, low, dilation, channels, side, reverse=True)
    phases = transposed_phases(size, g.shape[2:], w.shape[2:], stride, padding, dilation)
    if not phases:
        return None
    window = (w.shape[2], w.shape[3])
    if channels.lanewise and depthwise.fits(g, phases, 1):
        return DepthwisePlan(g, target, phases, (1, 1), channels, w)
    in_planes = stride == (1, 1) and planes_plan.fits(g, phases, 1, channels)
    steps = _steps(g, phases, channels, in_planes=in_planes)
    if scatter_plan.fits(g, size, window, *attrs[:3], channels, steps):
        return ScatterPlan(g, target, window, stride, padding, dilation, channels)
    alone = _by_groups(
        g, w, target, attrs, channels, steps,
        lambda g, w, attrs: _transposed_plan(g, w, size, attrs, 0),
    )  # fmt: skip
    if alone is not None:
        return alone
    if in_planes:
        return PlanesPlan(g, target, phases[0], 1, channels)
    return BandPlan(g, target, phases, (1, 1), channels)


@lru_cache(PLANS)
def weight(
    g: Layout, x: Layout, window: Sizes, attrs: Attributes, precise: bool, direct: bool
) -> Choice:
    """The choice for `conv2d_grad_w`; `direct`: without Winograd's filtering."""
    shape = (*window, x[0][1] // attrs[3], g[0][1])
    make = maker(shape, x[2])
    if 0 in g[0] or 0 in x[0]:
        return Choice(make, None, (False, False), covers=False)
    side = 0 if direct else _weight_side(g[0], x[0], window, attrs, x[2], precise)
    (gradient, g_copied), (source, x_copied) = _readable(g, side), _readable(x, side)
    plan = _weight_plan(gradient, source, window, attrs, side)
    return Choice(make, plan, (g_copied, x_copied), covers=True)


def _weight_side(g: Any, x: Any, window: Any, attrs: Any, dtype: Any, precise: bool) -> int:
    w = View((g[1], x[1] // attrs[3], *window), (0, 0, 0, 0), dtype)
    side = _winograd_side(g[2:], g[0], w, attrs, precise=precise)
    if not side:
        return 0
    return winograd_cost.best_weight_side(g[0], g[2:], attrs[2], x[1], g[1], precise)


def _weight_plan(g: View, x: View, window: Any, attrs: Any, side: int) -> Any:
    stride, padding, dilation, groups = attrs
    if pointwise.fits_weight(x, g, window, attrs):
        return PointwiseWeightPlan()
    if whole.fits(x.shape[2:], window, attrs):
        return WholeWeightPlan()
    if side:
        return WinogradWeightPlan(x, g, padding[::2], dilation, side)
    size, co, ci = x.dtype.itemsize, g.shape[1], x.shape[1] // groups
    phase = full_phase(g.shape[2:], window, padding, dilation)
    line = ci * co * size
    w = View((co, ci, *window), (size, co * size, window[1] * line, line), x.dtype)
    channels = channels_of(w, groups)
    if channels.lanewise and depthwise_weight.fits(x, g, phase, stride[1]):
        return DepthwiseWeightPlan(x, g, phase, stride, channels)
    if weight_rows.fits(x, g, phase, channels):
        return WeightRowsPlan(x, g, phase, stride, channels)
    return WeightPlan(x, g, phase, stride, channels)
