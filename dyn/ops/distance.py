"""Distances and likeness of rows: of pairs side by side, and of all pairs of two lists.

The Euclidean distance of all pairs is an op of its own, because it goes by a matrix product; other
norms are composed.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.core.dispatch import apply
from dyn.core.dtype import F32
from dyn.core.errors import ShapeError
from dyn.core.lift import cast_to, scalar, shape_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import cosine as cosines
from dyn.kernels import distance as kernels
from dyn.kernels import elementwise, pairwise
from dyn.ops.composite import differentiate_as
from dyn.ops.infer import (
    Type,
    axis_of,
    broadcast_shapes,
    need_float,
    need_shape,
    reduced_shape,
    same_size,
    show,
)
from dyn.ops.shape import _transpose, _unsqueeze, reshape
from dyn.ops.vector_norm import norm

# ---- side by side ------------------------------------------------------------------------------


def _infer_cosine(x: Type, y: Type, *, axis: int, epsilon: float) -> list[Type]:
    need_float("x", x)
    need_shape("y", y, *x.shape)
    return [Type(reduced_shape(x.shape, (axis,), keepdims=False), x.dtype)] * 3


@op(infer=_infer_cosine, outputs=("out", "x_length", "y_length"), promote="float")
def _cosine(x, y, *, axis, epsilon):
    """x . y / (|x| |y|) along an axis. ONNX: Mul, ReduceSum, ReduceL2, Max, Div."""
    return cosines.cosine(x, y, axis, epsilon)


@_cosine.vjp("x", "y")
def _(g, *, x, y, out, x_length, y_length, axis, epsilon):
    return apply(_cosine_grad, (g, x, y, out, x_length, y_length), (axis, epsilon))


def _infer_cosine_grad(g: Type, x: Type, y: Type, *rest: Type, **attrs: Any) -> list[Type]:
    return [x, y]


@op(infer=_infer_cosine_grad, outputs=("gx", "gy"), public=2)
def _cosine_grad(g, x, y, out, x_length, y_length, *, axis, epsilon):
    """Gradients of `cosine`; the lengths are taken as functions of x and y. ONNX: composed."""
    return cosines.cosine_grad(g, x, y, out, x_length, y_length, axis, epsilon)


def _cosine_grad_of_ops(g, x, y, out, x_length, y_length, axis, epsilon):
    """`_cosine_grad` made of ops."""
    axes = (axis,)
    norms = [OPS["norm"](a, axes=axes, keepdims=True) for a in (x, y)]
    lengths = [OPS["maximum"](a, scalar(epsilon, x._array.dtype)) for a in norms]
    across = _unsqueeze(g, axes=axes) / (lengths[0] * lengths[1])
    turned = across * OPS["sum"](x * y, axes=axes, keepdims=True)

    def gradient(own: Tensor, other: Tensor, i: int) -> Tensor:
        free = OPS["greater_than"](norms[i], scalar(epsilon, x._array.dtype))
        along = OPS["where"](free, turned / (lengths[i] * lengths[i]), scalar(0, x._array.dtype))
        return across * other - along * own

    return gradient(x, y, 0), gradient(y, x, 1)


_cosine.fused_vjp("x", "y")(_cosine_grad.kernel)
differentiate_as(_cosine_grad, _cosine_grad_of_ops)


def cosine_similarity(x1: Tensor, x2: Tensor, axis: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along an axis.

    Args:
        x1, x2: broadcast to one shape.
        axis: of the vectors.
        eps: the least length; shorter vectors count as this long.

    Returns:
        The cosines, without the axis.
    """
    a, b = shape_of(x1), shape_of(x2)
    if a != b:
        shape = broadcast_shapes(tuple(a), tuple(b))
        x1, x2 = (x if x.shape == list(shape) else OPS["expand"](x, shape=shape) for x in (x1, x2))
    if not x1.ndim:
        x1, x2 = reshape(x1, [1]), reshape(x2, [1])
    return apply(_cosine, (x1, x2), (axis_of(axis, len(x1.shape)), float(eps)))


def _infer_pairwise(x: Type, y: Type, *, epsilon: float) -> Type:
    need_float("x", x)
    need_shape("y", y, *x.shape)
    return Type(x.shape[:-1], x.dtype)


@op(infer=_infer_pairwise, promote="float")
def _pairwise_distance(x, y, *, epsilon):
    """|x - y + epsilon| along the last axis. ONNX: Sub, Add, ReduceL2."""
    return pairwise.distance(x, y, epsilon)


@_pairwise_distance.vjp("x", "y")
def _(g, *, x, y, out, epsilon, wanted):
    dtype = out._array.dtype
    if dtype.itemsize == 2:
        # The distance of near points has an inverse that half precision does not hold.
        g, x, y = (cast_to(v, F32) for v in (g, x, y))
        out = apply(_pairwise_distance, (x, y), (epsilon,))
    safe = OPS["where"](out == 0, scalar(1, out._array.dtype), out)
    gx = cast_to((x - y + epsilon) * _unsqueeze(g / safe, axes=(out.ndim,)), dtype)
    return gx, -gx if "y" in wanted else None


@_pairwise_distance.fused_vjp("x", "y")
def _(g, *, x, y, out, epsilon, wanted):
    gx = pairwise.distance_grad(g, x, y, out, epsilon)
    return gx, elementwise.unary("neg", gx) if "y" in wanted else None


def pairwise_distance(
    x: Tensor, y: Tensor, p: float = 2.0, epsilon: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """p-norm of x - y + epsilon along the last axis.

    Args:
        x, y: broadcast to one shape (..., D).
        p: as in `norm`.
        epsilon: added to every difference, so that the gradient at 0 is finite.
        keepdim: whether the last axis stays, with size 1.

    Returns:
        (...), or (..., 1) with `keepdim`.
    """
    if p != 2 or x.shape != y.shape or not x.ndim:
        return norm(x - y + epsilon, p, -1, keepdim)
    out = apply(_pairwise_distance, (x, y), (float(epsilon),))
    return _unsqueeze(out, axes=(out.ndim,)) if keepdim else out


# ---- of all pairs ------------------------------------------------------------------------------


def _infer_distance(x: Type, y: Type) -> Type:
    if len(x.shape) < 2 or len(y.shape) < 2 or not same_size(x.shape[-1], y.shape[-1]):
        raise ShapeError(
            f"distances are those of rows of equal length, (..., m, k) and (..., n, k); got "
            f"{show(x.shape)} and {show(y.shape)}"
        )
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return Type((*batch, x.shape[-2], y.shape[-2]), x.dtype)


@op(infer=_infer_distance, promote="float")
def _euclidean_distance(x, y):
    """out[..., i, j] = |x[..., i, :] - y[..., j, :]|. ONNX: Sub, ReduceL2."""
    return kernels.distances(x, y)


@_euclidean_distance.vjp("x")
def _(g, *, x, y, out):
    return _euclidean_distance_grad(g, x, y, out)


@_euclidean_distance.vjp("y")
def _(g, *, x, y, out):
    perm = (*range(g.ndim - 2), g.ndim - 1, g.ndim - 2)
    return _euclidean_distance_grad(_transpose(g, perm=perm), y, x, _transpose(out, perm=perm))


def _infer_distance_grad(g: Type, x: Type, y: Type, distance: Type) -> Type:
    return Type((*distance.shape[:-1], x.shape[-1]), x.dtype)


@op(infer=_infer_distance_grad)
def _euclidean_distance_grad(g, x, y, distance):
    """Sum over j of g[i, j] * (x[i] - y[j]) / distance[i, j], 0 where that is 0. ONNX: composed."""
    return kernels.distances_grad(g, x, y, distance)


def _distance_grad_of_ops(g: Tensor, x: Tensor, y: Tensor, distance: Tensor) -> Tensor:
    """`_euclidean_distance_grad` made of ops."""
    weight = g / OPS["where"](distance == 0, scalar(math.inf, distance._array.dtype), distance)
    away = _unsqueeze(x, axes=(x.ndim - 1,)) - _unsqueeze(y, axes=(y.ndim - 2,))
    parts = _unsqueeze(weight, axes=(weight.ndim,)) * away
    return OPS["sum"](parts, axes=(parts.ndim - 2,), keepdims=False)


differentiate_as(_euclidean_distance_grad, _distance_grad_of_ops)


def cdist(x: Tensor, y: Tensor, p: float = 2.0) -> Tensor:
    """Distances of all pairs of rows: (..., m, k) and (..., n, k) give (..., m, n).

    Args:
        x, y: leading axes broadcast.
        p: the distance is the p-norm of the difference. The gradient of the Euclidean distance
            (2) of equal points is 0.

    Raises:
        ShapeError: the rows differ in length.
    """
    if p == 2:
        return _euclidean_distance(x, y)
    return norm(_unsqueeze(x, axes=(x.ndim - 1,)) - _unsqueeze(y, axes=(y.ndim - 2,)), p, -1)


__all__ = ["cdist", "cosine_similarity", "pairwise_distance"]
