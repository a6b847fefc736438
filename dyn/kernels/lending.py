"""Arrays that a kernel may write to instead of copying them.

Values are never written to, with this exception: whoever knows that nothing else refers to an array
(`dyn/ops/sole.py`) lends it to the kernel called next, so that writing a row of a tensor does not
cost a copy of all the others, and a step of an optimiser no new memory. Only sums that a walk over
the tape has begun itself are no values yet: gradients are added to them without a loan (`into` of
`Op.fused_vjp`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.kernels.copy import copied

_NONE: frozenset[int] = frozenset()


class _Lent(threading.local):
    ids = _NONE


_lent = _Lent()


def lend(arrays: Sequence[np.ndarray] = ()) -> None:
    """Let the next kernel that asks for these arrays write to them; none takes all back."""
    _lent.ids = frozenset(map(id, arrays)) if arrays else _NONE


def owned(x: np.ndarray) -> np.ndarray:
    """x itself if it was lent, else a copy, in row-major order either way."""
    ids = _lent.ids
    if not ids:
        return copied(x)
    _lent.ids = _NONE
    return x if id(x) in ids else copied(x)


def onto(fresh: np.ndarray, kernel: Callable[..., np.ndarray], *args: Any) -> np.ndarray:
    """`kernel(fresh, *args)` of an array that was made for it to write to."""
    lend((fresh,))
    try:
        return kernel(fresh, *args)
    finally:
        lend()


def take_lent(arrays: Sequence[np.ndarray]) -> list[bool]:
    """Which of these arrays were lent: the caller may write to them, the next who asks may not."""
    ids, _lent.ids = _lent.ids, _NONE
    if not ids:
        return [False] * len(arrays)
    return [id(x) in ids for x in arrays]
