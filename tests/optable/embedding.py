"""Rows of `dyn/ops/embedding.py` and `dropout.py`."""

from __future__ import annotations

import numpy as np

import dyn
from dyn.core.op import OPS
from tests.optable.case import OpCase, array, bools, ints


def ref_embedding_grad(g, x, *, shape, padding_idx):
    out = np.zeros(shape)
    for at in np.ndindex(*x.shape):
        if x[at] != padding_idx:
            out[x[at]] += g[at]
    return out


def ref_by_frequency(g, x):
    out = ref_embedding_grad(g, x, shape=(6, 4), padding_idx=2)
    return out / np.maximum(np.bincount(x.reshape(-1), minlength=6), 1)[:, None]


def run_by_frequency(g, x):
    """The gradient of a table whose rows are looked up, which no difference quotient gives."""
    table = dyn.zeros([6, 4], g._array.dtype.name)
    table.stop_gradient = False
    rows = OPS["embedding"](x, table, padding_idx=2, by_frequency=True)
    return dyn.grad(rows, table, g, create_graph=True)[0]


TABLE = [
    OpCase(
        "embedding",
        [ints("n", 3, low=0, high=6), array(6, 4)],
        {"padding_idx": None},
        lambda x, w, padding_idx: w[x],
        onnx="Gather",
    ),
    OpCase(
        "embedding",
        [ints("n", low=0, high=6, dtype="int32"), array(6, 4)],
        {"padding_idx": 2},
        lambda x, w, padding_idx: w[x],
        note="padded",
        order=0,
        wrt=(),
    ),
    OpCase(
        "embedding",
        [ints("n", low=0, high=6, dtype="uint8"), array(6, 4)],
        {"padding_idx": None},
        lambda x, w, padding_idx: w[x],
        note="bytes",
        order=0,
    ),
    *(
        OpCase(
            "embedding_grad",
            [array("n", 3, 4), ints("n", 3, low=0, high=6)],
            {"shape": (6, 4), "padding_idx": padding},
            ref_embedding_grad,
            onnx="ScatterND",
            note=f"padding-{padding}",
        )
        for padding in (None, 2)
    ),
    OpCase(
        "embedding",
        [array("n", 3, 4), ints("n", 3, low=0, high=6)],
        reference=ref_by_frequency,
        run=run_by_frequency,
        note="by_frequency",
    ),
]


def ref_dropout_grad(g, mask, *, p, mode):
    scale = 1 / (1 - p) if mode == "upscale_in_train" and p < 1 else 1
    return np.where(mask, g * scale, 0)


def nothing_kept(x, *, p, mode):
    return np.zeros_like(x)


DROPPED = [
    *(
        OpCase("dropout", [array("n", 6)], {"p": 0.4, "mode": mode}, shapes=(("n", 6),),
               order=0, wrt=(), onnx="Dropout", note=mode)
        for mode in ("upscale_in_train", "downscale_in_infer")
    ),
    OpCase(
        "dropout",
        [array("n", 6)],
        {"p": 1.0, "mode": "upscale_in_train"},
        nothing_kept,
        note="all",
    ),
    *(
        OpCase(
            "dropout_grad",
            [array("n", 6), bools("n", 6)],
            {"p": 0.4, "mode": mode},
            ref_dropout_grad,
            note=mode,
        )
        for mode in ("upscale_in_train", "downscale_in_infer")
    ),
]  # fmt: skip

ROWS = [*TABLE, *DROPPED]
