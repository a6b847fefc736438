"""Layer norm and RMS norm: rows over the last axes, normalised, scaled and shifted.

A row is read twice forward (its sums around the first number, result) and twice backward, once of
that from the first-level cache; moments are those of `Row.moments`.
Gradients of scale and bias are sums over rows: one partial result per chunk. Other dtypes than
float32 and float64 go through float32.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.runtime.drive import float_word
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector import rows
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, F64, fma, total

FLOATS = (np.float32, np.float64)

# ---- kernels -----------------------------------------------------------------------------------


def _layer_norm(row: Row) -> None:
    """Arrays: x, out, mean, rstd. Parameters: scale, bias, epsilon."""
    mean, variance = row.moments(0)
    middle = row.emit.splat(mean)
    rstd = 1.0 / (variance + row.parameter(2)).call("sqrt")
    factor = row.emit.splat(rstd)

    def write(at, c, mask):
        normal = (row.load(0, at, mask) - middle) * factor
        row.store(fma(normal, row.shared(0, at, mask), row.shared(1, at, mask)), 1, at, mask)
        return []

    row.scan(write)
    row.put(mean, 2)
    row.put(rstd, 3)


def _layer_norm_grad(row: Row) -> None:
    """Arrays: g, x, gx, mean, rstd. Parameters: scale. Sums: of g * normal, then of g."""
    mean, rstd, n = row.number(3), row.number(4), row.length()
    middle, factor = row.emit.splat(mean), row.emit.splat(rstd)

    def project(at, c, mask):
        t = row.load(0, at, mask) * row.shared(0, at, mask)
        return [c[0] + t, fma(t, row.load(1, at, mask) - middle, c[1])]

    outer, inner = row.scan(project, [row.zero(), row.zero()])
    shift = row.emit.splat(-(total(*outer) * rstd / n))
    slope = row.emit.splat(-(total(*inner) * rstd * rstd * rstd / n))
    width = row.emit.builder.mul(row.count, row.word(1))

    def write(at, c, mask):
        d, g = row.load(1, at, mask) - middle, row.load(0, at, mask)
        scaled = g * factor
        gx = fma(scaled, row.shared(0, at, mask), fma(d, slope, shift))
        row.store(gx, 2, at, mask)
        row.add(scaled * d, at, mask)
        row.add(g, row.emit.builder.add(at, width), mask)
        return []

    row.scan(write, unroll=2)


def _rms_norm(row: Row) -> None:
    """Arrays: x, out, rstd. Parameters: scale, epsilon."""

    def square(at, c, mask):
        x = row.load(0, at, mask)
        return [fma(x, x, c[0])]

    (squares,) = row.scan(square, [row.zero()])
    rstd = 1.0 / (total(*squares) / row.length() + row.parameter(1)).call("sqrt")
    factor = row.emit.splat(rstd)

    def write(at, c, mask):
        row.store(row.load(0, at, mask) * factor * row.shared(0, at, mask), 1, at, mask)
        return []

    row.scan(write)
    row.put(rstd, 2)


def _rms_norm_grad(row: Row) -> None:
    """Arrays: g, x, gx, rstd. Parameters: scale. Sums: of g * normal."""
    rstd = row.number(3)
    factor = row.emit.splat(rstd)

    def project(at, c, mask):
        t = row.load(0, at, mask) * row.shared(0, at, mask)
        return [fma(t, row.load(1, at, mask), c[0])]

    (inner,) = row.scan(project, [row.zero()])
    slope = row.emit.splat(-(total(*inner) * rstd * rstd * rstd / row.length()))

    def write(at, c, mask):
        x, scaled = row.load(1, at, mask), row.load(0, at, mask) * factor
        row.store(fma(scaled, row.shared(0, at, mask), x * slope), 2, at, mask)
        row.add(scaled * x, at, mask)
        return []

    row.scan(write, unroll=2)


_KERNELS = {
    (write, dtype): RowKernel(f"{write.__name__[1:]}_{dtype.__name__}", element, write)
    for write in (_layer_norm, _layer_norm_grad, _rms_norm, _rms_norm_grad)
    for dtype, element in ((np.float32, F32), (np.float64, F64))
}

# ---- calls -------------------------------------------------------------------------------------


@lru_cache(256)
def _constant(shape: tuple[int, ...], number: float, dtype: np.dtype) -> np.ndarray:
    """A vector that stands for a missing scale or bias."""
    return np.full(shape, number, dtype)


def _split(x: np.ndarray, axes_count: int) -> tuple[int, int, tuple[int, ...]]:
    """Number of rows, their length, and the shape of what there is one of per row."""
    lead = x.ndim - axes_count
    shape = (*x.shape[:lead], *([1] * axes_count))
    return math.prod(x.shape[:lead]), math.prod(x.shape[lead:]), shape


def _dense(x: np.ndarray) -> np.ndarray:
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


def _narrowed(results, dtype):
    return tuple(v.astype(dtype) for v in results)


def layer_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, axes_count: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean, rstd): rows over the last `axes_count` axes normalised, times w, plus b."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w, b))
        return _narrowed(layer_norm(*wide, axes_count=axes_count, epsilon=epsilon), x.dtype)
    x = _dense(x)
    count, length, shape = _split(x, axes_count)
    inner = x.shape[x.ndim - axes_count :]
    w = _constant(inner, 1.0, x.dtype) if w is None else _dense(w)
    b = _constant(inner, 0.0, x.dtype) if b is None else _dense(b)
    out, mean, rstd = empty(x.shape, x.dtype), empty(shape, x.dtype), empty(shape, x.dtype)
    size = x.itemsize
    params = np.array([id(w), id(b), float_word(epsilon)])
    _KERNELS[_layer_norm, x.dtype.type].run(
        count, length, (x, size * length), (out, size * length), (mean, size), (rstd, size),
        params=params,
    )  # fmt: skip
    return out, mean, rstd


def layer_norm_grad(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    *,
    axes_count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gw, gb); gw and gb have the shape of the normalised axes."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (g, x, w, mean, rstd))
        return _narrowed(layer_norm_grad(*wide, axes_count=axes_count), x.dtype)
    g, x, mean, rstd = (_dense(v) for v in (g, x, mean, rstd))
    count, length, _ = _split(x, axes_count)
    inner = x.shape[x.ndim - axes_count :]
    w = _constant(inner, 1.0, x.dtype) if w is None else _dense(w)
    gx = empty(x.shape, x.dtype)
    sums = np.zeros((rows.chunks(count, length, 16), 2, *inner), x.dtype)
    size = x.itemsize
    _KERNELS[_layer_norm_grad, x.dtype.type].run(
        count, length, (g, size * length), (x, size * length), (gx, size * length),
        (mean, size), (rstd, size), params=np.array([id(w), size]), sums=sums,
    )  # fmt: skip
    gw, gb = sums[0] if len(sums) == 1 else sums.sum(axis=0)
    return gx, gw, gb


def rms_norm(
    x: np.ndarray, w: np.ndarray | None, *, axes_count: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """(out, rstd): rows over the last axes divided by their root mean square, times w."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w))
        return _narrowed(rms_norm(*wide, axes_count=axes_count, epsilon=epsilon), x.dtype)
    x = _dense(x)
    count, length, shape = _split(x, axes_count)
    inner = x.shape[x.ndim - axes_count :]
    w = _constant(inner, 1.0, x.dtype) if w is None else _dense(w)
    out, rstd = empty(x.shape, x.dtype), empty(shape, x.dtype)
    size = x.itemsize
    _KERNELS[_rms_norm, x.dtype.type].run(
        count, length, (x, size * length), (out, size * length), (rstd, size),
        params=np.array([id(w), float_word(epsilon)]),
    )  # fmt: skip
    return out, rstd


def rms_norm_grad(
    g: np.ndarray, x: np.ndarray, w: np.ndarray | None, rstd: np.ndarray, *, axes_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(gx, gw)."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (g, x, w, rstd))
        return _narrowed(rms_norm_grad(*wide, axes_count=axes_count), x.dtype)
    g, x, rstd = (_dense(v) for v in (g, x, rstd))
    count, length, _ = _split(x, axes_count)
    inner = x.shape[x.ndim - axes_count :]
    w = _constant(inner, 1.0, x.dtype) if w is None else _dense(w)
    gx = empty(x.shape, x.dtype)
    sums = np.zeros((rows.chunks(count, length, 16), *inner), x.dtype)
    size = x.itemsize
    _KERNELS[_rms_norm_grad, x.dtype.type].run(
        count, length, (g, size * length), (x, size * length), (gx, size * length), (rstd, size),
        params=np.array([id(w)]), sums=sums,
    )  # fmt: skip
    return gx, sums[0] if len(sums) == 1 else sums.sum(axis=0)
