"""Factorisations and solutions as ops call them: dtypes that kernels lack, leading axes.

A failure is the number of a matrix and of the row at which it could go no further, counted from 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.kernels.factor import again, lu, reflections, symmetric
from dyn.kernels.factor.lu import Kept

Failure = tuple[int, int] | None
_WIDE = {np.dtype(np.float32), np.dtype(np.float64)}


def real_of(dtype: np.dtype) -> np.dtype:
    """The dtype of the parts of complex numbers."""
    return np.empty(0, dtype).real.dtype


def _in_float32(function: Callable[..., Any], *given: np.ndarray) -> Any:
    """The results for half precision, computed in float32."""
    found = function(*(x.astype(np.float32) for x in given))
    if isinstance(found, np.ndarray):
        return found.astype(given[0].dtype)
    return tuple(x.astype(given[0].dtype) if isinstance(x, np.ndarray) else x for x in found)


def _by_numpy(function: Callable[[], Any], x: np.ndarray) -> tuple[Any, Failure]:
    """What a function of numpy.linalg gives, and which matrix it fails for."""
    try:
        return function(), None
    except np.linalg.LinAlgError:
        return np.full_like(x, np.nan), (0, x.shape[-1])


def _spread(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the same leading axes."""
    if x.shape[:-2] == y.shape[:-2]:
        return x, y
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return tuple(np.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (x, y))  # type: ignore[return-value]


def _of_complex(x: np.ndarray) -> Kept:
    """What is kept of complex matrices: themselves."""
    return Kept(x, np.zeros(x.shape[:-1], np.int64))


def det(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Determinants of (..., n, n), and what `transposed_solve` goes by."""
    if x.dtype in _WIDE:
        out, kept = lu.determinants(x)
    elif x.dtype.kind == "c":
        out, kept = np.asarray(np.linalg.det(x)), _of_complex(x)
    else:
        out, kept = lu.determinants(x.astype(np.float32))
        out = out.astype(x.dtype)
    return out, *kept


def slogdet(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Signs of the determinants of (..., n, n), logarithms of their sizes, and as `det`."""
    if x.dtype in _WIDE:
        sign, size, kept = lu.logarithms(x)
    elif x.dtype.kind == "c":
        sign, size = map(np.asarray, np.linalg.slogdet(x))
        kept = _of_complex(x)
    else:
        sign, size, kept = lu.logarithms(x.astype(np.float32))
        sign, size = sign.astype(x.dtype), size.astype(x.dtype)
    return sign, size, *kept


def inverse(x: np.ndarray) -> tuple[np.ndarray, Failure]:
    """Inverses of (..., n, n)."""
    if x.dtype in _WIDE:
        return lu.inverses(x)
    if x.dtype.kind == "c":
        return _by_numpy(lambda: np.linalg.inv(x), x)
    return _in_float32(inverse, x)


def solve(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Failure, np.ndarray, np.ndarray]:
    """Solutions of x @ out = y, (..., n, n) and (..., n, k), leading axes broadcast; as `det`."""
    x, y = _spread(x, y)
    if x.dtype in _WIDE:
        out, failed, kept = lu.solutions(x, y)
    elif x.dtype.kind == "c":
        out, failed = _by_numpy(lambda: np.linalg.solve(x, y), x)
        kept = _of_complex(x)
    else:
        out, failed, kept = lu.solutions(x.astype(np.float32), y.astype(np.float32))
        out = out.astype(y.dtype)
    return out, failed, *kept


def transposed_solve(
    factors: np.ndarray, order: np.ndarray, y: np.ndarray | None
) -> tuple[np.ndarray, Failure]:
    """Solutions of x.T @ out = y, or transposed inverses without y, of x that was solved with.

    Those of half precision come in float32.
    """
    if factors.dtype.kind == "c":
        sides = np.eye(factors.shape[-1], dtype=factors.dtype) if y is None else y
        turned = factors.swapaxes(-1, -2)
        return _by_numpy(lambda: np.linalg.solve(*_spread(turned, sides)), factors)
    sides = None if y is None else y.astype(factors.dtype, copy=False)
    return again.transposed_solutions(Kept(factors, order), sides)


def cholesky(x: np.ndarray, *, upper: bool) -> tuple[np.ndarray, Failure]:
    """Cholesky factors of (..., n, n), of which one triangle is read."""
    if x.dtype in _WIDE:
        return symmetric.cholesky(x, upper=upper)
    if x.dtype.kind == "c":
        return _by_numpy(lambda: np.linalg.cholesky(x, upper=upper), x)
    return _in_float32(lambda wide: cholesky(wide, upper=upper), x)


def triangular_solve(
    x: np.ndarray, y: np.ndarray, *, upper: bool, transpose: bool, unit: bool
) -> np.ndarray:
    """Solutions of x @ out = y, or x.T @ out = y, for triangles x, leading axes broadcast."""
    how = {"upper": upper, "transpose": transpose, "unit": unit}
    if x.dtype in _WIDE:
        return symmetric.triangular(*_spread(x, y), **how)
    if x.dtype.kind == "c":
        part = np.triu(x) if upper else np.tril(x)
        if unit:
            part[..., range(x.shape[-1]), range(x.shape[-1])] = 1
        return np.linalg.solve(*_spread(part.swapaxes(-1, -2) if transpose else part, y))
    return _in_float32(lambda a, b: triangular_solve(a, b, **how), x, y)


def qr(x: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Q with `kept` orthonormal columns and upper triangular R of (..., m, n)."""
    if x.dtype in _WIDE:
        return reflections.qr(x, kept)
    if x.dtype.kind == "c":
        q, r = np.linalg.qr(x, "complete")
        return q[..., :kept], r[..., :kept, :]
    return _in_float32(lambda wide: qr(wide, kept), x)
