"""Comparisons of elements, which give booleans, and logic on booleans and bits."""

from __future__ import annotations

from typing import Any

from dyn.core.dtype import BOOL, rank
from dyn.core.errors import DTypeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import add, multiply, subtract
from dyn.ops.infer import Type, broadcast, compared, same_size

# ---- comparisons -------------------------------------------------------------------------------


@op(infer=compared, promote=True, differentiable=False)
def equal(x, y):
    """x == y element by element. ONNX: Equal."""
    return kernels.binary("equal", x, y)


@op(infer=compared, promote=True, differentiable=False)
def not_equal(x, y):
    """x != y element by element. ONNX: Equal, Not."""
    return kernels.binary("not_equal", x, y)


@op(infer=compared, promote=True, differentiable=False)
def greater_than(x, y):
    """x > y element by element. ONNX: Greater."""
    return kernels.binary("greater_than", x, y)


@op(infer=compared, promote=True, differentiable=False)
def greater_equal(x, y):
    """x >= y element by element. ONNX: GreaterOrEqual."""
    return kernels.binary("greater_equal", x, y)


@op(infer=compared, promote=True, differentiable=False)
def less_than(x, y):
    """x < y element by element. ONNX: Less."""
    return kernels.binary("less_than", x, y)


@op(infer=compared, promote=True, differentiable=False)
def less_equal(x, y):
    """x <= y element by element. ONNX: LessOrEqual."""
    return kernels.binary("less_equal", x, y)


# ---- what an element is ------------------------------------------------------------------------


def _infer_test(x: Type) -> Type:
    return Type(x.shape, BOOL)


@op(infer=_infer_test, promote="float", differentiable=False)
def isnan(x):
    """Whether an element is NaN. ONNX: IsNaN."""
    return kernels.unary("isnan", x)


@op(infer=_infer_test, promote="float", differentiable=False)
def isinf(x):
    """Whether an element is an infinity. ONNX: IsInf."""
    return kernels.unary("isinf", x)


@op(infer=_infer_test, promote="float", differentiable=False)
def isfinite(x):
    """Whether an element is neither NaN nor an infinity. ONNX: IsNaN, IsInf, Or, Not."""
    return kernels.unary("isfinite", x)


# ---- logic -------------------------------------------------------------------------------------


@op(infer=compared, differentiable=False)
def logical_and(x, y):
    """Whether both are nonzero. ONNX: And."""
    return kernels.binary("logical_and", x, y)


@op(infer=compared, differentiable=False)
def logical_or(x, y):
    """Whether either is nonzero. ONNX: Or."""
    return kernels.binary("logical_or", x, y)


@op(infer=compared, differentiable=False)
def logical_xor(x, y):
    """Whether exactly one is nonzero. ONNX: Xor."""
    return kernels.binary("logical_xor", x, y)


@op(infer=_infer_test, differentiable=False)
def logical_not(x):
    """Whether an element is zero. ONNX: Not."""
    return kernels.unary("logical_not", x)


# ---- bits --------------------------------------------------------------------------------------


def _infer_bits(*types: Type) -> Type:
    for t in types:
        if rank(t.dtype) > 1:
            raise DTypeError(f"works on integers and booleans, got {t.dtype.name}; cast() it first")
    return broadcast(*types)


def _infer_shift(x: Type, y: Type) -> Type:
    if rank(x.dtype) != 1:
        raise DTypeError(f"works on integers, got {x.dtype.name}; cast() it first")
    return broadcast(x, y)


@op(infer=_infer_bits, promote=True, differentiable=False)
def bitwise_and(x, y):
    """Bits that are set in both. ONNX: BitwiseAnd (And)."""
    return kernels.binary("bitwise_and", x, y)


@op(infer=_infer_bits, promote=True, differentiable=False)
def bitwise_or(x, y):
    """Bits that are set in either. ONNX: BitwiseOr (Or)."""
    return kernels.binary("bitwise_or", x, y)


@op(infer=_infer_bits, promote=True, differentiable=False)
def bitwise_xor(x, y):
    """Bits that are set in exactly one. ONNX: BitwiseXor (Xor)."""
    return kernels.binary("bitwise_xor", x, y)


@op(infer=_infer_bits, differentiable=False)
def bitwise_not(x):
    """All bits turned over; of booleans, the other one. ONNX: BitwiseNot (Not)."""
    return kernels.unary("bitwise_not", x)


@op(infer=_infer_shift, promote=True, differentiable=False)
def bitwise_left_shift(x, y):
    """x times 2^y in the same dtype; bits that leave are lost. ONNX: BitShift."""
    return kernels.binary("bitwise_left_shift", x, y)


@op(infer=_infer_shift, promote=True, differentiable=False)
def bitwise_right_shift(x, y):
    """x divided by 2^y, rounded toward minus infinity. ONNX: BitShift."""
    return kernels.binary("bitwise_right_shift", x, y)


# ---- nearly and altogether equal ---------------------------------------------------------------


def isclose(
    x: Tensor, y: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether |x - y| <= atol + rtol * |y|, element by element; equal infinities are close."""
    near = less_equal(OPS["abs"](subtract(x, y)), add(multiply(OPS["abs"](y), rtol), atol))
    # An infinite y makes any x near; only the same infinity counts.
    near = logical_or(logical_and(near, isfinite(y)), equal(x, y))
    return logical_or(near, logical_and(isnan(x), isnan(y))) if equal_nan else near


def allclose(
    x: Tensor, y: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether all elements are close, as in `isclose`; one boolean."""
    near = isclose(x, y, rtol, atol, equal_nan)
    return OPS["all"](near, axes=tuple(range(near.ndim)), keepdims=False)


def equal_all(x: Tensor, y: Tensor) -> Tensor:
    """Whether shapes and all elements are equal; one boolean."""
    sizes = list(zip(x.shape, y.shape, strict=False))
    if x.ndim != y.ndim or not all(same_size(a, b) for a, b in sizes):
        return OPS["full"](shape=(), value=False, dtype="bool")
    same = equal(x, y)
    return OPS["all"](same, axes=tuple(range(same.ndim)), keepdims=False)


__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "equal_all",
    "greater_equal",
    "greater_than",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "less_equal",
    "less_than",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
]
