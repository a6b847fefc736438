"""Lowerings of `dyn/ops/dropout.py`. Only training graphs hold dropout at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.registry import NodeView, lowers
from exporter.windows import filled


@lowers("dropout")
def _(b: Any, node: NodeView) -> Any:
    p = node.attrs["p"]
    if p == 1:
        # ONNX takes ratios below one only.
        return filled(b, node.shape, 0, node.dtype), filled(b, node.shape, False, np.bool_)
    mask = b.dropped(node.x, p)
    scale = 1.0 if node.attrs["mode"] == "downscale_in_infer" else 1 / (1 - p)
    kept = node.x if scale == 1 else b.op("Mul", node.x, b.const(scale, node.dtype))
    return b.op("Where", mask, kept, b.const(0, node.dtype)), mask


@lowers("dropout_grad")
def _(b: Any, node: NodeView) -> Any:
    g, mask = node.inputs
    p = node.attrs["p"]
    if node.attrs["mode"] == "upscale_in_train" and p < 1:
        g = b.op("Mul", g, b.const(1 / (1 - p), node.dtype))
    return b.op("Where", mask, g, b.const(0, node.dtype))
