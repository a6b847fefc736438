"""Tensors made from numbers and sizes."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from dyn.core.dispatch import dtype_attr
from dyn.core.dim import Dim
from dyn.core.dtype import default_float
from dyn.core.errors import AttributeValueError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.ops.infer import Type, as_numpy, same
from dyn.ops.shape import sizes_of


def _infer_full(*, shape: tuple[Any, ...], value: Any, dtype: str) -> Type:
    for size in shape:
        if isinstance(size, int) and size < 0:
            raise AttributeValueError(f"a shape has no negative sizes, got {list(shape)}")
    return Type(shape, as_numpy(dtype))


@op(infer=_infer_full, differentiable=False)
def _full(*, shape, value, dtype):
    """A tensor of one number. ONNX: ConstantOfShape."""
    return np.full(shape, value, as_numpy(dtype))


def _infer_full_like(x: Type, *, value: Any, dtype: str) -> Type:
    return Type(x.shape, as_numpy(dtype))


@op(infer=_infer_full_like, differentiable=False)
def _full_like(x, *, value, dtype):
    """A tensor of one number in the shape of x. ONNX: Shape, ConstantOfShape."""
    return np.full_like(x, value, as_numpy(dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor of the given shape with every element `fill_value`.

    Args:
        shape: sizes, or a size.
        fill_value: a number.
        dtype: by default that of the number: bool, int64, or the default floating point.
    """
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if dtype is None:
        kinds = {builtins.bool: "bool", builtins.int: "int64", complex: "complex64"}
        dtype = kinds.get(type(fill_value), default_float())
    return _full(shape=sizes_of(shape), value=fill_value, dtype=dtype_attr(dtype))


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of zeros; of the default floating-point dtype unless `dtype` is given."""
    return full(shape, 0.0, dtype or default_float())


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of ones; of the default floating-point dtype unless `dtype` is given."""
    return full(shape, 1.0, dtype or default_float())


def full_like(x: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor of one number in the shape and, unless `dtype` is given, the dtype of `x`."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    return _full_like(x, value=fill_value, dtype=dtype_attr(dtype or x.dtype))


@op(infer=same, differentiable=False)
def _zeros_like(x):
    """Zeros in the shape and dtype of x. ONNX: Shape, ConstantOfShape."""
    return np.zeros_like(x)


@op(infer=same, differentiable=False)
def _ones_like(x):
    """Ones in the shape and dtype of x. ONNX: Shape, ConstantOfShape."""
    return np.ones_like(x)


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Zeros in the shape and, unless `dtype` is given, the dtype of `x`."""
    return _zeros_like(x) if dtype is None else full_like(x, 0, dtype)


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Ones in the shape and, unless `dtype` is given, the dtype of `x`."""
    return _ones_like(x) if dtype is None else full_like(x, 1, dtype)


def _infer_arange(*, start: Any, stop: Any, step: Any, dtype: str) -> Type:
    if isinstance(step, (int, float)) and step == 0:
        raise AttributeValueError("the step of arange must not be 0")
    if any(isinstance(v, Dim) for v in (start, stop, step)):
        count = -((start - stop) // step)
    else:
        count = max(0, math.ceil((stop - start) / step))
    return Type((count,), as_numpy(dtype))


@op(infer=_infer_arange, differentiable=False)
def _arange(*, start, stop, step, dtype):
    """start, start + step, ... below stop. ONNX: Range."""
    return np.arange(start, stop, step).astype(as_numpy(dtype))


def arange(start: Any = 0, end: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """Numbers from `start` (0 if only one number is given) up to but without `end`.

    Args:
        start, end, step: numbers; sizes of a traced model may be given.
        dtype: by default int64, or the default floating point if one of the numbers is a float.
    """
    if end is None:
        start, end = 0, start
    given = [v.item() if isinstance(v, Tensor) else v for v in (start, end, step)]
    if dtype is None:
        dtype = default_float() if any(isinstance(v, float) for v in given) else np.int64
    return _arange(start=given[0], stop=given[1], step=given[2], dtype=dtype_attr(dtype))
