"""Helpers for training by hand: clipping, parameters as one vector, normalised weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dyn.core.errors import ShapeError
from dyn.core.modes import no_grad
from dyn.core.tensor import Tensor
from dyn.kernels.lending import lend
from dyn.nn.clip import ClipGradByValue, scale_all, total_square
from dyn.nn.reparametrized import remove_weight_norm, spectral_norm, weight_norm
from dyn.ops.extremes import minimum
from dyn.ops.join import concat
from dyn.ops.shape import reshape
from dyn.ops.sole import lend_replaced
from dyn.ops.unary import sqrt


def _with_grad(parameters: Any) -> tuple[list[Any], list[Tensor]]:
    """The parameters that have a gradient, and their gradients."""
    listed: Iterable[Any] = [parameters] if isinstance(parameters, Tensor) else parameters
    found = [(p, g) for p in listed if (g := p.grad) is not None]
    return [p for p, _ in found], [g for _, g in found]


def _replace(params: list[Any], grads: list[Tensor], clipped: Callable[[], list[Tensor]]) -> None:
    """Give parameters the clipped gradients, in the memory of those that nobody else holds."""
    lend_replaced(grads)
    try:
        made = clipped()
    finally:
        lend()
    for p, g in zip(params, made, strict=True):
        p._grad = g  # of the shape that it had


def clip_grad_norm_(parameters: Any, max_norm: float) -> Tensor:
    """Clip the gradients of parameters by their common Euclidean norm.

    Args:
        parameters: a tensor or several; their `.grad` is replaced.
        max_norm: the norm they may have together.

    Returns:
        The norm before clipping, 0-d.
    """
    params, grads = _with_grad(parameters)
    if not params:
        return Tensor(0.0)
    with no_grad():
        total = sqrt(total_square(grads))
        # With the small number that Paddle and PyTorch add here, and not in a clip of an optimiser.
        factor = minimum(max_norm / (total + 1e-6), 1.0)
        _replace(params, grads, lambda: scale_all(grads, factor))
        return total


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Bring every element of the gradients of parameters into [-clip_value, clip_value]."""
    params, grads = _with_grad(parameters)
    with no_grad():
        _replace(params, grads, lambda: ClipGradByValue(clip_value)(grads))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters, one after the other, in one vector."""
    return concat([reshape(p, [-1]) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give parameters their parts of a vector that `parameters_to_vector` made.

    Raises:
        ShapeError: the vector has another number of elements than the parameters together.
    """
    listed: list[Any] = list(parameters)
    sizes = [p._read().size for p in listed]
    if vec._read().size != sum(sizes):
        raise ShapeError(
            f"a vector of {vec._read().size} elements was given for {sum(sizes)} in parameters"
        )
    with no_grad():
        start = 0
        for p, size in zip(listed, sizes, strict=True):
            p.set_value(reshape(vec[start : start + size], p.shape))
            start += size


__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "remove_weight_norm",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
