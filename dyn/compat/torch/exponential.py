"""The exponential of matrices, made of products: it has gradients, is traced and exported."""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch.tensor import own
from dyn.core.dtype import is_float
from dyn.core.errors import DTypeError, ShapeError
from dyn.ops import compare, index
from dyn.ops.linalg import matmul
from dyn.ops.matrix import eye

_SQUARINGS = 16
"""How often the result is squared at most."""
_LIMIT = 0.5
"""The norm to which matrices are scaled; the series errs by less than 1e-14 there."""
_DEGREE = 12


def matrix_exp(A: Any) -> Any:
    """The sum of the powers A**k / k! of matrices.

    The Taylor series of degree 12 of the matrix over a power of 2, squared as often. The number of
    squarings depends on the values, so that all of them are computed and those that are wanted
    taken: 21 products in any case.

    Args:
        A: [..., n, n], floating point.

    Returns:
        [..., n, n]; NaN where the norm is above 32768: squaring would leave no digits.

    Raises:
        ShapeError: the matrices are not square.
        DTypeError: the dtype is not floating point.

    Source: Higham, Functions of Matrices, 2008, section 10.3. ONNX: MatMul, Where.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ShapeError(
            f"linalg.matrix_exp: A must be batches of square matrices, got the shape {A.shape}"
        )
    if not is_float(A._typed().dtype):
        raise DTypeError(
            f"linalg.matrix_exp takes floating point, got {A.dtype}; convert it with float()"
        )
    norm = own(A).detach().abs().sum(-2, keepdim=True).amax(-1, keepdim=True)
    # The powers of 2 from 1 on that the norm has to be divided by, as many as it exceeds.
    exceeded = [compare.greater_than(norm, _LIMIT * 2.0**i) for i in range(_SQUARINGS)]
    scale = norm * 0.0 + 1.0
    for one in exceeded:
        scale = own(index.where(one, scale * 0.5, scale))
    out = _series(own(A) * scale)
    for one in exceeded:
        out = own(index.where(one, matmul(out, out), out))
    known = compare.less_equal(norm, _LIMIT * 2.0**_SQUARINGS)
    return own(index.where(known, out, math.nan))


def _series(x: Any) -> Any:
    """The Taylor series, three terms at a time: five products instead of eleven."""
    unit = eye(x.shape[-1], dtype=x.dtype)
    square = own(matmul(x, x))
    cube = own(matmul(square, x))

    def terms(k: int) -> Any:
        first, second, third = (1.0 / math.factorial(k + i) for i in range(3))
        return unit * first + x * second + square * third

    out = terms(_DEGREE - 3) + cube * (1.0 / math.factorial(_DEGREE))
    for k in range(_DEGREE - 6, -1, -3):
        out = terms(k) + own(matmul(cube, out))
    return out
