"""Factors of matrices: Cholesky and QR. Systems of equations are in `solutions.py`."""

from __future__ import annotations

import numpy as np

from dyn.core.errors import ShapeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import factor as kernels
from dyn.kernels.factor import gradients
from dyn.ops import reduce, unary
from dyn.ops.compare import equal, greater_equal
from dyn.ops.composite import differentiate_as
from dyn.ops.index import where
from dyn.ops.infer import Type, need_float, show
from dyn.ops.join import concat
from dyn.ops.linalg import _matmul, matmul
from dyn.ops.matrix import _tril, triu
from dyn.ops.shape import swapaxes
from dyn.ops.solutions import _triangular_solve, need_square, refuse

# ---- Cholesky ----------------------------------------------------------------------------------


def _infer_cholesky(x: Type, *, upper: bool) -> Type:
    need_square("x", x)
    return x


@op(infer=_infer_cholesky, promote="float")
def _cholesky(x, *, upper):
    """Cholesky factors of (..., n, n), of which one triangle is read. ONNX: Scan.

    Raises:
        SingularError: a matrix is not positive definite.
    """
    out, failed = kernels.cholesky(x, upper=upper)
    refuse(
        "cholesky", x.shape, failed, "The factorization could not be completed because the input "
        "is not positive-definite (the leading minor of order {element} is not positive-definite).",
    )  # fmt: skip
    return out


@_cholesky.vjp("x")
def _(g, *, out, upper):
    # One triangle gives the values, but both share the gradient, which stays symmetric.
    # Source: Murray, Differentiation of the Cholesky decomposition, arXiv 1602.07527, (10).
    lower, g = (swapaxes(out, -1, -2), swapaxes(g, -1, -2)) if upper else (out, g)
    inner = _matmul(lower, g, transpose_x=True)
    half = (_tril(inner, diagonal=0) + _tril(inner, diagonal=-1)) * 0.5
    for _ in range(2):
        half = _triangular_solve(
            lower, swapaxes(half, -1, -2), upper=False, transpose=True, unitriangular=False
        )
    return (half + swapaxes(half, -1, -2)) * 0.5


_cholesky.fused_vjp("x")(gradients.cholesky_grad)


def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """The triangular factor of symmetric positive definite matrices: x = L @ L.T.

    Args:
        x: (..., n, n), of which the lower triangle is read (the upper one with `upper`).
        upper: give L.T.

    Raises:
        SingularError: a matrix is not positive definite.
    """
    return _cholesky(x, upper=bool(upper))


# ---- QR ----------------------------------------------------------------------------------------


def _sizes(x: Type) -> tuple[int, int]:
    need_float("x", x)
    if len(x.shape) < 2:
        raise ShapeError(f"qr needs matrices (..., m, n), got {show(x.shape)}")
    return x.shape[-2].__index__(), x.shape[-1].__index__()


def _infer_qr(x: Type) -> list[Type]:
    m, n = _sizes(x)
    k, lead = min(m, n), x.shape[:-2]
    return [Type((*lead, m, k), x.dtype), Type((*lead, k, n), x.dtype)]


@op(infer=_infer_qr, outputs=("q", "r"), public=2, promote="float")
def _qr(x):
    """Q (..., m, k) and R (..., k, n) of (..., m, n), k the smaller of the two. ONNX: Scan."""
    return kernels.qr(x, min(x.shape[-2:]))


@_qr.vjp("x")
def _(g, *, x, q, r):
    # Source: Roberts & Roberts, QR and LQ decomposition matrix backpropagation algorithms,
    # arXiv 2009.10071. A wide matrix is [x1 x2], r is [r1 r2]: q is that of x1, r2 = q.T @ x2.
    m, n = x.shape[-2:]
    gq, gr = (t * 0 if given is None else given for t, given in zip((q, r), g, strict=True))
    first = r
    if m < n:
        first, gr, gr2 = r[..., :m], gr[..., :m], gr[..., m:]
        gx2 = _matmul(q, gr2)
        gq = gq + _matmul(x[..., m:], gr2, transpose_y=True)
    inner = _matmul(first, gr, transpose_y=True) - _matmul(gq, q, transpose_x=True)
    mirrored = _tril(inner, diagonal=0) + swapaxes(_tril(inner, diagonal=-1), -1, -2)
    sides = swapaxes(gq + _matmul(q, mirrored), -1, -2)
    solved = _triangular_solve(first, sides, upper=True, transpose=False, unitriangular=False)
    gx = swapaxes(solved, -1, -2)
    return concat([gx, gx2], -1) if m < n else gx


_qr.fused_vjp("x")(gradients.qr_grad)


def _infer_qr_complete(x: Type) -> list[Type]:
    m, _ = _sizes(x)
    return [Type((*x.shape[:-2], m, m), x.dtype), x]


@op(infer=_infer_qr_complete, outputs=("q", "r"), public=2, promote="float")
def _qr_complete(x):
    """Q (..., m, m) and R (..., m, n) of (..., m, n). ONNX: Scan."""
    return kernels.qr(x, x.shape[-2])


def _reflected(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same by reflections made of ops: what columns of Q beyond those of x depend on."""
    m, n = x.shape[-2:]
    rows = Tensor(np.arange(m).reshape(m, 1))
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
    return q, triu(r)


differentiate_as(_qr_complete, _reflected)


def qr(x: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Orthogonal and upper triangular factors, x = q @ r, by reflections as in LAPACK.

    Args:
        x: (..., m, n), both static.
        mode: "reduced": q (..., m, k) and r (..., k, n), k the smaller size; "complete": q is
            (..., m, m).
    """
    tall = x.ndim > 1 and bool(x.shape[-2] > x.shape[-1])
    return _qr_complete(x) if mode == "complete" and tall else _qr(x)


__all__ = ["cholesky", "qr"]
