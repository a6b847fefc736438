"""Schedules that rise and fall: cosines, cycles, one cycle.

In the formulas, lr0 is the rate at the start and t the number of the epoch, from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from dyn.core.errors import AttributeValueError
from dyn.optimizer.lr.scheduler import LRScheduler


def _cosine(start: float, end: float, share: float) -> float:
    """From start (share 0) to end (share 1) along half a cosine."""
    return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


class CosineAnnealingDecay(LRScheduler):
    """eta_min + (lr0 - eta_min) / 2 * (1 + cos(pi * t / T_max)). Source: arXiv 1608.03983."""

    def __init__(
        self,
        learning_rate: float,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if T_max <= 0:
            raise AttributeValueError(f"T_max must be positive, got {T_max}")
        self.T_max, self.eta_min = T_max, float(eta_min)
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        return _cosine(self.base_lr, self.eta_min, self.last_epoch / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines of T_0, T_0 * T_mult, T_0 * T_mult**2 ... epochs. Source: arXiv 1608.03983."""

    def __init__(
        self,
        learning_rate: float,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if T_0 <= 0 or T_mult < 1:
            raise AttributeValueError(f"T_0={T_0} and T_mult={T_mult} must be at least 1")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, float(eta_min)
        super().__init__(learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        t, length = self.last_epoch, self.T_0
        if self.T_mult == 1:
            t %= length
        else:
            # The cycle c starts at T_0 * (T_mult**c - 1) / (T_mult - 1).
            cycle = int(math.log(t / self.T_0 * (self.T_mult - 1) + 1, self.T_mult) + 1e-9)
            t -= self.T_0 * (self.T_mult**cycle - 1) // (self.T_mult - 1)
            length = self.T_0 * self.T_mult**cycle
        return _cosine(self.base_lr, self.eta_min, t / length)


class OneCycleLR(LRScheduler):
    """Up from a low rate to max_learning_rate, then down to almost nothing, once.

    Args:
        max_learning_rate: the peak.
        total_steps: epochs of the whole cycle.
        divide_factor: the start is max_learning_rate / divide_factor.
        end_learning_rate: the rate at the end.
        phase_pct: share of the epochs that go up.
        anneal_strategy: "cos" or "linear".
        three_phase: come down to the start rate first, as slowly as it went up.

    Source: Smith & Topin, arXiv 1708.07120.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        divide_factor: float = 25.0,
        end_learning_rate: float = 0.0001,
        phase_pct: float = 0.3,
        anneal_strategy: str = "cos",
        three_phase: bool = False,
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        if total_steps <= 0 or not 0 <= phase_pct <= 1:
            raise AttributeValueError(
                f"total_steps={total_steps} must be positive and phase_pct={phase_pct} lie in "
                "[0, 1]"
            )
        if anneal_strategy not in ("cos", "linear"):
            raise AttributeValueError(
                f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.total_steps = total_steps
        start = max_learning_rate / float(divide_factor)
        top = phase_pct * total_steps - 1
        if three_phase:
            if 2 * phase_pct > 1:
                raise AttributeValueError(
                    f"with three phases phase_pct must be at most 0.5, got {phase_pct}"
                )
            self._ends = [0, top, 2 * top, total_steps - 1]
            self._rates = [start, max_learning_rate, start, end_learning_rate]
        else:
            self._ends = [0, top, total_steps - 1]
            self._rates = [start, max_learning_rate, end_learning_rate]
        self._anneal = _cosine if anneal_strategy == "cos" else _linear
        super().__init__(start, last_epoch, verbose)

    def get_lr(self) -> float:
        t = self.last_epoch
        if t > self.total_steps:
            raise AttributeValueError(
                f"the cycle has {self.total_steps} steps; step() was called {t} times"
            )
        for i in range(1, len(self._ends)):
            if t <= self._ends[i] or i == len(self._ends) - 1:
                length = self._ends[i] - self._ends[i - 1]
                share = (t - self._ends[i - 1]) / length if length else 1.0
                return self._anneal(self._rates[i - 1], self._rates[i], share)
        return self.base_lr


class CyclicLR(LRScheduler):
    """Up and down between two rates, over and over.

    Args:
        base_learning_rate, max_learning_rate: the lowest and the highest rate.
        step_size_up, step_size_down: epochs up and down; as many down as up by default.
        mode: "triangular", "triangular2" (height halved each cycle) or "exp_range" (height times
            exp_gamma**t).
        exp_gamma: for "exp_range".
        scale_fn: height by cycle number (from 1) or epoch, instead of `mode`.
        scale_mode: what `scale_fn` is given: "cycle" or "iterations".

    Source: Smith, arXiv 1506.01186.
    """

    def __init__(
        self,
        base_learning_rate: float,
        max_learning_rate: float,
        step_size_up: int,
        step_size_down: int | None = None,
        mode: str = "triangular",
        exp_gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        last_epoch: int = -1,
        verbose: bool = False,
    ):
        scales: dict[str, tuple[Callable[[float], float], str]] = {
            "triangular": (lambda cycle: 1.0, "cycle"),
            "triangular2": (lambda cycle: 0.5 ** (cycle - 1), "cycle"),
            "exp_range": (lambda t: exp_gamma**t, "iterations"),
        }
        if mode not in scales or scale_mode not in ("cycle", "iterations"):
            raise AttributeValueError(
                f"mode must be one of {sorted(scales)} and scale_mode 'cycle' or 'iterations', got "
                f"{mode!r} and {scale_mode!r}"
            )
        down = step_size_up if step_size_down is None else step_size_down
        if step_size_up <= 0 or down <= 0:
            raise AttributeValueError("step_size_up and step_size_down must be positive")
        self.max_lr = float(max_learning_rate)
        self.cycle_size = step_size_up + down
        self.up_share = step_size_up / self.cycle_size
        self._scale = (scale_fn, scale_mode) if scale_fn is not None else scales[mode]
        super().__init__(base_learning_rate, last_epoch, verbose)

    def get_lr(self) -> float:
        cycle = 1 + self.last_epoch // self.cycle_size
        share = 1.0 + self.last_epoch / self.cycle_size - cycle
        up = share / self.up_share if share <= self.up_share else (1 - share) / (1 - self.up_share)
        function, given = self._scale
        height = (self.max_lr - self.base_lr) * up
        return self.base_lr + height * function(cycle if given == "cycle" else self.last_epoch)
