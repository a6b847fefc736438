"""Repeating: elements in their place, the whole side by side, vectors along the axes of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import shape as kernels
from dyn.kernels.reduce import sum
from dyn.ops.infer import Type, axis_of, product, same_size, show
from dyn.ops.shape import _reshape, flatten, sizes_of

# ---- elements, and the whole -------------------------------------------------------------------


def _infer_repeat_each(x: Type, *, count: Any, axis: int) -> Type:
    return Type((*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]), x.dtype)


@op(infer=_infer_repeat_each)
def _repeat_each(x, *, count, axis):
    """Each slice along `axis` so many times in its place. ONNX: Unsqueeze, Expand, Reshape."""
    return kernels.repeat_of(x.shape, x.dtype, count, axis)(x)


_repeat_each.shortcut = lambda x, count, axis: kernels.repeat_of(x.shape, x.dtype, count, axis)


@_repeat_each.vjp("x")
def _(g, *, x_shape, count, axis):
    apart = (*x_shape[: axis + 1], count, *x_shape[axis + 1 :])
    return OPS["sum"](_reshape(g, shape=apart), axes=(axis + 1,), keepdims=False)


@_repeat_each.fused_vjp("x")
def _(g, *, x_shape, count, axis):
    apart = (*x_shape[: axis + 1], count, *x_shape[axis + 1 :])
    return sum(kernels.reshape(g, apart), (axis + 1,), keepdims=False)


def _infer_tile(x: Type, *, repeats: tuple[Any, ...]) -> Type:
    if any(isinstance(n, int) and n < 0 for n in repeats):
        raise AttributeValueError(f"repeats {show(repeats)} count copies and cannot be negative")
    return Type(tuple(n * r for n, r in zip(x.shape, repeats, strict=True)), x.dtype)


@op(infer=_infer_tile)
def _tile(x, *, repeats):
    """x side by side, `repeats[i]` times along axis i. ONNX: Tile."""
    return kernels.tile(x, repeats)


@_tile.vjp("x")
def _(g, *, x_shape, repeats):
    split_shape = tuple(n for r, size in zip(repeats, x_shape, strict=True) for n in (r, size))
    parts = _reshape(g, shape=split_shape)
    return OPS["sum"](parts, axes=tuple(range(0, len(split_shape), 2)), keepdims=False)


@_tile.fused_vjp("x")
def _(g, *, x_shape, repeats):
    apart = tuple(n for pair in zip(repeats, x_shape, strict=True) for n in pair)
    return sum(kernels.reshape(g, apart), tuple(range(0, len(apart), 2)), keepdims=False)


def tile(x: Tensor, repeat_times: Any) -> Tensor:
    """Repeat along each axis; missing leading sizes or counts are 1."""
    repeats = sizes_of(repeat_times)
    ndim = rank_of(x)
    if len(repeats) < ndim:
        repeats = (1,) * (ndim - len(repeats)) + repeats
    if len(repeats) > ndim:
        x = _reshape(x, shape=(1,) * (len(repeats) - ndim) + tuple(x.shape))
    return apply(_tile, (x,), (repeats,))


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
    (count,) = sizes_of(repeats)
    if count < 0:
        raise AttributeValueError(f"repeat_interleave: elements cannot be repeated {count} times")
    return apply(_repeat_each, (x,), (count, axis))


# ---- grids -------------------------------------------------------------------------------------


def _infer_line(x: Type, *, shape: tuple[Any, ...], axis: int) -> Type:
    if not same_size(product(x.shape), shape[axis]):
        raise ShapeError(f"a grid is made of vectors, got shape {show(x.shape)}")
    return Type(shape, x.dtype)


@op(infer=_infer_line)
def _line(x, *, shape, axis):
    """A vector along one axis of `shape`, repeated along the others. ONNX: Reshape, Expand."""
    return kernels.line_of(x.shape, x.dtype, shape, axis)(x)


_line.shortcut = lambda x, shape, axis: kernels.line_of(x.shape, x.dtype, shape, axis)


@_line.vjp("x")
def _(g, *, x_shape, axis):
    others = tuple(a for a in range(g.ndim) if a != axis)
    total = OPS["sum"](g, axes=others, keepdims=False) if others else g
    return total if x_shape else _reshape(total, shape=())


@_line.fused_vjp("x")
def _(g, *, x_shape, axis):
    others = tuple(a for a in range(g.ndim) if a != axis)
    return (sum(g, others, keepdims=False) if others else g).reshape(x_shape)


def meshgrid(*args: Any) -> list[Tensor]:
    """Each vector repeated along the axes of the others: k vectors give k tensors of k axes."""
    tensors: Sequence[Tensor] = args[0] if isinstance(args[0], (list, tuple)) else args
    shape = tuple([x.shape[0] if x.ndim else 1 for x in tensors])
    return [apply(_line, (x,), (shape, axis)) for axis, x in enumerate(tensors)]


__all__ = ["meshgrid", "repeat_interleave", "tile"]
