"""Rows of `dyn/ops/multi_margin.py`."""

from __future__ import annotations

import numpy as np

from tests.optable.case import OpCase, array, ints


def ref(x, label, weight=None, *, p, margin):
    own = np.arange(len(x)), label
    over = np.maximum(margin - x[own][:, None] + x, 0) ** p
    over[own] = 0
    return over.sum(1) / x.shape[1] * (1 if weight is None else weight[label])


def ref_grad(g, x, label, weight=None, *, p, margin):
    own = np.arange(len(x)), label
    over = np.maximum(margin - x[own][:, None] + x, 0)
    slopes = 2 * over if p == 2 else (over > 0).astype(x.dtype)
    slopes[own] = 0
    slopes[own] = -slopes.sum(1)
    factor = g / x.shape[1] * (1 if weight is None else weight[label])
    return slopes * factor[:, None]


X, LABEL, WEIGHT = array("n", 4, distinct=True), ints("n", low=0, high=4), array(4, low=0.2, high=2)
G = array("n")
WIDE = ("float32", "float64", "float16", "bfloat16")
ROWS = [
    OpCase(
        "multi_margin",
        [X, LABEL, None],
        {"p": 1, "margin": 1.03},
        lambda x, label, weight, p, margin: ref(x, label, weight, p=p, margin=margin),
        dtypes=WIDE,
        wrt=(0,),
        onnx="GatherElements",
    ),
    OpCase(
        "multi_margin",
        [X, LABEL, WEIGHT],
        {"p": 2, "margin": 0.53},
        lambda x, label, weight, p, margin: ref(x, label, weight, p=p, margin=margin),
        note="squares",
    ),
    OpCase(
        "multi_margin_grad",
        [G, X, LABEL, None],
        {"p": 1, "margin": 1.03},
        lambda g, x, label, weight, p, margin: ref_grad(g, x, label, weight, p=p, margin=margin),
        dtypes=WIDE,
        wrt=(0, 1),
        onnx="Greater",
    ),
    OpCase(
        "multi_margin_grad",
        [G, X, LABEL, WEIGHT],
        {"p": 2, "margin": 0.53},
        lambda g, x, label, weight, p, margin: ref_grad(g, x, label, weight, p=p, margin=margin),
        note="squares",
    ),
]
