"""Arithmetic, comparisons and matrix products under PyTorch's names.

Names that mean the same in dyn are listed; functions are here only where the arguments differ.
"""

from __future__ import annotations

import string
from typing import Any

from dyn.compat.torch.types import INTEGERS
from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.ops import (
    activation,
    angles,
    bounds,
    combined,
    compare,
    distance,
    elementwise,
    extremes,
    gamma,
    linalg,
    matrix,
    products,
    smooth,
    solutions,
    unary,
)
from dyn.ops.index import promoted
from dyn.ops.infer import show

SAME: dict[Any, str] = {
    unary: """abs ceil deg2rad exp expm1 floor frac log log10 log1p log2 neg
        rad2deg reciprocal rsqrt sign sqrt square trunc""",
    bounds: "logit nan_to_num",
    angles: "acos acosh asin asinh atan atanh cos cosh erf sin sinh tan tanh",
    gamma: "digamma erfc erfinv lgamma",
    elementwise: "atan2 floor_divide fmod heaviside hypot lerp logaddexp pow remainder",
    extremes: "fmax fmin maximum minimum",
    compare: """bitwise_and bitwise_not bitwise_or bitwise_xor isclose isfinite isinf isnan
        logical_and logical_not logical_or logical_xor""",
    smooth: "sigmoid",
    activation: "relu",
    linalg: "bmm dot inner mv outer",
    products: "kron matrix_power",
    solutions: "det",
    distance: "cdist",
}
"""Functions with the same name and arguments, by the module they are in."""


def add(x: Any, other: Any, *, alpha: Any = 1) -> Any:
    """x + alpha * other."""
    return elementwise.add(x, other if alpha == 1 else other * alpha)


def sub(x: Any, other: Any, *, alpha: Any = 1) -> Any:
    """x - alpha * other."""
    return elementwise.subtract(x, other if alpha == 1 else other * alpha)


def mul(x: Any, other: Any) -> Any:
    """x * other."""
    return elementwise.multiply(x, other)


def div(x: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """x / other, rounded down ("floor") or towards zero ("trunc") if wanted."""
    if rounding_mode == "floor":
        return elementwise.floor_divide(x, other)
    if rounding_mode is None:
        return elementwise.divide(x, other)
    x, y = promoted(x, other)
    if x.dtype.is_floating_point:
        return unary.trunc(elementwise.divide(x, y))
    return elementwise.floor_divide(x - elementwise.fmod(x, y), y)


def cross(x: Any, other: Any, dim: int | None = None) -> Any:
    """The cross product of vectors of three elements along `dim`, or the first such axis."""
    if dim is None and 3 not in x.shape:
        raise ShapeError(f"cross: no axis of {show(x.shape)} has size 3")
    return products.cross(x, other, list(x.shape).index(3) if dim is None else dim)


def cross_along(x: Any, other: Any, *, dim: int = -1) -> Any:
    """The cross product of vectors of three elements along an axis: `torch.linalg.cross`."""
    return products.cross(x, other, dim)


def tensordot(x: Any, other: Any, dims: Any = 2) -> Any:
    """Sums of products over the last axes of `x` and the first of `other`, or those listed."""
    return products.tensordot(x, other, dims)


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements on a diagonal of two axes, as the last axis."""
    return matrix.diagonal(x, offset, dim1, dim2)


subtract, multiply, divide, true_divide = sub, mul, div, div


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """x, but no less than `min` and no more than `max`."""
    return bounds.clip(x, min, max)


clip = clamp


def round(x: Any, *, decimals: int = 0) -> Any:
    """The nearest number of so many decimals; halves go to the even one."""
    return unary.round(x, decimals)


def mm(x: Any, mat2: Any) -> Any:
    """The product of two matrices.

    Raises:
        RuntimeError: they are no matrices, or their inner sizes differ.
    """
    if x.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError("self must be a matrix" if x.ndim != 2 else "mat2 must be a matrix")
    (rows, inner), (other, columns) = x.shape, mat2.shape
    if inner != other:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{inner} and {other}x{columns})"
        )
    return linalg.mm(x, mat2)


def matmul(x: Any, other: Any) -> Any:
    """Matrix product over the last two axes; leading axes broadcast."""
    return linalg.matmul(x, other)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * input + alpha * (mat1 @ mat2)."""
    return linalg.addmm(input, mat1, mat2, beta, alpha)


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value * tensor1 * tensor2."""
    if isinstance(value, INTEGERS) and not input.dtype.is_floating_point:
        return input + tensor1 * tensor2 * value
    if isinstance(value, Dim):
        tensor1, value = tensor1 * value, 1
    return combined.addcmul(input, tensor1, tensor2, value=float(value))


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value * tensor1 / tensor2."""
    if isinstance(value, Dim):
        tensor1, value = tensor1 * value, 1
    return combined.addcdiv(input, tensor1, tensor2, value=float(value))


def einsum(equation: Any, *operands: Any) -> Any:
    """Sums of products in Einstein's notation: `einsum("ij,jk", x, y)`.

    Axes may be numbered from 0 to 51 instead: `einsum(x, [0, 1], y, [1, 2], [0, 2])`, where the
    last list, of the result, may be left out and `...` stands for leading axes.
    """
    if not isinstance(equation, str):
        given = (equation, *operands)
        pairs = len(given) // 2 * 2
        terms = [_letters(axes) for axes in given[1:pairs:2]]
        result = [f"->{_letters(axes)}" for axes in given[pairs:]]
        return products.einsum(",".join(terms) + "".join(result), *given[:pairs:2])
    listed = (
        operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    )
    return products.einsum(equation, *listed)


def _letters(axes: Any) -> str:
    if not all(c is ... or (isinstance(c, int) and 0 <= c < 52) for c in axes):
        raise AttributeValueError(
            f"einsum names axes by numbers from 0 to 51 and `...`, got {list(axes)}"
        )
    # In this order, which letters are sorted in where no result is given.
    names = string.ascii_uppercase + string.ascii_lowercase
    return "".join("..." if c is ... else names[c] for c in axes)


def eq(x: Any, other: Any) -> Any:
    """x == other."""
    return compare.equal(x, other)


def ne(x: Any, other: Any) -> Any:
    """x != other."""
    return compare.not_equal(x, other)


def gt(x: Any, other: Any) -> Any:
    """x > other."""
    return compare.greater_than(x, other)


def ge(x: Any, other: Any) -> Any:
    """x >= other."""
    return compare.greater_equal(x, other)


def lt(x: Any, other: Any) -> Any:
    """x < other."""
    return compare.less_than(x, other)


def le(x: Any, other: Any) -> Any:
    """x <= other."""
    return compare.less_equal(x, other)
