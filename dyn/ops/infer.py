"""Shape and dtype rules that ops share, and the arguments helpers to write more of them.

Everything here works on sizes that are ints or symbolic (`Dim`): compare with `same_size`, never
test `size == 1` for broadcasting by hand. Errors are raised here and in `infer` functions only.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dyn.core.dim import Dim, expr_of, make
from dyn.core.dtype import BOOL, I64, as_numpy, default_float, is_float, is_inexact, rank
from dyn.core.errors import AttributeValueError, DTypeError, IndexRangeError, ShapeError
from dyn.core.expr import Expr, decide
from dyn.core.op import Type
from dyn.core.tensor import Tensor

Shape = tuple[Any, ...]


def show(shape: Sequence[Any]) -> str:
    """A shape as it is printed in messages: `[2, N, 3]`."""
    return "[" + ", ".join(str(size) for size in shape) + "]"


def same_size(a: Any, b: Any) -> bool:
    """Whether two sizes are equal, as an op needs them to be.

    Between symbolic sizes that may differ this is a guard, also where they depend on values.
    """
    if isinstance(a, Dim):
        return a.fits(b)
    return b.fits(a) if isinstance(b, Dim) else bool(a == b)


def same_shape(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two shapes are equal, as an op needs them to be: `same_size` of every axis."""
    return len(a) == len(b) and all(map(same_size, a, b))


def need_one_shape(what: str, x: Any, label: Any) -> None:
    """Raise unless tensors of a loss have one shape, which is of each element and its label.

    Scores [N, 1] beside labels [N] would broadcast to [N, N]: a loss of all pairs.

    Args:
        what: loss and name of `x`, which the message begins with.
    """
    if not same_shape(x.shape, label.shape):
        raise ShapeError(
            f"{what} {list(x.shape)} and label {list(label.shape)} must have one shape; reshape() "
            "or expand() one of them"
        )


def whole_beside_sizes(numbers: list[Any]) -> list[Any]:
    """Numbers of a range, the floats among them as ints if one is a dynamic size.

    Raises:
        AttributeValueError: a float beside a dynamic size is no whole number.
    """
    if not any(isinstance(n, Dim) for n in numbers):
        return numbers
    for n in numbers:
        if isinstance(n, float) and not n.is_integer():
            raise AttributeValueError(
                f"a range between dynamic sizes goes in whole numbers, got {n}; make one of whole "
                "numbers and multiply it or add to it"
            )
    return [int(n) if isinstance(n, float) else n for n in numbers]


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The common shape after numpy's broadcasting. A symbolic size beside 1 stays symbolic."""
    ndim = max(len(shape) for shape in shapes)
    out: list[Any] = []
    for axis in range(-ndim, 0):
        size: Any = 1
        for shape in shapes:
            if -axis > len(shape):
                continue
            n = shape[axis]
            if isinstance(n, int) and n == 1:
                continue
            if isinstance(size, int) and size == 1:
                size = n
            elif not same_size(size, n):
                listed = " and ".join(show(s) for s in shapes)
                raise ShapeError(
                    f"shapes {listed} do not broadcast: sizes {size} and {n} at axis {axis} "
                    "differ and neither is 1"
                )
        out.append(size)
    return tuple(out)


def same(x: Type, **attrs: Any) -> Type:
    """One tensor in, the same shape and dtype out."""
    return x


def broadcast(*types: Type, **attrs: Any) -> Type:
    """Operands of one dtype that broadcast (dispatch has promoted them)."""
    return Type(broadcast_shapes(*(t.shape for t in types)), types[0].dtype)


def compared(*types: Type, **attrs: Any) -> Type:
    """Operands that broadcast, booleans out."""
    return Type(broadcast_shapes(*(t.shape for t in types)), BOOL)


def floating(x: Type, **attrs: Any) -> Type:
    """One tensor in, same shape out; integers become the default floating-point dtype."""
    return Type(x.shape, x.dtype if is_inexact(x.dtype) else default_float())


def need_float(name: str, x: Type) -> None:
    """Raise DTypeError unless `x` is floating point (or complex)."""
    if not is_inexact(x.dtype):
        raise DTypeError(f"{name} must be floating point, got {x.dtype.name}; cast() it first")


def need_int(name: str, x: Type) -> None:
    """Raise DTypeError unless `x` holds integers."""
    if rank(x.dtype) != 1:
        raise DTypeError(f"{name} must be an integer tensor, got {x.dtype.name}; cast() it first")


def need_same_dtype(**types: Type | None) -> None:
    """Raise DTypeError unless all present types have one dtype."""
    present = {name: t.dtype for name, t in types.items() if t is not None}
    if len(set(present.values())) > 1:
        listed = ", ".join(f"{name} is {dtype.name}" for name, dtype in present.items())
        raise DTypeError(f"all must have one dtype, but {listed}; cast() one of them")


def need_rank(name: str, x: Type, *ranks: int) -> None:
    """Raise ShapeError unless `x` has one of the given numbers of axes."""
    if len(x.shape) not in ranks:
        wanted = " or ".join(str(r) for r in ranks)
        raise ShapeError(f"{name} must have {wanted} axes, got shape {show(x.shape)}")


def need_shape(name: str, x: Type | None, *shape: Any) -> None:
    """Raise ShapeError unless `x` is absent or has exactly this shape."""
    if x is not None and (
        len(x.shape) != len(shape)
        or not all(same_size(a, b) for a, b in zip(x.shape, shape, strict=True))
    ):
        raise ShapeError(f"{name} must have shape {show(shape)}, got {show(x.shape)}")


def whole(name: str, value: Any) -> Any:
    """An int or a Dim from what counts as one: numpy's integers, tensors of one; 2.0 does not."""
    if value.__class__ is int or isinstance(value, Dim):
        return value
    if isinstance(value, Tensor):
        value = value.item()
        if isinstance(value, Dim):
            return value
    if isinstance(value, (bool, float)) or not hasattr(value, "__index__"):
        raise DTypeError(f"{name} is an integer, got {value!r}")
    return operator.index(value)


def as_numbers(value: Any) -> Any:
    """The numbers in an argument that is a tensor; what is none, as it is."""
    return value.tolist() if isinstance(value, Tensor) else value


def need_whole(**values: Any) -> None:
    """Raise DTypeError unless all are integers."""
    for name, value in values.items():
        whole(name, value)


def axis_of(axis: Any, ndim: int) -> int:
    """An axis counted from the front; IndexRangeError when there is no such axis."""
    if axis.__class__ is int and -ndim <= axis < ndim:
        return axis % ndim
    axis = as_numbers(axis)
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        raise DTypeError(f"an axis is an integer, got {axis!r}")
    if not ndim:
        raise IndexRangeError(f"axis {axis} is out of range: a 0-d tensor has no axes")
    if not -ndim <= axis < ndim:
        raise IndexRangeError(
            f"axis {axis} is out of range for {ndim} axes ({-ndim} to {ndim - 1} are possible)"
        )
    return int(axis) % ndim


def axes_of(axes: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, each once, ascending; None means all."""
    if axes is None:
        return tuple(range(ndim))
    if axes.__class__ is int and -ndim <= axes < ndim:
        return (axes % ndim,)
    axes = as_numbers(axes)
    listed = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    found = sorted(axis_of(a, ndim) for a in listed)
    if len(set(found)) != len(found):
        raise AttributeValueError(f"axes {listed} name one axis twice")
    return tuple(found)


def reduced_axes(axes: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes that a reduction is over: None means all, and so does an empty list.

    A number is reduced over nothing, and called axis 0 or -1 that as well.
    """
    if not ndim:
        axes_of(axes, 1)
        return ()
    return axes_of(axes, ndim) or tuple(range(ndim))


def need_elements(x: Type, axes: Sequence[int]) -> None:
    """Raise unless each axis that an extreme is sought along has elements."""
    for axis in axes:
        if isinstance(x.shape[axis], int) and x.shape[axis] == 0:
            raise ShapeError(
                f"axis {axis} of {show(x.shape)} has size 0: among no elements none is the largest "
                "or smallest"
            )


def need_pixels(x: Type) -> None:
    """Raise unless each spatial axis, from the third on, has elements to be read."""
    for axis, size in enumerate(x.shape[2:], 2):
        if isinstance(size, int) and size == 0:
            raise ShapeError(f"axis {axis} of {show(x.shape)} has size 0: there is nothing to read")


def reduced_shape(shape: Shape, axes: tuple[int, ...], *, keepdims: bool) -> Shape:
    """The shape after reducing over `axes` (counted from the front)."""
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def infer_extreme(x: Type, *, axes: tuple[int, ...], keepdims: bool, **attrs: Any) -> Type:
    """The largest or smallest elements over axes, none of which may be empty."""
    need_elements(x, axes)
    return Type(reduced_shape(x.shape, axes, keepdims=keepdims), x.dtype)


def infer_resized(x: Type, *, sizes: Sequence[Any], **attrs: Any) -> Type:
    """Images [N, C, ...] of at least one pixel, with other spatial sizes."""
    need_float("x", x)
    need_rank("x", x, len(sizes) + 2)
    need_pixels(x)
    return Type((*x.shape[:2], *sizes), x.dtype)


def product(sizes: Sequence[Any]) -> Any:
    """Product of sizes; 1 of none."""
    total: Any = 1
    for n in sizes:
        total = total * n
    return total


def window(
    size: Any, kernel: Any, stride: int, low: Any, high: Any, dilation: int, *, ceil: bool
) -> Any:
    """Number of positions of a sliding window along one axis.

    (size + low + high - dilation * (kernel - 1) - 1) / stride + 1, rounded down, or up with `ceil`
    (then a window that would start in the far padding is dropped).
    Source: Dumoulin & Visin, arXiv 1603.07285, relationship 15.
    """
    span = size + low + high - (dilation * (kernel - 1) + 1)
    if not ceil:
        return span // stride + 1
    out = -(-span // stride) + 1
    if isinstance(out, int) and (out - 1) * stride >= size + low:
        out -= 1
    return out


__all__ = [
    "BOOL",
    "I64",
    "Dim",
    "Expr",
    "Shape",
    "Type",
    "as_numpy",
    "axes_of",
    "axis_of",
    "broadcast",
    "broadcast_shapes",
    "compared",
    "decide",
    "expr_of",
    "floating",
    "is_float",
    "make",
    "need_float",
    "need_int",
    "need_pixels",
    "need_rank",
    "need_same_dtype",
    "need_shape",
    "need_whole",
    "product",
    "reduced_shape",
    "same",
    "same_size",
    "show",
    "whole",
    "window",
]
