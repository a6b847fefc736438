"""`torch.optim.swa_utils`: averages of weights over training, and the schedule for them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

from dyn.compat.torch.creation import tensor
from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.nn.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from dyn.compat.torch.optim.scheduler import LRScheduler
from dyn.core.modes import no_grad


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """An average that keeps `decay` of itself at each update."""

    def average(averaged: Any, current: Any, count: Any) -> Any:
        return averaged * decay + current * (1 - decay)

    return average


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """An average in which all updates count alike."""
    return _mean


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], None]:
    """`get_ema_avg_fn` for lists of tensors, of which the first is written to."""
    return _each(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable[[Any, Any, Any], None]:
    """`get_swa_avg_fn` for lists of tensors, of which the first is written to."""
    return _each(_mean)


def _mean(averaged: Any, current: Any, count: Any) -> Any:
    return averaged + (current - averaged) / (count + 1)


def _each(average: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], None]:
    def write(averaged: Iterable[Any], current: Iterable[Any], count: Any) -> None:
        for kept, now in zip(averaged, current, strict=True):
            kept.copy_(average(kept.detach(), now.detach(), count))

    return write


class AveragedModel(Module):
    """A copy of a model that holds an average of its weights.

    Args:
        model: what is averaged; it is copied.
        device: the CPU.
        avg_fn: the new average from the old one, the current value and the number of updates; by
            default all updates count alike.
        multi_avg_fn: writes the new averages to a list of the old ones; it is given that list, one
            of the current values and the number of updates.
        use_buffers: average buffers too, instead of copying them.

    Raises:
        ValueError: both functions are given.
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Any, Any, Any], None] | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", tensor(0))
        self._write = multi_avg_fn or _each(avg_fn or _mean)
        self._with_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of `model` into the average; the first are copied."""
        count = int(self.n_averaged)
        with no_grad():
            mine, theirs = list(self.module.parameters()), list(model.parameters())
            (self._write if count else _COPY)(mine, theirs, count)
            mine, theirs = list(self.module.buffers()), list(model.buffers())
            (self._write if count and self._with_buffers else _COPY)(mine, theirs, count)
            self.n_averaged.add_(1)


_COPY = _each(lambda averaged, current, count: current)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the statistics of batch normalisation anew, as the mean over all batches.

    Args:
        loader: batches; of a tuple or list the first is the input.
        model: in which modules of batch normalisation are looked for.
        device: the CPU.
    """
    kinds = (BatchNorm1d, BatchNorm2d, BatchNorm3d)
    norms: list[Any] = [m for m in model.modules() if isinstance(m, kinds)]
    if not norms:
        return
    momenta, training = [m.momentum for m in norms], model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with no_grad():
        for batch in loader:
            model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """From the present rate to `swa_lr` in `anneal_epochs` epochs, and then there.

    The rate is that of its first step: until then, another scheduler may lead it.

    Args:
        optimizer: whose groups are changed.
        swa_lr: where to go, or one for each group.
        anneal_epochs: how many epochs it takes.
        anneal_strategy: "cos" or "linear".
        last_epoch: the epoch to go on after; -1 to start.
    """

    def __init__(
        self,
        optimizer: Any,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        count = len(optimizer.param_groups)
        self._ends = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * count
        self._epochs, self._cosine = anneal_epochs, anneal_strategy == "cos"
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        # From where the rates are now, which another schedule may have brought there meanwhile.
        step = max(self._step_count - 1, 0 if self._epochs else 1)
        before, now = self._share(step - 1), self._share(step)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        starts = [
            end if before == 1 else (rate - before * end) / (1 - before)
            for rate, end in zip(rates, self._ends, strict=True)
        ]
        return [
            end * now + start * (1 - now) for start, end in zip(starts, self._ends, strict=True)
        ]

    def _share(self, step: int) -> float:
        """How much of the way is done after so many epochs."""
        done = max(0.0, min(1.0, step / max(1, self._epochs)))
        return (1 - math.cos(math.pi * done)) / 2 if self._cosine else done


__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "update_bn"]
