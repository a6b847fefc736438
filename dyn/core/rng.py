"""The one seeded random state. Random ops draw from it; the tracer saves and restores it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from dyn.core.errors import DTypeError

_generator = np.random.Generator(np.random.Philox())


_LENT: ContextVar[np.random.Generator | None] = ContextVar("dyn.generator", default=None)


def generator() -> np.random.Generator:
    """The generator that random ops draw from (safe to use from several threads)."""
    return _LENT.get() or _generator


@contextmanager
def drawing_from(source: np.random.Generator) -> Iterator[np.random.Generator]:
    """Draw from `source` for the length of a `with` block, in this thread or task only."""
    token = _LENT.set(source)
    try:
        yield source
    finally:
        _LENT.reset(token)


def seed(value: int) -> np.random.Generator:
    """Start the random state anew from `value`; the same seed gives the same numbers."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise DTypeError(f"a seed is an integer, not {value!r}")
    _generator.bit_generator.state = np.random.Philox(int(value)).state
    return _generator


def get_rng_state() -> dict[str, Any]:
    """The whole random state, as a dictionary of numbers and arrays."""
    return dict(_generator.bit_generator.state)


def set_rng_state(state: dict[str, Any]) -> None:
    """Go on from a state given by `get_rng_state`."""
    _generator.bit_generator.state = state
