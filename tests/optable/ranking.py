"""Rows of `dyn/ops/ranking.py`."""

from __future__ import annotations

import numpy as np

from tests.optable.case import OpCase, array

REDUCTIONS = {
    "none": lambda x: x,
    "sum": np.sum,
    "mean": lambda x: x.sum() / np.float64(x.size) if x.size else np.float64(np.nan),
}


def ref_excess(x, y, *, margin, reduction):
    return REDUCTIONS[reduction](np.maximum(x - y + margin, 0))


def ref_ranking(x, y, label, *, margin, reduction):
    return REDUCTIONS[reduction](np.maximum(margin - label * (x - y), 0))


def ref_soft_margin(x, y, *, reduction):
    return REDUCTIONS[reduction](np.logaddexp(0, -x * y))


def apart(*shape, **fields):
    """Numbers whose differences stay away from the margins of the rows."""
    return array(*shape, low=0.02, high=0.48, **fields)


X, FAR, LABEL = apart("n", 4), array("n", 4, low=1.0, high=2.0), array("n", 4, low=0.5)
ROWS = [
    *[
        OpCase("margin_excess", [x, y], {"margin": 0.5, "reduction": how}, ref_excess,
               onnx="Relu", note=f"{how} {note}")
        for how in REDUCTIONS
        for x, y, note in ((X, X, "above"), (X, FAR, "below"), (FAR, array(4, low=1.52), "row"))
    ],
    *[
        OpCase("margin_ranking", [x, y, label], {"margin": 0.1, "reduction": how}, ref_ranking,
               onnx="Relu", note=f"{how} {note}")
        for how in REDUCTIONS
        for x, y, label, note in (
            (X, FAR, LABEL, "above"), (FAR, X, LABEL, "below"), (X, FAR, array(4, low=0.5), "row")
        )
    ],
    *[
        OpCase("soft_margin", [array("n", 4), y], {"reduction": how}, ref_soft_margin,
               onnx="Softplus", note=f"{how} {note}")
        for how in REDUCTIONS
        for y, note in ((array("n", 4), "even"), (array("n", 1), "column"))
    ],
]  # fmt: skip
