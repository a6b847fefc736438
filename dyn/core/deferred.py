"""Values that are computed when they are first read, so that the op that follows can take part.

In the forward of a layer without gradients, an op marked `deferrable` only notes what it will do;
an op with `absorb` that is called with such a value may replace it by one call that does both
(convolution, batch norm and activation). What the outermost layer returns is computed before it
returns: outside of layers nothing is ever pending but what a forward has put aside.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.core import tree
from dyn.core.op import Op
from dyn.core.tensor import Tensor

_DEFERS: ContextVar[bool] = ContextVar("dyn.defers", default=False)

is_deferring = _DEFERS.get
"""`is_deferring()`: whether the call is inside a layer's forward without gradients."""


class Deferred:
    """Stands in `Tensor._alias` until the value is read.

    Attributes:
        op, attrs, arrays: the call that will be made.
        key: under which the op remembers its plan.
        run: makes the call.
        absorbed: whether another op has taken the call over; if the value is read all the same,
            the work is done twice, and calls of this plan are not deferred again.
    """

    __slots__ = ("absorbed", "arrays", "attrs", "key", "op", "run")

    deferred = True

    def __init__(
        self,
        op: Op,
        attrs: tuple[Any, ...],
        arrays: tuple[Any, ...],
        key: tuple[Any, ...],
        run: Callable[..., Any],
    ):
        self.op = op
        self.attrs = attrs
        self.arrays = arrays
        self.key = key
        self.run = run
        self.absorbed = False

    def refresh(self, tensor: Tensor) -> None:
        """Compute the value."""
        if self.absorbed:
            self.op.prompt.add(self.key)
        tensor._array = self.run(*self.arrays)
        # Last, so that another thread that reads meanwhile computes rather than finds nothing.
        tensor._alias = None

    def write(self, tensor: Tensor, value: Tensor) -> None:
        """Never called: a tensor is read, and so computed, before it is written."""
        raise AssertionError("a deferred value was written before it was read")


@lru_cache(1024)
def _placeholder(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Tells shape and dtype, and takes no memory."""
    return np.broadcast_to(np.full((), np.nan, dtype), shape)


def pending(deferred: Deferred, shape: tuple[Any, ...], dtype: np.dtype) -> Tensor:
    """A tensor whose value is not computed yet."""
    out = Tensor._of(_placeholder(shape, dtype))
    out._alias = deferred
    return out


def settled(forward: Callable[..., Any], inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a forward in which ops may be deferred; what it returns is computed."""
    token = _DEFERS.set(True)
    try:
        found = forward(*inputs, **kwargs)
    finally:
        _DEFERS.reset(token)
    if isinstance(found, Tensor):
        found._read()
    else:
        _settle(found)
    return found


def _settle(found: Any) -> None:
    """Compute what is pending among tensors in containers."""
    if isinstance(found, Tensor):
        if found._alias is not None and found._alias.deferred:
            found._read()
    elif found.__class__ in (tuple, list):
        for item in found:
            _settle(item)
    else:
        for _, tensor in tree.flatten(found, lambda item: isinstance(item, Tensor))[1]:
            _settle(tensor)
