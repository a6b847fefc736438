"""Lowerings of `dyn/ops/grid.py`: grids of affine maps as sums; GridSample, and its gradients by
gathering and scattering."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.lower.gather import scattered
from exporter.registry import NodeView, lowers
from exporter.windows import filled, volume


@lowers("grid_sample")
def _(b: Any, node: NodeView) -> Any:
    mode, padding = node.attrs["mode"], node.attrs["padding"]
    newer = b.has("GridSample", since=20)
    # onnxruntime 1.16, which reads the older opsets, moves the place to the border, not its pixels.
    if node.dtype != np.float32 or (mode == "bicubic" and padding == "border" and not newer):
        return _sampled(b, node)
    if newer:
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return b.op(
        "GridSample",
        *node.inputs,
        mode=mode,
        padding_mode=padding,
        align_corners=int(node.attrs["align_corners"]),
    )


class _Places:
    """Pixel coordinates along one axis, with their slope by the grid; [N, h * w]."""

    def __init__(self, b: Any, node: NodeView, size: Any, axis: int):
        self.b = b
        self.dtype = node.dtype
        grid = node.input_types[-1]
        self.length = b.cast(b.size(size), self.dtype)
        lead, count = grid.shape[0], volume(grid.shape[1:3])  # type: ignore[union-attr]
        flat = b.reshape(node.inputs[-1], [lead, count, 2])
        raw = b.op("Gather", flat, b.const(axis, np.int64), axis=2)
        up = self.maths("Add", raw, 1.0)
        if node.attrs["align_corners"]:
            unit = self.maths("Div", self.maths("Sub", self.length, 1.0), 2.0)
            at = self.maths("Mul", up, unit)
        else:
            unit = self.maths("Div", self.length, 2.0)
            at = self.maths("Sub", self.maths("Mul", up, unit), 0.5)
        self.cubic = node.attrs["mode"] == "bicubic"
        self.padding, self.align = node.attrs["padding"], node.attrs["align_corners"]
        # Of a cubic the pixels are brought into the image, not the place.
        self.at, slope = (at, None) if self.cubic else self.bounded(at, self.padding, self.align)
        self.slope = unit if slope is None else self.maths("Mul", slope, unit)

    def maths(self, op_type: str, *operands: Any) -> Any:
        """A node; numbers among its operands become constants."""
        return self.b.op(
            op_type,
            *(self.b.const(x, self.dtype) if isinstance(x, float) else x for x in operands),
        )

    def sign(self, condition: Any) -> Any:
        """-1 where the condition holds, else 1."""
        one, minus = self.b.const(1, self.dtype), self.b.const(-1, self.dtype)
        return self.b.op("Where", condition, minus, one)

    def bounded(self, at: Any, padding: str, align_corners: bool) -> tuple[Any, Any]:
        """Coordinates brought into the image, and the slope of that (None: one)."""
        if padding == "zeros":
            return at, None
        m = self.maths
        last = m("Sub", self.length, 1.0)
        slope = None
        if padding == "reflection":
            low = 0.0 if align_corners else -0.5
            span = m("Max", last if align_corners else self.length, 1e-30)
            shifted = m("Sub", at, low)
            far = m("Abs", shifted)
            turns = m("Floor", m("Div", far, span))
            rest = m("Sub", far, m("Mul", turns, span))
            halves = m("Mul", m("Floor", m("Div", turns, 2.0)), 2.0)
            odd = m("Greater", turns, halves)
            slope = m("Mul", self.sign(odd), self.sign(m("Less", shifted, 0.0)))
            at = self.b.op("Where", odd, m("Sub", span, rest), rest)
            at = m("Add", at, low)
        inside = self.b.op("And", m("Greater", at, 0.0), self.b.op("Less", at, last))
        zero = self.b.const(0, self.dtype)
        slope = self.b.op(
            "Where", inside, self.b.const(1, self.dtype) if slope is None else slope, zero
        )
        return self.b.op("Clip", at, zero, last), slope

    def corners(self) -> list[tuple[Any, Any, Any]]:
        """Place (floating point), weight and slope of the weight of all pixels that are read."""
        low = self.maths("Floor", self.at)
        part = self.maths("Sub", self.at, low)
        if self.cubic:
            return [
                (self.pixel(self.maths("Add", low, float(k))), *self.keys(part, k))
                for k in (-1, 0, 1, 2)
            ]
        return [
            (low, self.maths("Sub", 1.0, part), -1.0),
            (self.maths("Add", low, 1.0), part, 1.0),
        ]

    def pixel(self, number: Any) -> Any:
        """The pixel that stands for a number, as the padding wants it."""
        m = self.maths
        if self.padding == "zeros":
            return number
        last = m("Sub", self.length, 1.0)
        if self.padding == "border":
            return self.b.op("Clip", number, self.b.const(0, self.dtype), last)
        period = m("Max", m("Mul", last if self.align else self.length, 2.0), 1.0)
        turned = m("Sub", number, m("Mul", m("Floor", m("Div", number, period)), period))
        return m("Min", turned, m("Sub", m("Sub", period, 0.0 if self.align else 1.0), turned))

    def keys(self, part: Any, k: int) -> tuple[Any, Any]:
        """Weight and slope of the weight of the pixel k behind the second of the four."""
        m, a = self.maths, -0.75
        away = m("Sub", part, float(k)) if k <= 0 else m("Sub", float(k), part)
        # Of x, how far away the pixel is: a * x**3 + ..., from the highest power to the lowest.
        near = k in (0, 1)
        weight = (a + 2, -a - 3, 0.0, 1.0) if near else (a, -5 * a, 8 * a, -4 * a)
        slope = [power * factor for power, factor in zip((3, 2, 1), weight, strict=False)]
        found = []
        for factors in (weight, slope):
            total: Any = factors[0]
            for factor in factors[1:]:
                total = m("Add", m("Mul", total, away), factor)
            found.append(total)
        return found[0], found[1] if k <= 0 else m("Neg", found[1])

    def inside(self, place: Any) -> Any:
        """Whether a pixel is one of the image."""
        after = self.maths("GreaterOrEqual", place, 0.0)
        return self.b.op("And", after, self.b.op("Less", place, self.length))


class _Pixels:
    """Images of a shape, their spatial axes laid end to end, at pairs of pixel coordinates."""

    def __init__(self, b: Any, node: NodeView, shape: Any):
        self.b = b
        self.node = node
        n, c, h, w = shape
        grid = node.input_types[-1]
        self.flat = [n, c, volume([h, w])]
        self.wide = [n, c, volume(grid.shape[1:3])]  # type: ignore[union-attr]
        self.columns, self.rows = _Places(b, node, w, 0), _Places(b, node, h, 1)
        self.zero = b.const(0, node.dtype)

    def pairs(self) -> Any:
        """((row, weight, slope), (column, weight, slope)) of all pixels that a place looks at."""
        rows, columns = self.rows, self.columns
        if self.node.attrs["mode"] == "nearest":
            m = rows.maths
            return [((m("Round", rows.at), None, 0.0), (m("Round", columns.at), None, 0.0))]
        return [(i, j) for i in rows.corners() for j in columns.corners()]

    def locate(self, row: Any, column: Any) -> tuple[Any, Any]:
        """Whether a pixel is inside [N, places], and where it is, for every channel."""
        b, m = self.b, self.rows.maths
        inside = b.op("And", self.rows.inside(row), self.columns.inside(column))
        at = m("Add", m("Mul", row, self.columns.length), column)
        index = b.cast(b.op("Where", inside, at, self.zero), np.int64)
        return inside, b.op("Expand", b.unsqueeze(index, 1), b.shape_vector(self.wide))

    def read(self, image: Any, index: Any) -> Any:
        """The pixels of a flat image at an index."""
        return self.b.op("GatherElements", image, index, axis=2)

    def select(self, inside: Any, value: Any) -> Any:
        """`value` [N, C, places] where a pixel is inside, else zero."""
        return self.b.op("Where", self.b.unsqueeze(inside, 1), value, self.zero)

    def weigh(self, value: Any, wi: Any, wj: Any) -> Any:
        """`value` [N, C, places] times the pixel's weight."""
        if wi is None:
            return value
        return self.b.op("Mul", value, self.b.unsqueeze(self.rows.maths("Mul", wi, wj), 1))


def _sampled(b: Any, node: NodeView) -> Any:
    """GridSample in the dtypes that onnxruntime does not have it for."""
    pixels = _Pixels(b, node, node.shape)
    x = b.reshape(node.x, pixels.flat)
    total = None
    for (i, wi, _), (j, wj, _) in pixels.pairs():
        inside, index = pixels.locate(i, j)
        read = pixels.select(inside, pixels.read(x, index))
        part = pixels.weigh(read, wi, wj)
        total = part if total is None else b.op("Add", total, part)
    return b.reshape(total, node.out.shape)


@lowers("grid_sample_grad_x")
def _(b: Any, node: NodeView) -> Any:
    shape = node.attrs["x_shape"]
    pixels = _Pixels(b, node, shape)
    g = b.reshape(node.x, pixels.wide)
    total = filled(b, pixels.flat, 0, node.dtype)
    for (i, wi, _), (j, wj, _) in pixels.pairs():
        inside, index = pixels.locate(i, j)
        share = pixels.select(inside, pixels.weigh(g, wi, wj))
        total = scattered(b, "ScatterElements", total, index, share, node.dtype, "add", 2)
    return b.reshape(total, shape)


@lowers("grid_sample_grad_grid")
def _(b: Any, node: NodeView) -> Any:
    x, grid = (t.shape for t in node.input_types[-2:])  # type: ignore[union-attr]
    if node.attrs["mode"] == "nearest":
        return filled(b, grid, 0, node.dtype)
    pixels = _Pixels(b, node, x)
    m = pixels.rows.maths
    g, image = b.reshape(node.x, pixels.wide), b.reshape(node.inputs[1], pixels.flat)
    made: list[Any] = [None, None]
    for (i, wi, di), (j, wj, dj) in pixels.pairs():
        inside, index = pixels.locate(i, j)
        read = pixels.read(image, index)
        seen = b.axes("ReduceSum", b.op("Mul", g, read), [1], keepdims=False)
        seen = b.op("Where", inside, seen, pixels.zero)
        ways = ((wi, dj, pixels.columns.slope), (wj, di, pixels.rows.slope))
        for axis, (weight, sign, slope) in enumerate(ways):
            part = m("Mul", m("Mul", m("Mul", seen, weight), sign), slope)
            made[axis] = part if made[axis] is None else b.op("Add", made[axis], part)
    stacked = b.op("Concat", *(b.unsqueeze(v, 2) for v in made), axis=2)
    return b.reshape(stacked, grid)


# ---- affine maps -------------------------------------------------------------------------------


def _ends(b: Any, size: Any, align_corners: bool, dtype: Any) -> Any:
    """Where the pixels of an axis lie; a single one lies in the middle."""
    one, two = (b.const(n, np.int64) for n in (1, 2))
    count = b.size(size)
    inner = b.const(0, np.int64)
    if align_corners:
        inner = b.op("Min", b.op("Sub", count, one), one)
    places = b.op("Mul", b.op("Range", b.size(0), count, b.size(1)), two)
    places = b.op("Add", places, b.op("Sub", one, inner))
    share = b.op("Div", b.cast(places, dtype), b.cast(b.op("Sub", count, inner), dtype))
    return b.op("Sub", share, b.const(1, dtype))


def _axes(b: Any, node: NodeView, sizes: Any) -> tuple[Any, Any]:
    """x and y of all pixels, to go with [N, h, w, 2]."""
    x, y = (_ends(b, size, node.attrs["align_corners"], node.dtype) for size in sizes[::-1])
    return b.unsqueeze(x, 0, 1, 3), b.unsqueeze(y, 0, 2, 3)


@lowers("affine_grid")
def _(b: Any, node: NodeView) -> Any:
    x, y = _axes(b, node, node.attrs["sizes"][1:])
    parts = (
        b.unsqueeze(b.op("Gather", node.x, b.const(k, np.int64), axis=2), 1, 2) for k in range(3)
    )
    along, down, origin = parts
    return b.op("Add", b.op("Mul", x, along), b.op("Add", b.op("Mul", y, down), origin))


@lowers("affine_grid_grad")
def _(b: Any, node: NodeView) -> Any:
    x, y = _axes(b, node, node.shape[1:3])
    weighed = [b.op("Mul", node.x, x), b.op("Mul", node.x, y), node.x]
    sums = [b.axes("ReduceSum", v, [1, 2], keepdims=False) for v in weighed]
    return b.op("Concat", *(b.unsqueeze(v, 2) for v in sums), axis=2)
