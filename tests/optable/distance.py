"""Rows of `dyn/ops/distance.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import distance as ops
from tests.optable.case import OpCase, array


def apart(x, y):
    return x[..., :, None, :] - y[..., None, :, :]


def gradient(g, x, y, distance):
    return ((g / distance)[..., None] * apart(x, y)).sum(-2)


FAR = array("n", 5, 3, low=3, high=4)
"""Rows that are nowhere near those of the other operand."""

ROWS = [
    OpCase(
        "euclidean_distance",
        [array("n", 2, 3), array("n", 4, 3)],
        reference=lambda x, y: np.linalg.norm(apart(x, y), axis=-1),
        gradient_tol=1e-6,
        onnx="ReduceL2",
    ),
    OpCase(
        "euclidean_distance",
        [array("n", 1, 2, 3), array(4, 4, 3)],
        reference=lambda x, y: np.linalg.norm(apart(x, y), axis=-1),
        note="broadcast",
        gradient_tol=1e-6,
    ),
    *(
        OpCase(
            "norm",
            [array("n", 2, 3), array("n", 4, 3)],
            run=lambda x, y, p=p: ops.cdist(x, y, p),
            reference=lambda x, y, p=p: np.linalg.norm(apart(x, y), ord=p, axis=-1),
            note=f"cdist_{p}",
            gradient_tol=1e-6,
        )
        for p in (1.0, 3.0)
    ),
    OpCase(
        "euclidean_distance_grad",
        [array("n", 2, 5), array("n", 2, 3), FAR, array("n", 2, 5, low=1, high=2)],
        reference=gradient,
        tol=1e-5,
    ),
]
