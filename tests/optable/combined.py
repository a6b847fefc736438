"""Rows of `dyn/ops/combined.py`."""

from __future__ import annotations

from tests.optable.case import OpCase, array

WIDE = ("float32", "float64", "float16", "bfloat16")
X, DIVISOR = array("n", 3), array("n", 3, low=0.4, high=2)
ROWS = [
    OpCase(
        "addcmul",
        [X, X, X],
        {"value": 0.5},
        lambda x, a, b, value: x + value * a * b,
        dtypes=WIDE,
        onnx="Mul",
    ),
    OpCase(
        "addcmul",
        [array(3), array("n", 1), X],
        {"value": -2.0},
        lambda x, a, b, value: x + value * a * b,
        note="broadcast",
    ),
    OpCase(
        "addcdiv",
        [X, X, DIVISOR],
        {"value": 0.5},
        lambda x, a, b, value: x + value * a / b,
        dtypes=WIDE,
        onnx="Div",
    ),
    OpCase(
        "addcdiv",
        [X, array(3), array("n", 1, low=0.4, high=2)],
        {"value": -2.0},
        lambda x, a, b, value: x + value * a / b,
        note="broadcast",
    ),
]
