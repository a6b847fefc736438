"""Repeating elements in their place: views and selections that other ops make."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops.infer import axis_of, show
from dyn.ops.join import _expand
from dyn.ops.shape import _reshape, _unsqueeze, flatten, sizes_of


def repeat_interleave(x: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis: an equal number of times, or `repeats[i]` times.

    Args:
        repeats: a number for all, or a vector with one for each element.
        axis: None flattens x first.

    Raises:
        AttributeValueError: a number of times is negative.
        ShapeError: there is not one number of times for each element.
    """
    if axis is None:
        x, axis = flatten(x), 0
    axis = axis_of(axis, x.ndim)
    if isinstance(repeats, Tensor) and repeats._array.size != 1:
        counts = np.asarray(repeats.tolist())
        if counts.shape != (x.shape[axis],):
            raise ShapeError(
                f"repeat_interleave: repeats {show(counts.shape)} must be one number for each "
                f"element of axis {axis} of {show(x.shape)}, or one for all"
            )
        if counts.min() < 0:
            raise AttributeValueError(
                f"repeat_interleave: an element cannot be repeated {counts.min()} times"
            )
        index = Tensor(np.repeat(np.arange(len(counts)), counts))
        return OPS["gather"](x, index, axis=axis)
    (count,), shape = sizes_of(repeats), x.shape
    if count < 0:
        raise AttributeValueError(f"repeat_interleave: elements cannot be repeated {count} times")
    wide = apply(_unsqueeze, (x,), ((axis + 1,),))
    wide = apply(_expand, (wide,), ((*shape[: axis + 1], count, *shape[axis + 1 :]),))
    return apply(_reshape, (wide,), ((*shape[:axis], shape[axis] * count, *shape[axis + 1 :]),))


__all__ = ["repeat_interleave"]
