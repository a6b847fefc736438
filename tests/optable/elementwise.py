"""Rows of `dyn/ops/elementwise.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import elementwise as ops
from dyn.ops import extremes
from tests.optable.case import SPECIAL, OpCase, array, ints

FLOATS = ("float32", "float64", "float16", "bfloat16")
NUMBERS = (*FLOATS, "int64", "int32", "uint8")
ALL = (*NUMBERS, "bool")
X, Y = array("n", 3), array("n", 3)
ROW = array(3)
PLANE = array(2, 3, "n", 4)
CHANNEL = array(3, 1, 1)
FAR = {"low": 0.5, "high": 2.0}


ROWS = [
    OpCase("add", [X, Y], reference=np.add, dtypes=ALL, points=SPECIAL, onnx="Add"),
    OpCase("add", [X, ROW], reference=np.add, note="row"),
    OpCase("add", [PLANE, CHANNEL], reference=np.add, note="channel"),
    OpCase("add", [CHANNEL, PLANE], reference=np.add, note="channel_first"),
    OpCase("add", [array("n", 1), array(1, 4)], reference=np.add, note="outer"),
    OpCase("subtract", [X, Y], reference=np.subtract, dtypes=NUMBERS, points=SPECIAL, onnx="Sub"),
    OpCase("subtract", [PLANE, CHANNEL], reference=np.subtract, note="channel"),
    OpCase("subtract", [CHANNEL, PLANE], reference=np.subtract, note="channel_first"),
    OpCase("multiply", [X, Y], reference=np.multiply, dtypes=ALL, points=SPECIAL, onnx="Mul"),
    OpCase("multiply", [X, array()], reference=np.multiply, note="scalar"),
    OpCase("multiply", [PLANE, CHANNEL], reference=np.multiply, note="channel"),
    OpCase("divide", [X, array("n", 3, **FAR)], reference=np.divide, dtypes=FLOATS, onnx="Div"),
    OpCase("divide", [X, Y], reference=np.divide, points=SPECIAL, order=0, note="special"),
    OpCase(
        "divide",
        [ints("n", 3, low=-9, high=9), ints(3, low=1, high=5)],
        reference=lambda x, y: (x / y).astype(np.float32),
        order=0,
        note="ints",
    ),
    OpCase(
        "floor_divide",
        [array("n", 3, low=-9, high=9), array("n", 3, low=1, high=4)],
        reference=np.floor_divide,
        dtypes=NUMBERS,
        order=0,
    ),
    OpCase(
        "floor_divide",
        [array("n", 3, low=-9, high=9), array("n", 3, low=-4, high=-1)],
        reference=np.floor_divide,
        dtypes=("float32", "int64"),
        order=0,
        note="negative",
    ),
    OpCase(
        "remainder",
        [array("n", 3, low=-9, high=9), array("n", 3, low=1, high=1.4)],
        reference=np.remainder,
        dtypes=("float32", "float64", "int64", "int32", "uint8"),
        tol=1e-5,
        onnx="Mod",
    ),
    OpCase(
        "remainder",
        [array("n", 3, low=-9, high=9), array("n", 3, low=-4, high=-3.5)],
        reference=np.remainder,
        dtypes=("float32", "int64"),
        tol=1e-5,
        note="negative",
    ),
    OpCase(
        "fmod",
        [array("n", 3, low=-9, high=9), array("n", 3, low=1, high=1.4)],
        reference=np.fmod,
        dtypes=("float32", "float64", "int64"),
        tol=1e-5,
        onnx="Mod",
    ),
    OpCase(
        "pow",
        [array("n", 3, **FAR), array("n", 3)],
        reference=np.power,
        dtypes=FLOATS,
        onnx="Pow",
    ),
    OpCase("pow", [X, Y], reference=np.power, points=SPECIAL[:6], order=0, note="special"),
    OpCase("pow", [array("n", 3, **FAR), array(3)], reference=np.power, note="row"),
    OpCase(
        "pow",
        [array("n", 3, low=-3, high=4), ints("n", 3, low=0, high=4)],
        reference=np.power,
        dtypes=("int64",),
        order=0,
        note="ints",
    ),
    OpCase("pow", [X], reference=lambda x: x**3, run=lambda x: ops.pow(x, 3), note="number"),
    OpCase("pow", [X], reference=lambda x: x**2, run=lambda x: x**2, note="square"),
    OpCase("pow", [X], reference=lambda x: 2.0**x, run=lambda x: 2**x, note="base"),
    OpCase("atan2", [X, array("n", 3, **FAR)], reference=np.arctan2, points=SPECIAL),
    OpCase(
        "hypot",
        [X, array("n", 3, **FAR)],
        reference=np.hypot,
        points=SPECIAL,
    ),
    OpCase(
        "hypot",
        [array("n", 3, low=1e30, high=2e30), array("n", 3, low=1e29, high=3e30)],
        reference=np.hypot,
        order=0,
        note="large",
    ),
    OpCase("logaddexp", [X, Y], reference=np.logaddexp, points=SPECIAL),
    OpCase(
        "maximum",
        [array("n", 3, distinct=True), array("n", 3, distinct=True)],
        reference=np.maximum,
        dtypes=ALL,
        points=SPECIAL,
        onnx="Max",
    ),
    OpCase("maximum", [PLANE, CHANNEL], reference=np.maximum, note="channel"),
    OpCase(
        "minimum",
        [array("n", 3, distinct=True), array("n", 3, distinct=True)],
        reference=np.minimum,
        dtypes=ALL,
        points=SPECIAL,
        onnx="Min",
    ),
    OpCase("fmax", [X, Y], reference=np.fmax, run=extremes.fmax, points=SPECIAL),
    OpCase("fmin", [X, Y], reference=np.fmin, run=extremes.fmin, points=SPECIAL),
    OpCase(
        "lerp",
        [X, Y, array(low=0, high=1)],
        reference=lambda x, y, w: x + w * (y - x),
    ),
    OpCase(
        "heaviside",
        [X, Y],
        reference=np.heaviside,
        run=ops.heaviside,
        points=SPECIAL,
        order=0,
    ),
    OpCase(
        "add_n",
        [X, Y, array("n", 3)],
        reference=lambda *xs: sum(xs),
        run=lambda *xs: ops.add_n(xs),
    ),
]
