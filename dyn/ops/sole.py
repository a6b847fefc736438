"""Writing to tensors in place where they are the only ones that refer to their values.

Counting references finds everyone who could notice: views, tensors over the same array, what the
tape keeps, calls that wait. What was derived from the value (`runtime/derived.py`) holds a weak
reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

import numpy as np

from dyn.core import observe
from dyn.core.modes import is_grad_enabled
from dyn.core.tensor import Tensor
from dyn.kernels.lending import lend
from dyn.kernels.runtime.derived import forget
from dyn.kernels.runtime.memory import Lease

WORTHWHILE = 1 << 14
"""Bytes from which on an update in place is cheaper: to make a new value of fewer costs less than
to find out that the old one may be written to."""


def _counts(x: Tensor) -> tuple[int, int]:
    array = x._array
    base = array.base
    return getrefcount(array), getrefcount(base)


_ALONE, _ALONE_BASE = _counts(Tensor._of(np.empty(1).view()))
"""What is counted where nobody else refers to the array and to what its memory belongs to."""


def is_sole(x: Tensor) -> bool:
    """Whether the array of x may be written: dense, and of nobody else, and x may be written."""
    if (x._is_wanted_leaf() and is_grad_enabled()) or observe.current():
        return False
    return _is_alone(x) and not getweakrefcount(x._array) and x._array.flags.carray


def _is_alone(x: Tensor) -> bool:
    """Whether nobody else holds the array of x, or memory of it; there may be weak references."""
    if x._alias is not None:
        return False
    array = x._array
    base = array.base
    # Memory of other types may belong to a file or to another package.
    known = base is None or (base.__class__ is Lease and getrefcount(base) == _ALONE_BASE)
    return known and getrefcount(array) == _ALONE and array.flags.writeable


def write(x: Tensor, beside: tuple[Any, ...], written: Callable[..., Tensor], *args: Any) -> None:
    """Bind x to `written(*args)`, as `over` computes it."""
    x._write(over(x, beside, written, *args))


def over(x: Tensor, beside: tuple[Any, ...], written: Callable[..., Tensor], *args: Any) -> Tensor:
    """`written(*args)`, whose kernel may write to x where nobody else refers to its value.

    x is not to be read afterwards.

    Args:
        x: the tensor.
        beside: what else is read; x may be among it, and is then copied.
        written: calls an op whose kernel takes its array from `kernels.lending.owned`, and which
            raises before it writes, if at all.
        args: what it is called with.
    """
    if not is_sole(x):
        return written(*args)
    for other in beside:
        if other is x:
            return written(*args)
    lend((x._array,))
    try:
        return written(*args)
    finally:
        lend()


def lend_sole(tensors: Sequence[Tensor]) -> None:
    """Lend the arrays of tensors to the next kernel, where they are large and of nobody else.

    What was derived from them is forgotten. The caller takes them back with `lend()`.
    """
    alone = [x for x in tensors if x._array.nbytes >= WORTHWHILE and _is_alone(x)]
    if len({id(x) for x in alone}) < len(alone):  # a tensor given twice would be updated twice
        return
    for x in alone:
        forget(x._array)
    lend([x._array for x in alone if not getweakrefcount(x._array)])


def _held(tensors: Sequence[Tensor]) -> list[int]:
    return [getrefcount(x) for x in tensors]


class _Holder:
    tensor = Tensor(0.0)


(_ONCE,) = _held([_Holder.tensor])
"""What is counted of a tensor that one attribute holds, and the list that is given."""


def lend_replaced(tensors: Sequence[Tensor]) -> None:
    """`lend_sole` for the values of attributes that are about to get others.

    Args:
        tensors: a list that holds them; those that anyone but it and one attribute holds are not
            lent, nor are any while somebody watches.
    """
    if not observe.current():
        counts = _held(tensors)
        lend_sole([x for x, n in zip(tensors, counts, strict=True) if n == _ONCE])


def rebind(tensors: Sequence[Tensor], arrays: Sequence[np.ndarray]) -> None:
    """Bind tensors to new values as state, as assignment does where nobody watches."""
    for tensor, array in zip(tensors, arrays, strict=True):
        forget(array)  # what another thread derived from it while it was written to
        if tensor._alias is None:
            tensor._array = array
            tensor._node = None
            tensor._version += 1
            tensor._assigned = True
        else:
            tensor._assign(Tensor._of(array))
