"""Schedules that lean on something else: on a measured value, or on another schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError
from dyn.optimizer.lr.scheduler import LRScheduler


class LinearWarmup(LRScheduler):
    """Evenly from start_lr to end_lr in warmup_steps epochs, then `learning_rate`.

    Args:
        learning_rate: what follows: a number or a schedule, which counts from the end of warm-up.
        warmup_steps: epochs of warm-up.
        start_lr, end_lr: rates at its start and end.
    """

    def __init__(
        self,
        learning_rate: float | LRScheduler,
        warmup_steps: int,
        start_lr: float,
        end_lr: float,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if warmup_steps < 0 or start_lr > end_lr:
            raise AttributeValueError(
                f"warmup_steps={warmup_steps} must not be negative, start_lr={start_lr} not above "
                f"end_lr={end_lr}"
            )
        self.after = learning_rate
        self.warmup_steps, self.start_lr, self.end_lr = warmup_steps, start_lr, end_lr
        super().__init__(start_lr, last_epoch, verbose)

    def get_lr(self) -> float:
        if self.last_epoch < self.warmup_steps:
            share = self.last_epoch / self.warmup_steps
            return self.start_lr + (self.end_lr - self.start_lr) * share
        if isinstance(self.after, LRScheduler):
            self.after.step(self.last_epoch - self.warmup_steps)
            return self.after()
        return float(self.after)

    def state_dict(self) -> dict[str, Any]:
        found = super().state_dict()
        if isinstance(self.after, LRScheduler):
            found["LinearWarmup_LR"] = self.after.state_dict()
        return found

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().set_state_dict(state_dict)
        if isinstance(self.after, LRScheduler) and "LinearWarmup_LR" in state_dict:
            self.after.set_state_dict(state_dict["LinearWarmup_LR"])


class ReduceOnPlateau(LRScheduler):
    """The rate times `factor` whenever a measured value has not improved for `patience` epochs.

    Args:
        learning_rate: the rate at the start.
        mode: "min" if small values are good, "max" if large ones are.
        factor: what the rate is multiplied by, below 1.
        patience: epochs without improvement that are put up with.
        threshold: how much counts as an improvement.
        threshold_mode: "rel" if the threshold is a share of the best value, "abs" if a difference.
        cooldown: epochs after a reduction that do not count.
        min_lr: the rate does not fall below it.
        epsilon: a reduction by less than this is left out.
    """

    def __init__(
        self,
        learning_rate: float,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0,
        epsilon: float = 1e-8,
        verbose: bool = False,
    ):
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise AttributeValueError(
                f"mode must be 'min' or 'max' and threshold_mode 'rel' or 'abs', got {mode!r} and "
                f"{threshold_mode!r}"
            )
        if factor >= 1.0:
            raise AttributeValueError(f"factor must be below 1, got {factor}")
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.epsilon = cooldown, min_lr, epsilon
        self.cooldown_counter = 0
        self.best: float | None = None
        self.num_bad_epochs = 0
        super().__init__(learning_rate, -1, verbose)

    def get_lr(self) -> float:
        return self.last_lr

    def step(self, metrics: Any = None, epoch: int | None = None) -> None:
        """Note the value measured in an epoch, and lower the rate if it is time to."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else int(epoch)
        if metrics is None:
            return
        try:
            value = float(metrics)
        except (TypeError, ValueError):
            raise DTypeError(f"metrics must be a number or hold one, got {metrics!r:.60}") from None
        self._count(value)
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
            lower = max(self.last_lr * self.factor, self.min_lr)
            if self.last_lr - lower > self.epsilon:
                self.last_lr = lower
                if self.verbose:
                    print(f"Epoch {self.last_epoch}: ReduceOnPlateau set learning rate to {lower}.")

    def _count(self, value: float) -> None:
        """Compare a value with the best one, unless the epoch does not count."""
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
        elif self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1

    def _better(self, value: float) -> bool:
        if self.best is None:
            return not math.isnan(value)
        best, share = self.best, self.best if self.threshold_mode == "rel" else 1.0
        margin = self.threshold * share
        return value < best - margin if self.mode == "min" else value > best + margin
