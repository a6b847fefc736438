"""Batch norm: statistics per channel, normalisation with ReLU and residual, and the gradients.

Images that lie channels last are matrices with a channel per column; images that lie plane by
plane are rows, one per sample and channel, whose sums are put together afterwards. One set of
formulas serves both. Sums are taken relative to a value of the channel, so that no digits are lost
where the mean is large (Chan, Golub & LeVeque, Algorithms for Computing the Sample Variance, 1983).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.layout import dense, is_channels_last, like
from dyn.kernels.runtime.memory import empty_like
from dyn.kernels.vector.columns import Column, ColumnKernel
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, F64, choose, fma, total

FLOATS = {np.dtype(np.float32): F32, np.dtype(np.float64): F64}
X, Z, OUT = 0, 1, 2
G, GX, GZ = 2, 3, 4
"""Numbers of the arrays: x and the residual; the result, or gradients in and out."""

Arrays = dict[int, np.ndarray]
Formula = Callable[[Any, Any, Any], list[Any]]
"""`(load, store, constants) -> terms of the sums`."""


# ---- formulas ----------------------------------------------------------------------------------


def _moments(load: Any, store: Any, k: Any) -> list[Any]:
    d = load(X) - k[0]
    return [d, d * d]


def _variants(relu: bool, residual: bool) -> tuple[Formula, Formula, Formula]:
    """Result, sums of the gradient, and gradient, with or without ReLU and residual."""

    def before(load: Any, a: Any, b: Any) -> Any:
        """What the ReLU gets."""
        y = fma(load(X), a, b)
        return y + load(Z) if residual else y

    def gradient_in(load: Any, a: Any, b: Any) -> Any:
        """What passes the ReLU on the way back."""
        return choose(before(load, a, b) > 0, load(G), 0) if relu else load(G)

    def apply(load: Any, store: Any, k: Any) -> list[Any]:
        y = before(load, k[0], k[1])
        store(choose(y < 0, 0, y) if relu else y, OUT)
        return []

    def project(load: Any, store: Any, k: Any) -> list[Any]:
        g = gradient_in(load, k[0], k[1])
        return [g, g * (load(X) - k[2])]

    def gradient(load: Any, store: Any, k: Any) -> list[Any]:
        # gx = factor * g + slope * x + shift per channel.
        g = gradient_in(load, k[0], k[1])
        store(fma(g, k[0], fma(load(X), k[2], k[3])), GX)
        if residual:
            store(g, GZ)
        return []

    return apply, project, gradient


def _frozen_gradient(load: Any, store: Any, k: Any) -> list[Any]:
    """Gradient and its sums where mean and variance are given numbers."""
    g = load(G)
    store(g * k[0], GX)
    return [g, g * (load(X) - k[1])]


class _Pair:
    """A formula as a kernel over columns and as one over rows.

    Rows have two arrays more: the constants of each row, and its sums, if there are some.
    """

    def __init__(self, name: str, formula: Formula, arrays: int, constants: int, sums: int):

        def column(column: Column) -> None:
            terms = formula(column.load, column.store, column.constants)
            for number, term in enumerate(terms):
                column.add(number, term)

        def row(row: Row) -> None:
            own = [row.emit.splat(row.number(arrays, k)) for k in range(constants)]

            def step(at, carried, mask):
                terms = formula(
                    lambda array: row.load(array, at, mask),
                    lambda value, array: row.store(value, array, at, mask),
                    own,
                )
                return [old + term for old, term in zip(carried, terms, strict=True)]

            for number, made in enumerate(row.scan(step, [row.zero()] * sums)):
                row.put(total(*made), arrays + 1, number)

        self.columns = {
            dtype: ColumnKernel(
                f"{name}_columns_{dtype.name}", element, column, arrays, constants, sums
            )
            for dtype, element in FLOATS.items()
        }
        self.rows = {
            dtype: RowKernel(f"{name}_rows_{dtype.name}", element, row, arrays + 1 + (sums > 0))
            for dtype, element in FLOATS.items()
        }
        self.arrays = arrays
        self.constants = constants
        self.sums = sums

    @lru_cache(1024)  # noqa: B019: as many as there are formulas
    def plan(self, image: Image, dtype: np.dtype) -> Any:
        """How images of one kind are done."""
        if image.last:
            return self.columns[dtype].plan(image.count, image.channels)
        item = dtype.itemsize
        steps = [image.size * item] * self.arrays + [self.constants * item]
        if self.sums:
            steps.append(self.sums * item)
        return self.rows[dtype].plan(image.samples * image.channels, image.size, steps)

    def run(self, image: Image, arrays: Arrays, *constants: Any) -> Any:
        """Over all elements, with constants [channels]; sums [number, channels] in float64."""
        x = arrays[X]
        listed = [arrays.get(i, x) for i in range(self.arrays)]
        plan = self.plan(image, x.dtype)
        if image.last:
            own = np.empty((len(constants), image.channels), x.dtype)
            for k, constant in enumerate(constants):
                own[k] = constant
            return plan.run(*listed, constants=own)
        own = np.empty((image.samples, image.channels, len(constants)), x.dtype)
        for k, constant in enumerate(constants):
            own[:, :, k] = constant
        if not self.sums:
            return plan(*listed, own)
        sums = np.empty((image.samples, image.channels, self.sums), x.dtype)
        plan(*listed, own, sums)
        return sums.sum(axis=0, dtype=np.float64).T


MOMENTS = _Pair("moments", _moments, 1, 1, 2)
FORMULAS = {
    (relu, residual): tuple(
        _Pair(f"{what}{'_relu' if relu else ''}{'_residual' if residual else ''}", formula, *counts)
        for what, formula, counts in zip(
            ("normalise", "project", "denormalise"),
            _variants(relu, residual),
            ((3, 2, 0), (3, 3, 2), (4 + residual, 4, 0)),
            strict=True,
        )
    )
    for relu in (False, True)
    for residual in (False, True)
}
FROZEN = _Pair("denormalise_frozen", _frozen_gradient, 4, 2, 2)

# ---- layouts -----------------------------------------------------------------------------------


class Image(NamedTuple):
    """How [N, C, ...] lies in memory: `last` with the channels last, else plane by plane."""

    samples: int
    channels: int
    size: int
    last: bool

    @staticmethod
    def of(x: np.ndarray) -> Image:
        """The image that a dense array is."""
        last = x.ndim == 2 or is_channels_last(x)
        return Image(x.shape[0], x.shape[1], math.prod(x.shape[2:]), last)

    @property
    def count(self) -> int:
        """Elements of a channel."""
        return self.samples * self.size


# ---- calls -------------------------------------------------------------------------------------


def batch_norm_stats(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance per channel."""
    x = dense(x)
    mean, var = _stats(x, Image.of(x))
    return mean.astype(x.dtype), var.astype(x.dtype)


def _stats(x: np.ndarray, image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance in float64."""
    if not image.count:
        return np.full(image.channels, np.nan), np.full(image.channels, np.nan)
    shift = x[(0, slice(None), *[0] * (x.ndim - 2))]
    mean, square = MOMENTS.run(image, {X: x}, shift) / image.count
    return shift + mean, np.maximum(square - mean * mean, 0)


def _fold(
    w: np.ndarray | None, b: np.ndarray | None, mean: np.ndarray, var: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift per channel that do the whole normalisation, in float64."""
    factor = 1 / np.sqrt(var.astype(np.float64) + epsilon)
    factor = factor if w is None else factor * w
    shift = -mean * factor
    return factor, shift if b is None else shift + b


def _apply(x: Any, image: Image, residual: Any, factor: Any, shift: Any, relu: bool) -> np.ndarray:
    arrays = {X: x, OUT: empty_like(x)}
    if residual is not None:
        arrays[Z] = like(residual, x)
    FORMULAS[relu, residual is not None][0].run(image, arrays, factor, shift)
    return arrays[OUT]


def batch_norm(
    x: np.ndarray,
    w: np.ndarray | None,
    b: np.ndarray | None,
    residual: np.ndarray | None = None,
    *,
    epsilon: float,
    activation: str | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean, var): x normalised by its own statistics, plus `residual`, then `activation`."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w, b, residual))
        made = batch_norm(*wide, epsilon=epsilon, activation=activation)
        return made[0].astype(x.dtype), made[1].astype(x.dtype), made[2].astype(x.dtype)
    x = dense(x)
    image = Image.of(x)
    mean, var = (v.astype(x.dtype) for v in _stats(x, image))
    factor, shift = _fold(w, b, mean, var, epsilon)
    return _apply(x, image, residual, factor, shift, activation == "relu"), mean, var


def batch_norm_infer(
    x: np.ndarray,
    w: np.ndarray | None,
    b: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    residual: np.ndarray | None = None,
    *,
    epsilon: float,
    activation: str | None = None,
) -> np.ndarray:
    """x normalised by given statistics, plus `residual`, then `activation`."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w, b, mean, var, residual))
        return batch_norm_infer(*wide, epsilon=epsilon, activation=activation).astype(x.dtype)
    x = dense(x)
    factor, shift = _fold(w, b, mean, var, epsilon)
    return _apply(x, Image.of(x), residual, factor, shift, activation == "relu")


def batch_norm_grad(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    b: np.ndarray | None,
    residual: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    g_mean: np.ndarray,
    g_var: np.ndarray,
    *,
    epsilon: float,
    activation: str | None = None,
) -> tuple[np.ndarray, ...]:
    """(gx, gw, gb), and the gradient of `residual` if there is one."""
    if x.dtype not in FLOATS:
        given = (g, x, w, b, residual, mean, var, g_mean, g_var)
        wide = (None if v is None else v.astype(np.float32) for v in given)
        made = batch_norm_grad(*wide, epsilon=epsilon, activation=activation)
        return tuple(v.astype(x.dtype) for v in made)
    x = dense(x)
    image = Image.of(x)
    arrays = {X: x, G: like(g, x)}
    if residual is not None:
        arrays[Z] = like(residual, x)
    _, project, gradient = FORMULAS[activation == "relu", residual is not None]
    factor, shift = _fold(w, b, mean, var, epsilon)
    gb, centred = project.run(image, arrays, factor, shift, mean)
    rstd = 1 / np.sqrt(var.astype(np.float64) + epsilon)
    gw = centred * rstd
    count = max(image.count, 1)
    slope = (2 * g_var - factor * gw * rstd) / count
    offset = (g_mean - factor * gb) / count - slope * mean
    arrays[GX] = empty_like(x)
    if residual is not None:
        arrays[GZ] = empty_like(x)
    gradient.run(image, arrays, factor, shift, slope, offset)
    results = (arrays[GX], gw.astype(x.dtype), gb.astype(x.dtype))
    return results if residual is None else (*results, arrays[GZ])


def batch_norm_infer_grad(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    epsilon: float,
) -> tuple[np.ndarray, ...]:
    """(gx, gw, gb, gmean, gvar) of `batch_norm_infer`."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (g, x, w, mean, var))
        return tuple(v.astype(x.dtype) for v in batch_norm_infer_grad(*wide, epsilon=epsilon))
    x = dense(x)
    arrays = {X: x, G: like(g, x), GX: empty_like(x)}
    rstd = 1 / np.sqrt(var.astype(np.float64) + epsilon)
    factor = rstd if w is None else rstd * w
    gb, centred = FROZEN.run(Image.of(x), arrays, factor, mean)
    gw = centred * rstd
    small = (gw, gb, -factor * gb, -0.5 * rstd * factor * gw)
    return arrays[GX], *(v.astype(x.dtype) for v in small)
