"""Order: the k largest, sorting, the k-th, the most frequent, medians and quantiles.

Of equal elements the first one comes first, here and in an exported file; NaN counts as largest.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dim import Dim
from dyn.core.dispatch import apply
from dyn.core.dtype import I64, name_of, rank
from dyn.core.errors import AttributeValueError, DTypeError
from dyn.core.lift import rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import ranks
from dyn.kernels import search as kernels
from dyn.kernels.index import spread_along
from dyn.kernels.order import ordered_of
from dyn.ops.elementwise import add, lerp, multiply, subtract
from dyn.ops.index import where
from dyn.ops.infer import Type, axis_of, need_elements, reduced_shape
from dyn.ops.search import slice_at
from dyn.ops.shape import as_line, flatten, reshape, sizes_of
from dyn.ops.sole import over
from dyn.ops.unary import cast

# ---- order -------------------------------------------------------------------------------------


def _infer_topk(x: Type, *, k: Any, axis: int, largest: bool) -> list[Type]:
    if rank(x.dtype) in (0, 3):
        raise DTypeError(f"elements of {x.dtype.name} have no order; cast() them first")
    size = x.shape[axis]
    if k < 0 or (isinstance(size, int) and isinstance(k, int) and k > size):
        raise AttributeValueError(f"k = {k} is not between 0 and the size {size} of axis {axis}")
    sizes = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return [Type(sizes, x.dtype), Type(sizes, I64)]


@op(infer=_infer_topk, outputs=("values", "indices"), public=2)
def _topk(x, *, k, axis, largest):
    """The k largest (or smallest) along an axis in order, and where they stand. ONNX: TopK."""
    return kernels.topk(x, k, axis, largest)


_topk.shortcut = lambda x, k, axis, largest: (
    ordered_of(x.shape, x.dtype, k, largest=largest) if axis == len(x.shape) - 1 else None
)


@_topk.vjp("x")
def _(g, *, indices, x_shape, axis):
    zeros = OPS["full"](shape=tuple(x_shape), value=0, dtype=name_of(g[0]._array.dtype))
    return over(zeros, (), apply, OPS["put_along_axis"], (zeros, indices, g[0]), (axis, "add"))


@_topk.fused_vjp("x")
def _(g, *, indices, x_shape, axis):
    return spread_along(g[0], indices, x_shape, axis)


def topk(
    x: Tensor, k: Any, axis: int | None = None, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) elements along an axis, and where they stand.

    Args:
        x: any shape.
        k: how many, at most the size of the axis.
        axis: the last one by default.
        largest: False for the smallest.
        sorted: they are always given in order.

    Returns:
        (values, indices): x's shape with k at the axis; indices are int64.

    Raises:
        AttributeValueError: k is larger than the axis.
    """
    (k,) = sizes_of(k)
    if not rank_of(x):
        return as_line(topk, x, k, axis, largest)
    axis = axis_of(-1 if axis is None else axis, x.ndim)
    return apply(_topk, (x,), (k, axis, bool(largest)))


def _ordered(x: Tensor, axis: int, descending: bool) -> tuple[Tensor, Tensor]:
    if not rank_of(x):
        return as_line(_ordered, x, axis, descending)
    axis = axis_of(axis, x.ndim)
    return apply(_topk, (x,), (x.shape[axis], axis, bool(descending)))


def sort(x: Tensor, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements along an axis in ascending (or descending) order; NaN counts as the largest."""
    return _ordered(x, axis, descending)[0]


def argsort(x: Tensor, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Where the elements along an axis stand, in the order in which `sort` gives them."""
    return _ordered(x, axis, descending)[1]


def kthvalue(
    x: Tensor, k: int, axis: int | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The k-th smallest element along an axis (k from 1), and where it stands."""
    if not x.ndim:
        return as_line(kthvalue, x, k, axis)
    axis = axis_of(-1 if axis is None else axis, x.ndim)
    values, indices = _topk(x, k=k, axis=axis, largest=False)
    found = slice_at(values, axis, k - 1), slice_at(indices, axis, k - 1)
    if keepdim:
        return OPS["unsqueeze"](found[0], axes=(axis,)), OPS["unsqueeze"](found[1], axes=(axis,))
    return found


def _infer_picked(x: Type, *, axis: int, keepdims: bool) -> list[Type]:
    if rank(x.dtype) in (0, 3):
        raise DTypeError(f"elements of {x.dtype.name} have no order; cast() them first")
    need_elements(x, (axis,))
    shape = reduced_shape(x.shape, (axis,), keepdims=keepdims)
    return [Type(shape, x.dtype), Type(shape, I64)]


@op(infer=_infer_picked, outputs=("values", "indices"), public=2)
def _mode(x, *, axis, keepdims):
    """The most frequent element along an axis, and where it last stands.

    ONNX: TopK, Equal, ReduceSum, ArgMax, GatherElements.
    """
    return ranks.mode(x, axis, keepdims)


@op(infer=_infer_picked, outputs=("values", "indices"), public=2)
def _lower_median(x, *, axis, keepdims):
    """The lower of the elements in the middle of an axis, or the first NaN, and where it stands.

    ONNX: TopK, IsNaN, ArgMax, GatherElements.
    """
    return ranks.lower_median(x, axis, keepdims)


def _at_places(g: Any, *, indices: Tensor, x_shape: Any, axis: int, keepdims: bool) -> Tensor:
    return apply(OPS["extreme_grad"], (g[0], indices), (axis, keepdims, tuple(x_shape)))


@_mode.vjp("x")
def _(g, *, indices, x_shape, axis, keepdims):
    return _at_places(g, indices=indices, x_shape=x_shape, axis=axis, keepdims=keepdims)


@_lower_median.vjp("x")
def _(g, *, indices, x_shape, axis, keepdims):
    return _at_places(g, indices=indices, x_shape=x_shape, axis=axis, keepdims=keepdims)


def mode(x: Tensor, axis: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The most frequent element along an axis (the smallest of several), and where it last stands.

    The gradient goes to that place. An exported file takes time and memory in proportion to the
    square of the axis.
    """
    return _picked(_mode, x, axis, keepdim)


def _picked(chosen: Any, x: Tensor, axis: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    if not x.ndim:
        return as_line(lambda line: _picked(chosen, line, axis, keepdim=False), x)
    return apply(chosen, (x,), (axis_of(axis, x.ndim), bool(keepdim)))


# ---- quantiles ---------------------------------------------------------------------------------


def _along(x: Tensor, axis: Any) -> tuple[Tensor, int]:
    if axis is None or not rank_of(x):
        return flatten(x), axis_of(0 if axis is None else axis, 1)
    return x, axis_of(axis, x.ndim)


def _keep(found: Tensor, ndim: int, axis: Any, keepdim: bool) -> Tensor:
    if not keepdim:
        return found
    if axis is None or not ndim:
        return reshape(found, [1] * ndim)
    return OPS["unsqueeze"](found, axes=(axis_of(axis, ndim),))


def lower_median(
    x: Tensor, axis: int | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The lower of the elements in the middle of an axis, or of all, and where it stands.

    Where there is a NaN, that is the median: the first one.
    """
    if axis is not None:
        return _picked(_lower_median, x, axis, keepdim)
    value, place = _picked(_lower_median, flatten(x), 0, keepdim=False)
    return _keep(value, x.ndim, None, keepdim), _keep(place, x.ndim, None, keepdim)


def median(x: Tensor, axis: int | None = None, keepdim: bool = False, mode: str = "avg") -> Any:
    """The middle element along an axis, or of all; NaN where one is NaN.

    Args:
        x: numbers.
        axis: None for all elements.
        keepdim: whether reduced axes stay, with size 1.
        mode: of an even number of elements "avg" takes the mean of the two in the middle (integers
            give floating point), "min" the smaller one.

    Returns:
        The medians; with an axis and mode "min" a pair with where they stand.
    """
    if mode not in ("avg", "min"):
        raise AttributeValueError(f"mode {mode!r} is not one of avg, min")
    if mode == "min":
        found = lower_median(x, axis, keepdim)
        return found[0] if axis is None else found
    flat, at = _along(x, axis)
    ordered = sort(flat, at)
    n = ordered.shape[at]
    found = multiply(add(slice_at(ordered, at, (n - 1) // 2), slice_at(ordered, at, n // 2)), 0.5)
    # A NaN is sorted to the end and makes the median NaN.
    worst = slice_at(ordered, at, n - 1)
    return _keep(where(OPS["isnan"](worst), worst, found), x.ndim, axis, keepdim)


def quantile(x: Tensor, q: Any, axis: int | None = None, keepdim: bool = False) -> Tensor:
    """The value below which a share q of the elements along an axis lies, interpolated linearly.

    Args:
        x: floating point.
        q: a number in [0, 1], or a list of them (they become a new first axis).
        axis: None for all elements.
        keepdim: whether reduced axes stay, with size 1.

    Raises:
        AttributeValueError: q lies outside [0, 1].
    """
    if isinstance(q, Tensor):
        q = q.tolist()
    if isinstance(q, (list, tuple)):
        return OPS["concat"](
            *(OPS["unsqueeze"](quantile(x, v, axis, keepdim), axes=(0,)) for v in q), axis=0
        )
    if not 0 <= q <= 1:
        raise AttributeValueError(f"q must lie between 0 and 1, got {q}")
    flat, at = _along(x, axis)
    ordered = sort(flat, at)
    n = ordered.shape[at]
    if isinstance(n, Dim):
        return _keep(_quantile_of_dynamic(ordered, q, at, n), x.ndim, axis, keepdim)
    place = q * (n - 1)
    low = int(place)
    found = lerp(
        slice_at(ordered, at, low),
        slice_at(ordered, at, low + (1 if low + 1 < n else 0)),
        place - low,
    )
    worst = slice_at(ordered, at, n - 1)
    return _keep(where(OPS["isnan"](worst), worst, found), x.ndim, axis, keepdim)


def _quantile_of_dynamic(ordered: Tensor, q: float, at: int, n: Dim) -> Tensor:
    place = multiply(cast(n.scope.lift(n), ordered.dtype), 1.0)
    place = multiply(subtract(place, 1), q)
    low = OPS["floor"](place)
    high = OPS["ceil"](place)
    first = OPS["gather"](ordered, cast(low, I64), axis=at)
    second = OPS["gather"](ordered, cast(high, I64), axis=at)
    found = lerp(first, second, subtract(place, low))
    worst = slice_at(ordered, at, n - 1)
    return where(OPS["isnan"](worst), worst, found)


__all__ = [
    "argsort",
    "kthvalue",
    "median",
    "mode",
    "quantile",
    "sort",
    "topk",
]
