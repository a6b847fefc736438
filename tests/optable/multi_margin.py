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


def labels(rng, dtype, sizes):
    """Right classes of four, up to the first -1."""
    found = rng.integers(0, 4, (sizes.get("n", 3), 4))
    found[::2, 2], found[1::2, 0] = -1, -1
    return found


def each(x, label):
    """(row, right class, wrong class) of all pairs that count."""
    for row, own in enumerate(label):
        ends = np.flatnonzero(own < 0)
        right = own[: ends[0]] if len(ends) else own
        for y in right:
            yield from ((row, y, j) for j in range(x.shape[1]) if j not in right)


def ref_labels(x, label):
    out = np.zeros(len(x), x.dtype)
    for row, y, j in each(x, label):
        out[row] += max(0, 1 - x[row, y] + x[row, j]) / x.shape[1]
    return out


def ref_labels_grad(g, x, label):
    out = np.zeros(x.shape, x.dtype)
    for row, y, j in each(x, label):
        slope = g[row] / x.shape[1] if 1 - x[row, y] + x[row, j] > 0 else 0
        out[row, j] += slope
        out[row, y] -= slope
    return out


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
    OpCase("multilabel_margin", [X, labels], reference=ref_labels, dtypes=WIDE, onnx="CumSum"),
    OpCase(
        "multilabel_margin_grad",
        [G, X, labels],
        reference=ref_labels_grad,
        dtypes=WIDE,
        wrt=(0,),
        onnx="CumSum",
    ),
]
