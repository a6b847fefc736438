"""Reductions over axes: sum, mean, extremes, products, statistics.

Norms are in `vector_norm.py`, positions of extremes, sorting and counting in `search.py`, running
sums in `scan.py`. The op `sum_to`, which undoes broadcasting for the tape, is here as well.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dim import maximum as larger
from dyn.core.dispatch import apply
from dyn.core.dtype import BOOL, I64, rank
from dyn.core.lift import rank_of, scalar
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import reduce as kernels
from dyn.kernels.product_grad import product_grad
from dyn.kernels.reduce import gradients
from dyn.ops.composite import differentiate_as
from dyn.ops.elementwise import add, divide, multiply, subtract
from dyn.ops.index import where
from dyn.ops.infer import Type, infer_extreme, product, reduced_axes, reduced_shape
from dyn.ops.unary import cast, exp


def spread(g: Tensor, x_shape: Any, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """What was reduced over `axes`, repeated along them to the shape it was reduced from."""
    if not axes:
        return g
    # What was reduced over leading axes lacks only what broadcasting adds.
    if not keepdims and axes != tuple(range(len(axes))):
        g = OPS["reshape"](g, shape=reduced_shape(tuple(x_shape), axes, keepdims=True))
    return OPS["expand"](g, shape=tuple(x_shape))


def _infer_reduced(x: Type, *, axes: tuple[int, ...], keepdims: bool, **attrs: Any) -> Type:
    return Type(reduced_shape(x.shape, axes, keepdims=keepdims), x.dtype)


def count(x_shape: Any, axes: tuple[int, ...]) -> Any:
    """How many elements one result is made of."""
    return product([x_shape[a] for a in axes])


# ---- sum and mean ------------------------------------------------------------------------------


def _infer_sum(x: Type, *, axes: tuple[int, ...], keepdims: bool) -> Type:
    dtype = I64 if rank(x.dtype) < 2 else x.dtype
    return Type(reduced_shape(x.shape, axes, keepdims=keepdims), dtype)


@op(infer=_infer_sum)
def _sum(x, *, axes, keepdims):
    """Sum over axes; booleans and integers are summed as int64. ONNX: ReduceSum."""
    return kernels.sum(x, axes, keepdims=keepdims)


@_sum.vjp("x")
def _(g, *, x_shape, axes, keepdims):
    return spread(g, x_shape, axes, keepdims)


@_sum.fused_vjp("x")
def _(g, *, x_shape, axes, keepdims):
    return gradients.spread(g, x_shape, axes, keepdims)


def sum(x: Tensor, axis: Any = None, dtype: Any = None, keepdim: bool = False) -> Tensor:
    """Sum over all axes or the given ones.

    Args:
        x: any shape. Booleans and integers are summed as int64.
        axis: an axis, several, or None for all.
        dtype: what x is cast to first.
        keepdim: leave the reduced axes with size 1.
    """
    if dtype is not None:
        x = cast(x, dtype)
    return apply(_sum, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim)))


@op(infer=_infer_reduced, promote="float")
def _mean(x, *, axes, keepdims):
    """Arithmetic mean over axes. ONNX: ReduceMean."""
    return kernels.mean(x, axes, keepdims=keepdims)


@_mean.vjp("x")
def _(g, *, x_shape, axes, keepdims):
    return spread(divide(g, count(x_shape, axes)), x_shape, axes, keepdims)


@_mean.fused_vjp("x")
def _(g, *, x_shape, axes, keepdims):
    return gradients.mean_grad(g, x_shape, axes, keepdims)


def mean(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Arithmetic mean over all axes or the given ones; integers give floating point."""
    return apply(_mean, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim)))


def _infer_sum_to(x: Type, *, shape: tuple[Any, ...]) -> Type:
    return Type(shape, x.dtype)


@op(infer=_infer_sum_to)
def _sum_to(x, *, shape):
    """x summed over the axes along which a tensor of `shape` was repeated. ONNX: ReduceSum."""
    return kernels.sum_to(x, shape)


@_sum_to.vjp("x")
def _(g, *, x_shape):
    return OPS["expand"](g, shape=tuple(x_shape))


# ---- extremes ----------------------------------------------------------------------------------


@op(infer=infer_extreme)
def _max(x, *, axes, keepdims, shared=False):
    """Largest element over axes; NaN if there is one. ONNX: ReduceMax.

    All that are equal to it get the gradient, or with `shared` an equal share of it (NaN if it is).
    """
    return kernels.max(x, axes, keepdims=keepdims)


@op(infer=infer_extreme)
def _min(x, *, axes, keepdims, shared=False):
    """Smallest element over axes; NaN if there is one. ONNX: ReduceMin.

    All that are equal to it get the gradient, or with `shared` an equal share of it (NaN if it is).
    """
    return kernels.min(x, axes, keepdims=keepdims)


def _where_extreme(g, x, out, axes, keepdims, shared):
    at = OPS["equal"](x, spread(out, x.shape, axes, keepdims))
    rest = scalar(0, g._array.dtype)
    if shared:
        # Nothing is equal to NaN: what nobody shares is NaN, too.
        ties = _sum(cast(at, g.dtype), axes=axes, keepdims=keepdims)
        g, rest = divide(g, ties), spread(divide(rest, ties), x.shape, axes, keepdims)
    return where(at, spread(g, x.shape, axes, keepdims), rest)


@_max.vjp("x")
def _(g, *, x, out, axes, keepdims, shared):
    return _where_extreme(g, x, out, axes, keepdims, shared)


@_min.vjp("x")
def _(g, *, x, out, axes, keepdims, shared):
    return _where_extreme(g, x, out, axes, keepdims, shared)


for _op in (_max, _min):
    _op.fused_vjp("x")(gradients.extreme_grad)


def max(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Largest element over all axes or the given ones; equal ones share the gradient."""
    return apply(_max, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim), True))


def min(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Smallest element over all axes or the given ones; equal ones share the gradient."""
    return apply(_min, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim), True))


amax, amin = max, min


# ---- product -----------------------------------------------------------------------------------


@op(infer=_infer_sum)
def _prod(x, *, axes, keepdims):
    """Product over axes; integers are multiplied as int64. ONNX: ReduceProd."""
    return kernels.prod(x, axes, keepdims=keepdims)


@op(infer=lambda g, x, *, axes: Type(x.shape, g.dtype))
def _prod_grad(g, x, *, axes):
    """g times the product of all other elements over the axes. ONNX: Where, ReduceProd, Div."""
    return product_grad(g, x, axes)


@_prod.vjp("x")
def _(g, *, x, axes, keepdims):
    return _prod_grad(g if keepdims else OPS["unsqueeze"](g, axes=axes), x, axes=axes)


def _prod_grad_of_ops(g: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`_prod_grad` made of ops: the product of all elements before, times that of those after.

    Dividing by x fails at 0.
    """
    x_shape = tuple(x.shape)
    kept = [a for a in range(len(x_shape)) if a not in axes]
    order = (*kept, *axes)
    back = tuple(order.index(a) for a in range(len(order)))
    moved = OPS["transpose"](x, perm=order)
    flat = OPS["reshape"](moved, shape=(*(x_shape[a] for a in kept), count(x_shape, axes)))
    last = len(kept)
    before = OPS["cumprod"](flat, axis=last, exclusive=True)
    after = OPS["cumprod"](OPS["flip"](flat, axes=(last,)), axis=last, exclusive=True)
    others = multiply(before, OPS["flip"](after, axes=(last,)))
    others = OPS["reshape"](others, shape=tuple(x_shape[a] for a in order))
    return multiply(OPS["transpose"](others, perm=back), g)


differentiate_as(_prod_grad, _prod_grad_of_ops)


def prod(x: Tensor, axis: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Product over all axes or the given ones; integers are multiplied as int64."""
    if dtype is not None:
        x = cast(x, dtype)
    return apply(_prod, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim)))


# ---- logic -------------------------------------------------------------------------------------


def _infer_logic(x: Type, *, axes: tuple[int, ...], keepdims: bool) -> Type:
    return Type(reduced_shape(x.shape, axes, keepdims=keepdims), BOOL)


@op(infer=_infer_logic, differentiable=False)
def _all(x, *, axes, keepdims):
    """Whether all elements over axes are nonzero. ONNX: Cast, ReduceMin."""
    return kernels.all(x, axes, keepdims=keepdims)


@op(infer=_infer_logic, differentiable=False)
def _any(x, *, axes, keepdims):
    """Whether any element over axes is nonzero. ONNX: Cast, ReduceMax."""
    return kernels.any(x, axes, keepdims=keepdims)


def all(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over all axes or the given ones are nonzero; True of none."""
    return _all(x, axes=reduced_axes(axis, rank_of(x)), keepdims=bool(keepdim))


def any(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Whether any element over all axes or the given ones is nonzero; False of none."""
    return _any(x, axes=reduced_axes(axis, rank_of(x)), keepdims=bool(keepdim))


def count_nonzero(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """How many elements over all axes or the given ones are nonzero, as int64."""
    return sum(OPS["not_equal"](x, 0), axis, keepdim=keepdim)


# ---- statistics --------------------------------------------------------------------------------


def _left(x_shape: Any, axes: tuple[int, ...], correction: int) -> Any:
    """What a variance is divided by."""
    return larger(count(x_shape, axes) - correction, 0)


@op(infer=_infer_reduced, promote="float")
def _var(x, *, axes, keepdims, correction):
    """Squared distances from the mean, over max(count - correction, 0). ONNX: ReduceMean."""
    return kernels.var(x, axes, keepdims=keepdims, correction=correction)


@_var.vjp("x")
def _(g, *, x, x_shape, axes, keepdims, correction):
    away = subtract(x, _mean(x, axes=axes, keepdims=True))
    scaled = divide(add(g, g), _left(x_shape, axes, correction))
    return multiply(spread(scaled, x_shape, axes, keepdims), away)


_var.fused_vjp("x")(gradients.var_grad)


def var(x: Tensor, axis: Any = None, unbiased: int = True, keepdim: bool = False) -> Tensor:
    """Variance over all axes or the given ones.

    Args:
        x: any shape; integers give floating point.
        axis: an axis, several, or None for all.
        unbiased: divide by count - 1 instead of count (NaN where the count is 1); or how much to
            take off the count.
        keepdim: leave the reduced axes with size 1.
    """
    return apply(_var, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim), int(unbiased)))


@op(infer=_infer_reduced, promote="float")
def _std(x, *, axes, keepdims, correction):
    """Square root of `var`, without overflow; its gradient at 0 is 0. ONNX: as `var`, Sqrt."""
    return kernels.std(x, axes, keepdims=keepdims, correction=correction)


@_std.vjp("x")
def _(g, *, x, out, x_shape, axes, keepdims, correction):
    away = subtract(x, _mean(x, axes=axes, keepdims=True))
    # A mean is rounded: among equal elements what is left of it is as large as their deviation.
    away = subtract(away, _mean(away, axes=axes, keepdims=True))
    safe = where(OPS["equal"](out, 0), 1, out)
    scaled = divide(g, multiply(safe, _left(x_shape, axes, correction)))
    return multiply(spread(scaled, x_shape, axes, keepdims), away)


_std.fused_vjp("x")(gradients.std_grad)


def std(x: Tensor, axis: Any = None, unbiased: int = True, keepdim: bool = False) -> Tensor:
    """Standard deviation over all axes or the given ones: the root of `var`.

    The gradient where all elements are equal is 0.
    """
    return apply(_std, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim), int(unbiased)))


@op(infer=_infer_reduced, promote="float")
def _logsumexp(x, *, axes, keepdims):
    """log of the sum of e^x over axes, without overflow. ONNX: ReduceLogSumExp."""
    return kernels.logsumexp(x, axes, keepdims=keepdims)


@_logsumexp.vjp("x")
def _(g, *, x, out, x_shape, axes, keepdims):
    share = exp(subtract(x, spread(out, x_shape, axes, keepdims)))
    return multiply(spread(g, x_shape, axes, keepdims), share)


_logsumexp.fused_vjp("x")(gradients.logsumexp_grad)


def logsumexp(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """log of the sum of e^x over all axes or the given ones, without overflow."""
    return apply(_logsumexp, (x,), (reduced_axes(axis, rank_of(x)), bool(keepdim)))


def nansum(x: Tensor, axis: Any = None, dtype: Any = None, keepdim: bool = False) -> Tensor:
    """Sum that counts NaN as zero."""
    return sum(where(OPS["isnan"](x), 0, x), axis, dtype, keepdim)


def nanmean(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Mean of the elements that are not NaN; NaN where there are none."""
    total = nansum(x, axis, keepdim=keepdim)
    known = sum(OPS["logical_not"](OPS["isnan"](x)), axis, keepdim=keepdim)
    return divide(total, known)


__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "count_nonzero",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "prod",
    "std",
    "sum",
    "var",
]
