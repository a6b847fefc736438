"""Small arrays go straight to numpy's ufunc where an op is one: half the cost of a tiny call.

The rule is asked once per op, shapes and dtypes; kernels remain the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from dyn.core.op import OPS, Type
from dyn.kernels.elementwise import kernel_size
from dyn.kernels.elementwise.formulas import UFUNCS

_DTYPES = frozenset(map(np.dtype, ("float32", "float64", "int32", "int64", "bool")))


def _direct(ufunc: Callable[..., Any], enough: int, *types: Type) -> Callable[..., Any] | None:
    """The ufunc itself, if it does for inputs of these types what the kernel does."""
    if any(t.dtype not in _DTYPES for t in types):
        return None
    # A column times a row is far larger than either.
    if math.prod(np.broadcast_shapes(*(t.shape for t in types))) >= enough:
        return None
    # Of nothing but 0-d arrays a ufunc makes a scalar, not an array.
    return ufunc if any(t.shape for t in types) else None


for _name, _ufunc in UFUNCS.items():
    OPS[_name].shortcut = partial(_direct, _ufunc, kernel_size(_name))
OPS["relu"].shortcut = partial(_direct, lambda x: np.maximum(x, 0), kernel_size("relu"))


def _power(x: Type, y: Type) -> Callable[..., Any] | None:
    """As for the others, but a single exponent may have a shorter way in the kernel."""
    return _direct(np.power, kernel_size("pow"), x, y) if y.shape else None


OPS["pow"].shortcut = _power
