"""Rows of `dyn/ops/special.py`."""

from __future__ import annotations

import math

import numpy as np

from tests.optable.case import OpCase, array

FLOATS = ("float32", "float64", "float16", "bfloat16")
FINITE = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, math.inf, -math.inf)
X, Y = array("n", 3, away=(0.0,)), array("n", 3, away=(0.0,))
ABOVE = array("n", 3, low=0.2, high=3)


def xlogy(x, y):
    outside = (y <= 0) | np.isinf(y)
    return x * np.log(np.where((x == 0) & outside, x.dtype.type(1), y))


ROWS = [
    OpCase("copysign", [X, Y], reference=np.copysign, dtypes=FLOATS, points=FINITE),
    OpCase("copysign", [X, array(3, away=(0.0,))], reference=np.copysign, note="row"),
    OpCase("xlogy", [X, ABOVE], reference=xlogy, dtypes=FLOATS, points=FINITE, onnx="Log"),
    OpCase("xlogy", [X, array(3, low=0.2, high=3)], reference=xlogy, note="row"),
    OpCase("sinc", [X], reference=np.sinc, dtypes=("float32", "float64"), onnx="Sin"),
    OpCase(
        "sinc",
        [lambda rng, dtype, sizes: np.zeros(3, dtype)],
        reference=lambda x: np.ones_like(x),
        order=0,
        note="zero",
    ),
]
