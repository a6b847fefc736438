"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError
from dyn.core.tensor import Tensor
from dyn.ops.update import adam_update, adamw_update
from dyn.optimizer.group import Group
from dyn.optimizer.optimizer import Optimizer
from dyn.regularizer import L2Decay, WeightDecay


def check_beta(name: str, value: float) -> float:
    """A decay rate in [0, 1) as a float; AttributeValueError otherwise."""
    if not 0 <= value < 1:
        raise AttributeValueError(f"{name} must lie in [0, 1), got {value}")
    return float(value)


class Adam(Optimizer):
    """Steps by the mean gradient over the root of the mean squared gradient, bias-corrected.

    Args:
        learning_rate, parameters, weight_decay, grad_clip: see `Optimizer`.
        beta1, beta2: decay rates of the two means.
        epsilon: added to the root.

    Source: Kingma & Ba, arXiv 1412.6980.
    """

    _slots = {"moment1": 0.0, "moment2": 0.0}  # noqa: RUF012

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
        self._beta1 = check_beta("beta1", beta1)
        self._beta2 = check_beta("beta2", beta2)
        if epsilon < 0:
            raise AttributeValueError(f"epsilon must not be negative, got {epsilon}")
        self._epsilon = float(epsilon)
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)

    @property
    def _counters(self) -> dict[str, float]:
        return {"beta1_pow_acc": self._beta1, "beta2_pow_acc": self._beta2}

    _step_op = adam_update

    def _update(
        self, group: Group, lr: Tensor, params: list[Any], grads: list[Any], decay: float
    ) -> Sequence[Tensor]:
        slots, counters = group.slots, group.counters
        return self._step_op(
            lr,
            counters["beta1_pow_acc"],
            counters["beta2_pow_acc"],
            *params,
            *grads,
            *slots["moment1"],
            *slots["moment2"],
            beta1=self._beta1,
            beta2=self._beta2,
            epsilon=self._epsilon,
            weight_decay=decay,
        )


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves instead of joining the gradient.

    Args:
        learning_rate, beta1, beta2, epsilon, parameters, grad_clip: see `Adam`.
        weight_decay: p is multiplied by 1 - lr * weight_decay in each step.
        lr_ratio: function of a parameter, a factor on its learning rate.
        apply_decay_param_fun: function of a parameter's name, whether it decays.

    Source: Loshchilov & Hutter, arXiv 1711.05101.
    """

    _step_op = adamw_update

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        parameters: Any = None,
        weight_decay: Any = 0.01,
        lr_ratio: Callable[[Any], float] | None = None,
        apply_decay_param_fun: Callable[[str], bool] | None = None,
        grad_clip: Any = None,
        name: str | None = None,
    ):
        if isinstance(weight_decay, WeightDecay) and not isinstance(weight_decay, L2Decay):
            raise DTypeError("AdamW decays the parameters themselves: weight_decay is a number")
        self._lr_ratio = lr_ratio
        self._decays = apply_decay_param_fun
        super().__init__(
            learning_rate, beta1, beta2, epsilon, parameters, weight_decay, grad_clip, name
        )

    def _decay_of(self, parameter: Any, decay: WeightDecay | None) -> WeightDecay | None:
        return decay if self._decays is None or self._decays(parameter.name) else None

    def _rate_of(self, parameter: Any) -> float:
        return 1.0 if self._lr_ratio is None else float(self._lr_ratio(parameter))
