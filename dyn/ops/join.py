"""Joining, cutting and repeating: concat, split, expand, flip, roll.

Ops move elements and never compute with them. As in Paddle, `unbind` gives views of what was cut
and `split`, `chunk` and `unstack` copies; `expand` gives copies too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core.dim import Dim, maximum
from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, DTypeError, ShapeError
from dyn.core.lift import rank_of, shape_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import shape as kernels
from dyn.kernels.reduce import sum_to
from dyn.kernels.roll import rolled
from dyn.ops.infer import Type, axes_of, axis_of, broadcast_shapes, product, same_size, show
from dyn.ops.shape import _reshape, sizes_of, swapaxes

# ---- concat, split -----------------------------------------------------------------------------


def _infer_concat(*xs: Type, axis: int) -> Type:
    if not xs:
        raise DTypeError("concat needs at least one tensor")
    first = xs[0]
    if not first.shape:
        raise ShapeError("0-d tensors cannot be concatenated; use stack()")
    total: Any = 0
    beside = (*first.shape[:axis], *first.shape[axis + 1 :])
    for i, x in enumerate(xs):
        others = (*x.shape[:axis], *x.shape[axis + 1 :])
        if len(others) != len(beside) or not all(map(same_size, others, beside)):
            raise ShapeError(
                f"tensor {i} has shape {show(x.shape)}, tensor 0 {show(first.shape)}; all sizes "
                f"but that of axis {axis} must be equal"
            )
        total = total + x.shape[axis]
    return Type((*beside[:axis], total, *beside[axis:]), first.dtype)


@op(infer=_infer_concat, promote=True)
def _concat(*xs, axis):
    """Tensors one after the other along `axis`. ONNX: Concat."""
    return kernels.concat(xs, axis)


_concat.shortcut = lambda *xs, axis: kernels.concat_of([x.shape for x in xs], xs[0].dtype, axis)


@_concat.vjp("xs")
def _(g, *, xs_shape, axis):
    return apply(_split, (g,), (tuple([s[axis] for s in xs_shape]), axis))


@_concat.fused_vjp("xs")
def _(g, *, xs_shape, axis):
    return kernels.split(g, [s[axis] for s in xs_shape], axis)


def concat(x: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors along an axis they already have; dtypes are promoted.

    Args:
        x: tensors of equal shape except along `axis`.
        axis: the axis along which sizes add up.
    """
    tensors = list(x)
    if not tensors:
        raise AttributeValueError("concat needs at least one tensor, got an empty list")
    return apply(_concat, tuple(tensors), (axis_of(axis, rank_of(tensors[0]) or 1),))


def _infer_stack(*xs: Type, axis: int) -> Type:
    first = xs[0].shape
    for i, x in enumerate(xs):
        if len(x.shape) != len(first) or not all(map(same_size, x.shape, first)):
            raise ShapeError(
                f"tensor {i} has shape {show(x.shape)}, tensor 0 {show(first)}; tensors that are "
                "stacked have one shape"
            )
    return Type((*first[:axis], len(xs), *first[axis:]), xs[0].dtype)


@op(infer=_infer_stack, promote=True)
def _stack(*xs, axis):
    """Tensors one after the other along a new axis. ONNX: Unsqueeze, Concat."""
    return kernels.stack(xs, axis)


_stack.shortcut = lambda *xs, axis: kernels.stack_of(xs[0].shape, xs[0].dtype, len(xs), axis)


@_stack.vjp("xs")
def _(g, *, axis):
    return list(_unbind(g, axis=axis))


@_stack.fused_vjp("xs")
def _(g, *, axis):
    return kernels.unbind(g, axis)


def stack(x: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors of equal shape along a new axis."""
    tensors = list(x)
    if not tensors:
        raise AttributeValueError("stack needs at least one tensor, got an empty list")
    return apply(_stack, tuple(tensors), (axis_of(axis, rank_of(tensors[0]) + 1),))


def hstack(x: Sequence[Tensor]) -> Tensor:
    """Join along the second axis (the first for vectors)."""
    tensors = [_reshape(v, shape=(1,)) if v.ndim == 0 else v for v in x]
    return concat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(x: Sequence[Tensor]) -> Tensor:
    """Join along the first axis; vectors count as rows."""
    return concat([_reshape(v, shape=(1, *(v.shape or [1]))) if v.ndim < 2 else v for v in x], 0)


def _infer_split(x: Type, *, sizes: tuple[Any, ...], axis: int) -> list[Type]:
    if not same_size(sum(sizes[1:], sizes[0]), x.shape[axis]):
        raise ShapeError(
            f"sections {show(sizes)} do not add up to size {x.shape[axis]} of axis {axis} of "
            f"{show(x.shape)}"
        )
    return [Type((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in sizes]


@op(infer=_infer_split, outputs=("outs",), public=None, view=True)
def _split(x, *, sizes, axis):
    """Consecutive parts of the given sizes along `axis`. ONNX: Split."""
    return kernels.split(x, sizes, axis)


@_split.vjp("x")
def _(g, *, axis):
    return _concat(*g, axis=axis)


@_split.fused_vjp("x")
def _(g, *, axis):
    return kernels.concat(g, axis)


@_split.writes
def _(base, value, *, sizes, axis, index):
    parts = list(_split(base, sizes=sizes, axis=axis))
    parts[index] = value
    return _concat(*parts, axis=axis)


def sections_of(x: Tensor, num_or_sections: Any, axis: int) -> tuple[Any, ...]:
    """The sizes of so many equal parts of an axis, or the given ones, of which one may be -1."""
    size = x.shape[axis]
    if isinstance(num_or_sections, int):
        if num_or_sections < 1 or not same_size(size % num_or_sections, 0):
            raise ShapeError(
                f"axis {axis} of {show(x.shape)} cannot be cut into {num_or_sections} equal parts"
            )
        return (size // num_or_sections,) * num_or_sections
    sections = sizes_of(num_or_sections)
    rest = [i for i, n in enumerate(sections) if isinstance(n, int) and n == -1]
    if len(rest) == 1:
        known = sum(n for i, n in enumerate(sections) if i != rest[0])
        sections = tuple(size - known if i == rest[0] else n for i, n in enumerate(sections))
    return sections


def split(x: Tensor, num_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Cut along an axis into equal parts or into parts of given sizes, which are copies.

    Args:
        x: a tensor.
        num_or_sections: number of equal parts, or a list of sizes of which one may be -1: the rest.
        axis: which is cut.

    Raises:
        ShapeError: the parts do not add up to the size of the axis.
    """
    axis = axis_of(axis, rank_of(x))
    return _unlinked(_split(x, sizes=sections_of(x, num_or_sections, axis), axis=axis))


def parts(x: Tensor, sizes: Sequence[Any], axis: int) -> tuple[Tensor, ...]:
    """`split` into parts of given sizes that are views, as PyTorch has it."""
    axis = axis_of(axis, x.ndim)
    return _split(x, sizes=sections_of(x, sizes, axis), axis=axis)


def _unlinked(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, no longer views of another one: values are never changed in place."""
    for tensor in tensors:
        tensor._alias = None
    return list(tensors)


def chunk(x: Tensor, chunks: int, axis: int = 0) -> list[Tensor]:
    """Cut along an axis into at most `chunks` parts, all of one size but perhaps the last."""
    axis = axis_of(axis, rank_of(x))
    size = x.shape[axis]
    if isinstance(size, Dim):
        return split(x, chunks, axis)
    step = max(1, -(-size // chunks))
    return split(x, [min(step, size - at) for at in range(0, size, step)] or [0], axis)


def _infer_unbind(x: Type, *, axis: int) -> list[Type]:
    part = Type((*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype)
    return [part] * x.shape[axis].__index__()


@op(infer=_infer_unbind, outputs=("outs",), public=None, view=True)
def _unbind(x, *, axis):
    """The slices along `axis`, without it. ONNX: Split, Squeeze."""
    return kernels.unbind(x, axis)


_unbind.shortcut = lambda x, axis: kernels.unbind_of(x.shape, axis)


@_unbind.vjp("x")
def _(g, *, axis):
    return _stack(*g, axis=axis)


@_unbind.fused_vjp("x")
def _(g, *, axis):
    return kernels.stack(g, axis)


@_unbind.writes
def _(base, value, *, axis, index):
    before = (("slice", None, None, None),) * axis
    return OPS["setitem"](base, value, index=(*before, ("int", index)))


def unstack(x: Tensor, axis: int = 0, num: int | None = None) -> list[Tensor]:
    """Copies of the slices of x along an axis; `num`, how many there are, may be given."""
    return _unlinked(unbind(x, axis))


def unbind(x: Tensor, axis: int = 0) -> list[Tensor]:
    """The slices along an axis, without that axis (views). Its size must be static."""
    axis = axis_of(axis, x.ndim)
    return list(apply(_unbind, (x,), (axis,))) if x.shape[axis].__index__() else []


# ---- repeat ------------------------------------------------------------------------------------


def _infer_expand(x: Type, *, shape: tuple[Any, ...]) -> Type:
    if len(shape) < len(x.shape):
        raise ShapeError(f"{show(x.shape)} cannot be expanded to the fewer axes of {show(shape)}")
    if any(isinstance(n, int) and n < 0 for n in shape) or any(
        not (isinstance(a, int) and a == 1) and not same_size(a, b)
        for a, b in zip(reversed(x.shape), reversed(shape), strict=False)
    ):
        raise ShapeError(f"{show(x.shape)} cannot be expanded to {show(shape)}: sizes do not fit")
    return Type(shape, x.dtype)


@op(infer=_infer_expand)
def _expand(x, *, shape):
    """x repeated along axes where it has size 1, and along new leading axes. ONNX: Expand."""
    return np.broadcast_to(x, shape)


@_expand.vjp("x")
def _(g, *, x_shape):
    return OPS["sum_to"](g, shape=x_shape)


@_expand.fused_vjp("x")
def _(g, *, x_shape):
    return sum_to(g, x_shape)


def expand(x: Tensor, shape: Any) -> Tensor:
    """Repeat along axes of size 1 and along new leading axes; -1 keeps a size."""
    old, new = shape_of(x), sizes_of(shape)
    lead = len(new) - len(old)
    sizes = [
        old[i - lead] if n.__class__ is int and n == -1 and i >= lead else n
        for i, n in enumerate(new)
    ]
    return apply(_expand, (x,), (tuple(sizes),))


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """Same as `expand`."""
    return expand(x, shape)


def expand_as(x: Tensor, y: Tensor) -> Tensor:
    """`expand` to the shape of `y`."""
    return _expand(x, shape=tuple(y.shape))


def broadcast_tensors(inputs: Sequence[Tensor]) -> list[Tensor]:
    """All tensors expanded to their common shape."""
    shape = broadcast_shapes(*(tuple(x.shape) for x in inputs))
    return [_expand(x, shape=shape) for x in inputs]


# ---- flip, roll --------------------------------------------------------------------------------


@op(infer=lambda x, *, axes: x)
def _flip(x, *, axes):
    """Elements in reverse order along the given axes. ONNX: Slice with step -1."""
    return np.flip(x, axes)


@_flip.vjp("x")
def _(g, *, axes):
    return _flip(g, axes=axes)


@_flip.fused_vjp("x")
def _(g, *, axes):
    return np.flip(g, axes)


def flip(x: Tensor, axis: Any) -> Tensor:
    """Reverse the order of elements along one axis or several."""
    axes = axes_of(axis, rank_of(x) or 1)
    return apply(_flip, (x,), (axes if x.ndim else (),))


@op(infer=lambda x, *, cut, axis: x)
def _roll(x, *, cut, axis):
    """What lies from `cut` on along an axis, then what lies before. ONNX: Split, Concat."""
    return rolled(x, cut, axis)


@_roll.vjp("x")
def _(g, *, x_shape, cut, axis):
    return _roll(g, cut=x_shape[axis] - cut, axis=axis)


def roll(x: Tensor, shifts: Any, axis: Any = None) -> Tensor:
    """Shift elements along axes; what leaves at one end comes in at the other."""
    if axis is None:
        row = roll(_reshape(x, shape=(product(x.shape),)), shifts, 0)
        return _unlinked([_reshape(row, shape=tuple(x.shape))])[0]
    places, axes = sizes_of(shifts), sizes_of(axis)
    if len(places) != len(axes):
        raise AttributeValueError(f"roll: {shifts} must be a number of places for each of {axis}")
    moved = x
    for shift, a in zip(places, axes, strict=True):
        a = axis_of(a, rank_of(x))
        size = x.shape[a]
        if isinstance(size, int) and size == 0:
            continue
        cut = (size - shift) % maximum(1, size)
        if isinstance(cut, int) and cut == 0:
            continue
        moved = _roll(moved, cut=cut, axis=a)
    return OPS["clone"](x) if moved is x else moved


def rot90(x: Tensor, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """Rotate by k quarter turns in the plane of two axes, from the first towards the second."""
    a, b = (axis_of(i, x.ndim) for i in axes)
    k %= 4
    if k == 2:
        return _flip(x, axes=tuple(sorted((a, b))))
    if k == 1:
        return swapaxes(apply(_flip, (x,), ((b,),)), a, b)
    return apply(_flip, (swapaxes(x, a, b),), ((b,),)) if k == 3 else OPS["clone"](x)


__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "chunk",
    "concat",
    "expand",
    "expand_as",
    "flip",
    "hstack",
    "roll",
    "rot90",
    "split",
    "stack",
    "unbind",
    "unstack",
    "vstack",
]
