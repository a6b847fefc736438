"""The same elements under another shape: reshape, transpose, squeeze and what is made of them.

All are views: they follow their base when it is written, and a write to them reaches the base by
the inverse given under `writes`. Public `reshape` and `flatten` are copies where numpy's are.
Joining, cutting and repeating are in `join.py`, indexing in `index.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import methodcaller
from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import rank_of, shape_of
from dyn.core.observe import current
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import shape as kernels
from dyn.ops.infer import Type, as_numbers, axes_of, axis_of, product, same_size, show, whole


def sizes_of(sizes: Any) -> tuple[Any, ...]:
    """Sizes given as ints, Dims, or (lists of) integer tensors, as a tuple of ints and Dims."""
    sizes = as_numbers(sizes)
    if sizes.__class__ is not tuple and not isinstance(sizes, Iterable):
        sizes = (sizes,)
    return tuple([n if n.__class__ is int else whole("a size", n) for n in sizes])


def _flat(args: tuple[Any, ...]) -> Any:
    """`f(x, 2, 3)` and `f(x, [2, 3])` both give the sizes [2, 3]."""
    return args[0] if len(args) == 1 else args


# ---- reshape -----------------------------------------------------------------------------------


def _infer_reshape(x: Type, *, shape: tuple[Any, ...]) -> Type:
    if not same_size(product(shape), product(x.shape)):
        raise ShapeError(
            f"a tensor of shape {show(x.shape)} has {product(x.shape)} elements; shape "
            f"{show(shape)} needs {product(shape)}"
        )
    return Type(shape, x.dtype)


@op(infer=_infer_reshape, view=True)
def _reshape(x, *, shape):
    """The same elements in row-major order under another shape. ONNX: Reshape."""
    return kernels.reshape(x, shape)


def _reshaping(x: Type, *, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray] | None:
    """numpy's own method, where it does what the kernel does."""
    small = product(shape) * x.dtype.itemsize < kernels.SMALL
    return methodcaller("reshape", shape) if small else None


_reshape.shortcut = _reshaping


@_reshape.vjp("x")
def _(g, *, x_shape):
    return apply(_reshape, (g,), (x_shape,))


@_reshape.fused_vjp("x")
def _(g, *, x_shape):
    return kernels.reshape(g, x_shape)


@_reshape.writes
def _(base, value, *, shape):
    return _reshape(value, shape=tuple(base.shape))


def _is_row(sizes: Any) -> bool:
    """Whether sizes are -1 alone: all elements in a row."""
    if sizes.__class__ is list or sizes.__class__ is tuple:
        return len(sizes) == 1 and sizes[0].__class__ is int and sizes[0] == -1
    return sizes.__class__ is int and sizes == -1


def reshape(x: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """The same elements in row-major order under another shape.

    It is a view; a copy of those views whose elements have to move for it, such as a transposed
    matrix in a row.

    Args:
        x: any shape.
        sizes: sizes one by one or in one sequence, which may be named `shape`; 0 copies the size
            of x at that axis (when x has elements), one -1 is inferred.

    Returns:
        Tensor of that shape.

    Raises:
        ShapeError: the numbers of elements differ, or -1 cannot be inferred.
    """
    wanted = sizes if shape is None else (shape,)
    if len(wanted) == 1 and _is_row(wanted[0]) and not current():
        return _reshaped(x, (x._typed().size,))
    return _reshaped(x, resolve_shape(shape_of(x), sizes_of(_flat(wanted))))


def _reshaped(x: Tensor, shape: tuple[Any, ...]) -> Tensor:
    """Reshaped: a copy where a view of x does not lie so that its axes can be joined."""
    out = apply(_reshape, (x,), (shape,))
    if x._alias is not None and out._alias is not None:
        out._alias.may_copy = True
    return out


def resolve_shape(old: Sequence[Any], new: tuple[Any, ...]) -> tuple[Any, ...]:
    """`new` with 0 (copy) and -1 (infer) replaced by sizes."""
    if all([n.__class__ is int and n > 0 for n in new]):
        return new
    if len(new) == 1 and new[0].__class__ is int and new[0] == -1:
        return (product(old),)
    sizes: list[Any] = list(new)
    for i, n in enumerate(sizes):
        if isinstance(n, int) and n == 0 and not any(isinstance(m, int) and m == 0 for m in old):
            if i >= len(old):
                raise ShapeError(
                    f"size 0 at axis {i} copies a size, but the tensor {show(old)} has no such axis"
                )
            sizes[i] = old[i]
    unknown = [i for i, n in enumerate(sizes) if isinstance(n, int) and n < 0]
    if not unknown:
        return tuple(sizes)
    if len(unknown) > 1 or sizes[unknown[0]] != -1:
        raise ShapeError(f"shape {show(new)} has more than one unknown size, or one below -1")
    total = product(old)
    known = product([n for i, n in enumerate(sizes) if i != unknown[0]])
    if isinstance(known, int) and known == 0:
        raise ShapeError(f"-1 in {show(new)} cannot be inferred beside a size of 0")
    if not same_size(total % known, 0):
        raise ShapeError(
            f"a tensor of shape {show(old)} has {total} elements, which {show(new)} does not divide"
        )
    sizes[unknown[0]] = total // known
    return tuple(sizes)


def as_line(function: Any, x: Tensor, *given: Any, **named: Any) -> Any:
    """A function of a number taken as a vector of one element; what it gives are numbers again.

    So an axis 0 or -1 may be asked of a 0-d tensor, as in PyTorch.
    """
    found = function(_reshape(x, shape=(1,)), *given, **named)
    if isinstance(found, tuple):
        return tuple(_reshape(part, shape=()) for part in found)
    return _reshape(found, shape=())


def flatten(x: Tensor, start_axis: int = 0, stop_axis: int = -1) -> Tensor:
    """Merge the axes from `start_axis` to `stop_axis` (both included) into one, as `reshape`."""
    shape = shape_of(x)
    if not shape:
        for axis in (start_axis, stop_axis):
            axis_of(axis, 1)
        return _reshape(x, shape=(1,))
    first, last = axis_of(start_axis, len(shape)), axis_of(stop_axis, len(shape))
    if first > last:
        raise AttributeValueError(f"start_axis {start_axis} lies behind stop_axis {stop_axis}")
    merged = product(shape[first : last + 1])
    return _reshaped(x, (*shape[:first], merged, *shape[last + 1 :]))


def unflatten(x: Tensor, axis: int, shape: Any) -> Tensor:
    """Split one axis into several of the given sizes; one of them may be -1 (a view)."""
    old = list(x.shape)
    axis = axis_of(axis, len(old))
    inner = resolve_shape([old[axis]], sizes_of(shape))
    return _reshape(x, shape=(*old[:axis], *inner, *old[axis + 1 :]))


# ---- transpose ---------------------------------------------------------------------------------


def _infer_transpose(x: Type, *, perm: tuple[int, ...]) -> Type:
    if sorted(perm) != list(range(len(x.shape))):
        raise AttributeValueError(
            f"perm {tuple(perm)} must name each of the {len(x.shape)} axes of {show(x.shape)} once"
        )
    return Type(tuple(x.shape[i] for i in perm), x.dtype)


@op(infer=_infer_transpose, view=True)
def _transpose(x, *, perm):
    """Axes in another order: out.shape[i] = x.shape[perm[i]]. ONNX: Transpose."""
    return x.transpose(perm)


@lru_cache(1024)
def _inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


_transpose.shortcut = lambda x, perm: methodcaller("transpose", perm)


@_transpose.vjp("x")
def _(g, *, perm):
    return apply(_transpose, (g,), (_inverse(perm),))


@_transpose.fused_vjp("x")
def _(g, *, perm):
    return g.transpose(_inverse(perm))


@_transpose.writes
def _(base, value, *, perm):
    return _transpose(value, perm=_inverse(perm))


def transpose(x: Tensor, perm: Sequence[int]) -> Tensor:
    """Axes in another order: `out.shape[i] = x.shape[perm[i]]` (a view)."""
    ndim = rank_of(x)
    if all([a.__class__ is int and -ndim <= a < ndim for a in perm]):
        return apply(_transpose, (x,), (tuple([a % ndim for a in perm]),))
    return _transpose(x, perm=tuple(axis_of(a, ndim) for a in perm))


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars as they are."""
    if x.ndim > 2:
        raise ShapeError(f"t() is for at most 2 axes, got shape {show(x.shape)}; use transpose()")
    return _transpose(x, perm=tuple(reversed(range(x.ndim))))


def moveaxis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move axes to new positions, keeping the order of the others (a view)."""
    src = [source] if isinstance(source, int) else list(source)
    dst = [destination] if isinstance(destination, int) else list(destination)
    if not x.ndim:
        return as_line(moveaxis, x, source, destination)
    src = [axis_of(a, x.ndim) for a in src]
    dst = [axis_of(a, x.ndim) for a in dst]
    if len(src) != len(dst) or len(set(src)) != len(src) or len(set(dst)) != len(dst):
        raise AttributeValueError(f"cannot move axes {source} to {destination}")
    perm = [a for a in range(x.ndim) if a not in src]
    for to, axis in sorted(zip(dst, src, strict=True)):
        perm.insert(to, axis)
    return _transpose(x, perm=tuple(perm))


def swapaxes(x: Tensor, axis0: int, axis1: int) -> Tensor:
    """Exchange two axes (a view)."""
    if not x.ndim:
        return as_line(swapaxes, x, axis0, axis1)
    a, b = axis_of(axis0, x.ndim), axis_of(axis1, x.ndim)
    perm = list(range(x.ndim))
    perm[a], perm[b] = perm[b], perm[a]
    return apply(_transpose, (x,), (tuple(perm),))


# ---- squeeze, unsqueeze ------------------------------------------------------------------------


def _infer_squeeze(x: Type, *, axes: tuple[int, ...]) -> Type:
    for axis in axes:
        if not same_size(x.shape[axis], 1):
            raise ShapeError(f"axis {axis} of {show(x.shape)} has not size 1")
    return Type(tuple(n for i, n in enumerate(x.shape) if i not in axes), x.dtype)


@op(infer=_infer_squeeze, view=True)
def _squeeze(x, *, axes):
    """Without the given axes, which have size 1. ONNX: Squeeze."""
    return x.reshape([n for i, n in enumerate(x.shape) if i not in axes])


_squeeze.shortcut = lambda x, axes: methodcaller("reshape", _infer_squeeze(x, axes=axes).shape)


@_squeeze.vjp("x")
def _(g, *, axes):
    return _unsqueeze(g, axes=axes)


@_squeeze.writes
def _(base, value, *, axes):
    return _unsqueeze(value, axes=axes)


def squeeze(x: Tensor, axis: Any = None) -> Tensor:
    """Remove axes of size 1: the given ones that have it, or all (a view).

    A size declared dynamic is never taken for 1; that is a guard of the traced graph.
    """
    candidates = range(rank_of(x)) if axis is None else axes_of(axis, rank_of(x) or 1)
    shape = x.shape
    if not shape:
        return _squeeze(x, axes=())
    return _squeeze(x, axes=tuple(a for a in candidates if shape[a] == 1))


def _infer_unsqueeze(x: Type, *, axes: tuple[int, ...]) -> Type:
    sizes = list(x.shape)
    for axis in axes:
        sizes.insert(axis, 1)
    return Type(tuple(sizes), x.dtype)


@op(infer=_infer_unsqueeze, view=True)
def _unsqueeze(x, *, axes):
    """With axes of size 1 at the given positions of the result. ONNX: Unsqueeze."""
    return kernels.unsqueeze(x, axes)


_unsqueeze.shortcut = lambda x, axes: methodcaller("reshape", _infer_unsqueeze(x, axes=axes).shape)


@_unsqueeze.vjp("x")
def _(g, *, axes):
    return _squeeze(g, axes=axes)


@_unsqueeze.writes
def _(base, value, *, axes):
    return _squeeze(value, axes=axes)


def unsqueeze(x: Tensor, axis: Any) -> Tensor:
    """Insert axes of size 1, one after the other (a view).

    Args:
        axis: an integer, or several in the order in which they are inserted; each one counts in the
            shape that those before it have made: [2, 0] makes [4, 6] first [4, 6, 1], then
            [1, 4, 6, 1].
    """
    ndim = rank_of(x)
    if axis.__class__ is int and -ndim - 1 <= axis <= ndim:
        return apply(_unsqueeze, (x,), ((axis % (ndim + 1),),))
    axis = as_numbers(axis)
    places: list[int] = []
    for one in [axis] if isinstance(axis, (int, np.integer)) else axis:
        place = axis_of(one, ndim + len(places) + 1)
        places = [*(p + (p >= place) for p in places), place]
    return apply(_unsqueeze, (x,), (tuple(sorted(places)),))


__all__ = [
    "flatten",
    "moveaxis",
    "reshape",
    "resolve_shape",
    "sizes_of",
    "squeeze",
    "swapaxes",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]
