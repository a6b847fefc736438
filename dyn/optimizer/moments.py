"""Relatives of Adam, made of ordinary ops: moments of the gradient, powers of the betas."""

from __future__ import annotations

from typing import Any

from dyn.core.tensor import Tensor
from dyn.ops.compare import greater_than
from dyn.ops.elementwise import maximum
from dyn.ops.index import where
from dyn.ops.unary import abs, sqrt, square
from dyn.optimizer.composed import ComposedOptimizer, Values, check_beta


class _Moments(ComposedOptimizer):
    """What the relatives of Adam share."""

    _slots = {"moment1": 0.0, "moment2": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any,
        beta1: float,
        beta2: float,
        epsilon: float,
        parameters: Any,
        weight_decay: Any,
        grad_clip: Any,
        name: str | None,
    ):
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)
        self._beta1, self._beta2 = check_beta("beta1", beta1), check_beta("beta2", beta2)
        self._epsilon = float(epsilon)

    @property
    def _counters(self) -> dict[str, float]:
        return {"beta1_pow_acc": self._beta1, "beta2_pow_acc": self._beta2}

    def _next(self, counters: Values) -> Values:
        return {
            "beta1_pow_acc": counters["beta1_pow_acc"] * self._beta1,
            "beta2_pow_acc": counters["beta2_pow_acc"] * self._beta2,
        }

    def _moments(self, g: Tensor, slots: Values) -> Values:
        beta1, beta2 = self._beta1, self._beta2
        return {
            "moment1": beta1 * slots["moment1"] + (1 - beta1) * g,
            "moment2": beta2 * slots["moment2"] + (1 - beta2) * square(g),
        }


class Adamax(_Moments):
    """Adam with the largest recent gradient in the place of the root mean square.

    m <- beta1 * m + (1 - beta1) * g; u <- max(beta2 * u + epsilon, |g|);
    p <- p - lr / (1 - beta1**t) * m / u. Source: Kingma & Ba, arXiv 1412.6980, section 7.
    """

    _slots = {"moment": 0.0, "inf_norm": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
    ):
        super().__init__(
            learning_rate, beta1, beta2, epsilon, parameters, weight_decay, grad_clip, name
        )

    @property
    def _counters(self) -> dict[str, float]:
        return {"beta1_pow_acc": self._beta1}

    def _scalars(self, counters: Values) -> tuple[Values, Values]:
        power = counters["beta1_pow_acc"]
        return {"factor": 1.0 / (1.0 - power)}, {"beta1_pow_acc": power * self._beta1}

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        moment = self._beta1 * slots["moment"] + (1 - self._beta1) * g
        largest = maximum(self._beta2 * slots["inf_norm"] + self._epsilon, abs(g))
        step = lr * scalars["factor"] * (moment / largest)
        return p - step, {"moment": moment, "inf_norm": largest}


class Lamb(_Moments):
    """Adam whose step has, for each parameter, the length of the parameter.

    Args:
        lamb_weight_decay: decay that joins the step.
        exclude_from_weight_decay_fn: function of a parameter, whether it does not decay.

    Source: You et al., arXiv 1904.00962.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        lamb_weight_decay: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        parameters: Any = None,
        grad_clip: Any = None,
        exclude_from_weight_decay_fn: Any = None,
        name: str | None = None,
        *,
        multi_precision: bool = False,
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon, parameters, None, grad_clip, name)
        self._lamb_decay = float(lamb_weight_decay)
        self._excludes = exclude_from_weight_decay_fn

    def _scalars(self, counters: Values) -> tuple[Values, Values]:
        first = 1.0 / (1.0 - counters["beta1_pow_acc"])
        second = 1.0 / (1.0 - counters["beta2_pow_acc"])
        return {"first": first, "second": second}, self._next(counters)

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        after = self._moments(g, slots)
        root = sqrt(after["moment2"] * scalars["second"]) + self._epsilon
        step = after["moment1"] * scalars["first"] / root
        if self._lamb_decay and not (self._excludes and self._excludes(p)):
            step = step + self._lamb_decay * p
        long, short = sqrt(square(p).sum()), sqrt(square(step).sum())
        known = greater_than(long * short, 0.0)
        ratio = where(known, long / where(known, short, 1.0), 1.0)
        return p - lr * ratio * step, after


class NAdam(_Moments):
    """Adam with Nesterov's look ahead. Source: Dozat, ICLR workshop 2016.

    Args:
        momentum_decay: how fast the momentum of step t, beta1 * (1 - 0.5 * 0.96**(t * decay)),
            approaches beta1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.002,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 0.004,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
    ):
        super().__init__(
            learning_rate, beta1, beta2, epsilon, parameters, weight_decay, grad_clip, name
        )
        self._momentum_decay = float(momentum_decay)

    @property
    def _counters(self) -> dict[str, float]:
        return {
            "momentum_decay_pow": 0.96**self._momentum_decay,
            "beta2_pow_acc": self._beta2,
            "mu_product": 1.0,
        }

    def _scalars(self, counters: Values) -> tuple[Values, Values]:
        fade = 0.96**self._momentum_decay
        now = counters["momentum_decay_pow"]
        later = now * fade
        mu, mu_next = self._beta1 * (1.0 - 0.5 * now), self._beta1 * (1.0 - 0.5 * later)
        product = counters["mu_product"] * mu
        scalars = {
            "of_gradient": (1.0 - mu) / (1.0 - product),
            "of_moment": mu_next / (1.0 - product * mu_next),
            "second": 1.0 / (1.0 - counters["beta2_pow_acc"]),
        }
        return scalars, {
            "momentum_decay_pow": later,
            "beta2_pow_acc": counters["beta2_pow_acc"] * self._beta2,
            "mu_product": product,
        }

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        after = self._moments(g, slots)
        root = sqrt(after["moment2"] * scalars["second"]) + self._epsilon
        ahead = scalars["of_gradient"] * g + scalars["of_moment"] * after["moment1"]
        return p - lr * (ahead / root), after


class RAdam(_Moments):
    """Adam that does without the root until its estimate can be trusted.

    Source: Liu et al., arXiv 1908.03265.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
    ):
        super().__init__(
            learning_rate, beta1, beta2, epsilon, parameters, weight_decay, grad_clip, name
        )

    @property
    def _counters(self) -> dict[str, float]:
        return {"beta1_pow_acc": self._beta1, "beta2_pow_acc": self._beta2, "step": 1.0}

    def _scalars(self, counters: Values) -> tuple[Values, Values]:
        step, power = counters["step"], counters["beta2_pow_acc"]
        limit = 2.0 / (1.0 - self._beta2) - 1.0
        length = limit - 2.0 * step * power / (1.0 - power)
        trusted = greater_than(length, 5.0)
        held = where(trusted, length, 6.0)
        grown = (held - 4.0) * (held - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * held)
        scalars = {
            "first": 1.0 / (1.0 - counters["beta1_pow_acc"]),
            "trusted": trusted,
            "rectified": sqrt(grown * (1.0 - power)),
        }
        return scalars, {**self._next(counters), "step": step + 1.0}

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        after = self._moments(g, slots)
        scaled = scalars["rectified"] / (sqrt(after["moment2"]) + self._epsilon)
        factor = where(greater_than(scalars["trusted"], 0.0), scaled, 1.0)
        return p - lr * (after["moment1"] * scalars["first"] * factor), after
