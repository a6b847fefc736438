"""Placing by index where places take the extreme or the product of themselves and what comes.

Writing and adding are in `gather.py`. What is equal to an extreme shares its gradient.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import ShapeError
from dyn.core.lift import cast_to
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import index as kernels
from dyn.ops.gather import _infer_put_along, _put_along_axis, _take_along_axis
from dyn.ops.index import where
from dyn.ops.infer import Type, axis_of, same_size, show


def _infer_combined(x: Type, index: Type, value: Type, *, axis: int, **attrs: Any) -> Type:
    _infer_put_along(x, index, value, axis=axis, reduction="none")
    if not all(
        a == axis or same_size(n, m)
        for a, (n, m) in enumerate(zip(x.shape, index.shape, strict=True))
    ):
        raise ShapeError(
            f"index {show(index.shape)} must have the sizes of the tensor {show(x.shape)} "
            f"beside axis {axis}"
        )
    return x


@op(infer=_infer_combined)
def _scatter_extreme(x, index, value, *, axis, largest):
    """x[i, index[i, j], ...] = max(itself, value[i, j, ...]), or min. ONNX: ScatterElements."""
    return kernels.put_along_axis(x, index, value, axis, "max" if largest else "min")


@_scatter_extreme.vjp("x", "value")
def _(g, *, x, index, value, out, axis):
    kind = g._array.dtype
    kept = cast_to(OPS["equal"](x, out), kind)
    taken = cast_to(OPS["equal"](value, _take_along_axis(out, index, axis=axis)), kind)
    equals = _put_along_axis(kept, index, taken, axis=axis, reduction="add")
    share = g / equals
    return kept * share, taken * _take_along_axis(share, index, axis=axis)


def scatter_extreme(
    x: Tensor, index: Tensor, value: Tensor, axis: int, largest: bool = True
) -> Tensor:
    """A copy of x in which places take the extreme of themselves and of what comes to them.

    Args:
        x: (..., n, ...).
        index: (..., k, ...) integers in [-n, n), sizes as x beside `axis`.
        value: as index, dtype of x.
        largest: whether the extreme is the largest or the smallest; NaN is both.

    Raises:
        IndexRangeError: an index is out of range.
        ShapeError: shapes do not fit.
    """
    return apply(_scatter_extreme, (x, index, value), (axis_of(axis, x.ndim), bool(largest)))


@op(infer=_infer_combined)
def _scatter_product(x, index, value, *, axis):
    """x[i, index[i, j], ...] *= value[i, j, ...]. ONNX: ScatterElements."""
    return kernels.put_along_axis(x, index, value, axis, "mul")


@_scatter_product.vjp("x", "value")
def _(g, *, x, index, value, axis):
    kind = g._array.dtype

    def summed(a: Any, b: Any) -> Any:
        return _put_along_axis(a, index, b, axis=axis, reduction="add")

    def taken(a: Any) -> Any:
        return _take_along_axis(a, index, axis=axis)

    # What a factor is multiplied by is the product of all divided by it. Zeros are counted apart;
    # the sum of one or two is a zero, too, but one that has a gradient.
    none, nothing = OPS["equal"](x, 0), OPS["equal"](value, 0)
    others = _scatter_product(where(none, 1, x), index, where(nothing, 1, value), axis=axis)
    count = summed(cast_to(none, kind), cast_to(nothing, kind))
    zeros = summed(where(none, x, 0), where(nothing, value, 0))

    def slope(factor: Any, zero: Any, others: Any, count: Any, zeros: Any) -> Any:
        count = count - cast_to(zero, kind)
        zeros = zeros - where(zero, factor, 0)
        rest = others / where(zero, 1, factor)
        one = where(OPS["equal"](count, 1), zeros * rest, 0)
        return where(OPS["equal"](count, 0), rest, one)

    above = taken(others), taken(count), taken(zeros)
    return g * slope(x, none, others, count, zeros), taken(g) * slope(value, nothing, *above)


def scatter_product(x: Tensor, index: Tensor, value: Tensor, axis: int) -> Tensor:
    """A copy of x in which places are multiplied by what comes to them.

    Second gradients are right at zeros, too, third ones not where there are several.

    Args:
        x: (..., n, ...).
        index: (..., k, ...) integers in [-n, n), sizes as x beside `axis`.
        value: as index, dtype of x.

    Raises:
        IndexRangeError: an index is out of range.
        ShapeError: shapes do not fit.
    """
    return apply(_scatter_product, (x, index, value), (axis_of(axis, x.ndim),))


__all__ = ["scatter_extreme", "scatter_product"]
