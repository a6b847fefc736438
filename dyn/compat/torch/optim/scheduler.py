"""The bases of schedulers: of those that users write, and of those that are dyn's schedules.

The schedules themselves are in `lr_scheduler.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class LRScheduler:
    """Sets the rate of every group to what `get_lr` says; the base of schedulers of one's own.

    Args:
        optimizer: whose groups are changed.
        last_epoch: the epoch to go on after; -1 to start.

    Attributes:
        base_lrs: the rate that every group started with.
        last_epoch: the epoch that the rates are for.

    Raises:
        TypeError: it is no optimiser.
        KeyError: with `last_epoch`, a group does not know the rate it started with.
    """

    def __init__(self, optimizer: Any, last_epoch: int = -1):
        self._adopt(optimizer, last_epoch)
        self.last_epoch, self._step_count = last_epoch, 0
        self.step()

    def _adopt(self, optimizer: Any, last_epoch: int) -> None:
        if not hasattr(optimizer, "param_groups"):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]

    def get_lr(self) -> list[float]:
        """The rate of every group at `last_epoch`; a scheduler of one's own says it.

        Raises:
            NotImplementedError: it does not.
        """
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch, or to the one that is named."""
        self._step_count += 1
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set()

    def _set(self) -> None:
        self._last_lr = list(self.get_lr())
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """The rate that every group was given last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimiser."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.__dict__.update(state_dict)


class Scheduled(LRScheduler):
    """Sets the rate of every group from a schedule of dyn's.

    Args:
        optimizer: whose groups are changed.
        make: a schedule by rate to start from.
        last_epoch: the epoch to go on after; -1 to start.
    """

    multiplies = False
    """Whether it multiplies the rate, so that others may do so at the same time."""
    floor: float | None = None
    """What is not scaled of a rate that others have changed; None: they are written over."""

    def __init__(self, optimizer: Any, make: Callable[[float], Any], last_epoch: int = -1):
        self._adopt(optimizer, last_epoch)
        self._schedules = [make(rate) for rate in self.base_lrs]
        if last_epoch == -1:
            self._follow(self.base_lrs)
        else:
            self.step(last_epoch + 1)

    def _follow(self, before: list[float]) -> None:
        """Set the rates that come after `before`, or change those that others have set likewise."""
        floor = 0.0 if self.multiplies else self.floor
        found = [group["lr"] for group in self.optimizer.param_groups]
        self._set()
        if floor is None or found == before:
            return
        for i, (rate, was, now) in enumerate(zip(found, before, self._last_lr, strict=True)):
            if rate != was:
                factor = 1.0 if was == floor else (now - floor) / (was - floor)
                extra = now - was if was == floor else 0.0
                self._last_lr[i] = (rate - floor) * factor + floor + extra
                self.optimizer.param_groups[i]["lr"] = self._last_lr[i]

    def get_lr(self) -> list[float]:
        return [schedule() for schedule in self._schedules]

    @property
    def last_epoch(self) -> int:  # type: ignore[override]
        """How often `step` was called."""
        return self._schedules[0].last_epoch

    def step(self, *args: Any) -> None:  # type: ignore[override]
        """Go on to the next epoch."""
        before = self.get_lr()
        for schedule in self._schedules:
            schedule.step(*args)
        if args:
            self._set()
        else:
            self._follow(before)

    def state_dict(self) -> dict[str, Any]:
        """What changes with time, of every group."""
        return {
            "base_lrs": list(self.base_lrs),
            "last_epoch": self.last_epoch,
            "_last_lr": self.get_last_lr(),
            "schedules": [schedule.state_dict() for schedule in self._schedules],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.base_lrs = list(state_dict["base_lrs"])
        for schedule, saved in zip(self._schedules, state_dict["schedules"], strict=True):
            schedule.set_state_dict(saved)
        self._last_lr = list(state_dict["_last_lr"])
