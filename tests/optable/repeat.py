"""Rows of `dyn/ops/repeat.py`."""

from __future__ import annotations

import numpy as np

from dyn.core.op import OPS
from dyn.ops import repeat as ops
from tests.optable.case import OpCase, array

X = array("n", 3, 4)
ANY = ("float32", "float64", "float16", "bfloat16", "int64", "bool")

ROWS = [
    OpCase(
        "repeat_each",
        [X],
        attrs={"count": 3, "axis": 1},
        reference=lambda x, count, axis: np.repeat(x, count, axis),
        dtypes=ANY,
        onnx="Expand",
    ),
    OpCase(
        "repeat_each",
        [X],
        run=lambda x: ops.repeat_interleave(x, 2),
        reference=lambda x: np.repeat(x, 2),
        note="flat",
    ),
    OpCase(
        "repeat_each",
        [X],
        run=lambda x: ops.repeat_interleave(x, x.shape[0], 0),
        reference=lambda x: np.repeat(x, x.shape[0], 0),
        note="size",
    ),
    OpCase(
        "tile",
        [X],
        attrs={"repeats": (2, 1, 3)},
        reference=lambda x, repeats: np.tile(x, repeats),
        dtypes=ANY,
        onnx="Tile",
    ),
    OpCase(
        "line",
        [array("n")],
        run=lambda x: OPS["line"](x, shape=(2, x.shape[0], 3), axis=1),
        reference=lambda x: np.broadcast_to(x[:, None], (2, len(x), 3)),
        dtypes=ANY,
        onnx="Expand",
    ),
    OpCase(
        "line",
        [array(3)],
        attrs={"shape": (2, 3), "axis": 1},
        reference=lambda x, shape, axis: np.broadcast_to(x, shape),
        note="last",
    ),
    OpCase(
        "line",
        [array()],
        attrs={"shape": (1, 3), "axis": 0},
        reference=lambda x, shape, axis: np.broadcast_to(x, shape),
        note="number",
    ),
    OpCase(
        "meshgrid",
        [array("n"), array(4)],
        reference=lambda x, y: tuple(np.meshgrid(x, y, indexing="ij")),
        run=ops.meshgrid,
    ),
]
