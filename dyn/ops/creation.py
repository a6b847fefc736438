"""Tensors made from numbers and sizes, and those that only copy or describe another.

Unit matrices, triangles and diagonals are in `matrix.py`, random tensors in `random.py`.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.core.dim import Dim, expr_of, maximum
from dyn.core.dispatch import apply, dtype_attr
from dyn.core.dtype import I64, default_float, is_float
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.expr import decide
from dyn.core.op import freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import ranges
from dyn.kernels.copy import filled
from dyn.kernels.one_hot import one_hot as one_hot_rows
from dyn.ops.compare import less_than
from dyn.ops.elementwise import add, multiply, subtract
from dyn.ops.index import where
from dyn.ops.infer import Type, as_numpy, need_int, same, show, whole_beside_sizes
from dyn.ops.join import expand
from dyn.ops.shape import reshape, sizes_of
from dyn.ops.unary import cast


def to_tensor(
    data: Any, dtype: Any = None, place: Any = None, stop_gradient: bool = True
) -> Tensor:
    """A tensor with a copy of `data`.

    Args:
        data: numbers, nested lists, arrays or tensors. Python floats become the default dtype,
            ints int64; arrays keep their dtype.
        dtype: an element type to convert to.
        place: only the CPU exists.
        stop_gradient: False for a leaf that wants a gradient.
    """
    return Tensor(data, dtype=dtype, place=place, stop_gradient=stop_gradient)


# ---- one number --------------------------------------------------------------------------------


def need_sizes(shape: tuple[Any, ...]) -> None:
    """Raise ShapeError if a size is negative."""
    if any(isinstance(size, int) and size < 0 for size in shape):
        raise ShapeError(f"a shape has no negative sizes, got {show(shape)}")


def _infer_full(*, shape: tuple[Any, ...], value: Any, dtype: str) -> Type:
    need_sizes(shape)
    return Type(shape, as_numpy(dtype))


@op(infer=_infer_full, differentiable=False)
def _full(*, shape, value, dtype):
    """A tensor of one number. ONNX: ConstantOfShape."""
    return filled(shape, value, as_numpy(dtype))


_full.shortcut = lambda shape, value, dtype: ranges.full_of(shape, value, as_numpy(dtype))


def _infer_full_like(x: Type, *, value: Any, dtype: str) -> Type:
    return Type(x.shape, as_numpy(dtype))


@op(infer=_infer_full_like, differentiable=False)
def _full_like(x, *, value, dtype):
    """A tensor of one number in the shape of x. ONNX: Shape, ConstantOfShape."""
    return filled(x.shape, value, as_numpy(dtype))


@op(infer=same, differentiable=False)
def _zeros_like(x):
    """Zeros in the shape and dtype of x. ONNX: Shape, ConstantOfShape."""
    return filled(x.shape, 0, x.dtype)


@op(infer=same, differentiable=False)
def _ones_like(x):
    """Ones in the shape and dtype of x. ONNX: Shape, ConstantOfShape."""
    return filled(x.shape, 1, x.dtype)


_KINDS = {builtins.bool: "bool", complex: "complex128"}


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor with every element `fill_value`.

    Args:
        shape: sizes, or one size.
        fill_value: a number, or a tensor of one element (then the gradient reaches it).
        dtype: by default bool of a boolean, complex128 of a complex number, and the default
            floating point of any other number, integers included, as in Paddle.

    Raises:
        ShapeError: a size is negative.
    """
    if isinstance(fill_value, Tensor):
        value = fill_value if dtype is None else cast(fill_value, dtype)
        return expand(reshape(value, []), sizes_of(shape))
    if isinstance(fill_value, Dim):
        return full(shape, fill_value.scope.lift(fill_value), dtype or default_float())
    if dtype is None:
        dtype = _KINDS.get(type(fill_value), default_float())
    return apply(_full, (), (sizes_of(shape), freeze(fill_value), dtype_attr(dtype)))


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of zeros; of the default floating-point dtype unless `dtype` is given."""
    return full(shape, 0, default_float() if dtype is None else dtype)


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of ones; of the default floating-point dtype unless `dtype` is given."""
    return full(shape, 1, default_float() if dtype is None else dtype)


def empty(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor whose elements do not matter; they are zeros, here and in an exported file."""
    return zeros(shape, dtype)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor of one number in the shape and, unless `dtype` is given, the dtype of `x`."""
    dtype = x._read().dtype if dtype is None else dtype
    if isinstance(fill_value, (Tensor, Dim)):
        return full(x.shape, fill_value, dtype)
    return _full_like(x, value=fill_value, dtype=dtype_attr(dtype))


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Zeros in the shape and, unless `dtype` is given, the dtype of `x`."""
    return _zeros_like(x) if dtype is None else full_like(x, 0, dtype)


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Ones in the shape and, unless `dtype` is given, the dtype of `x`."""
    return _ones_like(x) if dtype is None else full_like(x, 1, dtype)


def empty_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Zeros in the shape of `x`: what `empty` gives."""
    return zeros_like(x, dtype)


# ---- ranges ------------------------------------------------------------------------------------


def _infer_arange(*, start: Any, stop: Any, step: Any, dtype: str) -> Type:
    if isinstance(step, (int, float)) and step == 0:
        raise AttributeValueError("the step must not be 0")
    if any(isinstance(v, Dim) for v in (start, stop, step)):
        count = -((start - stop) // step)
        ahead = start - stop if isinstance(step, int) and step < 0 else stop - start
        # Rounded counts tell nothing of their sign: what cannot be empty is told by the span.
        filled = not isinstance(step, Dim) and decide(expr_of(ahead), ">=")
        return Type((count if filled else maximum(0, count),), as_numpy(dtype))
    return Type((max(0, math.ceil((stop - start) / step)),), as_numpy(dtype))


@op(infer=_infer_arange, differentiable=False)
def _arange(*, start, stop, step, dtype):
    """start, start + step, ... below stop. ONNX: Range."""
    wanted = as_numpy(dtype)
    if wanted == I64 and type(start) is type(stop) is type(step) is int:
        return ranges.arange(max(0, -((start - stop) // step)), start, step)
    return np.arange(start, stop, step).astype(wanted, copy=False)


def _counting(*, start: Any, stop: Any, step: Any, dtype: str) -> Callable[[], np.ndarray] | None:
    whole = dtype == "int64" and type(start) is type(stop) is type(step) is int
    return ranges.arange_of(max(0, -((start - stop) // step)), start, step) if whole else None


_arange.shortcut = _counting


def arange(start: Any = 0, end: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """Numbers from `start` (0 if only one number is given) up to but without `end`.

    Args:
        start, end, step: numbers, tensors of one element, or sizes of a traced model.
        dtype: by default int64, or the default floating point if one of the numbers is a float.

    Raises:
        AttributeValueError: the step is 0.
    """
    if end is None:
        start, end = 0, start
    if dtype is None and start.__class__ is end.__class__ is step.__class__ is int:
        return apply(_arange, (), (start, end, step, "int64"))
    given = [v.item() if isinstance(v, Tensor) else v for v in (start, end, step)]
    if dtype is None:
        dtype = default_float() if any(isinstance(v, float) for v in given) else I64
    return apply(_arange, (), (*map(freeze, whole_beside_sizes(given)), dtype_attr(dtype)))


def _infer_linspace(*, start: float, stop: float, num: Any, dtype: str) -> Type:
    if isinstance(num, int) and num < 1:
        raise AttributeValueError(f"num must be at least 1, got {num}")
    return Type((num,), as_numpy(dtype))


@op(infer=_infer_linspace, differentiable=False)
def _linspace(*, start, stop, num, dtype):
    """Numbers at equal distances, from both ends to the middle. ONNX: Range, Mul, Add, Where."""
    wanted = as_numpy(dtype)
    work = wanted if wanted.itemsize > 2 and is_float(wanted) else np.dtype(np.float64)
    return ranges.linspace(num, start, stop, work).astype(wanted, copy=False)


_linspace.shortcut = lambda start, stop, num, dtype: (
    ranges.linspace_of(num, start, stop, as_numpy(dtype)) if dtype in ranges.SPREAD_NAMES else None
)


def linspace(start: Any, stop: Any, num: Any, dtype: Any = None) -> Tensor:
    """`num` numbers at equal distances from `start` to `stop`, both included.

    Args:
        start, stop: numbers or tensors of one element.
        num: how many, at least 1.
        dtype: by default the default floating point.

    Raises:
        AttributeValueError: num is below 1.
    """
    (num,) = sizes_of(num)
    wanted = as_numpy(default_float() if dtype is None else dtype)
    if not isinstance(start, (Tensor, Dim)) and not isinstance(stop, (Tensor, Dim)):
        ends = freeze(float(start)), freeze(float(stop))
        return apply(_linspace, (), (*ends, num, dtype_attr(wanted)))
    if isinstance(num, int) and num < 1:
        raise AttributeValueError(f"num must be at least 1, got {num}")
    work = wanted if is_float(wanted) else np.dtype(np.float64)
    count = _arange(start=0, stop=num, step=1, dtype=work.name)
    if isinstance(num, int) and num == 1:
        return cast(add(multiply(count, 0), start), wanted)
    # A size that turns out as 1 leaves no distance to divide.
    step = (stop - start) / maximum(num - 1, 1)
    # From both ends to the middle, so that the last number is exactly `stop`.
    rising = add(multiply(count, step), start)
    falling = add(multiply(subtract(count, num - 1), step), stop)
    return cast(where(less_than(count, num / 2), rising, falling), wanted)


# ---- from indices ------------------------------------------------------------------------------


def _infer_one_hot(x: Type, *, classes: Any, dtype: str) -> Type:
    need_int("x", x)
    return Type((*x.shape, classes), as_numpy(dtype))


@op(infer=_infer_one_hot, differentiable=False)
def _one_hot(x, *, classes, dtype):
    """A vector of zeros with a one at position x, along a new last axis. ONNX: OneHot."""
    return one_hot_rows(x, classes, as_numpy(dtype))


def sequence_mask(x: Tensor, maxlen: Any = None, dtype: Any = "int64") -> Tensor:
    """1 where the last axis, of size `maxlen`, is below the length that x says, else 0.

    Args:
        x: integers, any shape.
        maxlen: size of the last axis; by default the largest length.
        dtype: of the result.
    """
    size = int(x.max()) if maxlen is None else maxlen
    return cast(less_than(arange(size), x.unsqueeze(-1)), dtype)


def is_empty(x: Tensor) -> Tensor:
    """Whether there are no elements, 0-d."""
    return full([], numel(x) == 0, "bool")


def tolist(x: Tensor) -> Any:
    """The elements as nested lists."""
    return x.tolist()


def one_hot(x: Tensor, num_classes: Any, dtype: Any = None) -> Tensor:
    """Each integer as a vector of zeros with a one at its position.

    Args:
        x: integers in [0, num_classes), any shape.
        num_classes: length of the vectors.
        dtype: of the vectors; the default floating-point dtype unless given.

    Returns:
        x's shape and a last axis of size num_classes.

    Raises:
        IndexRangeError: an integer lies outside [0, num_classes).
    """
    (classes,) = sizes_of(num_classes)
    wanted = default_float() if dtype is None else dtype
    return apply(_one_hot, (x,), (classes, dtype_attr(wanted)))


# ---- the same again ----------------------------------------------------------------------------


@op(infer=same)
def clone(x):
    """x as a tensor of its own. ONNX: Identity."""
    return x.view()


@clone.vjp("x")
def _(g):
    return g


def assign(x: Any, output: Tensor | None = None) -> Tensor:
    """A copy of x; with `output`, that tensor gets the value (as state: no gradient flows).

    Args:
        x: a tensor, an array, numbers or lists.
        output: a tensor to write to; any shape, also one that has no value yet.
    """
    value = clone(x if isinstance(x, Tensor) else Tensor(x))
    if output is None:
        return value
    output._assign(value)
    return output


# ---- sizes as tensors --------------------------------------------------------------------------


@op(infer=lambda x: Type((len(x.shape),), I64), differentiable=False)
def shape(x):
    """The sizes of x as an int64 vector. ONNX: Shape."""
    return np.array(x.shape, np.int64)


@op(infer=lambda x: Type((), I64), differentiable=False)
def numel(x):
    """The number of elements of x as a 0-d int64. ONNX: Size."""
    return np.array(x.size, np.int64)


def from_dlpack(x: Any) -> Tensor:
    """A tensor of the values of any object with `__dlpack__`, such as an array of another package.

    They are copied: the other side may be written to afterwards.
    """
    return Tensor._of(np.array(np.from_dlpack(x)))


def is_tensor(x: Any) -> bool:
    """Whether `x` is a Tensor."""
    return isinstance(x, Tensor)


def rank(input: Tensor) -> Tensor:
    """The number of axes as a 0-d int32 tensor."""
    return full([], input.ndim, "int32")


__all__ = [
    "arange",
    "assign",
    "clone",
    "empty",
    "empty_like",
    "from_dlpack",
    "full",
    "full_like",
    "is_empty",
    "is_tensor",
    "linspace",
    "numel",
    "one_hot",
    "ones",
    "ones_like",
    "rank",
    "sequence_mask",
    "shape",
    "to_tensor",
    "tolist",
    "zeros",
    "zeros_like",
]
