"""Linear algebra under Paddle's names: `paddle.linalg`. The public names, nothing else but norms.

What needs eigenvalues or singular values is not here: no ONNX op has it.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.absent import lookup
from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.ops import decompose, products, reduce, solutions
from dyn.ops import vector_norm as lengths
from dyn.ops.decompose import cholesky
from dyn.ops.infer import axis_of
from dyn.ops.join import stack
from dyn.ops.linalg import matmul
from dyn.ops.matrix import eye
from dyn.ops.products import cross, multi_dot
from dyn.ops.shape import swapaxes
from dyn.ops.solutions import cholesky_solve, det, inverse, solve, triangular_solve

inv = inverse


def vector_norm(x: Tensor, p: Any = 2.0, axis: Any = None, keepdim: bool = False) -> Tensor:
    """The norm of all elements, or along axes: (sum of |x|^p)^(1/p)."""
    return lengths.norm(x, p, axis, keepdim)


def matrix_norm(x: Tensor, p: Any = "fro", axis: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """The norm of matrices.

    Args:
        x: (..., m, n), floating point.
        p: "fro"; 1 or -1, the largest or smallest sum of a column; inf or -inf, that of a row.
        axis: the axes of rows and of columns.
        keepdim: leave these axes with size 1.

    Raises:
        AttributeValueError: the norm needs singular values.
    """
    rows, columns = (axis_of(a, x.ndim) for a in axis)
    if p == "fro":
        return lengths.norm(x, 2, [rows, columns], keepdim)
    if p not in (1, -1, math.inf, -math.inf):
        raise AttributeValueError(
            f"matrix_norm of order {p!r} needs singular values, which no op gives; use 'fro', 1, "
            "-1, inf or -inf, or numpy.linalg on x.numpy()"
        )
    summed, sought = (rows, columns) if p in (1, -1) else (columns, rows)
    extreme = reduce.amax if p > 0 else reduce.amin
    if not keepdim:
        # One axis is gone when the other is sought.
        sought -= int(summed < sought)
    return extreme(reduce.sum(abs(x), summed, keepdim=keepdim), sought, keepdim)


def norm(x: Tensor, p: Any = None, axis: Any = None, keepdim: bool = False) -> Tensor:
    """The p-norm of the elements along any number of axes, of all of them by default."""
    return lengths.norm(x, p, axis, keepdim)


def slogdet(x: Tensor) -> Tensor:
    """Sign and logarithm of the size of determinants, stacked along a new first axis."""
    return stack(list(solutions.slogdet(x)), 0)


def cholesky_inverse(x: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, given its Cholesky factor."""
    return cholesky_solve(eye(x.shape[-1], dtype=x.dtype), x, upper)


def matrix_power(x: Tensor, n: int) -> Tensor:
    """The product of n copies of square matrices, of their inverses where n is negative."""
    return products.matrix_power(inverse(x) if n < 0 else x, abs(n))


def qr(x: Tensor, mode: str = "reduced") -> Any:
    """Orthogonal and upper triangular factors of (..., m, n); the second alone with mode "r"."""
    factors = decompose.qr(x, mode)
    return factors[1] if mode == "r" else factors


def matrix_transpose(x: Tensor) -> Tensor:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


def vecdot(x: Tensor, y: Tensor, axis: int = -1) -> Tensor:
    """The inner products along an axis."""
    return reduce.sum(x * y, axis)


__getattr__ = lookup("dyn.linalg")

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "cross",
    "det",
    "inv",
    "inverse",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "qr",
    "slogdet",
    "solve",
    "triangular_solve",
    "vecdot",
    "vector_norm",
]
