"""`torch.gradient`: slopes of sampled values along axes, by differences of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyn.compat.torch.tensor import Base
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.ops import index as indices
from dyn.ops import join
from dyn.ops import shape as ops
from dyn.ops.infer import axis_of


def gradient(
    input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Any, ...]:
    """Slopes along each axis, of second order within and of `edge_order` at both ends.

    Args:
        input: values at the points of a grid.
        spacing: the distance of neighbours, or one for each axis, or for each axis its coordinates.
        dim: the axis or axes; all by default.
        edge_order: 1 or 2.

    Raises:
        ShapeError: an axis has fewer than edge_order + 1 values, or coordinates do not fit it.
        AttributeValueError: there are not as many spacings as axes, or no such edge_order.

    Source: Fornberg, Generation of finite difference formulas on arbitrarily spaced grids.
    """
    if edge_order not in (1, 2):
        raise AttributeValueError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    named = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [axis_of(axis, input.ndim) for axis in named]
    several = isinstance(spacing, (list, tuple))
    spacings: Sequence[Any] = spacing if several else [spacing] * len(axes)
    if len(spacings) != len(axes):
        raise AttributeValueError(
            f"gradient: spacing has {len(spacings)} entries for {len(axes)} axes; give one for each"
        )
    return tuple(
        _along(input, axis, step, edge_order) for axis, step in zip(axes, spacings, strict=True)
    )


def _along(x: Any, axis: int, spacing: Any, edge_order: int) -> Any:
    count = x.shape[axis]
    if count < edge_order + 1:
        raise ShapeError(
            f"gradient: axis {axis} has size {count}; edge_order={edge_order} needs "
            f"{edge_order + 1} values or more"
        )
    points = isinstance(spacing, Base) and spacing.ndim == 1
    if points and spacing.shape[0] != count:
        raise ShapeError(
            f"gradient: {spacing.shape[0]} coordinates are given for axis {axis} of size {count}"
        )

    def part(of: Any, start: int, stop: int | None) -> Any:
        # One step stands for all of them, or there is one for each.
        if not isinstance(of, Base):
            return of
        return indices.getitem(of, (slice(None),) * axis + (slice(start, stop),))

    steps = spacing
    if points:
        places = ops.reshape(spacing, [-1 if a == axis else 1 for a in range(x.ndim)])
        steps = part(places, 1, None) - part(places, 0, -1)
    slopes = (part(x, 1, None) - part(x, 0, -1)) / steps
    first, last, inner = part(slopes, 0, 1), part(slopes, -1, None), []
    if count > 2:
        before, after = part(steps, 0, -1), part(steps, 1, None)
        share = after / (before + after)
        inner = [part(slopes, 0, -1) * share + part(slopes, 1, None) * (1 - share)]
    if edge_order == 2:
        # The line through the slopes in the middle of two steps goes on to the end of the grid.
        for_first = part(steps, 0, 1) / (part(steps, 0, 1) + part(steps, 1, 2))
        for_last = part(steps, -1, None) / (part(steps, -1, None) + part(steps, -2, -1))
        first = first + (first - part(slopes, 1, 2)) * for_first
        last = last + (last - part(slopes, -2, -1)) * for_last
    return join.concat([first, *inner, last], axis)
