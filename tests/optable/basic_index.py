"""Rows of `dyn/ops/basic_index.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops.basic_index import as_slices
from dyn.ops.index import getitem
from tests.optable.case import OpCase, array

X = array("n", 5, 4)
ANY = ("float32", "float64", "float16", "bfloat16", "int64", "bool")
FULL = ("slice", None, None, None)
INDICES = {
    "block": (FULL, ("slice", 1, 3, None)),
    "mixed": (FULL, ("int", -2), ("new",), ("slice", None, None, 2)),
    "backwards": (("slice", None, None, -1), ("slice", 3, 0, -2)),
    "ends": (FULL, ("slice", -3, -1, None), ("int", 0)),
    "beyond": (FULL, ("slice", 2, 99, 3), ("slice", -99, None, None)),
    "nothing": (FULL, ("slice", 3, 3, None)),
}


def write(x, value, index):
    out = x.copy()
    out[as_slices(index)] = value
    return out


def spread(g, index, shape):
    out = np.zeros(shape, g.dtype)
    out[as_slices(index)] = g
    return out


def selected(index):
    return np.zeros((3, 5, 4))[as_slices(index)].shape


ROWS = [
    *(
        OpCase(
            "getitem",
            [X],
            attrs={"index": index},
            reference=lambda x, index: x[as_slices(index)],
            dtypes=ANY if note == "mixed" else ("float32", "float64"),
            note=note,
        )
        for note, index in INDICES.items()
    ),
    OpCase(
        "getitem",
        [array("n", "t")],
        run=lambda x: getitem(x, (slice(None), slice(1, x.shape[1] - 1))),
        reference=lambda x: x[:, 1:-1],
        note="symbolic",
        sizes={"t": (4, 7)},
        empty=False,
    ),
    *(
        OpCase(
            "setitem",
            [array(3, 5, 4), array(*selected(index))],
            attrs={"index": index},
            reference=write,
            dtypes=ANY if note == "block" else ("float32", "float64"),
            note=note,
        )
        for note, index in INDICES.items()
    ),
    OpCase("setitem", [X, array()], attrs={"index": (FULL, ("int", 0))}, reference=write),
    OpCase(
        "setitem",
        [X, array(4)],
        attrs={"index": (FULL, ("slice", 4, None, None))},
        reference=write,
        note="last",
    ),
    OpCase(
        "setitem",
        [X, array()],
        attrs={"index": (("slice", 1, None, 2), FULL, ("int", -1))},
        reference=write,
        note="dynamic",
        empty=False,
    ),
    *(
        OpCase(
            "getitem_grad",
            [array(*selected(index))],
            attrs={"index": index, "shape": (3, 5, 4)},
            reference=spread,
            note=note,
        )
        for note, index in INDICES.items()
    ),
]
