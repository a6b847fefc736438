"""What a recorded step takes for granted about the program around it, and whether it still holds.

A record knows tensors, not Python: attributes of layers, variables of functions, what is frozen and
which hooks there are were read when it was made. What that is, `reach.py` finds out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from dyn.core.dtype import default_float
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten
from dyn.nn.state import Parameter
from tracer.names import Model
from tracer.reach import Now, View, reach

_PLAIN = frozenset({bool, int, float, str, bytes})
"""Types of values that are compared by value; others by identity."""


class Unchanged:
    """Everything around a step as it is now.

    Args:
        model: the layers and the state of the step.
        parameters: what is trained.
        function: the user's function, or Layer.
        arguments: what it is called with.
    """

    def __init__(
        self, model: Model, parameters: Sequence[Any], function: Any, arguments: tuple[Any, ...]
    ):
        hooks = [p._leaf.hooks for p in parameters if p._leaf and p._leaf.hooks]
        lists = [listed.functions for found in hooks for listed in found.values()]
        roots = [("the loss", function), *(("the hooks of gradients", one) for one in lists)]
        roots += [(path or type(layer).__name__, layer) for path, layer in model.layers.items()]
        given, _ = flatten(arguments, lambda x: isinstance(x, Tensor))
        views, tensors = reach([*roots, ("the arguments", given)])
        tensors |= model.temporaries()
        state = {id(tensor) for tensor in model.tensors.values()}
        others = {name: t for name, t in tensors.items() if id(t) not in state}
        own = [p for p in parameters if isinstance(p, Parameter)]
        self._views = [
            *views,
            _of_all(parameters),
            _of_trained(own),
            View(Now(lambda: map(_array, others.values())), [*others].__getitem__),
            View(Now(lambda: [default_float()]), lambda _: "the default dtype"),
        ]
        self._walked = [view.values for view in self._views]
        self._sizes = [len([*values]) for values in self._walked]
        self._before = self._now()

    def _now(self) -> list[Any]:
        return [*chain.from_iterable(self._walked)]

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        try:
            now = self._now()
        except RuntimeError:  # a container changes meanwhile
            return False
        return _same(self._before, now)

    def follow(self, others: Mapping[int, Any]) -> None:
        """Expect other objects, given by the `id` of those in whose places they have come."""
        self._before = [others.get(id(value), value) for value in self._before]

    def watches(self, tensor: Tensor) -> bool:
        """Whether the value of a tensor is among it."""
        array = _array(tensor)
        return any(value is array for value in self._before)

    def change(self) -> str:
        """What the first thing that is not as it was is called; empty if all is."""
        start = 0
        for view, size in zip(self._views, self._sizes, strict=True):
            before, now = self._before[start : start + size], [*view.values]
            start += size
            if not _same(before, now):
                pairs = enumerate(zip(before, now, strict=False))
                differing = [i for i, (a, b) in pairs if not _equal(a, b)]
                try:
                    return view.title(differing[0] if differing else len(now) - 1)
                except IndexError:  # it is empty now
                    return "a container"
        return ""


def _of_all(parameters: Sequence[Any]) -> View:
    def read() -> list[Any]:
        # Written out: functions of single attributes would take twice as long, at every step.
        found = []
        for p in parameters:
            found += (p.stop_gradient, p._leaf and p._leaf.hooks, getattr(p, "need_clip", True))
        return found

    return View(Now(read), _titles(parameters, "stop_gradient", "hooks", "need_clip"))


def _of_trained(parameters: Sequence[Parameter]) -> View:
    def read() -> list[Any]:
        found = []
        for p in parameters:
            found += (p.learning_rate, p.regularizer)
        return found

    return View(Now(read), _titles(parameters, "learning_rate", "regularizer"))


def _titles(parameters: Sequence[Any], *names: str) -> Callable[[int], str]:
    count = len(names)
    return lambda i: f"{names[i % count]} of {parameters[i // count].name}"


def _array(tensor: Tensor) -> np.ndarray | None:
    """The value, which nobody writes over for as long as it is remembered here."""
    return tensor._array if tensor._alias is None else tensor._read()


def _same(before: Sequence[Any], now: Sequence[Any]) -> bool:
    return len(now) == len(before) and (
        all(map(operator.is_, before, now)) or all(map(_equal, before, now))
    )


def _equal(a: Any, b: Any) -> bool:
    """Whether two values are the same object, or equal plain ones or tuples of such."""
    if a is b:
        return True
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and all(map(_equal, a, b))
    # repr tells 0.0 from -0.0, which are equal.
    return type(a) in _PLAIN and type(a) is type(b) and a == b and (bool(a) or repr(a) == repr(b))
