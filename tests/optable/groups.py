"""Rows of `dyn/ops/groups.py`."""

from __future__ import annotations

import numpy as np

from tests.optable.case import OpCase, array

GROUP = [array("n", 3), array(4), array()]
"""Tensors of a group."""

ROWS = [
    OpCase(
        "square_sums",
        GROUP,
        reference=lambda *xs: np.array([np.sum(x * x) for x in xs], xs[0].dtype),
        onnx="ReduceSumSquare",
    ),
    OpCase(
        "scale_each", [array(), *GROUP], reference=lambda f, *xs: [x * f for x in xs], note="one"
    ),
    OpCase(
        "scale_each",
        [array(3), *GROUP],
        reference=lambda f, *xs: [x * k for x, k in zip(xs, f, strict=True)],
        onnx="Mul",
        note="each",
    ),
    OpCase(
        "clip_each",
        [array("n", 3, away=(-0.5, 1.0)), array(4, away=(-0.5, 1.0))],
        {"low": -0.5, "high": 1.0},
        lambda *xs, low, high: [np.clip(x, low, high) for x in xs],
        onnx="Clip",
    ),
]
