"""What clipping does to many gradients at once: sums of their squares, factors, bounds.

Each op takes any number of tensors, of whatever shapes but of one dtype, and does them in one pass.
"""

from __future__ import annotations

from typing import Any

from dyn.core.errors import DTypeError, ShapeError
from dyn.core.op import op
from dyn.kernels import groups as kernels
from dyn.ops.bounds import clip_grad
from dyn.ops.infer import Type, need_float, same_size, show
from dyn.ops.join import _stack


def _need_one_dtype(xs: tuple[Type, ...]) -> None:
    if not xs:
        raise DTypeError("needs at least one tensor")
    for i, x in enumerate(xs):
        need_float(f"tensor {i}", x)
        if x.dtype != xs[0].dtype:
            raise DTypeError(
                f"tensor {i} is {x.dtype.name}, tensor 0 {xs[0].dtype.name}; give those of each "
                "dtype in a call of their own"
            )


def _infer_square_sums(*xs: Type) -> Type:
    _need_one_dtype(xs)
    return Type((len(xs),), xs[0].dtype)


@op(infer=_infer_square_sums)
def square_sums(*xs):
    """The sum of the squares of all elements of each of n tensors: [n]. ONNX: ReduceSumSquare."""
    return kernels.square_sums(xs).astype(xs[0].dtype)


@square_sums.vjp("xs")
def _(g, *, xs):
    return list(scale_each(g + g, *xs))


def _infer_scale_each(factors: Type, *xs: Type) -> list[Type]:
    _need_one_dtype((factors, *xs))
    if factors.shape and not (len(factors.shape) == 1 and same_size(factors.shape[0], len(xs))):
        raise ShapeError(
            f"factors have shape {show(factors.shape)}; one for each of {len(xs)} tensors is "
            "wanted, or a 0-d one for all"
        )
    return list(xs)


@op(infer=_infer_scale_each, outputs=("xs_scaled",), public=None)
def scale_each(factors, *xs):
    """n tensors times the numbers of `factors`: [n], or 0-d for all. ONNX: Mul."""
    return tuple(kernels.scale(xs, factors))


@scale_each.vjp("factors")
def _(g, *, xs):
    return _stack(*[(a * x).sum() for a, x in zip(g, xs, strict=True)], axis=0)


@scale_each.vjp("xs")
def _(g, *, factors):
    return list(scale_each(factors, *g))


def _infer_clip_each(*xs: Type, low: float, high: float) -> list[Type]:
    _need_one_dtype(xs)
    return list(xs)


@op(infer=_infer_clip_each, outputs=("xs_clipped",), public=None)
def clip_each(*xs, low, high):
    """Tensors with every element brought into [low, high]. ONNX: Clip."""
    return tuple(kernels.clip(xs, low, high))


@clip_each.vjp("xs")
def _(g, *, xs, low, high):
    return [clip_grad(a, x, low=low, high=high) for a, x in zip(g, xs, strict=True)]


def by_dtype(tensors: Any) -> list[list[int]]:
    """The places of the tensors of each dtype: what goes into one call."""
    dtypes = [x._read().dtype for x in tensors]
    kinds = set(dtypes)
    if len(kinds) < 2:
        return [[*range(len(dtypes))]] * len(kinds)
    found: dict[Any, list[int]] = {}
    for i, dtype in enumerate(dtypes):
        found.setdefault(dtype, []).append(i)
    return list(found.values())


__all__ = ["by_dtype", "clip_each", "scale_each", "square_sums"]
