"""Rows of `dyn/ops/likelihood.py`."""

from __future__ import annotations

import math

import numpy as np

from tests.optable.case import OpCase, array
from tests.optable.ranking import REDUCTIONS


def ref_binary(p, y):
    return -(y * np.maximum(np.log(p), -100) + (1 - y) * np.maximum(np.log(1 - p), -100))


def ref_logistic(z, y):
    return np.logaddexp(0, z) - y * z


def ref_kl_div(x, y):
    with np.errstate(all="ignore"):
        return np.where(y == 0, np.where(np.isnan(x), x, 0), y * (np.log(y) - x))


def given(*values):
    return lambda rng, dtype, sizes: np.array(values, dtype)


SHARE = array("n", 4, low=0.05, high=0.95)
ROWS = [
    OpCase("binary_cross_entropy", [SHARE, SHARE], {}, ref_binary, onnx="Log"),
    OpCase("binary_cross_entropy", [SHARE, array(4, low=0, high=1)], {}, ref_binary, note="row"),
    OpCase(
        "binary_cross_entropy",
        [lambda rng, dtype, sizes: np.array([0.0, 1.0, 0.0, 1.0], dtype)] * 2,
        {},
        ref_binary,
        order=0,
        note="sure",
    ),
    OpCase("logistic_cross_entropy", [array("n", 4), SHARE], {}, ref_logistic, onnx="Softplus"),
    OpCase(
        "logistic_cross_entropy",
        [array("n", 4, low=-500, high=500), SHARE],
        {},
        ref_logistic,
        order=0,
        note="far",
    ),
    OpCase(
        "logistic_cross_entropy",
        [given(math.inf, math.inf, -math.inf, -math.inf, math.nan), given(0, 1, 0, 1, 0)],
        {},
        lambda z, y: np.array([math.inf, 0, 0, math.inf, math.nan]),
        order=0,
        note="infinite",
    ),
    *[
        OpCase(
            "poisson_nll",
            [array("n", 4), y],
            {"reduction": how},
            lambda x, y, reduction: REDUCTIONS[reduction](np.exp(x) - y * x),
            onnx="Exp",
            note=f"{how} {note}",
        )
        for how in REDUCTIONS
        for y, note in ((array("n", 4), "even"), (array(4), "row"))
    ],
    OpCase("kl_div", [array("n", 4), array("n", 4, low=0.1)], {}, ref_kl_div, onnx="Log"),
    OpCase(
        "kl_div",
        [given(-0.5, -math.inf, -1, math.nan, -math.inf, 1), given(0, 0, -0.5, 0, 0.5, math.nan)],
        {},
        ref_kl_div,
        order=0,
        note="edges",
    ),
]
