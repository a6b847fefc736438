"""Matrices solved, inverted and factored: elimination and reflections, a column at a time.

Made of products and choices, so every result has gradients and every file can hold them; the
number of steps is the size of the matrix, which must be static.
"""

from __future__ import annotations

import numpy as np

from dyn.core.errors import DynError, ShapeError
from dyn.core.modes import no_grad
from dyn.core.observe import unobserved
from dyn.core.tensor import Tensor
from dyn.ops import reduce, unary
from dyn.ops.compare import equal, greater_equal, logical_and, logical_not
from dyn.ops.index import where
from dyn.ops.infer import broadcast_shapes, same_size, show
from dyn.ops.join import concat, expand
from dyn.ops.linalg import matmul
from dyn.ops.matrix import tril, triu
from dyn.ops.products import _det
from dyn.ops.search import argmax
from dyn.ops.shape import squeeze, swapaxes, unsqueeze


class SingularError(DynError, RuntimeError, ValueError):
    """A matrix that cannot be inverted or factored."""


def _size_of(x: Tensor, name: str) -> int:
    """n of square matrices (..., n, n)."""
    if x.ndim < 2 or not same_size(x.shape[-1], x.shape[-2]):
        raise ShapeError(f"{name} needs square matrices (..., n, n), got {show(x.shape)}")
    return x.shape[-1].__index__()


def _need_finite(x: Tensor, message: str) -> None:
    """Raise `message` for NaN or infinity; a traced file gives these instead."""
    with unobserved(), no_grad():
        if not np.isfinite(x._read()).all():
            raise SingularError(message)


def _rows(n: int) -> Tensor:
    return Tensor(np.arange(n).reshape(n, 1))


def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """The triangular factor of symmetric positive definite matrices: x = L @ L.T.

    Args:
        x: (..., n, n), of which the lower triangle is read (the upper one with `upper`).
        upper: give L.T.

    Raises:
        SingularError: a matrix is not positive definite.
    """
    n = _size_of(x, "cholesky")
    mirrored = swapaxes(x, -1, -2)
    # One triangle gives the values, but both share the gradient, which stays symmetric.
    both = (x + mirrored) * 0.5
    one = triu(x) + swapaxes(triu(x, 1), -1, -2) if upper else tril(x) + triu(mirrored, 1)
    rest, rows, columns = both + (one - both).detach(), _rows(n), []
    for i in range(n):
        column = where(greater_equal(rows, i), rest[..., i : i + 1], 0.0)
        column = column / unary.sqrt(rest[..., i : i + 1, i : i + 1])
        rest = rest - column * swapaxes(column, -1, -2)
        columns.append(column)
    found = concat(columns, -1)
    _need_finite(
        found,
        "linalg.cholesky: The factorization could not be completed because the input is not "
        "positive-definite",
    )
    return swapaxes(found, -1, -2) if upper else found


def triangular_solve(
    x: Tensor, y: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Tensor:
    """Solve x @ out = y where x is triangular.

    Args:
        x: (..., n, n); the other triangle is not read.
        y: (..., n, k).
        upper: which triangle x is.
        transpose: solve x.T @ out = y.
        unitriangular: the diagonal counts as ones.
    """
    n = _size_of(x, "triangular_solve")
    x, backward = (swapaxes(x, -1, -2), not upper) if transpose else (x, upper)
    rest, found = y, {}
    for i in reversed(range(n)) if backward else range(n):
        row = rest[..., i : i + 1, :]
        found[i] = row if unitriangular else row / x[..., i : i + 1, i : i + 1]
        rest = rest - x[..., i : i + 1] * found[i]
    return concat([found[i] for i in range(n)], -2)


def cholesky_solve(x: Tensor, y: Tensor, upper: bool = False) -> Tensor:
    """Solve A @ out = x where y is the Cholesky factor of A."""
    half = triangular_solve(y, x, upper, transpose=upper)
    return triangular_solve(y, half, upper, transpose=not upper)


def _eliminated(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Gauss and Jordan's elimination with the largest element of each column as the pivot.

    Returns:
        The solution of x @ out = y; which row was chosen in each step, one-hot (..., n, n); and the
        pivots, (..., 1, 1) each.
    """
    n = _size_of(x, "solve")
    rows = _rows(n)
    lead = broadcast_shapes(tuple(x.shape[:-2]), tuple(y.shape[:-2]))
    operands = [expand(t, [*lead, *t.shape[-2:]]) for t in (x, y)]
    whole, free, picks, pivots = concat(operands, -1), None, [], []
    for i in range(n):
        column = whole[..., i : i + 1]
        sizes = unary.abs(column)
        sizes = sizes if free is None else where(free, sizes, -1.0)
        chosen = equal(rows, argmax(sizes, -2, True))
        pick = unary.cast(chosen, x.dtype)
        row = matmul(swapaxes(pick, -1, -2), whole)
        pivots.append(row[..., i : i + 1])
        row = row / pivots[-1]
        whole = where(chosen, row, whole - column * row)
        others = logical_not(chosen)
        free = others if free is None else logical_and(free, others)
        picks.append(pick)
    order = concat(picks, -1)
    return matmul(swapaxes(order, -1, -2), whole[..., n:]), order, pivots


def solve(x: Tensor, y: Tensor) -> Tensor:
    """Solve x @ out = y.

    Args:
        x: (..., n, n).
        y: (..., n, k), or one vector per matrix, (n,) or (..., n) with the leading sizes of x.

    Raises:
        SingularError: a matrix is singular.
    """
    vectors = y.ndim == 1 or (y.ndim == x.ndim - 1 and tuple(y.shape) == tuple(x.shape[:-1]))
    found = _eliminated(x, unsqueeze(y, -1) if vectors else y)[0]
    _need_finite(found, "linalg.solve: The solver failed because the input matrix is singular.")
    return squeeze(found, -1) if vectors else found


def inverse(x: Tensor) -> Tensor:
    """The inverses of square matrices (..., n, n).

    Raises:
        SingularError: a matrix is singular.
    """
    unit = Tensor(np.eye(_size_of(x, "inverse"), dtype=x._read().dtype))
    found = _eliminated(x, unit)[0]
    _need_finite(
        found,
        "linalg.inv: The inversion could not be completed because the input matrix is singular.",
    )
    return found


@_det.vjp("x")
def _(g, *, x, out):
    return unsqueeze(g * out, [-2, -1]) * swapaxes(inverse(x), -1, -2)


def slogdet(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sign and logarithm of the size of the determinants of (..., n, n), without overflow."""
    _, order, pivots = _eliminated(x, x[..., :0])
    values = squeeze(concat(pivots, -1), -2)
    with no_grad():
        sign = _det(order) * reduce.prod(unary.sign(values), -1)
    return sign, reduce.sum(unary.log(unary.abs(values)), -1)


def qr(x: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Orthogonal and upper triangular factors, x = q @ r, by reflections as in LAPACK.

    Args:
        x: (..., m, n), both static.
        mode: "reduced": q (..., m, k) and r (..., k, n), k the smaller size; "complete": q is
            (..., m, m).
    """
    if x.ndim < 2:
        raise ShapeError(f"qr needs matrices (..., m, n), got {show(x.shape)}")
    m, n = (x.shape[i].__index__() for i in (-2, -1))
    kept, rows = m if mode == "complete" else min(m, n), _rows(m)
    q, r = Tensor(np.eye(m, dtype=x._read().dtype)), x
    for i in range(min(m - 1, n)):
        column = where(greater_equal(rows, i), r[..., i : i + 1], 0.0)
        first = column[..., i : i + 1, :]
        size = unary.sqrt(reduce.sum(unary.square(column), -2, keepdim=True))
        mirror = column + where(first < 0, -size, size) * Tensor(
            (np.arange(m) == i).astype(x._read().dtype).reshape(m, 1)
        )
        # A column that is zero below its diagonal is left as it is.
        below = equal(reduce.sum(unary.abs(column[..., i + 1 :, :]), -2, keepdim=True), 0)
        square = where(below, 1.0, reduce.sum(unary.square(mirror), -2, keepdim=True))
        mirror = where(below, 0.0, mirror)
        turned = swapaxes(mirror, -1, -2)
        r = r - (2.0 * mirror / square) * matmul(turned, r)
        q = q - matmul(q, mirror) * (2.0 * turned / square)
    r = triu(r[..., :kept, :])
    return q[..., :kept], r


__all__ = [
    "SingularError",
    "cholesky",
    "cholesky_solve",
    "inverse",
    "qr",
    "slogdet",
    "solve",
    "triangular_solve",
]
