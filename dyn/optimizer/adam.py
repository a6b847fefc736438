"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError
from dyn.core.tensor import Tensor
from dyn.ops.elementwise import maximum
from dyn.ops.unary import rsqrt, sqrt, square
from dyn.ops.update import adam_update, adamw_update
from dyn.optimizer.composed import ComposedOptimizer, Values, check_beta
from dyn.optimizer.group import Group
from dyn.regularizer import L2Decay, WeightDecay


class Adam(ComposedOptimizer):
    """Steps by the mean gradient over the root of the mean squared gradient, bias-corrected.

    Args:
        learning_rate, parameters, weight_decay, grad_clip: see `Optimizer`.
        lazy_mode, multi_precision, use_multi_tensor: accepted without effect.
        beta1, beta2: decay rates of the two means.
        epsilon: added to the root.
        amsgrad: divide by the root of the largest mean so far instead of the last one
            (Reddi et al., arXiv 1904.09237).

    Source: Kingma & Ba, arXiv 1412.6980.
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
        amsgrad: bool = False,
        *,
        lazy_mode: bool = False,
        multi_precision: bool = False,
        use_multi_tensor: bool = False,
    ):
        self._amsgrad = bool(amsgrad)
        self._beta1 = check_beta("beta1", beta1)
        self._beta2 = check_beta("beta2", beta2)
        if epsilon < 0:
            raise AttributeValueError(f"epsilon must not be negative, got {epsilon}")
        self._epsilon = float(epsilon)
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)

    @property
    def _slots(self) -> Mapping[str, float]:  # type: ignore[override]
        moments = {"moment1": 0.0, "moment2": 0.0}
        return {**moments, "moment2_max": 0.0} if self._amsgrad else moments

    @property
    def _counters(self) -> dict[str, float]:
        return {"beta1_pow_acc": self._beta1, "beta2_pow_acc": self._beta2}

    _step_op = adam_update

    def _update(
        self, group: Group, lr: Tensor, params: list[Any], grads: list[Any], decay: float
    ) -> Sequence[Tensor]:
        if self._amsgrad:
            return super()._update(group, lr, params, grads, decay)
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

    def _scalars(self, counters: Values) -> tuple[Values, Values]:
        power1, power2 = counters["beta1_pow_acc"], counters["beta2_pow_acc"]
        scalars = {"first": 1.0 / (1.0 - power1), "second": rsqrt(1.0 - power2)}
        return scalars, {
            "beta1_pow_acc": power1 * self._beta1,
            "beta2_pow_acc": power2 * self._beta2,
        }

    def _rule(
        self, p: Tensor, g: Tensor, lr: Tensor, slots: Values, scalars: Values
    ) -> tuple[Tensor, Values]:
        # With amsgrad; the op does without.
        moment1 = self._beta1 * slots["moment1"] + (1 - self._beta1) * g
        moment2 = self._beta2 * slots["moment2"] + (1 - self._beta2) * square(g)
        largest = maximum(slots["moment2_max"], moment2)
        root = sqrt(largest) * scalars["second"] + self._epsilon
        step = lr * scalars["first"] * (moment1 / root)
        return p - step, {"moment1": moment1, "moment2": moment2, "moment2_max": largest}


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves instead of joining the gradient.

    Args:
        learning_rate, beta1, beta2, epsilon, parameters, grad_clip, amsgrad: see `Adam`.
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
        amsgrad: bool = False,
        *,
        lazy_mode: bool = False,
        multi_precision: bool = False,
        use_multi_tensor: bool = False,
    ):
        if isinstance(weight_decay, WeightDecay) and not isinstance(weight_decay, L2Decay):
            raise DTypeError("AdamW decays the parameters themselves: weight_decay is a number")
        self._lr_ratio = lr_ratio
        self._decays = apply_decay_param_fun
        super().__init__(
            learning_rate, beta1, beta2, epsilon, parameters, weight_decay, grad_clip, name, amsgrad
        )

    def _update(
        self, group: Group, lr: Tensor, params: list[Any], grads: list[Any], decay: float
    ) -> Sequence[Tensor]:
        if self._amsgrad and decay:
            shrunk = 1.0 - lr.astype(params[0].dtype) * decay
            params, decay = [p * shrunk for p in params], 0.0
        return super()._update(group, lr, params, grads, decay)

    def _decay_of(self, parameter: Any, decay: WeightDecay | None) -> WeightDecay | None:
        return decay if self._decays is None or self._decays(parameter.name) else None

    def _rate_of(self, parameter: Any) -> float:
        return 1.0 if self._lr_ratio is None else float(self._lr_ratio(parameter))
