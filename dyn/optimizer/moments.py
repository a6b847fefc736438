"""Relatives of Adam: means of the gradient and of its square, powers of the betas."""

from __future__ import annotations

from typing import Any

from dyn.ops.moments import adamax_update, lamb_update, nadam_update, radam_update
from dyn.optimizer.adaptive import check_beta
from dyn.optimizer.group import Group
from dyn.optimizer.optimizer import Optimizer


class _Moments(Optimizer):
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

    def _attributes(self) -> dict[str, Any]:
        return {"beta1": self._beta1, "beta2": self._beta2, "epsilon": self._epsilon}


class Adamax(_Moments):
    """Adam with the largest recent gradient in the place of the root mean square.

    m <- beta1 * m + (1 - beta1) * g; u <- max(beta2 * u + epsilon, |g|);
    p <- p - lr / (1 - beta1**t) * m / u. Source: Kingma & Ba, arXiv 1412.6980, section 7.
    """

    _op = adamax_update
    _beside = False
    """Whether epsilon is added to the new gradient, as in PyTorch, instead of the old ones."""
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

    def _attributes(self) -> dict[str, Any]:
        return {**super()._attributes(), "beside": self._beside}


class Lamb(_Moments):
    """Adam whose step has, for each parameter, the length of the parameter.

    Args:
        lamb_weight_decay: decay that joins the step.
        exclude_from_weight_decay_fn: function of a parameter, whether it does not decay.

    Source: You et al., arXiv 1904.00962.
    """

    _op = lamb_update

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
        self._lamb_decay = float(lamb_weight_decay)
        self._excludes = exclude_from_weight_decay_fn
        super().__init__(learning_rate, beta1, beta2, epsilon, parameters, None, grad_clip, name)

    def _own_decay_of(self, parameter: Any) -> float:
        return 0.0 if self._excludes and self._excludes(parameter) else self._lamb_decay

    def _decayed(self, group: Group, grads: list[Any]) -> tuple[list[Any], float]:
        grads, decay = super()._decayed(group, grads)
        if decay:
            grads = [g + decay * p for g, p in zip(grads, group.parameters, strict=True)]
        return grads, group.own_decay


class NAdam(_Moments):
    """Adam with Nesterov's look ahead. Source: Dozat, ICLR workshop 2016.

    Args:
        momentum_decay: how fast the momentum of step t, beta1 * (1 - 0.5 * 0.96**(t * decay)),
            approaches beta1.
    """

    _op = nadam_update

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

    def _attributes(self) -> dict[str, Any]:
        return {**super()._attributes(), "momentum_decay": self._momentum_decay}


class RAdam(_Moments):
    """Adam that does without the root until its estimate can be trusted.

    Source: Liu et al., arXiv 1908.03265.
    """

    _op = radam_update

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
