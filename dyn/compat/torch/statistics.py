"""Statistics, ranks and running sums under PyTorch's names: dyn's ops composed.

Plain sums and extremes are in `reduction.py`.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch import reduction
from dyn.compat.torch.tensor import Base
from dyn.core.lift import cast_to
from dyn.ops import (
    bounds,
    compare,
    composed,
    creation,
    elementwise,
    gather,
    join,
    reduce,
    search,
    unary,
)
from dyn.ops import index as indices
from dyn.ops import shape as ops
from dyn.ops import sort as sorts
from dyn.ops.infer import axis_of


def aminmax(x: Any, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element, of all or along an axis."""
    return reduction.AminmaxResult(reduce.amin(x, dim, keepdim), reduce.amax(x, dim, keepdim))


def std_mean(x: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Deviation and mean, with the arguments of `std`."""
    return reduction.std(x, *args, **kwargs), _mean_of(x, *args, **kwargs)


def var_mean(x: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Variance and mean, with the arguments of `var`."""
    return reduction.var(x, *args, **kwargs), _mean_of(x, *args, **kwargs)


def _mean_of(
    x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, **_: Any
) -> Any:
    return reduce.mean(x, None if isinstance(dim, bool) else dim, keepdim)


def quantile(
    x: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    """The value below which a share q lies; several q become a new first axis.

    Args:
        interpolation: between the two nearest elements: "linear", "lower", "higher", "nearest" (of
            both as near, that of the even place) or "midpoint".
    """
    if isinstance(q, Base) and q.ndim == 0:
        q = q.item()
    if interpolation == "linear":
        return sorts.quantile(x, q, dim, keepdim)
    flat = ops.reshape(x, [-1]) if dim is None else x
    missing = reduce.any(compare.isnan(flat), 0 if dim is None else dim, keepdim=keepdim)
    found = nanquantile(x, q, dim, keepdim, interpolation=interpolation)
    return indices.where(missing, math.nan, found)


def nanquantile(
    x: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    """The `quantile` of the elements that are numbers; NaN where none is."""
    if interpolation not in _BETWEEN:
        raise ValueError(f"interpolation {interpolation!r} is not one of {', '.join(_BETWEEN)}")
    if isinstance(q, Base) and q.ndim:
        q = q.tolist()
    if isinstance(q, (list, tuple)):
        every = [nanquantile(x, one, dim, keepdim, interpolation=interpolation) for one in q]
        return join.stack(every, 0)
    q = float(q)
    if not 0 <= q <= 1:
        raise ValueError(f"q must lie between 0 and 1, got {q}")
    flat = ops.reshape(x, [-1]) if dim is None else x
    axis = 0 if dim is None else axis_of(dim, x.ndim)
    ordered = sorts.sort(flat, axis)
    numbers = compare.logical_not(compare.isnan(flat))
    count = reduce.sum(cast_to(numbers, flat._array.dtype), axis, keepdim=True)
    # Of no numbers at all the first element is taken, a NaN.
    place = bounds.clip((count - 1) * q, 0, None)
    low, high = _BETWEEN[interpolation](place)
    found = _at(ordered, low, axis)
    if high is not low:
        share = 0.5 if interpolation == "midpoint" else place - low
        found = found + (_at(ordered, high, axis) - found) * share
    return found if keepdim and dim is not None else ops.squeeze(found, axis)


def _at(ordered: Any, place: Any, axis: int) -> Any:
    return gather.take_along_axis(ordered, cast_to(place, _int64), axis, broadcast=False)


def _ends(place: Any) -> tuple[Any, Any]:
    return unary.floor(place), unary.ceil(place)


_BETWEEN: dict[str, Any] = {
    "linear": _ends,
    "midpoint": _ends,
    "lower": lambda place: (unary.floor(place),) * 2,
    "higher": lambda place: (unary.ceil(place),) * 2,
    "nearest": lambda place: (unary.round(place),) * 2,
}
"""The two places that a quantile lies between, by way of interpolation."""


def nanmedian(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the middle values that are numbers; with `dim` a pair with where it was."""
    if dim is not None and not x.ndim:
        return reduction.NanmedianResult(*ops.as_line(lambda line: (*nanmedian(line, dim),), x))
    flat = ops.reshape(x, [-1]) if dim is None else x
    axis = 0 if dim is None else axis_of(dim, x.ndim)
    number = compare.logical_not(compare.isnan(flat))
    order = sorts.argsort(indices.where(number, flat, float("inf")), axis)
    count = reduce.sum(cast_to(number, order._array.dtype), axis, keepdim=True)
    middle = bounds.clip(elementwise.floor_divide(count - 1, 2), 0, None)
    place = gather.take_along_axis(order, middle, axis, broadcast=False)
    found = gather.take_along_axis(flat, place, axis, broadcast=False)
    if not keepdim or dim is None:
        found, place = ops.squeeze(found, axis), ops.squeeze(place, axis)
    return reduction.shared(x, found) if dim is None else reduction.NanmedianResult(found, place)


def msort(x: Any) -> Any:
    """Sorted along the first axis."""
    return reduction.sort(x, 0).values


def logcumsumexp(x: Any, dim: int) -> Any:
    """The logarithm of the sum of exponentials so far along an axis, without overflow."""
    if not x.ndim:
        return ops.as_line(logcumsumexp, x, dim)
    return composed.logcumsumexp(x, dim)


def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """Where to put values into a sorted sequence (last axis) so that it stays sorted.

    A sequence that is not sorted may come with the places of its elements in order (`argsort`).
    """
    if sorter is not None:
        sorted_sequence = gather.take_along_axis(sorted_sequence, sorter, axis=-1)
    return search.searchsorted(sorted_sequence, input, out_int32, right or side == "right")


def bucketize(x: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The number of the bucket between boundaries that each element falls into."""
    return search.bucketize(x, boundaries, out_int32, right)


def histc(x: Any, bins: int = 100, min: Any = 0, max: Any = 0) -> Any:
    """How many elements fall into each of equal bins between `min` and `max`, (bins,)."""
    flat = x.detach()
    low, high = float(min), float(max)
    if low == high:
        low, high = float(reduce.min(flat)), float(reduce.max(flat))
    if low == high:
        low, high = low - 1, high + 1
    return search.histogram(flat, bins, low, high)


def histogram(
    x: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False
) -> Any:
    """How many elements, or how much weight, falls into each bin; and the edges of the bins.

    Args:
        bins: how many equal bins, or their edges in ascending order; the last one has both edges.
        range: (lowest, highest) edge of equal bins; those of the elements by default.
        weight: the shape of x.
        density: divide by the sum and by the widths, so that the integral is 1.
    """
    flat = ops.reshape(x.detach(), [-1])
    edges = bins
    if not isinstance(bins, Base):
        low, high = range or (float(reduce.min(flat)), float(reduce.max(flat)))
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = creation.linspace(low, high, bins + 1, x._array.dtype.name)
    count = int(edges.shape[0]) - 1
    kept = compare.logical_and(flat >= edges[0], flat <= edges[count])
    place = search.searchsorted(edges, indices.masked_select(flat, kept), right=True) - 1
    shares = None
    if weight is not None:
        shares = indices.masked_select(ops.reshape(weight.detach(), [-1]), kept)
    found = search.bincount(bounds.clip(place, 0, count - 1), shares, count)
    found = cast_to(found, x._array.dtype)
    if density:
        found = found / reduce.sum(found) / (edges[1:] - edges[:-1])
    return reduction.HistogramResult(found, edges)


_int64 = Base([0])._array.dtype


def unique_consecutive(
    x: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Runs of equal elements (or slices along `dim`) as one each; where each went, how long."""
    return composed.unique_consecutive(x, return_inverse, return_counts, dim)
