"""LRScheduler: the base of all schedules. Plain numbers, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError


class LRScheduler:
    """A learning rate that depends on how often `step()` was called.

    A subclass writes `get_lr()`, which may use `last_epoch` (0 for the first epoch), `base_lr` and
    `last_lr`.

    Args:
        learning_rate: the rate it starts from.
        last_epoch: number of the last epoch of an earlier run; -1 to start.
        verbose: print the rate whenever it is set.
    """

    def __init__(self, learning_rate: float = 0.1, last_epoch: int = -1, verbose: bool = False):
        if not isinstance(learning_rate, (int, float)):
            raise DTypeError(
                f"The type of learning rate must be float, but received {type(learning_rate)}"
            )
        if learning_rate < 0:
            raise AttributeValueError(f"a learning rate must not be negative, got {learning_rate}")
        self.base_lr = float(learning_rate)
        self.last_lr = float(learning_rate)
        self.last_epoch = last_epoch
        self.verbose = verbose
        self.step()

    def __call__(self) -> float:
        """The current learning rate."""
        return self.last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch, or to the given one."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else int(epoch)
        self.last_lr = float(self.get_lr())
        if self.verbose:
            print(
                f"Epoch {self.last_epoch}: {type(self).__name__} set learning rate to "
                f"{self.last_lr}."
            )

    def get_lr(self) -> float:
        """The learning rate of epoch `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} needs a get_lr(self)")

    def state_dict(self) -> dict[str, Any]:
        """What changes with time, as numbers: `last_epoch`, `last_lr`, and a subclass's own."""
        kinds = (bool, int, float, str, list, type(None))
        return {k: v for k, v in self.__dict__.items() if isinstance(v, kinds) and k != "verbose"}

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state; entries that the schedule does not know are ignored."""
        for name in self.state_dict():
            if name in state_dict:
                setattr(self, name, state_dict[name])
