"""Placing by index where places take the largest or smallest of what comes to them.

Writing and adding are in `gather.py`. What is equal to the result shares its gradient.
"""

from __future__ import annotations

from dyn.core.dispatch import apply, cast_to
from dyn.core.errors import ShapeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import index as kernels
from dyn.ops.gather import _infer_put_along, _put_along_axis, _take_along_axis
from dyn.ops.infer import Type, axis_of, same_size, show


def _infer_scatter_extreme(x: Type, index: Type, value: Type, *, axis: int, largest: bool) -> Type:
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


@op(infer=_infer_scatter_extreme)
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


__all__ = ["scatter_extreme"]
