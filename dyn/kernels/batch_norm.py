"""Batch norm: statistics per channel, normalisation with ReLU and residual, and the gradients.

Images that lie channels last are matrices with a channel per column; images that lie plane by
plane are rows, one per sample and channel, whose sums are put together afterwards. One set of
formulas serves both. Sums are taken relative to a value of the channel, so that no digits are lost
where the mean is large.

Source: Ioffe & Szegedy, Batch Normalization, arXiv 1502.03167; Chan, Golub & LeVeque, Algorithms
for Computing the Sample Variance, 1983.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels import batch_norm_small as small
from dyn.kernels.batch_norm_channels import (
    add_samples,
    fold,
    frozen_gradients,
    slopes,
    statistics,
    vectors,
)
from dyn.kernels.copy import contiguous
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

    def run(self, image: Image, arrays: Arrays, table: np.ndarray) -> np.ndarray:
        """Over all elements, with constants [number, channels]; sums alike, in float64."""
        x = arrays[X]
        listed = [arrays.get(i, x) for i in range(self.arrays)]
        plan = _plan(self, image, x.dtype)
        if image.last:
            return plan.run(*listed, constants=table)
        own = np.empty((image.samples, image.channels, self.constants), x.dtype)
        own[...] = table.T
        if not self.sums:
            plan(*listed, own)
            return own
        sums = np.empty((image.samples, image.channels, self.sums), x.dtype)
        plan(*listed, own, sums)
        added = np.empty((self.sums, image.channels))
        add_samples(sums, added)
        return added


@lru_cache(1024)
def _plan(pair: _Pair, image: Image, dtype: np.dtype) -> Any:
    """How a formula goes over images of one kind."""
    if image.last:
        return pair.columns[dtype].plan(image.count, image.channels)
    item = dtype.itemsize
    steps = [image.size * item] * pair.arrays + [pair.constants * item]
    if pair.sums:
        steps.append(pair.sums * item)
    return pair.rows[dtype].plan(image.samples * image.channels, image.size, steps)


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


def _stats(x: np.ndarray, image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance per channel."""
    mean, var = np.empty(image.channels, x.dtype), np.empty(image.channels, x.dtype)
    if not image.count:
        mean[:] = var[:] = np.nan
        return mean, var
    shift = x[(0, slice(None), *[0] * (x.ndim - 2))].copy()[None]
    statistics(MOMENTS.run(image, {X: x}, shift), shift, image.count, mean, var)
    return mean, var


def _apply(
    x: np.ndarray, image: Image, residual: Any, given: tuple[np.ndarray, ...], epsilon: float,
    relu: bool,
) -> np.ndarray:  # fmt: skip
    """x normalised; given are w, b, mean and variance."""
    table = np.empty((2, image.channels), x.dtype)
    fold(*given, epsilon, table)
    arrays = {X: x, OUT: empty_like(x)}
    if residual is not None:
        arrays[Z] = like(residual, x)
    FORMULAS[relu, residual is not None][0].run(image, arrays, table)
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
    if residual is None and activation is None and small.is_small(x):
        return small.batch_norm(x, w, b, epsilon)
    x = dense(x)
    image = Image.of(x)
    mean, var = _stats(x, image)
    given = (*vectors(x, w, b), mean, var)
    return _apply(x, image, residual, given, epsilon, activation == "relu"), mean, var


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
    given = vectors(x, w, b, mean, var)
    return _apply(x, Image.of(x), residual, given, epsilon, activation == "relu")


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
    if residual is None and activation is None and small.is_small(x):
        g = contiguous(g)
        return small.batch_norm_grad(g, x, w, mean, var, g_mean, g_var, epsilon=epsilon)
    x = dense(x)
    image = Image.of(x)
    arrays = {X: x, G: like(g, x)}
    if residual is not None:
        arrays[Z] = like(residual, x)
    _, project, gradient = FORMULAS[activation == "relu", residual is not None]
    w, b, mean, var, g_mean, g_var = vectors(x, w, b, mean, var, g_mean, g_var)
    table = np.empty((4, image.channels), x.dtype)
    fold(w, b, mean, var, epsilon, table)
    table[2] = mean
    sums = project.run(image, arrays, table[:3])
    gw, gb = np.empty_like(mean), np.empty_like(mean)
    count = max(image.count, 1)
    slopes(sums, w, mean, var, g_mean, g_var, epsilon, count, gw, gb, table)
    arrays[GX] = empty_like(x)
    if residual is not None:
        arrays[GZ] = empty_like(x)
    gradient.run(image, arrays, table)
    results = (arrays[GX], gw, gb)
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
    w, b, mean, var = vectors(x, w, None, mean, var)
    table = np.empty((2, x.shape[1]), x.dtype)
    fold(w, b, mean, var, epsilon, table)
    table[1] = mean
    made = np.empty((4, x.shape[1]), x.dtype)
    frozen_gradients(FROZEN.run(Image.of(x), arrays, table), w, var, epsilon, made)
    return arrays[GX], *made
