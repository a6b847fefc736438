"""Rows of `dyn/ops/unary.py` and `dyn/ops/angles.py`."""

from __future__ import annotations

import math

import numpy as np

from dyn.ops import unary as ops
from tests.optable.case import SPECIAL, OpCase, Spec, array, ints

FLOATS = ("float32", "float64", "float16", "bfloat16")
NUMBERS = (*FLOATS, "int64", "int32")
X = array("n", 3)
UNIT = array("n", 3, low=-0.9, high=0.9)
POSITIVE = array("n", 3, low=0.2, high=3)
OFF_ZERO = array("n", 3, away=(0.0,))
WIDE = array("n", 3, low=-6, high=6)
ROUNDED = array("n", 3, low=-3, high=3, away=tuple(k / 2 for k in range(-6, 7)))
TIES = (0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 8388609.0)


def smooth(op: str, spec: Spec, reference, onnx: str | None = None, **fields) -> OpCase:
    """A function of real numbers; integers become floating point."""
    fields.setdefault("points", SPECIAL)
    return OpCase(op, [spec], reference=reference, dtypes=FLOATS, onnx=onnx, **fields)


def step(op: str, reference, onnx: str | None = None) -> OpCase:
    """A function that is constant in pieces."""
    return OpCase(
        op,
        [ROUNDED],
        reference=reference,
        dtypes=NUMBERS,
        points=SPECIAL + TIES,
        onnx=onnx,
    )


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _cast(x, dtype):
    return x.astype(dtype)


ROWS = [
    OpCase("cast", [X], {"dtype": "float64"}, _cast, tol=1e-7, onnx="Cast"),
    OpCase(
        "cast",
        [array("n", 3, low=-9, high=9)],
        {"dtype": "int32"},
        lambda x, dtype: np.trunc(x).astype(dtype),
        order=0,
        note="int",
    ),
    OpCase("cast", [X], {"dtype": "bool"}, _cast, dtypes=("float32", "int64"), order=0, note="b"),
    OpCase(
        "cast",
        [ints("n", 3, low=-5, high=5)],
        {"dtype": "float32"},
        _cast,
        order=0,
        note="float",
    ),
    OpCase("neg", [X], reference=np.negative, dtypes=NUMBERS, points=SPECIAL, onnx="Neg"),
    OpCase("abs", [OFF_ZERO], reference=np.abs, dtypes=NUMBERS, points=SPECIAL, onnx="Abs"),
    step("sign", np.sign, "Sign"),
    step("floor", np.floor, "Floor"),
    step("ceil", np.ceil, "Ceil"),
    step("trunc", np.trunc),
    step("round", np.round, "Round"),
    OpCase(
        "round",
        [ROUNDED],
        reference=lambda x: np.round(x, 1),
        run=lambda x: ops.round(x, 1),
        order=0,
        note="decimals",
    ),
    OpCase("frac", [ROUNDED], reference=lambda x: x - np.trunc(x), run=ops.frac, tol=1e-6),
    OpCase("square", [X], reference=np.square, dtypes=NUMBERS, points=SPECIAL),
    smooth("sqrt", POSITIVE, np.sqrt, "Sqrt"),
    smooth("rsqrt", POSITIVE, lambda x: 1 / np.sqrt(x)),
    smooth("reciprocal", POSITIVE, lambda x: 1 / x, "Reciprocal"),
    smooth("exp", WIDE, np.exp, "Exp"),
    smooth("expm1", X, np.expm1),
    smooth("log", POSITIVE, np.log, "Log"),
    smooth("log2", POSITIVE, np.log2),
    smooth("log10", POSITIVE, np.log10),
    smooth("log1p", UNIT, np.log1p),
    smooth("sin", WIDE, np.sin, "Sin", points=SPECIAL[:9] + SPECIAL[-3:]),
    smooth("cos", WIDE, np.cos, "Cos", points=SPECIAL[:9] + SPECIAL[-3:]),
    smooth("tan", UNIT, np.tan, "Tan", points=SPECIAL[:9] + SPECIAL[-3:], tol=1e-2),
    smooth("asin", UNIT, np.arcsin, "Asin"),
    smooth("acos", UNIT, np.arccos, "Acos"),
    smooth("atan", X, np.arctan, "Atan"),
    smooth("sinh", X, np.sinh, "Sinh"),
    smooth("cosh", X, np.cosh, "Cosh"),
    smooth("tanh", X, np.tanh, "Tanh"),
    smooth("asinh", X, np.arcsinh, "Asinh"),
    smooth("acosh", array("n", 3, low=1.2, high=3), np.arccosh, "Acosh"),
    smooth("atanh", UNIT, np.arctanh, "Atanh"),
    smooth("erf", X, erf, "Erf"),
    OpCase("tanh_grad", [X, UNIT], reference=lambda g, out: g * (1 - out * out)),
    OpCase("scale", [X], reference=lambda x: 3 * x + 1, run=lambda x: ops.scale(x, 3.0, 1.0)),
    OpCase(
        "scale",
        [X],
        reference=lambda x: 3 * (x + 1),
        run=lambda x: ops.scale(x, 3.0, 1.0, bias_after_scale=False),
        note="before",
    ),
    OpCase("deg2rad", [X], reference=np.deg2rad, run=ops.deg2rad),
    OpCase("rad2deg", [X], reference=np.rad2deg, run=ops.rad2deg),
]
