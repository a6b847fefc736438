"""`torch.linalg`: norms, solutions and factors of matrices, composed of dyn's ops.

What needs an eigenvalue or singular value decomposition is not here: no ONNX op has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from dyn import linalg
from dyn.compat.torch import pointwise, reduction, shape
from dyn.compat.torch.exponential import matrix_exp
from dyn.compat.torch.tensor import flavoured
from dyn.core.errors import AttributeValueError
from dyn.ops import decompose, matrix, solutions


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Any
    R: Any


def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The norm of all elements, or along axes."""
    return reduction.norm(x if dtype is None else x.to(dtype), ord, dim, keepdim)


def matrix_norm(
    x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The norm of matrices: "fro", 1, -1 (sums of columns), inf or -inf (sums of rows)."""
    x = x if dtype is None else x.to(dtype)
    return linalg.matrix_norm(x, ord, dim, keepdim)


def norm(
    x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """`matrix_norm` of an order for two axes, else `vector_norm`, of order 2 by default."""
    if ord is None or (dim is None and x.ndim == 1) or isinstance(dim, int):
        return vector_norm(x, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
    axes = range(x.ndim) if dim is None else dim
    if len(axes) == 1:
        return vector_norm(x, ord, list(axes), keepdim, dtype=dtype)
    if len(axes) != 2:
        raise AttributeValueError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{x.ndim}D."
        )
    return matrix_norm(x, ord, axes, keepdim, dtype=dtype)


def solve(x: Any, other: Any, *, left: bool = True) -> Any:
    """The solution of x @ out = other, or of out @ x = other."""
    return solutions.solve(x, other) if left else solutions.solve(x.mT, other.mT).mT


def solve_triangular(
    x: Any, other: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    """The solution of x @ out = other, or of out @ x = other, x being triangular."""
    kind = {"upper": upper, "unitriangular": unitriangular}
    if left:
        return solutions.triangular_solve(x, other, **kind)
    return solutions.triangular_solve(x, other.mT, transpose=True, **kind).mT


def cholesky(x: Any, *, upper: bool = False) -> Any:
    """The triangular factors of symmetric positive definite matrices."""
    return decompose.cholesky(x, upper)


def qr(x: Any, mode: str = "reduced") -> Any:
    """Orthogonal and upper triangular factors; with mode "r" the first is empty."""
    q, r = decompose.qr(x, mode)
    return QRResult(q[..., :0].reshape([0]) if mode == "r" else q, r)


def slogdet(x: Any) -> Any:
    """Sign and logarithm of the size of determinants."""
    return SlogdetResult(*solutions.slogdet(x))


def logdet(x: Any) -> Any:
    """The logarithms of determinants, NaN of negative ones."""
    sign, size = solutions.slogdet(x)
    return shape.where(sign >= 0, size, math.nan)


def cholesky_solve(x: Any, factor: Any, upper: bool = False) -> Any:
    """The solution of A @ out = x, given the Cholesky factor of A."""
    return solutions.cholesky_solve(x, factor, upper)


def vecdot(x: Any, y: Any, *, dim: int = -1) -> Any:
    """Sums of products along an axis, of tensors that broadcast."""
    return reduction.sum(x * y, dim)


def _diagonals(x: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    return matrix.diagonal(x, offset, dim1, dim2)


def _cholesky_of_old(x: Any, upper: bool = False) -> Any:
    return decompose.cholesky(x, upper)


def _qr_of_old(x: Any, some: bool = True) -> Any:
    return qr(x, "reduced" if some else "complete")


namespace = SimpleNamespace(
    LinAlgError=solutions.SingularError,
    **{
        name: flavoured(function)
        for name, function in {
            "cholesky": cholesky,
            "cross": pointwise.cross_along,
            "det": solutions.det,
            "diagonal": _diagonals,
            "inv": linalg.inv,
            "matmul": linalg.matmul,
            "matrix_exp": matrix_exp,
            "matrix_norm": matrix_norm,
            "matrix_power": linalg.matrix_power,
            "multi_dot": linalg.multi_dot,
            "norm": norm,
            "qr": qr,
            "slogdet": slogdet,
            "solve": solve,
            "solve_triangular": solve_triangular,
            "vecdot": vecdot,
            "vector_norm": vector_norm,
        }.items()
    },
)
"""`torch.linalg`."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: flavoured(function)
    for name, function in {
        "cholesky": _cholesky_of_old,
        "cholesky_inverse": linalg.cholesky_inverse,
        "cholesky_solve": cholesky_solve,
        "inverse": linalg.inv,
        "logdet": logdet,
        "matrix_exp": matrix_exp,
        "qr": _qr_of_old,
        "slogdet": slogdet,
    }.items()
}
"""Those that the package and its tensors have too."""
