"""Rows of `dyn/ops/shape.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import shape as ops
from tests.optable.case import OpCase, array

X = array("n", 3, 4)
ANY = ("float32", "float64", "float16", "bfloat16", "int64", "bool")

ROWS = [
    OpCase(
        "reshape",
        [X],
        run=lambda x: ops.reshape(x, [x.shape[0], -1]),
        reference=lambda x: x.reshape(x.shape[0], 12),
        dtypes=ANY,
        onnx="Reshape",
        empty=False,
    ),
    OpCase(
        "reshape",
        [X],
        run=lambda x: ops.reshape(x, [-1, x.shape[0] * 2, 3]),
        reference=lambda x: x.reshape(2, x.shape[0] * 2, 3),
        note="symbolic",
        empty=False,
    ),
    OpCase("reshape", [array(1)], attrs={"shape": ()}, reference=np.reshape, note="scalar"),
    OpCase(
        "reshape",
        [X],
        run=lambda x: ops.flatten(x, 1),
        reference=lambda x: x.reshape(x.shape[0], 12),
        note="flatten",
    ),
    OpCase(
        "reshape",
        [array("n", 12)],
        run=lambda x: ops.unflatten(x, 1, [3, -1]),
        reference=lambda x: x.reshape(-1, 3, 4),
        note="unflatten",
    ),
    OpCase(
        "transpose",
        [X],
        attrs={"perm": (1, 2, 0)},
        reference=lambda x, perm: x.transpose(perm),
        dtypes=ANY,
        onnx="Transpose",
    ),
    OpCase(
        "transpose",
        [X],
        run=lambda x: ops.moveaxis(x, [0, 1], [-1, 0]),
        reference=lambda x: np.moveaxis(x, [0, 1], [-1, 0]),
        note="moveaxis",
    ),
    OpCase(
        "transpose",
        [X],
        run=lambda x: ops.swapaxes(x, 0, -1),
        reference=lambda x: np.swapaxes(x, 0, -1),
        note="swapaxes",
    ),
    OpCase("transpose", [array("n", 3)], run=ops.t, reference=lambda x: x.T, note="t"),
    OpCase(
        "squeeze",
        [array("n", 1, 4, 1)],
        attrs={"axes": (1, 3)},
        reference=lambda x, axes: x[:, 0, :, 0],
        dtypes=ANY,
        onnx="Squeeze",
    ),
    OpCase(
        "unsqueeze",
        [X],
        attrs={"axes": (0, 3)},
        reference=lambda x, axes: np.expand_dims(x, axes),
        dtypes=ANY,
        onnx="Unsqueeze",
    ),
]
