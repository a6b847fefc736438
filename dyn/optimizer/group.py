"""Parameters that are updated together, with the state that their optimiser keeps for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import numpy as np

from dyn.core import observe
from dyn.core.op import Op
from dyn.core.tensor import Tensor
from dyn.kernels.groups import alike as lie_alike
from dyn.kernels.lending import lend
from dyn.nn.state import Buffer, unique_name
from dyn.ops.sole import lend_sole, rebind
from dyn.regularizer import WeightDecay

Update = tuple[float, WeightDecay | None, float]
"""Factor on the learning rate, decay, and decay that is part of the rule itself."""


def rule_of(update: Update) -> tuple[Any, ...]:
    """What compares equal for updates that do the same."""
    rate, decay, own_decay = update
    return rate, type(decay), decay and decay.coeff, own_decay


class Group:
    """Parameters whose updates differ in nothing but the tensors.

    Attributes:
        parameters: the parameters.
        rate: factor on the learning rate.
        decay: weight decay, or None.
        own_decay: coefficient of a decay that is part of the rule itself (Lamb).
        slots: per slot name, one buffer per parameter.
        counters: 0-d buffers that advance with every step, such as powers of beta.
        lr: the learning rate times `rate` as a 0-d buffer.
    """

    def __init__(
        self, parameters: list[Any], rate: float, decay: WeightDecay | None, own_decay: float = 0.0
    ):
        self.parameters = parameters
        self.rate = rate
        self.decay = decay
        self.own_decay = own_decay
        self.slots: dict[str, list[Buffer]] = {}
        self.counters: dict[str, Buffer] = {}
        self.lr: Buffer | None = None
        self._lr_value: float | None = None
        self._state: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None

    def start(self, slots: dict[str, Any], counters: dict[str, float]) -> None:
        """Make the state of a first step: slots filled with a number or made by a function of the
        parameter, counters.
        """
        for name, value in slots.items():
            if name not in self.slots:
                self._state = None
                self.slots[name] = [_slot(p, name, value) for p in self.parameters]
        for name, value in counters.items():
            if name not in self.counters:
                self._state = None
                self.counters[name] = self._counter(name, value)

    def state(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """All slots one kind after the other; and what a step gives new values to, in the order
        in which update ops give them: parameters, slots, counters.
        """
        if self._state is None:
            slots = tuple([buffer for buffers in self.slots.values() for buffer in buffers])
            self._state = slots, (*self.parameters, *slots, *self.counters.values())
        return self._state

    def learning_rate(self, value: float) -> Buffer:
        """The learning rate as a tensor; made anew only when the number has changed."""
        if self.lr is None:
            wide = any(p._array.dtype == np.float64 for p in self.parameters)
            self.lr = Buffer(np.asarray(value * self.rate, np.float64 if wide else np.float32))
            self.lr.name = unique_name("learning_rate")
        elif value != self._lr_value:
            array = np.asarray(value * self.rate, self.lr._array.dtype)
            self.lr._assign(Tensor._of(array))
        self._lr_value = value
        return self.lr

    def split(self, chosen: list[bool]) -> Group:
        """Move the chosen parameters with their state into a group of their own."""
        others = [not flag for flag in chosen]
        parameters = list(compress(self.parameters, chosen))
        out = Group(parameters, self.rate, self.decay, self.own_decay)
        self._state = None
        self.parameters = list(compress(self.parameters, others))
        for name, buffers in self.slots.items():
            out.slots[name] = list(compress(buffers, chosen))
            self.slots[name] = list(compress(buffers, others))
        out.counters = {
            name: out._counter(name, float(counter._read()))
            for name, counter in self.counters.items()
        }
        return out

    def parted(self, update_of: Callable[[Any], Update]) -> list[Group]:
        """This group, and those split off it so that the parameters of each are updated alike.

        Args:
            update_of: rate, decay and own decay of a parameter.
        """
        updates = [update_of(p) for p in self.parameters]
        alike = [rule_of(update) == rule_of(updates[0]) for update in updates]
        rest = [] if all(alike) else self.split([not flag for flag in alike]).parted(update_of)
        self.rate, self.decay, self.own_decay = updates[0]
        self._lr_value = None
        return [self, *rest]

    def _counter(self, name: str, value: float) -> Buffer:
        # Double: 1 - 0.999 ** t loses most of its digits in single precision.
        counter = Buffer(np.asarray(value, np.float64))
        counter.name = f"{self.parameters[0].name}_{name}_0"
        return counter


def update_directly(
    op: Op,
    scalars: Sequence[Tensor],
    tensors: Sequence[Tensor],
    count: int,
    targets: Sequence[Tensor],
    attrs: dict[str, Any],
) -> bool:
    """Run an update op on arrays, with nobody watching, over the old values where nobody sees them.

    What dispatch looks up about hundreds of inputs takes longer than to update small ones.

    Args:
        op: the op.
        scalars: learning rate and counters.
        tensors: `count` parameters, their gradients, and as many of each slot.
        count: how many parameters there are.
        targets: what is bound to the results.
        attrs: of the op.

    Returns:
        Whether it was done; not where somebody watches or the tensors need the checks of dispatch.
    """
    if observe.current():
        return False
    lend_sole((*tensors[:count], *tensors[2 * count :]))
    try:
        arrays = tuple([x._array if x._alias is None else x._read() for x in (*scalars, *tensors)])
        if not lie_alike(arrays[len(scalars) :], len(tensors) // count):
            return False
        made = op.kernel(*arrays, **attrs)
    finally:
        lend()
    rebind(targets, made)
    return True


def _slot(parameter: Any, name: str, value: Any) -> Buffer:
    # The layout of the parameter: one update reads and writes them side by side.
    slot = Buffer(None)
    array = parameter._array
    slot._array = value(array) if callable(value) else np.full_like(array, value)
    slot.name = f"{parameter.name}_{name}_0"
    return slot
