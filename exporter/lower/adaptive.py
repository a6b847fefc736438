"""Lowerings of `dyn/ops/adaptive.py`.

One bin is a global pool, bins of one size are an ordinary pool; else means are products with a
matrix of weights, made at run time where sizes are symbolic, and maxima are taken under masks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.expr import Expr
from dyn.kernels.pool import bins
from exporter.registry import NodeView, lowers
from exporter.windows import is_symbolic, volume


def _windows(spatial: Any, sizes: Any) -> list[int] | None:
    """The window per axis if all bins are of one size, without overlap; else None."""
    if is_symbolic((*spatial, *sizes)) or any(n % o for n, o in zip(spatial, sizes, strict=True)):
        return None
    return [n // o for n, o in zip(spatial, sizes, strict=True)]


def _one_bin(sizes: Any) -> bool:
    return all(isinstance(n, int) and n == 1 for n in sizes)


def _edges(b: Any, size: Any, count: Any) -> tuple[Any, Any]:
    """Start and end of each bin, int64 [count]."""
    zero, one = b.const(0, np.int64), b.const(1, np.int64)
    i = b.op("Range", zero, b.size(count), one)
    start = b.op("Div", b.op("Mul", i, b.size(size)), b.size(count))
    above = b.op("Mul", b.op("Add", i, one), b.size(size))
    above = b.op("Add", above, b.op("Sub", b.size(count), one))
    return start, b.op("Div", above, b.size(count))


def _mask(b: Any, size: Any, count: Any) -> Any:
    """Whether element j lies in bin i, [count, size]."""
    if not is_symbolic((size, count)):
        cuts = bins(int(size), int(count))
        return b.const(np.array([[a <= j < e for j in range(size)] for a, e in cuts]))
    start, end = _edges(b, size, count)
    j = b.op("Range", b.const(0, np.int64), b.size(size), b.const(1, np.int64))
    after = b.op("GreaterOrEqual", j, b.unsqueeze(start, 1))
    return b.op("And", after, b.op("Less", j, b.unsqueeze(end, 1)))


def _weights(b: Any, size: Any, count: Any, dtype: Any) -> Any:
    """What element j counts in the mean of bin i, [count, size]."""
    mask = b.cast(_mask(b, size, count), dtype)
    return b.op("Div", mask, b.axes("ReduceSum", mask, [1]))


def along(b: Any, x: Any, shape: Any, axis: int, matrix: Any, size: Any) -> Any:
    """`matrix` [size, n] applied along one axis of x, whose shape is `shape`."""
    rank = len(shape)
    if axis == rank - 1:
        return b.op("MatMul", x, b.transpose(matrix, (1, 0)))
    if axis == rank - 2:
        return b.op("MatMul", matrix, x)
    rest = list(shape[axis + 1 :])
    x = b.reshape(x, [*shape[: axis + 1], volume(rest)])
    return b.reshape(b.op("MatMul", matrix, x), [*shape[:axis], size, *rest])


@lowers("adaptive_avg_pool")
def _(b: Any, node: NodeView) -> Any:
    sizes, shape = node.attrs["sizes"], list(node.shape)
    if node.dtype == np.float32:
        if _one_bin(sizes):
            return b.op("GlobalAveragePool", node.x)
        window = _windows(shape[2:], sizes)
        if window:
            return b.op("AveragePool", node.x, kernel_shape=window, strides=window)
    x = node.x
    for axis, count in enumerate(sizes, 2):
        if Expr.of(shape[axis]) != Expr.of(count):
            weights = _weights(b, shape[axis], count, node.dtype)
            x = along(b, x, shape, axis, weights, count)
            shape[axis] = count
    return b.op("Identity", x) if x is node.x else x


@lowers("adaptive_avg_pool_grad")
def _(b: Any, node: NodeView) -> Any:
    shape = list(node.shape)
    g = node.x
    for axis, size in enumerate(node.attrs["x_shape"][2:], 2):
        if Expr.of(shape[axis]) != Expr.of(size):
            weights = b.transpose(_weights(b, size, shape[axis], node.dtype), (1, 0))
            g = along(b, g, shape, axis, weights, size)
            shape[axis] = size
    return b.op("Identity", g) if g is node.x else g


@lowers("adaptive_max_pool")
def _(b: Any, node: NodeView) -> Any:
    sizes, spatial = node.attrs["sizes"], list(node.shape[2:])
    if node.used[1]:
        index = _positions(b, node)
        out = _taken(b, node, index)
        return out, b.cast(index, np.int32)
    if _one_bin(sizes):
        if node.dtype == np.float32:
            return b.op("GlobalMaxPool", node.x), None
        return b.axes("ReduceMax", node.x, range(2, node.rank)), None
    window = _windows(spatial, sizes)
    if window:
        return b.op("MaxPool", node.x, kernel_shape=window, strides=window), None
    return _masked_max(b, node), None


@lowers("adaptive_max_pool_index")
def _(b: Any, node: NodeView) -> Any:
    return _positions(b, node)


def _masked_max(b: Any, node: NodeView) -> Any:
    """The maximum axis by axis, each under the mask of its bins."""
    shape = list(node.shape)
    x, low = node.x, b.const(-np.inf, node.dtype)
    for axis, count in enumerate(node.attrs["sizes"], 2):
        after = len(shape) - axis - 1
        mask = b.unsqueeze(_mask(b, shape[axis], count), *range(2, 2 + after))
        seen = b.op("Where", mask, b.unsqueeze(x, axis), low)
        x = b.axes("ReduceMax", seen, [axis + 1], keepdims=False)
        shape[axis] = count
    return x


def _positions(b: Any, node: NodeView) -> Any:
    """Flat position of each maximum, int64."""
    sizes, shape = node.attrs["sizes"], list(node.shape)
    spatial = shape[2:]
    window = _windows(spatial, sizes)
    if window:
        index = b.op("MaxPool", node.x, kernel_shape=window, strides=window, outputs=2)[1]
        return b.op("Mod", index, b.size(volume(spatial)))
    mask = None
    rank = len(sizes)
    for i, (size, count) in enumerate(zip(spatial, sizes, strict=True)):
        others = [j for j in range(2 * rank) if j not in (i, rank + i)]
        one = b.unsqueeze(_mask(b, size, count), *others)
        mask = one if mask is None else b.op("And", mask, one)
    mask = b.reshape(mask, [volume(sizes), volume(spatial)])
    flat = b.reshape(node.x, [*shape[:2], 1, volume(spatial)])
    seen = b.op("Where", mask, flat, b.const(-np.inf, node.dtype))
    best = b.op("ArgMax", seen, axis=3, keepdims=0)
    return b.reshape(best, node.out.shape)


def _taken(b: Any, node: NodeView, index: Any) -> Any:
    """The values of x at flat positions."""
    lead = list(node.shape[:2])
    flat = b.reshape(node.x, [*lead, volume(node.shape[2:])])
    where = b.reshape(index, [*lead, volume(node.out.shape[2:])])
    return b.reshape(b.op("GatherElements", flat, where, axis=2), node.out.shape)
