"""Hooks on layers: functions called before and after `forward`, and the handles that remove them.

The tables are plain dictionaries on the layer, so that a layer without hooks pays nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from dyn.core.errors import DTypeError

_keys = itertools.count()
Table = dict[int, Callable[..., Any]]


class HookRemoveHelper:
    """What registering a hook returns; `remove()` takes the hook away, also while it runs."""

    __slots__ = ("_key", "_table")

    def __init__(self, table: Table, hook: Callable[..., Any], prepend: bool = False):
        if not callable(hook):
            raise DTypeError(f"a hook is a function, not {type(hook).__name__}")
        self._table = table
        self._key = next(_keys)
        if prepend:
            others = dict(table)
            table.clear()
            table[self._key] = hook
            table.update(others)
        else:
            table[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; harmless when it is gone already."""
        self._table.pop(self._key, None)

    def __enter__(self) -> HookRemoveHelper:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def active(table: Table) -> Iterator[Callable[..., Any]]:
    """The hooks in order; one that is removed meanwhile is skipped, one added meanwhile waits."""
    for key, hook in list(table.items()):
        if key in table:
            yield hook


class WithKwargs:
    """A hook that is shown the keyword arguments of the call, too."""

    __slots__ = ("hook",)

    def __init__(self, hook: Callable[..., Any]):
        self.hook = hook

    def __call__(self, *given: Any) -> Any:
        return self.hook(*given)


def run_pre(
    layer: Any, table: Table, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Pass the inputs through the hooks: `hook(layer, inputs)` may return new ones, or None.

    `WithKwargs` is called as `hook(layer, inputs, kwargs)` and returns both, or None.
    """
    for hook in active(table):
        if isinstance(hook, WithKwargs):
            answer = hook(layer, inputs, kwargs)
            if answer is not None:
                inputs, kwargs = _both(answer)
            continue
        answer = hook(layer, inputs)
        if answer is not None:
            inputs = answer if isinstance(answer, tuple) else (answer,)
    return inputs, kwargs


def _both(answer: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a hook with kwargs has returned; a tensor as inputs would be taken apart into rows."""
    pair = answer if isinstance(answer, tuple) else ()
    if len(pair) != 2 or not isinstance(pair[0], (tuple, list)) or not isinstance(pair[1], dict):
        shown = ", ".join(type(one).__name__ for one in pair)
        raise DTypeError(
            "a hook with kwargs returns None or (inputs, kwargs), a tuple and a dict, not "
            f"{f'({shown})' if pair else type(answer).__name__}"
        )
    return tuple(pair[0]), pair[1]


def run_post(
    layer: Any, table: Table, inputs: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    """Pass the output through the hooks: `hook(layer, inputs, output)` may return a new one.

    `WithKwargs` is called as `hook(layer, inputs, kwargs, output)`.
    """
    for hook in active(table):
        shown = (inputs, kwargs) if isinstance(hook, WithKwargs) else (inputs,)
        answer = hook(layer, *shown, output)
        if answer is not None:
            output = answer
    return output
