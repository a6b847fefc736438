"""Gradient clipping, given to an optimiser as `grad_clip`. By hand it is done in `utils.py`."""

from __future__ import annotations

from collections.abc import Sequence

from dyn.core.errors import AttributeValueError
from dyn.core.op import OPS
from dyn.core.tensor import Tensor


class ClipGrad:
    """Base class: called with the gradients of a step, returns the clipped ones."""

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class ClipGradByValue(ClipGrad):
    """Bring every element into [min, max]; `min` is `-max` by default."""

    def __init__(self, max: float, min: float | None = None):
        self.max = float(max)
        self.min = -self.max if min is None else float(min)
        if self.min > self.max:
            raise AttributeValueError(f"min={self.min} is above max={self.max}")

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        return [OPS["minimum"](OPS["maximum"](g, self.min), self.max) for g in grads]


class ClipGradByNorm(ClipGrad):
    """Scale each gradient whose Euclidean norm is above `clip_norm` down to it."""

    def __init__(self, clip_norm: float):
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        return [g * _shrink(_square_sum(g), self.clip_norm) for g in grads]


class ClipGradByGlobalNorm(ClipGrad):
    """Scale all gradients together if the norm of all of them is above `clip_norm`.

    Source: Pascanu et al., arXiv 1211.5063.
    """

    def __init__(self, clip_norm: float, group_name: str = "default_group"):
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        if not grads:
            return []
        factor = _shrink(total_square(grads), self.clip_norm)
        return [g * (factor if g.dtype == factor.dtype else factor.astype(g.dtype)) for g in grads]


def _positive(norm: float) -> float:
    if not norm > 0:
        raise AttributeValueError(f"clip_norm must be positive, got {norm}")
    return float(norm)


def _square_sum(g: Tensor) -> Tensor:
    return (g * g).sum()


def total_square(grads: Sequence[Tensor]) -> Tensor:
    """Sum of the squares of all elements of all gradients, 0-d."""
    total = _square_sum(grads[0])
    for g in grads[1:]:
        total = total + _square_sum(g)
    return total


def _shrink(square_sum: Tensor, norm: float) -> Tensor:
    """norm / max(actual norm, norm): 1 while the gradient is short enough."""
    return norm / OPS["maximum"](OPS["sqrt"](square_sum), norm)
