"""Gradient clipping, given to an optimiser as `grad_clip`. By hand it is done in `utils.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.core.lift import cast_to
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops.groups import by_dtype, clip_each, scale_each, square_sums


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
        return _by_dtype(lambda own: clip_each(*own, low=self.min, high=self.max), grads)


class ClipGradByNorm(ClipGrad):
    """Scale each gradient whose Euclidean norm is above `clip_norm` down to it."""

    def __init__(self, clip_norm: float):
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        def shrunk(own: Sequence[Tensor]) -> Any:
            return scale_each(_shrink(square_sums(*own), self.clip_norm), *own)

        return _by_dtype(shrunk, grads)


class ClipGradByGlobalNorm(ClipGrad):
    """Scale all gradients together if the norm of all of them is above `clip_norm`.

    Source: Pascanu et al., arXiv 1211.5063.
    """

    def __init__(self, clip_norm: float, group_name: str = "default_group"):
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        if not grads:
            return []
        return scale_all(grads, _shrink(total_square(grads), self.clip_norm))


def _positive(norm: float) -> float:
    if not norm > 0:
        raise AttributeValueError(f"clip_norm must be positive, got {norm}")
    return float(norm)


def _by_dtype(apply: Callable[[Sequence[Tensor]], Any], grads: Sequence[Tensor]) -> list[Any]:
    """What `apply` makes of the gradients of each dtype, put back in order."""
    kinds = by_dtype(grads)
    if len(kinds) == 1:
        return list(apply(grads))
    out: list[Any] = list(grads)
    for places in kinds:
        for i, g in zip(places, apply([grads[i] for i in places]), strict=True):
            out[i] = g
    return out


def scale_all(grads: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
    """All gradients times one number, a 0-d tensor."""

    def scaled(own: Sequence[Tensor]) -> Any:
        return scale_each(cast_to(factor, own[0]._read().dtype), *own)

    return _by_dtype(scaled, grads)


def total_square(grads: Sequence[Tensor]) -> Tensor:
    """Sum of the squares of all elements of all gradients, 0-d."""
    parts = [square_sums(*[grads[i] for i in places]).sum() for places in by_dtype(grads)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _shrink(square_sum: Tensor, norm: float) -> Tensor:
    """norm / max(actual norm, norm): 1 while the gradient is short enough."""
    return norm / OPS["maximum"](OPS["sqrt"](square_sum), norm)
