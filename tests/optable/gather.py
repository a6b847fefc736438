"""Rows of `dyn/ops/gather.py`, `scatter.py` and of indexing by tensors."""

from __future__ import annotations

import numpy as np

from dyn.ops import index, scatter
from dyn.ops.index import where
from tests.optable.case import OpCase, array, bools, ints

X = array("n", 5, 4)
AT = ints("k", 2, low=-5, high=5)
ANY = ("float32", "float64", "float16", "bfloat16", "int64", "bool")
TABLE = array("n", 5)
SUMMED, LARGEST = {"reduction": "add"}, {"axis": 1, "largest": True}
NARROW = ("int32", "int16", "uint8")
"""Dtypes of indices that not all operators of ONNX take."""
POINTS = ints("k", 2, low=0, high=3)


def added(g, at, axis, shape):
    out = np.zeros(shape)
    moved = np.moveaxis(out, axis, 0)
    rows = np.moveaxis(g.reshape(*shape[:axis], at.size, *shape[axis + 1 :]), axis, 0)
    np.add.at(moved, at.reshape(-1), rows)
    return out


def scattered(x, at, value, reduction):
    out = x.copy()
    places = tuple(np.moveaxis(at, -1, 0))
    if reduction == "add":
        np.add.at(out, places, value)
    else:
        out[places] = value
    return out


def put(x, at, value, axis, reduction):
    out = x.copy()
    where = list(np.ogrid[tuple(slice(n) for n in at.shape)])
    where[axis] = at
    if reduction == "add":
        np.add.at(out, tuple(where), value)
    else:
        out[tuple(where)] = value
    return out


def extreme(x, at, value, axis, largest):
    out = x.copy()
    where = list(np.ogrid[tuple(slice(n) for n in at.shape)])
    where[axis] = at
    (np.maximum if largest else np.minimum).at(out, tuple(where), value)
    return out


def distinct(rng, dtype, sizes):
    return rng.permutation(3)[:2, None]


def multiplied(x, at, value, axis):
    out = x.copy()
    for place in np.ndindex(at.shape):
        target = list(place)
        target[axis] = at[place]
        out[tuple(target)] *= value[place]
    return out


ROWS = [
    OpCase(
        "gather",
        [X, AT],
        attrs={"axis": 1},
        reference=lambda x, at, axis: np.take(x, at, axis),
        dtypes=ANY,
        onnx="Gather",
    ),
    OpCase(
        "gather",
        [array(5, "n"), ints(low=-5, high=5)],
        attrs={"axis": 0},
        reference=lambda x, at, axis: x[at],
        note="scalar",
    ),
    OpCase(
        "gather_grad",
        [array("n", "k", 2, 4), AT],
        attrs={"axis": 1, "shape": (3, 5, 4)},
        reference=added,
        sizes={"n": (3, 3)},
        empty=False,
        single=False,
    ),
    OpCase(
        "gather_nd",
        [array(3, 3, 4), POINTS],
        reference=lambda x, at: x[at[:, 0], at[:, 1]],
        dtypes=ANY,
        onnx="GatherND",
    ),
    OpCase(
        "scatter_nd",
        [array(3, 4), distinct, array(2, 4)],
        attrs={"reduction": "none"},
        reference=scattered,
        onnx="ScatterND",
    ),
    OpCase(
        "scatter_nd",
        [array(3, 3, 4), POINTS, array("k", 4)],
        attrs={"reduction": "add"},
        reference=scattered,
        note="add",
    ),
    OpCase(
        "take_along_axis",
        [array("n", 5), ints("n", 2, low=-5, high=5)],
        attrs={"axis": 1},
        reference=lambda x, at, axis: np.take_along_axis(x, at % 5, axis),
        dtypes=ANY,
        onnx="GatherElements",
    ),
    OpCase(
        "put_along_axis",
        [array("n", 5), ints("n", 3, low=0, high=5), array("n", 3)],
        attrs={"axis": 1, "reduction": "add"},
        reference=put,
        onnx="ScatterElements",
    ),
    OpCase(
        "put_along_axis",
        [array("n", 5), lambda rng, d, s: np.tile([4, 0, 2], (s["n"], 1)), array("n", 3)],
        attrs={"axis": 1, "reduction": "none"},
        reference=put,
        note="assign",
    ),
    OpCase(
        "scatter_extreme",
        [array(4, "n"), ints(7, "n", low=-4, high=4), array(7, "n")],
        attrs={"axis": 0, "largest": True},
        reference=extreme,
        dtypes=("float32", "float64", "int64"),
        onnx="ScatterElements",
    ),
    OpCase(
        "scatter_product",
        [array(4, "n"), ints(7, "n", low=-4, high=4), array(7, "n")],
        attrs={"axis": 0},
        reference=multiplied,
        dtypes=("float32", "float64", "int64"),
        onnx="ScatterElements",
    ),
    OpCase(
        "scatter_product",
        [array("n", 5), ints("n", 3, low=0, high=5), array("n", 3)],
        run=lambda x, at, value: scatter.scatter_product(
            where(x > 0, x, 0), at, where(value > 0, value, 0), -1
        ),
        reference=lambda x, at, value: multiplied(np.maximum(x, 0), at, np.maximum(value, 0), 1),
        note="zeros",
    ),
    OpCase(
        "scatter_extreme",
        [array("n", 5), ints("n", 8, low=0, high=5), array("n", 8)],
        run=lambda x, at, value: scatter.scatter_extreme(x, at, value, -1, largest=False),
        reference=lambda x, at, value: extreme(x, at, value, 1, False),
        note="smallest",
    ),
    *(
        OpCase(
            name,
            [table, ints(*places, low=0, high=3, dtype=dtype), *rest],
            attrs=attrs,
            reference=reference,
            note=dtype,
            order=0,
        )
        for dtype in NARROW
        for name, table, places, rest, attrs, reference in (
            ("gather", X, ("k",), (), {"axis": 1}, lambda x, at, axis: np.take(x, at, axis)),
            ("gather_grad", array(2, "k"), ("k",), (), {"axis": 1, "shape": (2, 4)}, added),
            ("gather_nd", array(3, 3, 4), ("k", 2), (), {}, lambda x, at: x[at[:, 0], at[:, 1]]),
            ("scatter_nd", array(3, 4), ("k", 1), (array("k", 4),), SUMMED, scattered),
            ("take_along_axis", TABLE, ("n", 2), (), {"axis": 1}, np.take_along_axis),
            ("put_along_axis", TABLE, ("n", 2), (array("n", 2),), {"axis": 1, **SUMMED}, put),
            ("scatter_extreme", TABLE, ("n", 2), (array("n", 2),), LARGEST, extreme),
            ("scatter_product", TABLE, ("n", 2), (array("n", 2),), {"axis": 1}, multiplied),
        )
    ),
    OpCase(
        "where",
        [bools("n", 1), array("n", 4), array(4)],
        reference=np.where,
        dtypes=ANY,
        onnx="Where",
    ),
    OpCase(
        "where",
        [array("n", 4), bools("n", 4)],
        run=lambda x, m: index.masked_fill(x, m, 0.5),
        reference=lambda x, m: np.where(m, 0.5, x),
        note="masked_fill",
    ),
    OpCase(
        "gather_nd",
        [array("n", 4), bools("n", 4)],
        run=index.masked_select,
        reference=lambda x, m: x[m],
        note="masked_select",
    ),
]
