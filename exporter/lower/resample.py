"""Lowerings of `dyn/ops/resample.py`: Resize, and its transpose as products with its weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.expr import Expr
from dyn.kernels.resample import CUBIC, taps
from exporter.lower.adaptive import along
from exporter.registry import NodeView, lowers
from exporter.windows import is_symbolic


def _resize(b: Any, x: Any, attrs: Any, scales: Any, sizes: Any) -> Any:
    """Resize all axes of x, by scales if they are given, else to sizes."""
    mode = attrs["mode"]
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
        cubic_coeff_a=CUBIC if mode == "cubic" else None,
    )


@lowers("interpolate")
def _(b: Any, node: NodeView) -> Any:
    attrs = node.attrs
    sizes = [*node.shape[:2], *attrs["sizes"]]
    scales = attrs["scales"]
    if node.dtype != np.float32:
        # onnxruntime resizes in float32 only.
        x, shape = node.x, list(node.shape)
        for axis, (count, scale) in enumerate(zip(attrs["sizes"], scales, strict=True), 2):
            weights = _weights(b, node, shape[axis], count, scale)
            x = along(b, x, shape, axis, b.transpose(weights, (1, 0)), count)
            shape[axis] = count
        return x
    given = all(s is not None for s in scales)
    return _resize(b, node.x, attrs, [1, 1, *scales] if given else [None], sizes)


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
    # Resizing the rows of the unit matrix shows the weights.
    one = Expr.of(1)
    unit = b.op("EyeLike", b.op("ConstantOfShape", b.shape_vector([size, size])))
    unit = b.reshape(unit, [one, one, size, size])
    matrix = _resize(
        b, unit, attrs, [1, 1, scale, 1] if scale is not None else [None], [1, 1, count, size]
    )
    matrix = b.transpose(b.squeeze(matrix, 0, 1), (1, 0))
    return matrix if node.dtype == np.float32 else b.cast(matrix, node.dtype)
