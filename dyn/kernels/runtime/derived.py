"""What is computed from a weight alone, kept while the weight lives: packed panels, transforms.

Arrays are not written to, so what was derived from one stays right, unless its only owner does and
says so (`forget`). It is kept from the second request on: in training every step has new weights,
which are asked about once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

_SEEN: dict[int, tuple[weakref.ref[np.ndarray], dict[Any, Any]]] = {}
"""By identity of the array: a reference that cleans up, and what is known by key."""


def _forget(number: int) -> Callable[[weakref.ref[np.ndarray]], None]:
    # Bound now: when the interpreter ends, globals go before arrays do.
    seen = _SEEN

    def clean(reference: weakref.ref[np.ndarray]) -> None:
        entry = seen.get(number)
        if entry is not None and entry[0] is reference:
            del seen[number]

    return clean


def derived(
    owner: np.ndarray, key: Any, make: Callable[[], Any], once: Callable[[], Any] | None = None
) -> Any:
    """`make()`, or what it returned at the second request with the same array and key.

    Args:
        make: makes what is no view of the array: the array would live as long as what is kept.
        once: gives the answer to the first request; by default `make`.
    """
    number = id(owner)
    entry = _SEEN.get(number)
    if entry is None or entry[0]() is not owner:
        _SEEN[number] = (weakref.ref(owner, _forget(number)), {key: None})
        return (once or make)()
    known = entry[1]
    value = known.get(key)
    if value is None:
        again = key in known
        value = make() if again else (once or make)()
        known[key] = value if again else None
    return value


def forget(owner: np.ndarray) -> None:
    """Forget what was derived from an array that is about to be written to."""
    entry = _SEEN.get(id(owner))
    if entry is not None and entry[0]() is owner:
        del _SEEN[id(owner)]


def share(view: np.ndarray, owner: np.ndarray) -> None:
    """Let `view`, which is all of `owner`, and `owner` have one store of what is derived."""
    entry = _SEEN.get(id(owner))
    if entry is None or entry[0]() is not owner:
        entry = _SEEN[id(owner)] = (weakref.ref(owner, _forget(id(owner))), {})
    _SEEN[id(view)] = (weakref.ref(view, _forget(id(view))), entry[1])
