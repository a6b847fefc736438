"""Gradients of factors and solutions on arrays: rules of `ops/solutions.py`, `ops/decompose.py`.

Sources stand at those rules. Names are theirs, too: g is the gradient of what an op gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.elementwise import binary
from dyn.kernels.factor import face
from dyn.kernels.gemm import matmul
from dyn.kernels.triangle import triangle

Wanted = frozenset[str]


def _turned(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(-1, -2)


def solve_grad(
    gy: np.ndarray, out: np.ndarray, wanted: Wanted
) -> tuple[np.ndarray | None, np.ndarray]:
    """Of the solutions of x @ out = y, for x and y; gy is what solves x.T @ gy = g."""
    return matmul(-gy, _turned(out)) if "x" in wanted else None, gy


def inverse_grad(g: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Of the inverses."""
    turned = _turned(out)
    return matmul(matmul(-turned, g), turned)


def det_grad(g: np.ndarray, out: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Of determinants, by the transposed inverses."""
    scale = binary("multiply", g, out)
    return _scaled(scale, turned)


def slogdet_grad(g: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Of logarithms of sizes of determinants; the signs do not change."""
    return _scaled(g, turned)


def _scaled(factors: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Matrices times numbers, in the dtype of the numbers."""
    wide = factors[..., None, None].astype(matrices.dtype, copy=False)
    return binary("multiply", wide, matrices).astype(factors.dtype, copy=False)


def triangular_grad(
    g: np.ndarray,
    x: np.ndarray,
    out: np.ndarray,
    upper: bool,
    transpose: bool,
    unitriangular: bool,
    wanted: Wanted,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Of the solutions of a triangular system, for x and y."""
    gy = face.triangular_solve(x, g, upper=upper, transpose=not transpose, unit=unitriangular)
    if "x" not in wanted:
        return None, gy
    gx = matmul(-out, _turned(gy)) if transpose else matmul(-gy, _turned(out))
    beyond = int(unitriangular)
    return triangle(gx, beyond if upper else -beyond, upper=upper), gy


def cholesky_grad(g: np.ndarray, out: np.ndarray, upper: bool) -> np.ndarray:
    """Of Cholesky factors."""
    lower, g = (_turned(out), _turned(g)) if upper else (out, g)
    inner = matmul(_turned(lower), g)
    half = (triangle(inner, 0, upper=False) + triangle(inner, -1, upper=False)) * 0.5
    for _ in range(2):
        half = face.triangular_solve(lower, _turned(half), upper=False, transpose=True, unit=False)
    return (half + _turned(half)) * 0.5


def qr_grad(
    g: Sequence[np.ndarray | None], x: np.ndarray, q: np.ndarray, r: np.ndarray
) -> np.ndarray:
    """Of Q and R."""
    m, n = x.shape[-2:]
    gq, gr = (np.zeros_like(t) if one is None else one for t, one in zip((q, r), g, strict=True))
    first, rest = r, None
    if m < n:
        first, gr, behind = r[..., :m], gr[..., :m], gr[..., m:]
        rest = matmul(q, behind)
        gq = gq + matmul(x[..., m:], _turned(behind))
    inner = matmul(first, _turned(gr)) - matmul(_turned(gq), q)
    mirrored = triangle(inner, 0, upper=False) + _turned(triangle(inner, -1, upper=False))
    sides = _turned(gq + matmul(q, mirrored))
    gx = _turned(face.triangular_solve(first, sides, upper=True, transpose=False, unit=False))
    return gx if rest is None else np.concatenate([gx, rest], -1)
