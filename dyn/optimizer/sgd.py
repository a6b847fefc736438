"""Gradient descent, without and with momentum."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.ops.update import momentum_update, sgd_update
from dyn.optimizer.group import Group
from dyn.optimizer.optimizer import Optimizer


class SGD(Optimizer):
    """p <- p - lr * g. See `Optimizer` for the arguments; multi_precision has no effect."""

    _op = sgd_update

    def __init__(
        self,
        learning_rate: Any = 0.001,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        multi_precision: bool = False,
        name: str | None = None,
    ):
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)

    def _keeps_still(self, group: Group) -> bool:
        return group.decay is None


class Momentum(Optimizer):
    """v <- momentum * v + g; p <- p - lr * v, or with Nesterov p - lr * (g + momentum * v).

    Args:
        learning_rate, parameters, weight_decay, grad_clip: see `Optimizer`.
        multi_precision, use_multi_tensor: accepted without effect.
        momentum: share of the old velocity that stays.
        use_nesterov: look ahead along the velocity.

    Source: Sutskever et al., ICML 2013.
    """

    _op = momentum_update
    _slots = {"velocity": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any = 0.001,
        momentum: float = 0.9,
        parameters: Any = None,
        use_nesterov: bool = False,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
        *,
        multi_precision: bool = False,
        use_multi_tensor: bool = False,
    ):
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)
        if momentum < 0:
            raise AttributeValueError(f"momentum must not be negative, got {momentum}")
        self._momentum = float(momentum)
        self._nesterov = bool(use_nesterov)

    def _attributes(self) -> dict[str, Any]:
        return {"momentum": self._momentum, "nesterov": self._nesterov}
