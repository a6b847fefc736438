"""Rows of `dyn/ops/likelihood.py`."""

from __future__ import annotations

import numpy as np

from tests.optable.case import OpCase, array


def ref_binary(p, y):
    return -(y * np.maximum(np.log(p), -100) + (1 - y) * np.maximum(np.log(1 - p), -100))


def ref_logistic(z, y):
    return np.logaddexp(0, z) - y * z


def ref_kl_div(x, y):
    return np.where(y > 0, y * (np.log(np.where(y > 0, y, 1)) - x), 0)


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
    OpCase("kl_div", [array("n", 4), array("n", 4, away=(0.0,))], {}, ref_kl_div, onnx="Log"),
]
