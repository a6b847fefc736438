"""Schedulers made of schedulers: one after the other, and all at the same time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from math import prod
from typing import Any

from dyn.compat.torch.optim.scheduler import LRScheduler


class SequentialLR(LRScheduler):
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

    def step(self) -> None:  # type: ignore[override]
        """Go on to the next epoch; a scheduler whose turn begins starts at its epoch 0."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        begins = turn > 0 and self._milestones[turn - 1] == self.last_epoch
        self._schedulers[turn].step(*([0] if begins else []))

    def get_last_lr(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What changes with time, of every scheduler."""
        return {
            "_milestones": list(self._milestones),
            "last_epoch": self.last_epoch,
            "_last_lr": self.get_last_lr(),
            "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.last_epoch = state_dict["last_epoch"]
        self._milestones = list(state_dict["_milestones"])
        for scheduler, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._schedulers[bisect_right(self._milestones, self.last_epoch)]._set()


class ChainedScheduler(LRScheduler):
    """Schedulers at the same time: the rate times the factors of all.

    Raises:
        ValueError: a scheduler sets its rate whatever the others say.
    """

    def __init__(self, schedulers: Any, optimizer: Any = None):
        for scheduler in schedulers:
            if not getattr(scheduler, "multiplies", False):
                raise ValueError(f"{type(scheduler).__name__} does not multiply the rate")
        self._schedulers = list(schedulers)
        self.optimizer = optimizer or self._schedulers[0].optimizer
        self._set()

    def _set(self) -> None:
        for i, group in enumerate(self.optimizer.param_groups):
            start = group["initial_lr"]
            rates = [scheduler._schedules[i]() for scheduler in self._schedulers]
            group["lr"] = start * prod(rate / start for rate in rates)

    def step(self) -> None:  # type: ignore[override]
        """Go on to the next epoch."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._set()

    def get_last_lr(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What changes with time, of every scheduler."""
        return {
            "_last_lr": self.get_last_lr(),
            "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        for scheduler, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._set()
