"""Rows of `dyn/ops/join.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import join as ops
from tests.optable.case import OpCase, array

X = array("n", 3, 4)
ANY = ("float32", "float64", "float16", "bfloat16", "int64", "bool")


def parts(x):
    return [x[:, :1], x[:, 1:3], x[:, 3:]]


ROWS = [
    OpCase(
        "concat",
        [X, array("n", 2, 4), array("n", 1, 4)],
        attrs={"axis": 1},
        reference=lambda x, y, z, axis: np.concatenate([x, y, z], axis),
        dtypes=ANY,
        onnx="Concat",
    ),
    OpCase(
        "concat",
        [X, X],
        attrs={"axis": 0},
        reference=lambda x, y, axis: np.concatenate([x, y]),
        note="first",
    ),
    OpCase(
        "stack",
        [X, X, X],
        attrs={"axis": 1},
        reference=lambda *xs, axis: np.stack(xs, axis),
        dtypes=ANY,
        onnx="Concat",
    ),
    OpCase(
        "stack",
        [array("n"), array("n")],
        run=lambda *xs: ops.stack(xs, -1),
        reference=lambda *xs: np.stack(xs, -1),
        note="vectors",
    ),
    OpCase(
        "split",
        [array("n", 6)],
        attrs={"sizes": (1, 2, 3), "axis": 1},
        reference=lambda x, sizes, axis: parts(x),
        dtypes=ANY,
        onnx="Split",
    ),
    OpCase(
        "split",
        [array("n", 6)],
        run=lambda x: ops.split(x, [2, -1], 1),
        reference=lambda x: (x[:, :2], x[:, 2:]),
        note="rest",
    ),
    OpCase(
        "unbind",
        [array("n", 3)],
        attrs={"axis": 1},
        reference=lambda x, axis: (x[:, 0], x[:, 1], x[:, 2]),
        dtypes=ANY,
        onnx="Split",
    ),
    OpCase(
        "unbind",
        [array(2)],
        run=lambda x: ops.unbind(x, 0),
        reference=lambda x: (x[0], x[1]),
        note="numbers",
    ),
    OpCase(
        "unbind",
        [array(1, "n")],
        run=lambda x: ops.unbind(x, 0),
        reference=lambda x: (x[0],),
        note="one",
    ),
    OpCase(
        "expand",
        [array(3, 1)],
        attrs={"shape": (2, 3, 4)},
        reference=lambda x, shape: np.broadcast_to(x, shape),
        dtypes=ANY,
        onnx="Expand",
    ),
    OpCase(
        "expand",
        [array("n", 1, 4)],
        run=lambda x: ops.expand(x, [-1, 3, -1]),
        reference=lambda x: np.broadcast_to(x, (x.shape[0], 3, 4)),
        note="keep",
    ),
    OpCase(
        "flip",
        [X],
        attrs={"axes": (0, 2)},
        reference=lambda x, axes: np.flip(x, axes),
        dtypes=ANY,
        onnx="Slice",
    ),
    OpCase(
        "roll",
        [X],
        run=lambda x: ops.roll(x, [1, -1], [0, 2]),
        reference=lambda x: np.roll(x, [1, -1], [0, 2]),
        dtypes=ANY,
        onnx="Concat",
    ),
    *(
        OpCase(
            "flip",
            [X],
            run=lambda x, k=k: ops.rot90(x, k, (0, 1)),
            reference=lambda x, k=k: np.rot90(x, k, (0, 1)),
            note=f"rot90_{k}",
        )
        for k in (1, 2, 3)
    ),
]
