"""Schedules that fall steadily, or by rules and lists that the user gives.

In the formulas, lr0 is the rate at the start and t the number of the epoch, from 0.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

from dyn.core.errors import AttributeValueError
from dyn.optimizer.lr.scheduler import LRScheduler


class NoamDecay(LRScheduler):
    """lr0 * d_model**-0.5 * min(t**-0.5, t * warmup_steps**-1.5). Source: arXiv 1706.03762."""

    def __init__(
        self,
        d_model: int,
        warmup_steps: int,
        learning_rate: float = 1.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if d_model <= 0 or warmup_steps <= 0:
            raise AttributeValueError(
                f"d_model={d_model} and warmup_steps={warmup_steps} must be positive"
            )
        self.d_model, self.warmup_steps = d_model, warmup_steps
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        a = 1.0 if self.last_epoch == 0 else self.last_epoch**-0.5
        b = self.warmup_steps**-1.5 * self.last_epoch
        return self.base_lr * self.d_model**-0.5 * min(a, b)


class PiecewiseDecay(LRScheduler):
    """values[i] while t < boundaries[i]; the last value after the last boundary."""

    def __init__(
        self,
        boundaries: Sequence[int],
        values: Sequence[float],
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if len(values) != len(boundaries) + 1 or list(boundaries) != sorted(set(boundaries)):
            raise AttributeValueError(
                "boundaries must ascend and be one fewer than values, got "
                f"{list(boundaries)} and {list(values)}"
            )
        self.boundaries, self.values = list(boundaries), [float(v) for v in values]
        super().__init__(self.values[0], last_epoch, verbose)

    def get_lr(self) -> float:
        return self.values[bisect.bisect_right(self.boundaries, self.last_epoch)]


class NaturalExpDecay(LRScheduler):
    """lr0 * exp(-gamma * t)."""

    def __init__(
        self, learning_rate: float, gamma: float, last_epoch: int = -1, verbose: bool = False
    ):
        self.gamma = gamma
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return self.base_lr * math.exp(-self.gamma * self.last_epoch)


class InverseTimeDecay(LRScheduler):
    """lr0 / (1 + gamma * t)."""

    def __init__(
        self, learning_rate: float, gamma: float, last_epoch: int = -1, verbose: bool = False
    ):
        self.gamma = gamma
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return self.base_lr / (1 + self.gamma * self.last_epoch)


class PolynomialDecay(LRScheduler):
    """(lr0 - end_lr) * (1 - t / decay_steps)**power + end_lr, in `cycle`s or once.

    With `cycle`, decay_steps is multiplied by ceil(t / decay_steps); without, t stops at it.
    """

    def __init__(
        self,
        learning_rate: float,
        decay_steps: int,
        end_lr: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if decay_steps <= 0 or power <= 0:
            raise AttributeValueError(
                f"decay_steps={decay_steps} and power={power} must be positive"
            )
        self.decay_steps, self.end_lr, self.power, self.cycle = decay_steps, end_lr, power, cycle
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        t, steps = self.last_epoch, self.decay_steps
        if self.cycle:
            steps = steps * max(1, math.ceil(t / steps))
        else:
            t = min(t, steps)
        return (self.base_lr - self.end_lr) * (1 - t / steps) ** self.power + self.end_lr


class ExponentialDecay(LRScheduler):
    """lr0 * gamma**t."""

    def __init__(
        self, learning_rate: float, gamma: float, last_epoch: int = -1, verbose: bool = False
    ):
        self.gamma = gamma
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return self.base_lr * self.gamma**self.last_epoch


class StepDecay(LRScheduler):
    """lr0 * gamma**(t // step_size)."""

    def __init__(
        self,
        learning_rate: float,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if step_size < 1:
            raise AttributeValueError(f"step_size must be at least 1, got {step_size}")
        if not gamma < 1:
            raise AttributeValueError(f"gamma must be below 1, got {gamma}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return self.base_lr * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepDecay(LRScheduler):
    """lr0 * gamma**n, n the number of milestones that t has reached."""

    def __init__(
        self,
        learning_rate: float,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if list(milestones) != sorted(set(milestones)) or not gamma < 1:
            raise AttributeValueError(
                f"milestones={list(milestones)} must ascend and gamma={gamma} be below 1"
            )
        self.milestones, self.gamma = list(milestones), gamma
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return self.base_lr * self.gamma ** bisect.bisect_right(self.milestones, self.last_epoch)


class LambdaDecay(LRScheduler):
    """lr0 * lr_lambda(t)."""

    def __init__(
        self,
        learning_rate: float,
        lr_lambda: Callable[[int], float],
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        self.lr_lambda = lr_lambda
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return self.base_lr * self.lr_lambda(self.last_epoch)


class MultiplicativeDecay(LRScheduler):
    """The rate of the epoch before times lr_lambda(t)."""

    def __init__(
        self,
        learning_rate: float,
        lr_lambda: Callable[[int], float],
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        self.lr_lambda = lr_lambda
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return math.prod(
            (self.lr_lambda(t) for t in range(1, self.last_epoch + 1)), start=self.base_lr
        )


class LinearLR(LRScheduler):
    """lr0 times a factor that goes evenly from start_factor to end_factor in total_steps epochs."""

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1 or total_steps <= 0:
            raise AttributeValueError(
                f"start_factor={start_factor} must lie in (0, 1], end_factor={end_factor} in "
                f"[0, 1] and total_steps={total_steps} be positive"
            )
        self.total_steps, self.start_factor, self.end_factor = total_steps, start_factor, end_factor
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        done = min(self.last_epoch, self.total_steps) / self.total_steps
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * done)
