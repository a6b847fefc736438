"""Distances and likeness of rows: of pairs side by side, and of all pairs of two lists.

The Euclidean distance of all pairs is an op of its own, because it goes by a matrix product; other
norms are composed.
"""

from __future__ import annotations

import math

from dyn.core.dispatch import scalar
from dyn.core.errors import ShapeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import distance as kernels
from dyn.ops.composite import differentiate_as
from dyn.ops.infer import Type, axis_of, broadcast_shapes, same_size, show
from dyn.ops.reduce import norm
from dyn.ops.shape import _transpose, _unsqueeze

# ---- side by side ------------------------------------------------------------------------------


def cosine_similarity(x1: Tensor, x2: Tensor, axis: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along an axis; each length counts as at least `eps`."""
    product = x1 * x2
    axes = (axis_of(axis, product.ndim),)

    def length(x: Tensor) -> Tensor:
        if x.ndim < product.ndim:
            x = OPS["reshape"](x, shape=(1,) * (product.ndim - x.ndim) + tuple(x.shape))
        return OPS["maximum"](OPS["norm"](x, axes=axes, keepdims=False), float(eps))

    dot = OPS["sum"](product, axes=axes, keepdims=False)
    return dot / (length(x1) * length(x2))


def pairwise_distance(
    x: Tensor, y: Tensor, p: float = 2.0, epsilon: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """p-norm of x - y + epsilon along the last axis."""
    return norm(x - y + epsilon, p, -1, keepdim)


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
