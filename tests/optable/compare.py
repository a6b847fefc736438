"""Rows of `dyn/ops/compare.py`."""

from __future__ import annotations

import math

import numpy as np

from dyn.ops import compare as ops
from tests.optable.case import SPECIAL, OpCase, array, bools, ints

REALS = ("float32", "float64", "bfloat16", "int64", "int32", "bool")
X, Y = array("n", 3, low=-1, high=2), array("n", 3, low=-1, high=2)
PLANE, CHANNEL = array(2, 3, "n", 4), array(3, 1, 1)
TIES = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan)
BITS = ints("n", 3, low=-9, high=9)


def compared(op: str, reference, onnx: str) -> list[OpCase]:
    return [
        OpCase(op, [X, Y], reference=reference, dtypes=REALS, points=TIES, order=0, onnx=onnx),
        OpCase(op, [PLANE, CHANNEL], reference=reference, order=0, note="channel"),
    ]


def logic(op: str, reference, onnx: str) -> list[OpCase]:
    return [
        OpCase(op, [bools("n", 3), bools(3)], reference=reference, order=0, onnx=onnx),
        OpCase(
            op,
            [ints("n", 3, low=-1, high=2), array("n", 3)],
            reference=reference,
            order=0,
            note="numbers",
        ),
    ]


def bits(op: str, reference) -> list[OpCase]:
    rows = [OpCase(op, [BITS, ints(3, low=-9, high=9)], reference=reference, order=0)]
    if "shift" in op:
        return [OpCase(op, [BITS, ints(3, low=0, high=5)], reference=reference, order=0)]
    both = [bools("n", 3), bools(3)]
    return [*rows, OpCase(op, both, reference=reference, order=0, note="bool")]


ROWS = [
    *compared("equal", np.equal, "Equal"),
    *compared("not_equal", np.not_equal, "Equal"),
    *compared("greater_than", np.greater, "Greater"),
    *compared("greater_equal", np.greater_equal, "GreaterOrEqual"),
    *compared("less_than", np.less, "Less"),
    *compared("less_equal", np.less_equal, "LessOrEqual"),
    *(
        OpCase(
            op,
            [X],
            reference=reference,
            dtypes=("float32", "float64", "bfloat16", "int64"),
            points=SPECIAL,
            order=0,
        )
        for op, reference in (("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite))
    ),
    *logic("logical_and", np.logical_and, "And"),
    *logic("logical_or", np.logical_or, "Or"),
    *logic("logical_xor", np.logical_xor, "Xor"),
    OpCase(
        "logical_not",
        [X],
        reference=np.logical_not,
        dtypes=("float32", "int64", "bool"),
        order=0,
        onnx="Not",
    ),
    *bits("bitwise_and", np.bitwise_and),
    *bits("bitwise_or", np.bitwise_or),
    *bits("bitwise_xor", np.bitwise_xor),
    *bits("bitwise_left_shift", np.left_shift),
    *bits("bitwise_right_shift", np.right_shift),
    OpCase("bitwise_not", [BITS], reference=np.bitwise_not, order=0),
    OpCase("bitwise_not", [bools("n", 3)], reference=np.bitwise_not, order=0, note="bool"),
    OpCase(
        "isclose",
        [X, Y],
        reference=lambda x, y: np.isclose(x, y, 0.1, 0.2),
        run=lambda x, y: ops.isclose(x, y, 0.1, 0.2),
        points=SPECIAL,
        order=0,
    ),
    OpCase(
        "isclose",
        [X, Y],
        reference=lambda x, y: np.isclose(x, y, equal_nan=True),
        run=lambda x, y: ops.isclose(x, y, equal_nan=True),
        points=SPECIAL,
        order=0,
        note="nan",
    ),
    OpCase(
        "allclose",
        [X, Y],
        reference=lambda x, y: np.allclose(x, y, 0.5, 3),
        run=lambda x, y: ops.allclose(x, y, 0.5, 3),
        order=0,
    ),
    OpCase(
        "equal_all",
        [X, Y],
        reference=np.array_equal,
        run=ops.equal_all,
        dtypes=("float32", "bool"),
        order=0,
    ),
    OpCase(
        "equal_all",
        [X],
        reference=lambda x: True,
        run=lambda x: ops.equal_all(x, x),
        order=0,
        note="same",
    ),
]
