"""Optimisers whose updates are made of ordinary ops, parameter by parameter.

The ones trained with most (SGD, Momentum, Adam, AdamW) have an op of their own instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.ops.bounds import clip
from dyn.ops.compare import greater_than, less_than
from dyn.ops.index import where
from dyn.ops.unary import rsqrt, sign, sqrt, square
from dyn.optimizer.group import Group
from dyn.optimizer.optimizer import Optimizer

Values = dict[str, Tensor]


def check_beta(name: str, value: float) -> float:
    """A decay rate in [0, 1) as a float; AttributeValueError otherwise."""
    if not 0 <= value < 1:
        raise AttributeValueError(f"{name} must lie in [0, 1), got {value}")
    return float(value)


class ComposedOptimizer(Optimizer):
    """Base: a subclass writes `_rule` for one parameter."""

    def _scalars(self, counters: Values) -> tuple[Values, Values]:
        """What the rule needs besides tensors, in double, and the counters of the next step."""
        return {}, {}

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        """The new value of a parameter, and of its slots."""
        raise NotImplementedError

    def _update(
        self, group: Group, lr: Tensor, params: list[Any], grads: list[Any], decay: float
    ) -> Sequence[Tensor]:
        dtype = params[0].dtype
        scalars, counters = self._scalars(dict(group.counters))
        scalars = {name: value.astype(dtype) for name, value in scalars.items()}
        lr = lr.astype(dtype)
        fresh: list[Tensor] = []
        slots: dict[str, list[Tensor]] = {name: [] for name in group.slots}
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            if decay:
                g = g + decay * p
            own: Values = {name: buffers[i] for name, buffers in group.slots.items()}
            value, after = self._rule(p, g, lr, own, scalars)
            fresh.append(value)
            for name, slot in after.items():
                slots[name].append(slot)
        for found in slots.values():
            fresh.extend(found)
        return [*fresh, *(counters[name] for name in group.counters)]


class Adagrad(ComposedOptimizer):
    """s <- s + g**2; p <- p - lr * g / (sqrt(s) + epsilon). Source: Duchi et al., JMLR 2011."""

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

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        moment = slots["moment"] + square(g)
        return p - lr * (g / (sqrt(moment) + self._epsilon)), {"moment": moment}


class Adadelta(ComposedOptimizer):
    """Steps whose units are those of the parameter.

    a <- rho * a + (1 - rho) * g**2; d = g * sqrt((u + epsilon) / (a + epsilon));
    u <- rho * u + (1 - rho) * d**2; p <- p - lr * d. Source: Zeiler, arXiv 1212.5701.
    """

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

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        rho, epsilon = self._rho, self._epsilon
        squared = rho * slots["_avg_squared_grad"] + (1 - rho) * square(g)
        step = g * sqrt((slots["_avg_squared_update"] + epsilon) / (squared + epsilon))
        update = rho * slots["_avg_squared_update"] + (1 - rho) * square(step)
        return p - lr * step, {"_avg_squared_grad": squared, "_avg_squared_update": update}


class RMSProp(ComposedOptimizer):
    """Steps by the gradient over the root of its mean square.

    s <- rho * s + (1 - rho) * g**2; v <- momentum * v + lr * g / sqrt(s + epsilon); p <- p - v.
    With `centered` the square of the mean gradient is taken off s first.
    Source: Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012.
    """

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
        self._momentum, self._centered = float(momentum), centered
        self._slots = {"momentum": 0.0, "mean_square": 0.0}
        if centered:
            self._slots["mean_grad"] = 0.0

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        rho = self._rho
        after = {}
        spread = after["mean_square"] = rho * slots["mean_square"] + (1 - rho) * square(g)
        if self._centered:
            after["mean_grad"] = rho * slots["mean_grad"] + (1 - rho) * g
            spread = spread - square(after["mean_grad"])
        step = lr * (g * rsqrt(spread + self._epsilon))
        after["momentum"] = self._momentum * slots["momentum"] + step
        return p - after["momentum"], {name: after[name] for name in slots}


class Rprop(ComposedOptimizer):
    """Steps of a size per element, by the sign of the gradient: for whole batches only.

    Args:
        learning_rate: the size at the start.
        learning_rate_range: smallest and largest size.
        etas: factors on the size when the sign changes and when it stays.

    Source: Riedmiller & Braun, ICNN 1993.
    """

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

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        agreement = g * slots["prevs"]
        turned = less_than(agreement, 0.0)
        grown = where(greater_than(agreement, 0.0), self._etas[1], 1.0)
        factor = where(turned, self._etas[0], grown)
        sizes = clip(slots["learning_rates"] * factor, self._range[0], self._range[1])
        followed = where(turned, 0.0, g)
        return p - sign(followed) * sizes, {"prevs": followed, "learning_rates": sizes}
