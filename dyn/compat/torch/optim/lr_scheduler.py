"""Schedulers over `param_groups`: dyn's schedules under PyTorch's names, one for each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dyn.optimizer import lr as schedules


class LRScheduler:
    """Sets the rate of every group from a schedule of dyn's.

    Args:
        optimizer: whose groups are changed.
        make: a schedule by rate to start from.
    """

    def __init__(self, optimizer: Any, make: Callable[[float], Any]):
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._schedules = [make(rate) for rate in self.base_lrs]
        self._set()

    def _set(self) -> None:
        for group, schedule in zip(self.optimizer.param_groups, self._schedules, strict=True):
            group["lr"] = schedule()

    @property
    def last_epoch(self) -> int:
        """How often `step` was called."""
        return self._schedules[0].last_epoch

    def step(self, *args: Any) -> None:
        """Go on to the next epoch."""
        for schedule in self._schedules:
            schedule.step(*args)
        self._set()

    def get_last_lr(self) -> list[float]:
        """The rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What changes with time, of every group."""
        return {
            "base_lrs": list(self.base_lrs),
            "last_epoch": self.last_epoch,
            "schedules": [schedule.state_dict() for schedule in self._schedules],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.base_lrs = list(state_dict["base_lrs"])
        for schedule, saved in zip(self._schedules, state_dict["schedules"], strict=True):
            schedule.set_state_dict(saved)
        self._set()


class StepLR(LRScheduler):
    """The rate times `gamma` every `step_size` epochs."""

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1):
        super().__init__(optimizer, lambda lr: schedules.StepDecay(lr, step_size, gamma))


class MultiStepLR(LRScheduler):
    """The rate times `gamma` at each of the milestones."""

    def __init__(self, optimizer: Any, milestones: Any, gamma: float = 0.1):
        super().__init__(
            optimizer, lambda lr: schedules.MultiStepDecay(lr, list(milestones), gamma)
        )


class ExponentialLR(LRScheduler):
    """The rate times `gamma` every epoch."""

    def __init__(self, optimizer: Any, gamma: float):
        super().__init__(optimizer, lambda lr: schedules.ExponentialDecay(lr, gamma))


class CosineAnnealingLR(LRScheduler):
    """The rate along a cosine from where it starts to `eta_min` in `T_max` epochs."""

    def __init__(self, optimizer: Any, T_max: int, eta_min: float = 0.0):
        super().__init__(optimizer, lambda lr: schedules.CosineAnnealingDecay(lr, T_max, eta_min))


class LambdaLR(LRScheduler):
    """The rate to start from times a function of the epoch."""

    def __init__(self, optimizer: Any, lr_lambda: Callable[[int], float]):
        super().__init__(optimizer, lambda lr: schedules.LambdaDecay(lr, lr_lambda))


class PolynomialLR(LRScheduler):
    """The rate down to 0 within `total_iters` epochs, along a power of the epochs left."""

    def __init__(self, optimizer: Any, total_iters: int = 5, power: float = 1.0):
        super().__init__(
            optimizer, lambda lr: schedules.PolynomialDecay(lr, total_iters, 0.0, power)
        )


class ConstantLR(LRScheduler):
    """The rate times `factor` for `total_iters` epochs, then as it is."""

    def __init__(self, optimizer: Any, factor: float = 1.0 / 3, total_iters: int = 5):
        super().__init__(
            optimizer,
            lambda lr: schedules.LambdaDecay(lr, lambda t: factor if t < total_iters else 1.0),
        )


class CosineAnnealingWarmRestarts(LRScheduler):
    """The rate along a cosine down to `eta_min`, again and again, each time `T_mult` as long."""

    def __init__(self, optimizer: Any, T_0: int, T_mult: int = 1, eta_min: float = 0.0):
        super().__init__(
            optimizer, lambda lr: schedules.CosineAnnealingWarmRestarts(lr, T_0, T_mult, eta_min)
        )


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down to almost nothing, once; the momentum goes the other way.

    Args:
        optimizer: whose groups are changed: "lr", and "momentum" or the first of "betas".
        max_lr: the peak, or one for each group.
        total_steps: steps of the cycle; or `epochs` and `steps_per_epoch`.
        pct_start: share of the steps that go up.
        cycle_momentum: whether the momentum moves from `max_momentum` to `base_momentum` and back.
        div_factor: the start is max_lr / div_factor.
        final_div_factor: the end is the start / final_div_factor.
        three_phase: come down to the start first, as slowly as it went up.
    """

    def __init__(
        self,
        optimizer: Any,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "You must define either total_steps OR (epochs AND steps_per_epoch)"
                )
            total_steps = epochs * steps_per_epoch
        word = "linear" if anneal_strategy == "linear" else "cos"

        def cycle(top: float, start: float, end: float) -> Any:
            return schedules.OneCycleLR(
                top, total_steps, top / start, end, pct_start, word, three_phase
            )

        peaks = max_lr if isinstance(max_lr, (list, tuple)) else [max_lr] * 2**16
        for group, peak in zip(optimizer.param_groups, peaks, strict=False):
            group["initial_lr"], group["max_lr"] = peak / div_factor, peak
        self._momentum = None
        if cycle_momentum:
            self._momentum = cycle(base_momentum, max_momentum, max_momentum)
        super().__init__(optimizer, lambda lr: cycle(lr * div_factor, lr, lr / final_div_factor))

    def _set(self) -> None:
        super()._set()
        if self._momentum is None:
            return
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (self._momentum(), group["betas"][1])
            else:
                group["momentum"] = self._momentum()

    def step(self, *args: Any) -> None:
        if self._momentum is not None:
            self._momentum.step()
        super().step(*args)


class LinearLR(LRScheduler):
    """The rate times a factor that changes linearly within `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ):
        super().__init__(
            optimizer, lambda lr: schedules.LinearLR(lr, total_iters, start_factor, end_factor)
        )


class ReduceLROnPlateau(LRScheduler):
    """The rate times `factor` when a metric has not improved for `patience` epochs."""

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(
            optimizer,
            lambda lr: schedules.ReduceOnPlateau(
                lr, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr
            ),
        )
