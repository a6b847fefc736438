"""What a recorded step takes for granted about the program around it, and whether it still holds.

A record knows tensors, not Python: attributes of layers, variables of functions, what is frozen and
which hooks there are were read when it was made. Looked at are the objects themselves and what
their lists and dicts hold, not what lies deeper.
"""

from __future__ import annotations

import dis
import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import CodeType, FunctionType
from typing import Any

from dyn.core.errors import is_ours
from dyn.core.tensor import Tensor
from dyn.nn.layer import Layer
from tracer.names import Model

_PLAIN = frozenset({bool, int, float, str})
"""Types of values that are compared by value; others by identity."""
_FEW = 256
"""Items of a container that are looked at one by one; of larger ones only the number is."""

Read = Callable[[], Iterable[Any]]


class Unchanged:
    """Everything around a step as it is now.

    Args:
        model: the layers and the state of the step.
        parameters: what is trained.
        function: the user's function, or Layer.
    """

    def __init__(self, model: Model, parameters: Sequence[Any], function: Any):
        # Views of dictionaries show what these hold when they are walked.
        views: list[Iterable[Any]] = [vars(layer).values() for layer in model.layers.values()]
        self._reads: list[Read] = [
            lambda: [p.stop_gradient for p in parameters],
            lambda: [p._leaf and p._leaf.hooks for p in parameters],
        ]
        for one in _functions(model.layers, function):
            self._reads += _variables(one)
        for p in parameters:
            hooks = p._leaf and p._leaf.hooks
            views += [listed.functions.values() for listed in (hooks or {}).values()]
        values = [*chain.from_iterable(views), *chain.from_iterable(r() for r in self._reads)]
        for value in values:
            views += _inside(value)
        self._views = views
        state = {id(tensor) for tensor in model.tensors.values()}
        tensors = [v for v in (*self._now(), *model.temporaries().values()) if _is_other(v, state)]
        self._reads.append(lambda: [tensor._version for tensor in tensors])
        self._before = self._now()

    def _now(self) -> list[Any]:
        found = [*chain.from_iterable(self._views)]
        for read in self._reads:
            found += read()
        return found

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        try:
            now = self._now()
        except (KeyError, ValueError):  # a variable is gone
            return False
        before = self._before
        return len(now) == len(before) and (
            all(map(operator.is_, before, now)) or all(map(_equal, before, now))
        )


def _equal(a: Any, b: Any) -> bool:
    """Whether two values are the same object, or equal plain ones."""
    return a is b or (type(a) in _PLAIN and type(a) is type(b) and a == b)


def _inside(value: Any) -> list[Iterable[Any]]:
    """What shows the items of a list or dictionary."""
    if type(value) not in (list, dict):
        return []
    if len(value) > _FEW:
        return [_Length(value)]
    return [value] if isinstance(value, list) else [value.keys(), value.values()]


class _Length:
    """The length of a container as the one item of a view."""

    def __init__(self, value: list[Any] | dict[Any, Any]):
        self._value = value

    def __iter__(self) -> Iterator[int]:
        yield len(self._value)


def _is_other(value: Any, state: set[int]) -> bool:
    return isinstance(value, Tensor) and id(value) not in state


def _functions(layers: Mapping[str, Layer], function: Any) -> Iterator[FunctionType]:
    """The user's own functions among the loss and the forwards of the layers."""
    found = [type(layer).forward for layer in layers.values()]
    while isinstance(function, functools.partial):
        function = function.func
    found.append(inspect.unwrap(function))
    if not inspect.isroutine(function):
        found.append(type(function).__call__)
    for one in dict.fromkeys(getattr(f, "__func__", f) for f in found):
        if inspect.isfunction(one) and not is_ours(one.__code__.co_filename):
            yield one


def _variables(function: FunctionType) -> Iterator[Read]:
    """What reads the variables that a function takes from around it, and its defaults."""
    names = sorted(_globals(function.__code__) & function.__globals__.keys())
    if names:
        yield lambda: [function.__globals__[name] for name in names]
    if cells := function.__closure__:
        yield lambda: [cell.cell_contents for cell in cells]
    yield lambda: [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _globals(code: CodeType) -> set[str]:
    """Names of the globals that a function reads, also in functions that it makes."""
    found = {line.argval for line in dis.get_instructions(code) if line.opname == "LOAD_GLOBAL"}
    return found.union(*[_globals(c) for c in code.co_consts if isinstance(c, CodeType)])
