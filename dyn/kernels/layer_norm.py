"""Layer norm and RMS norm: rows over the last axes, normalised, scaled and shifted.

A row is read twice forward (for its moments, see `Row.moments`, and for the result) and twice
backward, the second time from the first-level cache. Gradients of scale and bias are sums over
rows: one partial result per chunk. Other dtypes than float32 and float64 go through float32.

Source: Ba, Kiros & Hinton, Layer Normalization, arXiv 1607.06450; Zhang & Sennrich, Root Mean
Square Layer Normalization, arXiv 1910.07467.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.memory import empty, maker
from dyn.kernels.vector.rows import Row, RowKernel, chunks
from dyn.kernels.vector.simd import F32, F64, WORD, fma, total

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

# ---- kernels -----------------------------------------------------------------------------------


def _layer_norm(row: Row) -> None:
    """Arrays: x, scale, bias, out, mean, rstd. Parameter: epsilon."""
    x, scale, bias, out, mean_at, rstd_at = range(6)
    mean, variance = row.moments(x)
    middle = row.emit.splat(mean)
    rstd = 1.0 / (variance + row.parameter(0)).call("sqrt")
    factor = row.emit.splat(rstd)

    def write(at, c, mask):
        normal = (row.load(x, at, mask) - middle) * factor
        row.finish(fma(normal, row.load(scale, at, mask), row.load(bias, at, mask)), out, at, mask)
        return []

    row.scan(write)
    row.put(mean, mean_at)
    row.put(rstd, rstd_at)


def _layer_norm_grad(row: Row) -> None:
    """Arrays: g, x, scale, mean, rstd, gx. Sums: of g * normal, then of g."""
    g, x, scale, mean_at, rstd_at, gx = range(6)
    mean, rstd, n = row.number(mean_at), row.number(rstd_at), row.length()
    middle, factor = row.emit.splat(mean), row.emit.splat(rstd)

    def project(at, c, mask):
        t = row.load(g, at, mask) * row.load(scale, at, mask)
        return [c[0] + t, fma(t, row.load(x, at, mask) - middle, c[1])]

    outer, inner = row.scan(project, [row.zero(), row.zero()])
    shift = row.emit.splat(-(total(*outer) * rstd / n))
    slope = row.emit.splat(-(total(*inner) * rstd * rstd * rstd / n))
    width = row.emit.builder.mul(row.count, WORD(row.emit.size))

    def write(at, c, mask):
        d, own = row.load(x, at, mask) - middle, row.load(g, at, mask)
        scaled = own * factor
        row.finish(fma(scaled, row.load(scale, at, mask), fma(d, slope, shift)), gx, at, mask)
        row.add(scaled * d, at, mask)
        row.add(own, row.emit.builder.add(at, width), mask)
        return []

    row.scan(write, unroll=2)


def _rms_norm(row: Row) -> None:
    """Arrays: x, scale, out, rstd. Parameter: epsilon."""
    x, scale, out, rstd_at = range(4)

    def square(at, c, mask):
        own = row.load(x, at, mask)
        return [fma(own, own, c[0])]

    (squares,) = row.scan(square, [row.zero()])
    rstd = 1.0 / (total(*squares) / row.length() + row.parameter(0)).call("sqrt")
    factor = row.emit.splat(rstd)

    def write(at, c, mask):
        normal = row.load(x, at, mask) * factor
        row.finish(normal * row.load(scale, at, mask), out, at, mask)
        return []

    row.scan(write)
    row.put(rstd, rstd_at)


def _rms_norm_grad(row: Row) -> None:
    """Arrays: g, x, scale, rstd, gx. Sums: of g * normal."""
    g, x, scale, rstd_at, gx = range(5)
    rstd = row.number(rstd_at)
    factor = row.emit.splat(rstd)

    def project(at, c, mask):
        t = row.load(g, at, mask) * row.load(scale, at, mask)
        return [fma(t, row.load(x, at, mask), c[0])]

    (inner,) = row.scan(project, [row.zero()])
    slope = row.emit.splat(-(total(*inner) * rstd * rstd * rstd / row.length()))

    def write(at, c, mask):
        own, scaled = row.load(x, at, mask), row.load(g, at, mask) * factor
        row.finish(fma(scaled, row.load(scale, at, mask), own * slope), gx, at, mask)
        row.add(scaled * own, at, mask)
        return []

    row.scan(write, unroll=2)


_KERNELS = {
    (write, np.dtype(dtype)): RowKernel(f"{write.__name__[1:]}_{dtype}", element, write, *form)
    for write, form in (
        (_layer_norm, (6,)), (_layer_norm_grad, (6, True)), (_rms_norm, (4,)),
        (_rms_norm_grad, (5, True)),
    )
    for dtype, element in (("float32", F32), ("float64", F64))
}  # fmt: skip

# ---- calls -------------------------------------------------------------------------------------


@lru_cache(256)
def _constant(shape: tuple[int, ...], number: float, dtype: np.dtype) -> np.ndarray:
    """A vector that stands for a missing scale or bias."""
    return np.full(shape, number, dtype)


class _Plan(NamedTuple):
    """What follows from shape and dtype of the rows."""

    launch: Launch
    one_each: tuple[int, ...]
    """Shape of what there is one of per row."""
    inner: tuple[int, ...]
    """Shape of a row."""
    parts: int
    """Number of partial results."""


@lru_cache(1024)
def _plan(
    write: Any, shape: tuple[int, ...], dtype: np.dtype, axes_count: int, kinds: str, *words: int
) -> _Plan:
    """How a kernel runs.

    Args:
        kinds: for each array a letter: whole (r)ows, the (s)hared one, (o)ne number per row, or
            the (p)artial results, as many rows as there are letters.
    """
    lead = len(shape) - axes_count
    rows, length, size = math.prod(shape[:lead]), math.prod(shape[lead:]), dtype.itemsize
    partial = kinds.count("p")
    step_of = {"r": size * length, "s": 0, "o": size}
    steps = [step_of[kind] for kind in kinds if kind != "p"]
    parts = None
    if partial:
        parts = chunks(rows, length, 16)
        steps.append(partial * size * length)
    launch = _KERNELS[write, dtype].plan(rows, length, steps, *words, parts=parts)
    return _Plan(launch, (*shape[:lead], *[1] * axes_count), shape[lead:], parts or 0)


def _narrowed(results, dtype):
    return tuple(v.astype(dtype) for v in results)


def layer_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, axes_count: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean, rstd): rows over the last `axes_count` axes normalised, times w, plus b."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w, b))
        return _narrowed(layer_norm(*wide, axes_count=axes_count, epsilon=epsilon), x.dtype)
    return bound(x.shape, x.dtype, axes_count=axes_count, epsilon=epsilon)(x, w, b)


def bound(
    shape: tuple[int, ...], dtype: np.dtype, *, axes_count: int, epsilon: float
) -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """`layer_norm` of arrays of one shape, float32 or float64."""
    plan = _plan(_layer_norm, shape, dtype, axes_count, "rssroo", float_word(epsilon))
    launch, made, one_each = plan.launch, maker(shape, dtype), maker(plan.one_each, dtype)

    def run(x: np.ndarray, w: np.ndarray | None = None, b: np.ndarray | None = None) -> Any:
        w = _constant(plan.inner, 1.0, dtype) if w is None else contiguous(w)
        b = _constant(plan.inner, 0.0, dtype) if b is None else contiguous(b)
        out, mean, rstd = made(), one_each(), one_each()
        launch(contiguous(x), w, b, out, mean, rstd)
        return out, mean, rstd

    return run


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
    g, x, mean, rstd = contiguous(g), contiguous(x), contiguous(mean), contiguous(rstd)
    plan = _plan(_layer_norm_grad, x.shape, x.dtype, axes_count, "rrsoorpp")
    w = _constant(plan.inner, 1.0, x.dtype) if w is None else contiguous(w)
    gx, sums = empty(x.shape, x.dtype), np.zeros((plan.parts, 2, *plan.inner), x.dtype)
    plan.launch(g, x, w, mean, rstd, gx, sums)
    gw, gb = sums[0] if plan.parts == 1 else sums.sum(axis=0)
    return gx, gw, gb


def rms_norm(
    x: np.ndarray, w: np.ndarray | None, *, axes_count: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """(out, rstd): rows over the last axes divided by their root mean square, times w."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w))
        return _narrowed(rms_norm(*wide, axes_count=axes_count, epsilon=epsilon), x.dtype)
    x = contiguous(x)
    plan = _plan(_rms_norm, x.shape, x.dtype, axes_count, "rsro", float_word(epsilon))
    w = _constant(plan.inner, 1.0, x.dtype) if w is None else contiguous(w)
    out, rstd = empty(x.shape, x.dtype), empty(plan.one_each, x.dtype)
    plan.launch(x, w, out, rstd)
    return out, rstd


def rms_norm_grad(
    g: np.ndarray, x: np.ndarray, w: np.ndarray | None, rstd: np.ndarray, *, axes_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(gx, gw)."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (g, x, w, rstd))
        return _narrowed(rms_norm_grad(*wide, axes_count=axes_count), x.dtype)
    g, x, rstd = contiguous(g), contiguous(x), contiguous(rstd)
    plan = _plan(_rms_norm_grad, x.shape, x.dtype, axes_count, "rrsorp")
    w = _constant(plan.inner, 1.0, x.dtype) if w is None else contiguous(w)
    gx, sums = empty(x.shape, x.dtype), np.zeros((plan.parts, *plan.inner), x.dtype)
    plan.launch(g, x, w, rstd, gx, sums)
    return gx, sums[0] if plan.parts == 1 else sums.sum(axis=0)
