"""Optimisers used less than those in `optimizers.py`: PyTorch's arguments, dyn's updates.

Where PyTorch's formula differs from the one that dyn has from Paddle, a flag of the op says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dyn import optimizer
from dyn.compat.torch.optim.base import TorchOptimizer
from dyn.compat.torch.optim.optimizers import rest
from dyn.core.tensor import Tensor
from dyn.optimizer.group import Group

_BETAS: Mapping[str, str | tuple[str, ...]] = {"betas": ("_beta1", "_beta2"), "eps": "_epsilon"}


class RMSprop(TorchOptimizer, optimizer.RMSProp):
    """Steps by the gradient over the root of its mean square; `eps` stands outside the root.

    s <- alpha * s + (1 - alpha) * g**2; b <- momentum * b + g / (sqrt(s) + eps); p <- p - lr * b.
    """

    _outside = True
    _settings = {"alpha": "_rho", "eps": "_epsilon", "momentum": "_momentum"}  # noqa: RUF012
    _state_names = {  # noqa: RUF012
        "square_avg": "mean_square", "momentum_buffer": "momentum", "grad_avg": "mean_grad",
    }  # fmt: skip

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay,
            **rest(self, "capturable foreach maximize differentiable", unused, maximize=maximize),
        }  # fmt: skip
        self._start(params, defaults, rho=alpha, epsilon=eps, momentum=momentum, centered=centered)
        if not any(group["momentum"] for group in self.param_groups):
            self._slots = {k: v for k, v in self._slots.items() if k != "momentum"}


class Adamax(TorchOptimizer, optimizer.Adamax):
    """Adam with the largest recent gradient; `eps` is added to the new gradient.

    m <- beta1 * m + (1 - beta1) * g; u <- max(beta2 * u, |g| + eps);
    p <- p - lr / (1 - beta1**t) * m / u.
    """

    _beside = True
    _settings = _BETAS
    _state_names = {"exp_avg": "moment", "exp_inf": "inf_norm"}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            **rest(self, "foreach maximize differentiable capturable", unused, maximize=maximize),
        }  # fmt: skip
        self._start(params, defaults, beta1=betas[0], beta2=betas[1], epsilon=eps)


class NAdam(TorchOptimizer, optimizer.NAdam):
    """Adam with Nesterov's look ahead: see `dyn.optimizer.NAdam`."""

    _settings = {**_BETAS, "momentum_decay": "_momentum_decay"}  # noqa: RUF012
    _state_names = {"exp_avg": "moment1", "exp_avg_sq": "moment2"}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            **rest(self, "maximize foreach capturable differentiable", unused, maximize=maximize),
        }  # fmt: skip
        self._start(
            params, defaults,
            beta1=betas[0], beta2=betas[1], epsilon=eps, momentum_decay=momentum_decay,
        )  # fmt: skip

    def _counted(self, settings: Mapping[str, Any], steps: int) -> dict[str, float]:
        beta1, beta2 = settings["betas"]
        now = fade = 0.96 ** settings["momentum_decay"]
        power, product = float(beta2), 1.0
        for _ in range(steps):
            product *= beta1 * (1.0 - 0.5 * now)
            now, power = now * fade, power * beta2
        return {"momentum_decay_pow": now, "beta2_pow_acc": power, "mu_product": product}


class RAdam(TorchOptimizer, optimizer.RAdam):
    """Adam that does without the root until it can be trusted: see `dyn.optimizer.RAdam`."""

    _settings = _BETAS
    _state_names = {"exp_avg": "moment1", "exp_avg_sq": "moment2"}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            **rest(
                self, "maximize foreach capturable decoupled_weight_decay differentiable", unused,
                maximize=maximize, decoupled_weight_decay=decoupled_weight_decay,
            ),
        }  # fmt: skip
        self._start(params, defaults, beta1=betas[0], beta2=betas[1], epsilon=eps)

    def _counted(self, settings: Mapping[str, Any], steps: int) -> dict[str, float]:
        return {**super()._counted(settings, steps), "step": 1.0 + steps}


class Rprop(TorchOptimizer, optimizer.Rprop):
    """Steps of a size per element, by the sign of the gradient: see `dyn.optimizer.Rprop`."""

    _settings = {"etas": "_etas", "step_sizes": "_range"}  # noqa: RUF012
    _state_names = {"prev": "prevs", "step_size": "learning_rates"}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes,
            **rest(self, "foreach maximize differentiable capturable", unused, maximize=maximize),
        }  # fmt: skip
        self._start(params, defaults, learning_rate_range=step_sizes, etas=etas)

    def _prepare(self, group: Group) -> Tensor:
        settings = self._owner[group.parameters[0]]
        self._slots = {"prevs": 0.0, "learning_rates": float(settings["lr"])}
        return super()._prepare(group)
