"""Where elements stand: positions of extremes, nonzero, unique, counts, places in sorted sequences.

Sorting, the k largest and quantiles are in `sort.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply, dtype_attr
from dyn.core.dtype import I64
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import extremum
from dyn.kernels import search as kernels
from dyn.kernels.nonzero import nonzero as coordinates
from dyn.ops.infer import (
    Type,
    axis_of,
    need_elements,
    need_int,
    need_rank,
    product,
    reduced_shape,
    same_size,
    show,
)
from dyn.ops.shape import _reshape, as_line, reshape
from dyn.ops.unary import cast

# ---- positions of extremes ---------------------------------------------------------------------


def _infer_position(x: Type, *, axis: int, keepdims: bool) -> Type:
    need_elements(x, (axis,))
    return Type(reduced_shape(x.shape, (axis,), keepdims=keepdims), I64)


@op(infer=_infer_position, differentiable=False)
def _argmax(x, *, axis, keepdims):
    """Position of the largest element along an axis, of the first NaN if any. ONNX: ArgMax."""
    return extremum.argmax(x, axis, keepdims=keepdims)


@op(infer=_infer_position, differentiable=False)
def _argmin(x, *, axis, keepdims):
    """Position of the smallest element along an axis, of the first NaN if any. ONNX: ArgMin."""
    return extremum.argmin(x, axis, keepdims=keepdims)


def _position(chosen: Any, x: Tensor, axis: int | None, keepdim: bool, dtype: Any) -> Tensor:
    ndim = rank_of(x)
    if axis is not None and ndim == 0:
        axis_of(axis, 1)
    if axis is None or ndim == 0:
        flat = x if ndim == 1 else _reshape(x, shape=(product(x.shape),))
        found = apply(chosen, (flat,), (0, False))
        found = reshape(found, [1] * ndim) if keepdim else found
    else:
        found = apply(chosen, (x,), (axis_of(axis, ndim), bool(keepdim)))
    return cast(found, dtype_attr(dtype))


def argmax(x: Tensor, axis: int | None = None, keepdim: bool = False, dtype: Any = I64) -> Tensor:
    """Position of the largest element along an axis; in the flattened tensor without one.

    Of equal elements the first counts; NaN counts as the largest.
    """
    return _position(_argmax, x, axis, keepdim, dtype)


def argmin(x: Tensor, axis: int | None = None, keepdim: bool = False, dtype: Any = I64) -> Tensor:
    """Position of the smallest element along an axis; in the flattened tensor without one.

    Of equal elements the first counts; NaN counts as the smallest.
    """
    return _position(_argmin, x, axis, keepdim, dtype)


def _infer_extreme(x: Type, *, axis: int, keepdims: bool, largest: bool) -> list[Type]:
    place = _infer_position(x, axis=axis, keepdims=keepdims)
    return [Type(place.shape, x.dtype), place]


@op(infer=_infer_extreme, outputs=("values", "indices"), public=2)
def _extreme(x, *, axis, keepdims, largest):
    """The largest (or smallest) element along an axis, and where it stands.

    ONNX: ArgMax (ArgMin), GatherElements.
    """
    return extremum.extreme(x, axis, keepdims=keepdims, largest=largest)


@_extreme.vjp("x")
def _(g, *, indices, x_shape, axis, keepdims):
    return apply(_extreme_grad, (g[0], indices), (axis, keepdims, tuple(x_shape)))


def _infer_extreme_grad(
    g: Type, indices: Type, *, axis: int, keepdims: bool, shape: tuple[Any, ...]
) -> Type:
    return Type(shape, g.dtype)


@op(infer=_infer_extreme_grad)
def _extreme_grad(g, indices, *, axis, keepdims, shape):
    """Zeros of `shape` with g where the extremes of an axis stand. ONNX: ScatterElements."""
    return extremum.extreme_grad(g, indices, axis, shape)


@_extreme_grad.vjp("g")
def _(g, *, indices, axis, keepdims):
    if keepdims:
        return OPS["take_along_axis"](g, indices, axis=axis)
    found = OPS["take_along_axis"](g, OPS["unsqueeze"](indices, axes=(axis,)), axis=axis)
    return OPS["squeeze"](found, axes=(axis,))


def extreme(
    x: Tensor, axis: int, keepdim: bool = False, largest: bool = True
) -> tuple[Tensor, Tensor]:
    """The largest (or smallest) elements along an axis, and where they stand.

    Of equal elements the first counts and gets the gradient; NaN counts as the largest, and as the
    smallest.

    Returns:
        (values, indices): x's shape without the axis, or with size 1 there; indices are int64.
    """
    if not x.ndim:
        return as_line(extreme, x, axis, largest=largest)
    return apply(_extreme, (x,), (axis_of(axis, x.ndim), bool(keepdim), bool(largest)))


def slice_at(x: Tensor, axis: int, place: Any) -> Tensor:
    """The slice of x at one place of an axis."""
    return OPS["getitem"](x, index=(("slice", None, None, None),) * axis + (("int", place),))


# ---- sizes that depend on values ---------------------------------------------------------------


@op(infer=lambda x: Type((None, len(x.shape)), I64), dynamic=True, differentiable=False)
def _nonzero(x):
    """Coordinates of the nonzero elements, one row each. ONNX: NonZero, Transpose."""
    return coordinates(x)


def nonzero(x: Tensor, as_tuple: bool = False) -> Any:
    """Where x is not zero (or True).

    Returns:
        int64 (count, ndim) in row-major order; with `as_tuple` a tuple of `ndim` vectors.
    """
    found = _nonzero(x)
    if not as_tuple:
        return found
    return tuple(slice_at(found, 1, i) for i in range(x.ndim))


def _infer_unique(x: Type, *, axis: int | None) -> list[Type]:
    if axis is None:
        sizes, positions = (None,), product(x.shape)
    else:
        sizes, positions = (*x.shape[:axis], None, *x.shape[axis + 1 :]), x.shape[axis]
    return [Type(sizes, x.dtype), Type((None,), I64), Type((positions,), I64), Type((None,), I64)]


@op(
    infer=_infer_unique,
    outputs=("values", "index", "inverse", "counts"),
    public=4,
    dynamic=True,
    differentiable=False,
)
def _unique(x, *, axis):
    """Elements without repetition in ascending order, and where they stand. ONNX: Unique."""
    return kernels.unique(x, axis)


def unique(
    x: Tensor,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    dtype: Any = I64,
) -> Any:
    """The elements (or, with an axis, the slices) of x without repetition, in ascending order.

    Args:
        return_index: also where each first stands.
        return_inverse: also which of the results each element is.
        return_counts: also how often each occurs.
        axis: the axis of the slices; None compares the elements of the flattened tensor.
        dtype: of the indices.

    Returns:
        The values, or a tuple of them and what was asked for.
    """
    at = None if axis is None else axis_of(axis, x.ndim)
    values, *others = _unique(x, axis=at)
    wanted = (return_index, return_inverse, return_counts)
    chosen = [cast(t, dtype) for t, want in zip(others, wanted, strict=True) if want]
    return (values, *chosen) if chosen else values


def _infer_bincount(x: Type, weights: Type | None = None, *, minlength: int) -> Type:
    need_int("x", x)
    need_rank("x", x, 1)
    if weights is not None and not same_size(weights.shape[0], x.shape[0]):
        raise ShapeError(f"weights {show(weights.shape)} must have the shape {show(x.shape)} of x")
    return Type((None,), I64 if weights is None else weights.dtype)


@op(infer=_infer_bincount, dynamic=True, differentiable=False)
def _bincount(x, weights=None, *, minlength):
    """How often (or with what weight) each integer occurs. ONNX: OneHot, ReduceSum."""
    return kernels.bincount(x, weights, minlength)


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2 ... occurs, or the sum of its weights.

    Args:
        x: (n,) integers, none negative.
        weights: (n,) or None.
        minlength: smallest length of the result.

    Returns:
        (max(x) + 1 or minlength,), int64 or the dtype of the weights.
    """
    return apply(_bincount, (x, weights), (int(minlength),))


def _infer_histogram(x: Type, *, bins: int, low: float, high: float) -> Type:
    if bins < 1 or not low < high:
        raise AttributeValueError(f"{bins} bins from {low} to {high} are none")
    return Type((bins,), x.dtype)


@op(infer=_infer_histogram, differentiable=False)
def _histogram(x, *, bins, low, high):
    """How many elements lie in each of equal bins. ONNX: Floor, Equal, ReduceSum."""
    return kernels.histogram(x, bins, low, high)


def histogram(x: Tensor, bins: int, low: float, high: float) -> Tensor:
    """How many elements lie in each of `bins` equal bins from `low` to `high`.

    The last bin has both its edges; what lies outside is not counted.

    Returns:
        (bins,), the dtype of x.
    """
    return apply(_histogram, (x,), (int(bins), float(low), float(high)))


# ---- in a sorted sequence ----------------------------------------------------------------------


def _infer_searchsorted(edges: Type, x: Type, *, right: bool) -> Type:
    if len(edges.shape) != 1:
        lead = zip(edges.shape[:-1], x.shape[:-1], strict=False)
        if len(edges.shape) != len(x.shape) or not all(same_size(a, b) for a, b in lead):
            raise ShapeError(
                f"sorted sequences {show(edges.shape)} and values {show(x.shape)} must have equal "
                "leading sizes, or there must be one sequence"
            )
    return Type(x.shape, I64)


@op(infer=_infer_searchsorted, promote=True, differentiable=False)
def _searchsorted(edges, x, *, right):
    """How many elements of a sorted sequence lie below x. ONNX: Less, Cast, ReduceSum."""
    return kernels.searchsorted(edges, x, right)


_searchsorted.shortcut = lambda edges, x, right: kernels.places_of(
    edges.shape, x.shape, x.dtype, right
)


def searchsorted(
    sorted_sequence: Tensor, values: Any, out_int32: bool = False, right: bool = False
) -> Tensor:
    """Where to put values into a sorted sequence so that it stays sorted.

    Args:
        sorted_sequence: (n,), or (..., n) with the leading sizes of `values`.
        values: (...,) or (..., m).
        out_int32: give int32 instead of int64.
        right: put a value behind equal elements instead of before them.
    """
    if not isinstance(values, Tensor):
        values = Tensor(values, dtype=sorted_sequence.dtype)
    found = apply(_searchsorted, (sorted_sequence, values), (bool(right),))
    return cast(found, "int32") if out_int32 else found


def bucketize(
    x: Tensor, sorted_sequence: Tensor, out_int32: bool = False, right: bool = False
) -> Tensor:
    """`searchsorted` with a vector of edges, the other way round."""
    if sorted_sequence.ndim != 1:
        raise ShapeError(f"the edges must be a vector, got shape {show(sorted_sequence.shape)}")
    return searchsorted(sorted_sequence, x, out_int32, right)


__all__ = [
    "argmax",
    "argmin",
    "bincount",
    "bucketize",
    "extreme",
    "histogram",
    "nonzero",
    "searchsorted",
    "unique",
]
