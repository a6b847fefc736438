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
