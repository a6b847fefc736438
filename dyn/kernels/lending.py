"""Arrays that a kernel may write to instead of copying them.

Values are never written to, with this one exception: whoever knows that nothing else refers to an
array (`dyn/ops/sole.py`) lends it to the kernel called next, so that writing a row of a tensor
does not cost a copy of all the others.
"""

from __future__ import annotations

import threading

import numpy as np

from dyn.kernels.copy import copied


class _Lent(threading.local):
    array: np.ndarray | None = None


_lent = _Lent()


def lend(array: np.ndarray | None) -> None:
    """Let the next kernel that asks for this array write to it; None takes it back."""
    _lent.array = array


def owned(x: np.ndarray) -> np.ndarray:
    """x itself if it was lent, else a copy, in row-major order either way."""
    if _lent.array is x:
        _lent.array = None
        return x
    return copied(x)
