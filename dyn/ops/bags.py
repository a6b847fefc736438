"""Sums and means of the rows of a table that bags of indices name (PyTorch's `embedding_bag`)."""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import bags as kernels
from dyn.ops.infer import Type, need_float, need_int, need_rank, need_same_dtype, same_shape, show


def _infer_bags(
    index: Type, weight: Type, offsets: Type | None, shares: Type | None, *, mean: bool
) -> Type:
    need_int("index", index)
    need_float("weight", weight)
    need_rank("weight", weight, 2)
    need_same_dtype(weight=weight, shares=shares)
    need_rank("index", index, 2 if offsets is None else 1)
    if offsets is not None:
        need_int("offsets", offsets)
        need_rank("offsets", offsets, 1)
    if shares is not None and not same_shape(shares.shape, index.shape):
        raise ShapeError(
            f"shares {show(shares.shape)} must have the shape of the indices {show(index.shape)}"
        )
    if mean and shares is not None:
        raise AttributeValueError("a mean counts every row once: leave the shares out")
    bags = index if offsets is None else offsets
    return Type((bags.shape[0], weight.shape[1]), weight.dtype)


@op(infer=_infer_bags)
def _sum_bags(index, weight, offsets=None, shares=None, *, mean):
    """Sums or means of weight[index] over bags. ONNX: Gather, Mul, ReduceSum or ScatterND."""
    return kernels.sum_bags(index, weight, offsets, shares, mean)


@_sum_bags.vjp("weight")
def _(g, *, index, weight_shape, offsets, shares, mean):
    attrs = tuple(weight_shape), mean
    return apply(_sum_bags_grad, (g, index, offsets, shares), attrs)


@_sum_bags.fused_vjp("weight")
def _(g, *, index, weight_shape, offsets, shares, mean, into):
    if into is not None and not into.flags.c_contiguous:
        into = None
    return kernels.sum_bags_grad(g, index, offsets, shares, weight_shape[0], mean, into)


@_sum_bags.vjp("shares")
def _(g, *, index, weight, offsets):
    rows = OPS["embedding"](index, weight, padding_idx=None, by_frequency=False)
    return OPS["sum"](rows * _of_each(g, index, offsets), axes=(len(index.shape),), keepdims=False)


def _of_each(g: Tensor, index: Tensor, offsets: Tensor | None) -> Tensor:
    """The row of g of the bag in which each index is."""
    if offsets is None:
        return OPS["unsqueeze"](g, axes=(1,))
    place = OPS["arange"](start=0, stop=index.shape[0], step=1, dtype=offsets.dtype.name)
    return OPS["gather"](g, OPS["searchsorted"](offsets, place, right=True) - 1, axis=0)


def _infer_bags_grad(
    g: Type, index: Type, offsets: Type | None, shares: Type | None, *, shape: Any, mean: bool
) -> Type:
    return Type(shape, g.dtype)


@op(infer=_infer_bags_grad)
def _sum_bags_grad(g, index, offsets=None, shares=None, *, shape, mean):
    """The gradient of `sum_bags` with respect to the weight. ONNX: Gather, Mul, ScatterND."""
    return kernels.sum_bags_grad(g, index, offsets, shares, shape[0], mean)


@_sum_bags_grad.vjp("g")
def _(gg, *, index, offsets, shares, mean):
    return apply(_sum_bags, (index, gg, offsets, shares), (mean,))


@_sum_bags_grad.vjp("shares")
def _(gg, *, g, index, offsets):
    rows = OPS["embedding"](index, gg, padding_idx=None, by_frequency=False)
    return OPS["sum"](rows * _of_each(g, index, offsets), axes=(len(index.shape),), keepdims=False)


def sum_bags(
    index: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    shares: Tensor | None = None,
    *,
    mean: bool = False,
) -> Tensor:
    """The sum or mean of the rows of each bag; zeros for bags of none.

    Args:
        index: integers in [0, rows), (bags, n), or (count,) with offsets.
        weight: (rows, width), floating point.
        offsets: (bags,) where in `index` each bag begins, the first of them at 0; the last ends
            with it.
        shares: what each row counts, the shape of `index`; not with `mean`.
        mean: divide by the number of rows.

    Returns:
        (bags, width).

    Raises:
        IndexRangeError: an index is not a row of the table, or offsets do not cut the indices.
        AttributeValueError: a mean of rows with shares.

    ONNX: Gather with ReduceSum or ReduceMean, or with ScatterND for offsets.
    """
    return apply(_sum_bags, (index, weight, offsets, shares), (mean,))


__all__ = ["sum_bags"]
