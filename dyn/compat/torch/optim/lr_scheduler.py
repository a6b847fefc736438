"""Schedulers over `param_groups`: dyn's schedules under PyTorch's names, one for each group."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from math import prod
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


def _for_groups(value: Any, optimizer: Any) -> Callable[[], Any]:
    """Gives each group its own of several values in turn, or all the same one."""
    count = len(optimizer.param_groups)
    listed = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(listed) != count:
        raise ValueError(f"expected one value for each of {count} groups, got {len(listed)}")
    return iter(listed).__next__


class LambdaLR(LRScheduler):
    """The rate to start from times a function of the epoch: one, or one for each group."""

    def __init__(self, optimizer: Any, lr_lambda: Any):
        following = _for_groups(lr_lambda, optimizer)
        super().__init__(optimizer, lambda lr: schedules.LambdaDecay(lr, following()))


class MultiplicativeLR(LRScheduler):
    """The rate before times a function of the epoch: one, or one for each group."""

    def __init__(self, optimizer: Any, lr_lambda: Any):
        following = _for_groups(lr_lambda, optimizer)
        super().__init__(optimizer, lambda lr: schedules.MultiplicativeDecay(lr, following()))


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


class _WithMomentum(LRScheduler):
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
        super().__init__(optimizer, lambda lr: cycle(lr, highest()))


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


class SequentialLR:
    """Schedulers one after the other, each from its milestone on.

    Args:
        optimizer: whose groups they change.
        schedulers: at least one.
        milestones: the steps at which the second, third ... takes over.
    """

    def __init__(self, optimizer: Any, schedulers: Any, milestones: Any):
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than "
                f"the number of milestone points, but got number of schedulers {len(schedulers)} "
                f"and the number of milestones to be equal to {len(milestones)}"
            )
        self.optimizer, self.last_epoch = optimizer, 0
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self._schedulers[0]._set()

    def step(self) -> None:
        """Go on to the next epoch; a scheduler whose turn begins starts at its epoch 0."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        begins = turn > 0 and self._milestones[turn - 1] == self.last_epoch
        self._schedulers[turn].step(*([0] if begins else []))

    def get_last_lr(self) -> list[float]:
        """The rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What changes with time, of every scheduler."""
        return {
            "last_epoch": self.last_epoch,
            "_milestones": list(self._milestones),
            "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.last_epoch = state_dict["last_epoch"]
        self._milestones = list(state_dict["_milestones"])
        for scheduler, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._schedulers[bisect_right(self._milestones, self.last_epoch)]._set()


class ChainedScheduler:
    """Schedulers at the same time: the rate times the factors of all.

    Raises:
        ValueError: a scheduler sets its rate whatever the others say.
    """

    def __init__(self, schedulers: Any, optimizer: Any = None):
        kinds = (
            StepLR, MultiStepLR, ExponentialLR, PolynomialLR, ConstantLR, LinearLR,
            MultiplicativeLR,
        )  # fmt: skip
        for scheduler in schedulers:
            if not isinstance(scheduler, kinds):
                raise ValueError(f"{type(scheduler).__name__} does not multiply the rate")
        self._schedulers = list(schedulers)
        self.optimizer = optimizer or self._schedulers[0].optimizer
        self._set()

    def _set(self) -> None:
        for i, group in enumerate(self.optimizer.param_groups):
            start = group["initial_lr"]
            rates = [scheduler._schedules[i]() for scheduler in self._schedulers]
            group["lr"] = start * prod(rate / start for rate in rates)

    def step(self) -> None:
        """Go on to the next epoch."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._set()

    def get_last_lr(self) -> list[float]:
        """The rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What changes with time, of every scheduler."""
        return {"_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        for scheduler, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._set()
