"""The optimisers: PyTorch's arguments, dyn's updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dyn import optimizer
from dyn.compat.torch.optim.base import TorchOptimizer
from dyn.core.op import Op
from dyn.core.tensor import Tensor
from dyn.ops.update import (
    adagrad_update,
    dampened_update,
    decaying_adagrad_update,
    momentum_update,
    sgd_update,
)
from dyn.optimizer.group import Group


def rest(whose: Any, names: str, given: dict[str, Any], **known: Any) -> dict[str, Any]:
    """Settings in the order in which PyTorch prints them.

    Args:
        whose: the optimiser.
        names: all of them.
        given: what was asked for by the names of ways to compute, which make no difference here.
        known: those that do.

    Raises:
        TypeError: PyTorch does not know a name either.
        ValueError: gradients of the step itself are asked for.
    """
    values = {"foreach": None, "fused": None, **given, **known}
    for name in given:
        if name not in names.split():
            raise TypeError(
                f"{type(whose).__name__}.__init__() got an unexpected keyword argument {name!r}"
            )
    if values.get("differentiable"):
        raise ValueError("differentiable=True is not available: a step is not on the tape")
    return {name: values.get(name, False) for name in names.split()}


class _Counting(TorchOptimizer):
    """An optimiser whose rule counts steps, but only where a setting asks for it."""

    def _must_count(self) -> bool:
        """Whether a group has a setting that depends on the number of steps."""
        raise NotImplementedError

    def _begun(self, group: Group) -> int:
        """How many steps count for parameters that were not counted so far."""
        return self._steps.get(group.parameters[0], 0)

    @property
    def _counters(self) -> dict[str, float]:  # type: ignore[override]
        return {"steps": 0.0} if self._must_count() else {}

    def _prepare(self, group: Group) -> Tensor:
        # Before a loaded state comes in, which knows better.
        if self._counters and not group.counters:
            group.start({}, {"steps": float(self._begun(group))})
        return super()._prepare(group)

    def _counted(self, settings: Mapping[str, Any], steps: int) -> dict[str, float]:
        return dict.fromkeys(self._counters, float(steps))


class SGD(_Counting, optimizer.Momentum):
    """Gradient descent, with momentum if wanted: see `dyn.optimizer.Momentum`.

    With dampening v <- momentum * v + (1 - dampening) * g, but for the first step.
    """

    _settings = {  # noqa: RUF012
        "momentum": "_momentum", "nesterov": "_nesterov", "dampening": "_dampening",
    }  # fmt: skip
    _dampening = 0.0
    _state_names = {"momentum_buffer": "velocity"}  # noqa: RUF012
    _counts = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        if nesterov and (momentum <= 0 or dampening):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov,
            **rest(self, "maximize foreach differentiable fused", unused, maximize=maximize),
        }  # fmt: skip
        self._start(params, defaults)

    @property
    def _slots(self) -> Mapping[str, float]:  # type: ignore[override]
        # Without momentum nothing is kept.
        kept = any(g["momentum"] for g in self.param_groups) or any(g.slots for g in self._groups)
        return {"velocity": 0.0} if kept else {}

    def _must_count(self) -> bool:
        return any(g["momentum"] and g["dampening"] for g in self.param_groups)

    def _begun(self, group: Group) -> int:
        # Without momentum before, the next gradient is the first one that a velocity sees.
        return int(bool(group.slots))

    @property
    def _op(self) -> Op:  # type: ignore[override]
        if not self._slots:
            return sgd_update
        return dampened_update if self._counters else momentum_update

    def _attributes(self) -> dict[str, Any]:
        if not self._slots:
            return {}
        if not self._counters:
            return super()._attributes()
        return {
            **super()._attributes(),
            # Without momentum PyTorch takes the gradient as it is.
            "dampening": float(self._dampening) if self._momentum else 0.0,
        }


class _Adam(TorchOptimizer):
    _settings = {"betas": ("_beta1", "_beta2"), "eps": "_epsilon"}  # noqa: RUF012
    _state_names = {  # noqa: RUF012
        "exp_avg": "moment1", "exp_avg_sq": "moment2", "max_exp_avg_sq": "moment2_max",
    }  # fmt: skip

    def _begin(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        unused: dict[str, Any],
        *,
        amsgrad: bool,
        maximize: bool,
        decoupled: bool,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            **rest(
                self, "maximize foreach capturable differentiable fused decoupled_weight_decay",
                unused, maximize=maximize, decoupled_weight_decay=decoupled,
            ),
        }  # fmt: skip
        self._start(params, defaults, beta1=betas[0], beta2=betas[1], epsilon=eps, amsgrad=amsgrad)


class Adam(_Adam, optimizer.Adam):
    """Adam: see `dyn.optimizer.Adam`."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **unused: Any,
    ):
        self._begin(
            params, lr, betas, eps, weight_decay, unused,
            amsgrad=amsgrad, maximize=maximize, decoupled=decoupled_weight_decay,
        )  # fmt: skip


class AdamW(_Adam, optimizer.AdamW):
    """Adam whose weight decay shrinks the parameters themselves: see `dyn.optimizer.AdamW`."""

    _decays_apart = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        self._begin(
            params, lr, betas, eps, weight_decay, unused,
            amsgrad=amsgrad, maximize=maximize, decoupled=True,
        )  # fmt: skip


class Adagrad(_Counting, optimizer.Adagrad):
    """Steps by the gradient over the root of the sum of its squares so far.

    With `lr_decay` the rate of step t is lr / (1 + (t - 1) * lr_decay).
    """

    _settings = {"eps": "_epsilon", "lr_decay": "_lr_decay"}  # noqa: RUF012
    _lr_decay = 0.0
    _state_names = {"sum": "moment"}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        for name, value in (
            ("lr_decay", lr_decay), ("initial_accumulator_value", initial_accumulator_value),
        ):  # fmt: skip
            if value < 0:
                raise ValueError(f"Invalid {name} value: {value}")
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            **rest(self, "foreach maximize differentiable fused", unused, maximize=maximize),
        }  # fmt: skip
        self._start(
            params, defaults, epsilon=eps, initial_accumulator_value=initial_accumulator_value
        )

    def _must_count(self) -> bool:
        return any(g["lr_decay"] for g in self.param_groups)

    @property
    def _op(self) -> Op:  # type: ignore[override]
        return decaying_adagrad_update if self._counters else adagrad_update

    def _attributes(self) -> dict[str, Any]:
        decay = {"lr_decay": float(self._lr_decay)} if self._counters else {}
        return {**super()._attributes(), **decay}


class Adadelta(TorchOptimizer, optimizer.Adadelta):
    """Steps whose length follows from those before: see `dyn.optimizer.Adadelta`."""

    _settings = {"rho": "_rho", "eps": "_epsilon"}  # noqa: RUF012
    _state_names = {  # noqa: RUF012
        "square_avg": "_avg_squared_grad", "acc_delta": "_avg_squared_update",
    }  # fmt: skip

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
            **rest(self, "maximize capturable foreach differentiable", unused, maximize=maximize),
        }  # fmt: skip
        self._start(params, defaults, rho=rho, epsilon=eps)
