"""Schedulers over `param_groups`: dyn's schedules under PyTorch's names, one for each group."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from dyn.compat.torch.optim.combined import ChainedScheduler, SequentialLR
from dyn.compat.torch.optim.scheduler import LRScheduler, Scheduled
from dyn.optimizer import lr as schedules

_LRScheduler = LRScheduler
"""The name that the base had before PyTorch 2.0."""


class StepLR(Scheduled):
    """The rate times `gamma` every `step_size` epochs."""

    multiplies = True

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size < 1:
            raise ValueError(f"step_size must be positive, got {step_size}")
        super().__init__(
            optimizer,
            lambda lr: schedules.LambdaDecay(lr, lambda t: gamma ** (t // step_size)),
            last_epoch,
        )


class MultiStepLR(Scheduled):
    """The rate times `gamma` at each of the milestones."""

    multiplies = True

    def __init__(self, optimizer: Any, milestones: Any, gamma: float = 0.1, last_epoch: int = -1):
        listed = sorted(milestones)
        super().__init__(
            optimizer,
            lambda lr: schedules.LambdaDecay(lr, lambda t: gamma ** bisect_right(listed, t)),
            last_epoch,
        )


class ExponentialLR(Scheduled):
    """The rate times `gamma` every epoch."""

    multiplies = True

    def __init__(self, optimizer: Any, gamma: float, last_epoch: int = -1):
        super().__init__(optimizer, lambda lr: schedules.ExponentialDecay(lr, gamma), last_epoch)


class CosineAnnealingLR(Scheduled):
    """The rate along a cosine from where it starts to `eta_min` in `T_max` epochs."""

    def __init__(self, optimizer: Any, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.floor = eta_min
        super().__init__(
            optimizer, lambda lr: schedules.CosineAnnealingDecay(lr, T_max, eta_min), last_epoch
        )


def _for_groups(value: Any, optimizer: Any) -> Callable[[], Any]:
    """Gives each group its own of several values in turn, or all the same one."""
    count = len(optimizer.param_groups)
    listed = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(listed) != count:
        raise ValueError(f"expected one value for each of {count} groups, got {len(listed)}")
    return iter(listed).__next__


class LambdaLR(Scheduled):
    """The rate to start from times a function of the epoch: one, or one for each group."""

    def __init__(self, optimizer: Any, lr_lambda: Any, last_epoch: int = -1):
        following = _for_groups(lr_lambda, optimizer)
        super().__init__(optimizer, lambda lr: schedules.LambdaDecay(lr, following()), last_epoch)


class MultiplicativeLR(Scheduled):
    """The rate before times a function of the epoch: one, or one for each group."""

    multiplies = True

    def __init__(self, optimizer: Any, lr_lambda: Any, last_epoch: int = -1):
        following = _for_groups(lr_lambda, optimizer)
        super().__init__(
            optimizer, lambda lr: schedules.MultiplicativeDecay(lr, following()), last_epoch
        )


class PolynomialLR(Scheduled):
    """The rate down to 0 within `total_iters` epochs, along a power of the epochs left."""

    multiplies = True

    def __init__(
        self, optimizer: Any, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ):
        super().__init__(
            optimizer, lambda lr: schedules.PolynomialDecay(lr, total_iters, 0.0, power), last_epoch
        )


class ConstantLR(Scheduled):
    """The rate times `factor` for `total_iters` epochs, then as it is."""

    multiplies = True

    def __init__(
        self, optimizer: Any, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ):
        if not 0 <= factor <= 1:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        super().__init__(
            optimizer,
            lambda lr: schedules.LambdaDecay(lr, lambda t: factor if t < total_iters else 1.0),
            last_epoch,
        )


class CosineAnnealingWarmRestarts(Scheduled):
    """The rate along a cosine down to `eta_min`, again and again, each time `T_mult` as long."""

    def __init__(
        self, optimizer: Any, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ):
        super().__init__(
            optimizer,
            lambda lr: schedules.CosineAnnealingWarmRestarts(lr, T_0, T_mult, eta_min),
            last_epoch,
        )


class _WithMomentum(Scheduled):
    """A schedule that moves the momentum too, by a schedule of its own or None."""

    _momentum: Any = None

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
            self._momentum.step(*args)
        super().step(*args)


class OneCycleLR(_WithMomentum):
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
        last_epoch: int = -1,
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
        super().__init__(
            optimizer, lambda lr: cycle(lr * div_factor, lr, lr / final_div_factor), last_epoch
        )


class CyclicLR(_WithMomentum):
    """Up and down between two rates, over and over; the momentum goes the other way.

    Args:
        optimizer: whose groups are changed: "lr", and "momentum" or the first of "betas".
        base_lr, max_lr: the lowest and the highest rate, or one for each group.
        step_size_up, step_size_down: steps up and down; as many down as up by default.
        mode: "triangular", "triangular2" (height halved each cycle) or "exp_range" (height times
            gamma ** step).
        scale_fn: height by cycle number (from 1) or step, instead of `mode`.
        scale_mode: what `scale_fn` is given: "cycle" or "iterations".
        cycle_momentum: whether the momentum moves from `max_momentum` to `base_momentum` and back.
    """

    def __init__(
        self,
        optimizer: Any,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ):
        def cycle(low: float, high: float) -> Any:
            return schedules.CyclicLR(
                low, high, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode
            )

        lowest, highest = _for_groups(base_lr, optimizer), _for_groups(max_lr, optimizer)
        for group in optimizer.param_groups:
            group["initial_lr"] = lowest()
            if cycle_momentum and not {"momentum", "betas"} & set(group):
                raise ValueError(
                    "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
                )
        self._momentum = cycle(max_momentum, base_momentum) if cycle_momentum else None
        super().__init__(optimizer, lambda lr: cycle(lr, highest()), last_epoch)


class LinearLR(Scheduled):
    """The rate times a factor that changes linearly within `total_iters` epochs."""

    multiplies = True

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        super().__init__(
            optimizer,
            lambda lr: schedules.LinearLR(lr, total_iters, start_factor, end_factor),
            last_epoch,
        )


class _Plateau(schedules.ReduceOnPlateau):
    """A plateau whose best value may be one of an epoch that does not count."""

    def _count(self, value: float) -> None:
        better = self._better(value)
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        if better:
            self.best = value
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0


class ReduceLROnPlateau(Scheduled):
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
        min_lr: Any = 0.0,
        eps: float = 1e-8,
    ):
        several = isinstance(min_lr, (list, tuple))
        floors = list(min_lr) if several else [min_lr] * len(optimizer.param_groups)
        if len(floors) != len(optimizer.param_groups):
            raise ValueError(f"expected {len(optimizer.param_groups)} min_lrs, got {len(floors)}")
        floor = iter(floors)
        super().__init__(
            optimizer,
            lambda lr: _Plateau(
                lr, mode, factor, patience, threshold, threshold_mode, cooldown, next(floor), eps
            ),
        )

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Note the value measured in an epoch, and lower the rates as they are if it is time to."""
        for schedule, group in zip(self._schedules, self.optimizer.param_groups, strict=True):
            schedule.last_lr = float(group["lr"])
        super().step(metrics, epoch)

    @property
    def best(self) -> float:
        """The best value so far."""
        found = self._schedules[0].best
        worst = math.inf if self._schedules[0].mode == "min" else -math.inf
        return worst if found is None else found

    @property
    def num_bad_epochs(self) -> int:
        """Epochs without improvement since the last one with it."""
        return self._schedules[0].num_bad_epochs


__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
