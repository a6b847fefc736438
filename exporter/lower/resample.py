"""Lowerings of `dyn/ops/resample.py`: Resize, and its transpose as products with its weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.expr import Expr
from dyn.kernels.resample import CUBIC, REACH, SMOOTH_CUBIC, taps
from exporter.lower.adaptive import along
from exporter.registry import NodeView, lowers
from exporter.windows import is_symbolic, volume


def _resize(b: Any, x: Any, attrs: Any, scales: Any, sizes: Any) -> Any:
    """Resize all axes of x, by scales if they are given, else to sizes."""
    smooth = attrs["mode"] in REACH
    mode = attrs["mode"].removeprefix("smooth-")
    given = all(s is not None for s in scales)
    nearest = "round_prefer_ceil" if attrs["transform"] == "half_pixel" else "floor"
    return b.op(
        "Resize",
        x,
        None,
        b.const(np.array(scales, np.float32)) if given else None,
        None if given else b.shape_vector(sizes),
        mode=mode,
        coordinate_transformation_mode=attrs["transform"],
        nearest_mode=nearest if mode == "nearest" else None,
        cubic_coeff_a=(SMOOTH_CUBIC if smooth else CUBIC) if mode == "cubic" else None,
        antialias=1 if smooth else None,
        exclude_outside=1 if smooth else None,
    )


def _has_resize(b: Any, attrs: Any) -> bool:
    """Whether the operator computes what the op does: it aligns the corners of smoothed axes."""
    smooth = attrs["mode"] in REACH
    return not smooth or (b.has("Resize", since=18) and attrs["transform"] == "half_pixel")


@lowers("interpolate")
def _(b: Any, node: NodeView) -> Any:
    attrs = node.attrs
    sizes = [*node.shape[:2], *attrs["sizes"]]
    scales = attrs["scales"]
    if node.dtype != np.float32 or not _has_resize(b, attrs):
        # onnxruntime resizes in float32 only.
        x, shape = node.x, list(node.shape)
        for axis, (count, scale) in enumerate(zip(attrs["sizes"], scales, strict=True), 2):
            weights = _weights(b, node, shape[axis], count, scale)
            x = along(b, x, shape, axis, b.transpose(weights, (1, 0)), count)
            shape[axis] = count
        return x
    given = [1, 1, *scales] if all(s is not None for s in scales) else [None]
    if attrs["mode"].removeprefix("smooth-") != "cubic":
        return _resize(b, node.x, attrs, given, sizes)
    # ONNX: onnxruntime moves a Transpose of the image behind the Resize, where it shrinks nothing
    # by cubics, as channels are last there. No Transpose moves past a Reshape.
    planes = volume(node.shape[:2])
    x = b.reshape(node.x, [planes, 1, *node.shape[2:]])
    return b.reshape(_resize(b, x, attrs, given, [planes, 1, *attrs["sizes"]]), sizes)


@lowers("interpolate_grad")
def _(b: Any, node: NodeView) -> Any:
    attrs, shape, g = node.attrs, list(node.shape), node.x
    for axis in reversed(range(2, len(shape))):
        size, count, scale = attrs["x_shape"][axis], shape[axis], attrs["scales"][axis - 2]
        weights = _weights(b, node, size, count, scale)
        g = along(b, g, shape, axis, weights, size)
        shape[axis] = size
    return g


def _weights(b: Any, node: NodeView, size: Any, count: Any, scale: float | None) -> Any:
    """What each output of one axis takes from each input, transposed: [size, count]."""
    attrs = node.attrs
    if not is_symbolic((size, count)):
        places, parts = taps(int(size), int(count), scale, attrs["mode"], attrs["transform"])
        matrix = np.zeros((int(size), int(count)))
        np.add.at(matrix, (places, np.arange(int(count))[:, None]), parts)
        return b.const(matrix.astype(node.dtype))
    if attrs["mode"] in REACH:
        return b.cast(_smooth_weights(b, attrs, size, count, scale), node.dtype)
    # Resizing the rows of the unit matrix shows the weights.
    one = Expr.of(1)
    unit = b.op("EyeLike", b.op("ConstantOfShape", b.shape_vector([size, size])))
    unit = b.reshape(unit, [one, one, size, size])
    matrix = _resize(
        b, unit, attrs, [1, 1, scale, 1] if scale is not None else [None], [1, 1, count, size]
    )
    matrix = b.transpose(b.squeeze(matrix, 0, 1), (1, 0))
    return matrix if node.dtype == np.float32 else b.cast(matrix, node.dtype)


def _smooth_weights(b: Any, attrs: Any, size: Any, count: Any, scale: float | None) -> Any:
    """`_weights` of a smoothed axis, float64, by the formulas of `dyn/kernels/resample.py`."""
    one, half = b.const(1.0, np.float64), b.const(0.5, np.float64)

    def centres(n: Any) -> Any:
        places = b.op("Range", b.const(0, np.int64), b.size(n), b.const(1, np.int64))
        return b.op("Add", b.cast(places, np.float64), half)

    inputs, outputs = (b.cast(b.size(n), np.float64) for n in (size, count))
    if attrs["transform"] == "align_corners":
        ends = b.op("Max", b.op("Sub", outputs, one), one)
        ratio = b.op("Div", b.op("Sub", inputs, one), ends)
        # A single output has the ratio 0.
        ratio = b.op("Where", b.op("Greater", outputs, one), ratio, b.const(0.0, np.float64))
    else:
        ratio = b.op("Div", inputs, outputs) if scale is None else b.const(1 / scale, np.float64)
    middle = b.op("Mul", b.unsqueeze(centres(count), 0), ratio)
    distance = b.op("Abs", b.op("Sub", b.unsqueeze(centres(size), 1), middle))
    distance = b.op("Div", distance, b.op("Max", ratio, one))
    if attrs["mode"] == "smooth-linear":
        weights = b.op("Max", b.op("Sub", one, distance), b.const(0.0, np.float64))
    else:
        a = SMOOTH_CUBIC
        inner = _polynomial(b, distance, (a + 2, -(a + 3), 0.0, 1.0))
        outer = _polynomial(b, distance, (a, -5 * a, 8 * a, -4 * a))
        within = b.op("Less", distance, b.const(2.0, np.float64))
        outer = b.op("Where", within, outer, b.const(0.0, np.float64))
        weights = b.op("Where", b.op("Less", distance, one), inner, outer)
    return b.op("Div", weights, b.axes("ReduceSum", weights, [0]))


def _polynomial(b: Any, x: Any, factors: Any) -> Any:
    """The polynomial with these factors, that of the highest power first, in float64."""
    total = b.const(factors[0], np.float64)
    for factor in factors[1:]:
        total = b.op("Add", b.op("Mul", total, x), b.const(factor, np.float64))
    return total
