"""Rows of `dyn/ops/distance.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import distance as ops
from tests.optable.case import OpCase, array


def apart(x, y):
    return x[..., :, None, :] - y[..., None, :, :]


def gradient(g, x, y, distance):
    return ((g / distance)[..., None] * apart(x, y)).sum(-2)


def cosine(x, y, axis, epsilon):
    lengths = [np.maximum(np.linalg.norm(a, axis=axis), epsilon) for a in (x, y)]
    return (x * y).sum(axis) / (lengths[0] * lengths[1])


def normalize(x, axes, epsilon):
    return x / np.maximum(np.linalg.norm(x, axis=axes[0], keepdims=True), epsilon)


def cosine_gradient(g, x, y, out, x_length, y_length, axis, epsilon):
    across, made = g / (x_length * y_length), []
    for own, other, length in ((x, y, x_length), (y, x, y_length)):
        along = np.where(length > epsilon, g * out / length**2, 0)
        made.append(np.expand_dims(across, axis) * other - np.expand_dims(along, axis) * own)
    return tuple(made)


FAR = array("n", 5, 3, low=3, high=4)
"""Rows that are nowhere near those of the other operand."""

ROWS = [
    *(
        OpCase(
            "normalize",
            [array("n", *sizes)],
            {"axes": (axis,), "epsilon": epsilon},
            normalize,
            dtypes=("float32", "float64"),
            onnx="ReduceL2",
            empty=axis != 0,
            note=note,
        )
        for sizes, axis, epsilon, note in (
            ((5,), 1, 1e-12, ""),
            ((3, 4), 0, 1e-12, "first"),
            ((3, 4), 1, 1e-12, "middle"),
            ((4,), 1, 2.5, "clipped"),
        )
    ),
    *(
        OpCase(
            "cosine",
            [array("n", *sizes), array("n", *sizes)],
            {"axis": axis, "epsilon": epsilon},
            cosine,
            dtypes=("float32", "float64", "float16", "bfloat16"),
            onnx="ReduceL2",
            empty=axis != 0,
            note=note,
        )
        for sizes, axis, epsilon, note in (
            ((5,), 1, 1e-8, ""),
            ((3, 4), 0, 1e-8, "first"),
            ((3, 4), 2, 1.5, "clamped"),
        )
    ),
    OpCase(
        "cosine",
        [array("n", 3, 4), array(3, 1)],
        reference=lambda x, y: cosine(x, np.broadcast_to(y, x.shape), 2, 1e-8),
        run=lambda x, y: ops.cosine_similarity(x, y, 2),
        note="broadcast",
    ),
    OpCase(
        "cosine_grad",
        [
            array("n"),
            array("n", 4),
            array("n", 4),
            array("n"),
            array("n", low=0.5, high=2),
            array("n", low=0.5, high=2),
        ],
        {"axis": 1, "epsilon": 1.0},
        cosine_gradient,
        dtypes=("float32", "float64", "float16"),
        order=0,
        wrt=(),
    ),
    *(
        OpCase(
            "pairwise_distance",
            [array(*sizes), array(*sizes)],
            {"epsilon": 1e-2},
            lambda x, y, epsilon: np.linalg.norm(x - y + epsilon, axis=-1),
            dtypes=("float32", "float64", "float16", "bfloat16"),
            onnx="ReduceL2",
            note=note,
        )
        for sizes, note in (((5,), "row"), (("n", 7), "rows"), ((2, "n", 130), "long"))
    ),
    OpCase(
        "pairwise_distance",
        [array(3, "n")] * 2,
        {"epsilon": 1e-6},
        lambda x, y, epsilon: np.linalg.norm(x - y + epsilon, axis=-1),
        note="any length",
    ),
    OpCase(
        "pairwise_distance",
        [array("n", 4), array(4)],
        reference=lambda x, y: np.linalg.norm(x - y + 1e-6, axis=-1, keepdims=True),
        run=lambda x, y: ops.pairwise_distance(x, y, keepdim=True),
        note="broadcast",
    ),
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
