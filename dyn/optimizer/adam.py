"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError
from dyn.ops.moments import adam_update, adamw_update
from dyn.optimizer.adaptive import check_beta
from dyn.optimizer.optimizer import Optimizer
from dyn.regularizer import L2Decay, WeightDecay


class Adam(Optimizer):
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

    _op = adam_update

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        lazy_mode: bool = False,
        multi_precision: bool = False,
        use_multi_tensor: bool = False,
        amsgrad: bool = False,
        name: str | None = None,
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

    def _attributes(self) -> dict[str, Any]:
        return {
            "beta1": self._beta1,
            "beta2": self._beta2,
            "epsilon": self._epsilon,
            "amsgrad": self._amsgrad,
        }


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves instead of joining the gradient.

    Args:
        learning_rate, beta1, beta2, epsilon, parameters, grad_clip, amsgrad: see `Adam`.
        weight_decay: p is multiplied by 1 - lr * weight_decay in each step.
        lr_ratio: function of a parameter, a factor on its learning rate.
        apply_decay_param_fun: function of a parameter's name, whether it decays.

    Source: Loshchilov & Hutter, arXiv 1711.05101.
    """

    _op = adamw_update

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
        lazy_mode: bool = False,
        multi_precision: bool = False,
        amsgrad: bool = False,
        name: str | None = None,
        *,
        use_multi_tensor: bool = False,
    ):
        if isinstance(weight_decay, WeightDecay) and not isinstance(weight_decay, L2Decay):
            raise DTypeError("AdamW decays the parameters themselves: weight_decay is a number")
        self._lr_ratio = lr_ratio
        self._decays = apply_decay_param_fun
        super().__init__(
            learning_rate, beta1, beta2, epsilon, parameters, weight_decay, grad_clip,
            amsgrad=amsgrad, name=name,
        )  # fmt: skip

    def _decay_of(self, parameter: Any, decay: WeightDecay | None) -> WeightDecay | None:
        return decay if self._decays is None or self._decays(parameter.name) else None

    def _rate_of(self, parameter: Any) -> float:
        return 1.0 if self._lr_ratio is None else float(self._lr_ratio(parameter))
