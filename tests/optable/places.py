"""Rows of `dyn/ops/places.py` and of indexing by several tensors."""

from __future__ import annotations

import numpy as np

from dyn.ops import index, places
from tests.optable.case import OpCase, array, ints

ANY = ("float32", "float64", "float16", "bfloat16", "int64", "bool")
AT, BESIDE = ints("k", low=0, high=3), ints("k", low=0, high=4, dtype="int32")


def put(x, value, *at, reduction):
    out = x.copy()
    if reduction == "add":
        np.add.at(out, at, value)
    else:
        out[at] = value
    return out


def summed(x, at, value):
    out = x.copy()
    out[at] = 0
    np.add.at(out, at, value)
    return out


def distinct(rng, dtype, sizes):
    return rng.permutation(3)[:2]


def written(x, value, at):
    x = x * 1.0
    x[at] = value
    return x


ROWS = [
    OpCase(
        "take_at",
        [array(3, 4, "n"), AT, BESIDE],
        reference=lambda x, i, j: x[i, j],
        dtypes=ANY,
        onnx="GatherND",
    ),
    OpCase(
        "take_at",
        [array(3, 4), ints("k", 2, low=0, high=3)],
        reference=lambda x, i: x[i],
        note="one",
    ),
    OpCase(
        "take_at",
        [array(3, 5, 4), ints("k", low=-5, high=5), ints("k", low=0, high=4)],
        run=lambda x, i, j: index.getitem(x, (slice(None), i, j)),
        reference=lambda x, i, j: x[:, i, j],
        note="adjacent",
    ),
    OpCase(
        "take_at",
        [array(3, 5, 4), ints("k", low=0, high=3), ints("k", low=0, high=4)],
        run=lambda x, i, j: index.getitem(x, (i, slice(None, None, 2), j)),
        reference=lambda x, i, j: x[i, ::2, j],
        note="apart",
    ),
    OpCase(
        "put_at",
        [array(3, 4), array(2, 4), distinct],
        attrs={"reduction": "none"},
        reference=put,
        onnx="ScatterND",
    ),
    OpCase(
        "put_at",
        [array(3, 4, 2), array("k", 2), AT, BESIDE],
        attrs={"reduction": "add"},
        reference=put,
        note="add",
    ),
    OpCase(
        "put_at",
        [array(3, "n"), array("n"), distinct],
        run=written,
        reference=lambda x, value, at: put(x, value, at, reduction="none"),
        note="setitem",
    ),
    OpCase(
        "put_at",
        [array(3, 4, 2), AT, BESIDE, array(2)],
        run=lambda x, i, j, value: places.index_put(x, (i, j), value, accumulate=True),
        reference=lambda x, i, j, value: put(x, value, i, j, reduction="add"),
        note="index_put",
    ),
    OpCase(
        "put_at",
        [array(3, 4), ints("k", low=0, high=3), array("k", 4)],
        run=lambda x, i, v: places.scatter(x, i, v, overwrite=False),
        reference=summed,
        note="scatter",
        order=2,
    ),
    OpCase(
        "scatter_nd",
        [array(3, 4), ints("k", 1, low=0, high=3), array("k", 4)],
        run=lambda x, i, v: places.scatter(x, i, v, overwrite=False),
        reference=lambda x, i, v: summed(x, i[:, 0], v),
        note="scatter",
    ),
    OpCase(
        "index_add",
        [array(4, 3), array(4, "k"), ints("k", low=-3, high=3)],
        attrs={"axis": 1},
        reference=lambda x, value, at, axis: put(x, value, slice(None), at, reduction="add"),
    ),
    OpCase(
        "index_add",
        [array(4, 3), array(4, "k"), ints("k", low=0, high=3, dtype="uint8")],
        attrs={"axis": 1},
        reference=lambda x, value, at, axis: put(x, value, slice(None), at, reduction="add"),
        note="bytes",
        order=0,
    ),
    OpCase(
        "index_add",
        [array(3, 4), array("k", 4), ints("k", low=0, high=3, dtype="int32")],
        attrs={"axis": 0},
        reference=lambda x, value, at, axis: put(x, value, at, reduction="add"),
        note="int32",
        order=0,
    ),
    OpCase(
        "index_add",
        [array(4, 3), ints("k", low=0, high=4), array("k", 3)],
        run=lambda x, at, value: places.index_add(x, at, 0, value),
        reference=lambda x, at, value: put(x, value, at, reduction="add"),
        dtypes=("float32", "float64", "float16", "int64"),
        onnx="ScatterND",
        note="first",
    ),
    OpCase(
        "take",
        [array(3, "n", 2), ints("k", 2, low=-6, high=6)],
        reference=lambda x, at: x.reshape(-1)[at],
        sizes={"n": (3, 5)},
        dtypes=ANY,
        empty=False,
        single=True,
        onnx="Gather",
    ),
    OpCase(
        "take",
        [array(3, 4), ints("k", low=0, high=12, dtype="uint8")],
        reference=lambda x, at: x.reshape(-1)[at],
        note="bytes",
        order=0,
    ),
    OpCase(
        "take",
        [array("n"), ints("k", low=-9, high=9)],
        run=lambda x, at: places.take(x, at, mode="wrap"),
        reference=lambda x, at: np.take(x, at, mode="wrap"),
        empty=False,
        note="wrap",
    ),
    *(
        OpCase(
            "take",
            [array(300), ints("k", low=-100, high=100, dtype="int8")],
            run=lambda x, at, mode=mode: places.take(x, at, mode=mode),
            reference=lambda x, at, mode=mode: np.take(x, at, mode=mode),
            note=f"{mode} narrow",
            order=0,
        )
        for mode in ("wrap", "clip")
    ),
]
