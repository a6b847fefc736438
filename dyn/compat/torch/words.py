"""PyTorch's names of arguments, where the functions behind its names call theirs otherwise.

`tensor.flavoured` asks once for every function that it wraps; the functions are elsewhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_LEADING = {
    "bmm": "input mat2",
    "cdist": "x1 x2",
    "dot": "input tensor",
    "expand": "input size",
    "heaviside": "input values",
    "lerp": "input end weight",
    "outer": "input vec2",
    "pow": "input exponent",
    "repeat": "input repeats",
    "searchsorted": "sorted_sequence input",
    "split": "input/tensor split_size/split_size_or_sections",
    "tensor_split": "input indices/sections/indices_or_sections",
    "tile": "input dims",
    "view": "input size",
    "where": "condition input other",
}
"""Names of the first arguments by function, other names for the same one behind a stroke."""


def leading(function: Callable[..., Any]) -> list[list[str]]:
    """What PyTorch calls the first arguments of a function, each by one name or several."""
    known = _LEADING.get(function.__name__)
    if known is None:
        names = list(inspect.signature(function).parameters)
        known = "input other" if names[1:2] == ["y"] else "input" if "input" not in names else ""
    return [names.split("/") for names in known.split()]


def in_place(
    args: tuple[Any, ...], kwargs: dict[str, Any], first: list[list[str]]
) -> tuple[Any, ...]:
    """The arguments with those that were given by name put where they belong; `kwargs` shrinks."""
    for names in first[len(args) :]:
        given = [name for name in names if name in kwargs]
        if not given:
            break
        args = (*args, kwargs.pop(given[0]))
    return args


def of_numpy(function: Callable[..., Any]) -> dict[str, str]:
    """The words of numpy that stand for arguments of a function: `axis` and `keepdims`."""
    names = inspect.signature(function).parameters
    words = {"axis": ("dim", "dims"), "keepdims": ("keepdim",)}
    return {
        word: ours
        for word, several in words.items()
        for ours in several
        if ours in names and word not in names
    }
