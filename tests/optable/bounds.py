"""Rows of `dyn/ops/bounds.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import bounds as ops
from tests.optable.case import SPECIAL, OpCase, array

FLOATS = ("float32", "float64", "float16", "bfloat16")
X = array("n", 3)

ROWS = [
    OpCase(
        "logit",
        [array("n", 3, low=0.1, high=0.9)],
        reference=lambda x: np.log(x / (1 - x)),
        run=ops.logit,
    ),
    OpCase(
        "logit",
        [array("n", 3, low=-0.5, high=1.5, away=(0.25, 0.75))],
        reference=lambda x: np.log(np.clip(x, 0.25, 0.75) / (1 - np.clip(x, 0.25, 0.75))),
        run=lambda x: ops.logit(x, 0.25),
        note="eps",
    ),
    OpCase(
        "clip",
        [array("n", 3, away=(-0.5, 1.0))],
        {"low": -0.5, "high": 1.0},
        lambda x, low, high: np.clip(x, low, high),
        dtypes=FLOATS,
        points=SPECIAL,
        onnx="Clip",
    ),
    OpCase(
        "clip",
        [array("n", 3, away=(-0.5, 1.0))],
        {"low": -0.5, "high": 1.0, "open": True},
        lambda x, low, high, open: np.clip(x, low, high),
        note="open",
    ),
    OpCase(
        "clip",
        [array("n", 3, away=(0.5,))],
        {"low": None, "high": 0.5},
        lambda x, low, high: np.minimum(x, high),
        note="high",
    ),
    OpCase(
        "clip",
        [array("n", 3, away=(0.5,))],
        {"low": 0.5, "high": None},
        lambda x, low, high: np.maximum(x, low),
        note="low",
    ),
    OpCase(
        "clip",
        [array("n", 3, low=-9, high=9)],
        {"low": -2, "high": 3},
        lambda x, low, high: np.clip(x, low, high),
        dtypes=("int64", "int32"),
        order=0,
        note="ints",
    ),
    OpCase(
        "clip_between",
        [X, array("n", 3, low=-1, high=-0.5), array(3, low=0.5, high=1)],
        reference=np.clip,
        dtypes=(*FLOATS, "int64", "int32"),
    ),
    OpCase(
        "clip_between",
        [X, array("n", 3, low=0, high=1), array("n", 3, low=0, high=1)],
        reference=lambda x, low, high: np.minimum(np.maximum(x, low), high),
        note="crossed",
    ),
    OpCase(
        "clip_between",
        [array("n", 3), None, array(3, low=0.5, high=1)],
        reference=lambda x, low, high: np.minimum(x, high),
        dtypes=(*FLOATS, "int64", "int32"),
        note="high",
    ),
    OpCase(
        "clip_between",
        [array(3), array("n", 3, low=-1, high=1), None],
        reference=lambda x, low, high: np.maximum(x, low),
        dtypes=(*FLOATS, "int64", "int32"),
        note="low",
    ),
    OpCase(
        "clip_grad",
        [X, array("n", 3, away=(-0.5, 1.0))],
        {"low": -0.5, "high": 1.0},
        lambda g, x, low, high: np.where((x >= low) & (x <= high), g, 0),
        order=1,
    ),
    OpCase(
        "nan_to_num",
        [X],
        reference=lambda x: np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=-2.0),
        run=lambda x: ops.nan_to_num(x, 1.0, 2.0, -2.0),
        dtypes=FLOATS,
        points=SPECIAL,
    ),
]
