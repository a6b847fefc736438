"""Optimisers whose steps adapt to each element by the gradients it has had: Adagrad and others."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.ops.update import adadelta_update, adagrad_update, rmsprop_update, rprop_update
from dyn.optimizer.optimizer import Optimizer


def check_beta(name: str, value: float) -> float:
    """A decay rate in [0, 1) as a float; AttributeValueError otherwise."""
    if not 0 <= value < 1:
        raise AttributeValueError(f"{name} must lie in [0, 1), got {value}")
    return float(value)


class Adagrad(Optimizer):
    """s <- s + g**2; p <- p - lr * g / (sqrt(s) + epsilon). Source: Duchi et al., JMLR 2011."""

    _op = adagrad_update

    def __init__(
        self,
        learning_rate: Any,
        epsilon: float = 1e-6,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
        initial_accumulator_value: float = 0.0,
    ):
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)
        self._epsilon = float(epsilon)
        self._slots = {"moment": float(initial_accumulator_value)}

    def _attributes(self) -> dict[str, Any]:
        return {"epsilon": self._epsilon}


class Adadelta(Optimizer):
    """Steps whose units are those of the parameter.

    a <- rho * a + (1 - rho) * g**2; d = g * sqrt((u + epsilon) / (a + epsilon));
    u <- rho * u + (1 - rho) * d**2; p <- p - lr * d. Source: Zeiler, arXiv 1212.5701.
    """

    _op = adadelta_update
    _slots = {"_avg_squared_grad": 0.0, "_avg_squared_update": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any = 0.001,
        epsilon: float = 1e-6,
        rho: float = 0.95,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
    ):
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)
        self._epsilon, self._rho = float(epsilon), check_beta("rho", rho)

    def _attributes(self) -> dict[str, Any]:
        return {"rho": self._rho, "epsilon": self._epsilon}


class RMSProp(Optimizer):
    """Steps by the gradient over the root of its mean square.

    s <- rho * s + (1 - rho) * g**2; v <- momentum * v + lr * g / sqrt(s + epsilon); p <- p - v.
    With `centered` the square of the mean gradient is taken off s first.
    Source: Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012.
    """

    _op = rmsprop_update
    _outside = False
    """Whether epsilon and the learning rate stand outside of root and velocity, as in PyTorch."""

    def __init__(
        self,
        learning_rate: Any,
        rho: float = 0.95,
        epsilon: float = 1e-6,
        momentum: float = 0.0,
        centered: bool = False,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
    ):
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)
        self._rho, self._epsilon = check_beta("rho", rho), float(epsilon)
        self._momentum, self._centered = float(momentum), bool(centered)
        self._slots = {"momentum": 0.0, "mean_square": 0.0}
        if centered:
            self._slots["mean_grad"] = 0.0

    def _attributes(self) -> dict[str, Any]:
        return {
            "rho": self._rho,
            "epsilon": self._epsilon,
            "momentum": self._momentum,
            "heavy": "momentum" in self._slots,
            "centered": self._centered,
            "outside": self._outside,
        }


class Rprop(Optimizer):
    """Steps of a size per element, by the sign of the gradient: for whole batches only.

    Args:
        learning_rate: the size at the start.
        learning_rate_range: smallest and largest size.
        etas: factors on the size when the sign changes and when it stays.

    Source: Riedmiller & Braun, ICNN 1993.
    """

    _op = rprop_update

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_range: tuple[float, float] = (1e-5, 50.0),
        parameters: Any = None,
        etas: tuple[float, float] = (0.5, 1.2),
        grad_clip: Any = None,
        name: str | None = None,
    ):
        super().__init__(learning_rate, parameters, None, grad_clip, name)
        if not 0 < etas[0] < 1 < etas[1]:
            raise AttributeValueError(f"etas must lie on the two sides of 1, got {etas}")
        self._range, self._etas = learning_rate_range, etas
        self._slots = {"prevs": 0.0, "learning_rates": self.get_lr()}

    def _attributes(self) -> dict[str, Any]:
        (less, more), (least, most) = self._etas, self._range
        return {"less": less, "more": more, "least": least, "most": most}
