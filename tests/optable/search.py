"""Rows of `dyn/ops/search.py` and `dyn/ops/sort.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import search
from dyn.ops import sort as ops
from tests.optable.case import OpCase, array, bools, ints

REALS = ("float32", "float64", "int64", "int32")
X = array("n", 5, distinct=True)
CUBE = array("n", 3, 4, distinct=True)
TIES = ints("n", 6, low=0, high=3)


def _topk(x, k, axis, largest):
    order = np.argsort(-x if largest else x, axis=axis, kind="stable")
    order = np.take(order, np.arange(k), axis=axis)
    return np.take_along_axis(x, order, axis), order


def _position(function):
    return lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims)


def _extreme(x, axis, keepdims, largest):
    place = (np.argmax if largest else np.argmin)(x, axis=axis, keepdims=keepdims)
    return (np.max if largest else np.min)(x, axis=axis, keepdims=keepdims), place


def _lower_median(x, axis, keepdims):
    order = np.argsort(x, axis, kind="stable")
    place = np.take(order, [(x.shape[axis] - 1) // 2], axis)
    if x.dtype.kind == "f":
        missing = np.isnan(x)
        first = missing.argmax(axis, keepdims=True)
        place = np.where(missing.any(axis, keepdims=True), first, place)
    found = np.take_along_axis(x, place, axis), place
    return found if keepdims else [a.squeeze(axis) for a in found]


def _put(g, place, axis, keepdims, shape):
    out, kept = np.zeros(shape, g.dtype), (shape[0], 1, *shape[2:])
    np.put_along_axis(out, place.reshape(kept), g.reshape(kept), axis)
    return out


def _mode(x):
    values, places = [], []
    for row in x:
        found, counts = np.unique(row, return_counts=True)
        values.append(found[counts.argmax()])
        places.append(np.flatnonzero(row == values[-1])[-1])
    return np.array(values, x.dtype).reshape(-1), np.array(places, np.int64)


def _unique(x, axis):
    if axis is None:
        x = x.reshape(-1)
    values, index, inverse, counts = np.unique(x, True, True, True, axis=axis)
    return values, index, inverse.reshape(-1), counts


def _gaps(rng, dtype, sizes):
    """Rows of five numbers, some of them with NaN."""
    found = rng.standard_normal((sizes.get("n", 3), 5)).astype(dtype)
    found[::2, 1:3] = np.nan
    return found


ROWS = [
    *(
        OpCase(
            op,
            [spec],
            {"axis": axis, "keepdims": keep},
            _position(function),
            dtypes=REALS,
            order=0,
            onnx=None if spec is TIES else onnx,
            empty=axis != 0,
            note=note,
        )
        for op, function, onnx in (
            ("argmax", np.argmax, "ArgMax"),
            ("argmin", np.argmin, "ArgMin"),
        )
        for spec, axis, keep, note in (
            (CUBE, 1, False, ""),
            (CUBE, 0, True, "keepdims"),
            (TIES, 1, False, "ties"),
        )
    ),
    *(
        OpCase(
            "extreme",
            [spec],
            {"axis": axis, "keepdims": keep, "largest": largest},
            _extreme,
            dtypes=REALS,
            order=0 if spec is TIES else 2,
            onnx=None if spec is TIES else "ArgMax" if largest else "ArgMin",
            empty=axis != 0,
            note=f"{note}{'largest' if largest else 'smallest'}",
        )
        for largest in (True, False)
        for spec, axis, keep, note in (
            (CUBE, 1, False, ""),
            (CUBE, 0, True, "keepdims-"),
            (TIES, 1, False, "ties-"),
        )
    ),
    *(
        OpCase(
            "extreme_grad",
            [array("n", *sizes), ints("n", *sizes, low=0, high=3)],
            {"axis": 1, "keepdims": keep, "shape": (3, 3, 4)},
            _put,
            dtypes=("float32", "float64", "float16", "bfloat16"),
            sizes={"n": (3, 3)},
            empty=False,
            single=False,
            onnx="ScatterElements",
            note="keepdims" if keep else "",
        )
        for keep, sizes in ((False, (4,)), (True, (1, 4)))
    ),
    *(
        OpCase(
            "histogram",
            [array("n", 50, low=-4, high=4)],
            {"bins": bins, "low": -3.0, "high": 2.5},
            lambda x, bins, low, high: np.histogram(x, bins, (low, high))[0].astype(x.dtype),
            dtypes=("float32", "float64", "int64"),
            order=0,
            note=str(bins),
        )
        for bins in (1, 4, 11)
    ),
    OpCase(
        "argmax",
        [CUBE],
        reference=np.argmax,
        run=search.argmax,
        order=0,
        empty=False,
        note="flat",
    ),
    *(
        OpCase(
            "topk",
            [spec],
            {"k": 2, "axis": axis, "largest": largest},
            _topk,
            dtypes=REALS,
            order=0 if note == "ties" else 2,
            onnx="TopK",
            note=f"{note}{'largest' if largest else 'smallest'}",
        )
        for largest in (True, False)
        for spec, axis, note in ((X, 1, ""), (CUBE, 1, "middle"), (TIES, 1, "ties"))
    ),
    *(
        OpCase(
            "sort",
            [spec],
            reference=lambda x, s=sign: s * np.sort(s * x, axis=1),
            run=lambda x, d=descending: ops.sort(x, 1, d),
            dtypes=REALS,
            onnx="TopK",
            note="descending" if descending else "",
        )
        for spec, descending, sign in ((CUBE, False, 1), (CUBE, True, -1))
    ),
    *(
        OpCase(
            "argsort",
            [TIES],
            reference=lambda x, s=sign: np.argsort(s * x, axis=1, kind="stable"),
            run=lambda x, d=descending: ops.argsort(x, 1, d),
            order=0,
            note="descending" if descending else "",
        )
        for descending, sign in ((False, 1), (True, -1))
    ),
    OpCase(
        "kthvalue",
        [X],
        reference=lambda x: (np.sort(x, 1)[:, 1], np.argsort(x, 1, kind="stable")[:, 1]),
        run=lambda x: ops.kthvalue(x, 2),
        dtypes=REALS,
    ),
    *(
        OpCase(
            "mode",
            [spec],
            {"axis": 1, "keepdims": keep},
            lambda x, axis, keepdims: [a[:, None] if keepdims else a for a in _mode(x)],
            dtypes=REALS,
            order=0 if spec is TIES else 2,
            note=f"{'keepdims' if keep else ''}{'distinct' if spec is X else ''}",
        )
        for spec, keep in ((TIES, False), (TIES, True), (X, False))
    ),
    *(
        OpCase(
            "lower_median",
            [spec],
            {"axis": axis, "keepdims": keep},
            _lower_median,
            dtypes=("float32", "float64") if spec is _gaps else REALS,
            order=0 if spec is _gaps else 2,
            empty=axis != 0,
            note=note,
        )
        for spec, axis, keep, note in (
            (X, 1, False, ""),
            (CUBE, 1, True, "keepdims"),
            (array("n", 6, distinct=True), 0, False, "first"),
            (_gaps, 1, False, "missing"),
        )
    ),
    *(
        OpCase(
            "median",
            [array("n", size, distinct=True)],
            reference=lambda x: np.median(x, 1),
            run=lambda x: ops.median(x, 1),
            note=str(size),
        )
        for size in (4, 5)
    ),
    OpCase(
        "median",
        [array("n", 4, distinct=True)],
        reference=lambda x: (np.sort(x, 1)[:, 1:2], np.argsort(x, 1, kind="stable")[:, 1:2]),
        run=lambda x: ops.median(x, 1, keepdim=True, mode="min"),
        note="min",
    ),
    OpCase(
        "median",
        [_gaps],
        reference=lambda x: np.where(np.isnan(x).any(1), np.nan, np.sort(x, 1)[:, 2]),
        run=lambda x: ops.median(x, 1, mode="min")[0],
        note="min-of-missing",
        order=0,
    ),
    OpCase(
        "median",
        [_gaps],
        reference=lambda x: np.median(x, 1),
        run=lambda x: ops.median(x, 1),
        note="of-missing",
        order=0,
    ),
    OpCase(
        "median",
        [X],
        reference=np.median,
        run=ops.median,
        empty=False,
        note="flat",
    ),
    *(
        OpCase(
            "quantile",
            [X],
            reference=lambda x, q=q: np.quantile(x, q, axis=1),
            run=lambda x, q=q: ops.quantile(x, q, 1),
            note=str(q),
        )
        for q in (0, 0.3, 1, [0.25, 0.9])
    ),
    OpCase(
        "quantile",
        [X],
        reference=lambda x: np.quantile(x, 0.3, axis=0),
        run=lambda x: ops.quantile(x, 0.3, 0),
        empty=False,
        note="dynamic",
    ),
    OpCase("nonzero", [bools("n", 3)], reference=np.argwhere, order=0, onnx="NonZero"),
    OpCase(
        "nonzero",
        [ints("n", 4, low=-1, high=2)],
        reference=np.argwhere,
        order=0,
        note="ints",
    ),
    OpCase(
        "nonzero",
        [bools("n", 3)],
        reference=np.nonzero,
        run=lambda x: search.nonzero(x, as_tuple=True),
        order=0,
        note="tuple",
    ),
    OpCase(
        "unique",
        [TIES],
        {"axis": None},
        _unique,
        dtypes=REALS,
        order=0,
        onnx="Unique",
    ),
    OpCase(
        "unique",
        [ints(6, "n", low=0, high=2)],
        {"axis": 0},
        _unique,
        order=0,
        empty=False,
        note="axis",
    ),
    OpCase(
        "bincount",
        [ints("n", low=0, high=5)],
        {"minlength": 3},
        lambda x, minlength: np.bincount(x, minlength=minlength),
        order=0,
    ),
    OpCase(
        "bincount",
        [ints("n", low=0, high=5), array("n")],
        {"minlength": 0},
        lambda x, w, minlength: np.bincount(x, w, minlength),
        order=0,
        note="weights",
    ),
    *(
        OpCase(
            "searchsorted",
            [lambda rng, dtype, sizes: np.array([-1, 0, 0, 1, 2], dtype), array("n", 3)],
            {"right": right},
            lambda edges, x, right: np.searchsorted(edges, x, "right" if right else "left"),
            dtypes=REALS,
            order=0,
            note="right" if right else "",
        )
        for right in (False, True)
    ),
    OpCase(
        "searchsorted",
        [lambda rng, dtype, sizes: np.sort(rng.random((2, 4)), 1).astype(dtype), array(2, "n")],
        {"right": False},
        lambda edges, x, right: np.stack(
            [np.searchsorted(e, v) for e, v in zip(edges, x, strict=True)]
        ),
        order=0,
        note="rows",
    ),
]
