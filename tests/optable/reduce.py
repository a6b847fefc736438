"""Rows of `dyn/ops/reduce.py`, `dyn/ops/vector_norm.py` and `dyn/ops/scan.py`."""

from __future__ import annotations

import math

import numpy as np

from dyn.ops import reduce as ops
from dyn.ops import scan, vector_norm
from tests.optable.case import OpCase, Spec, array, bools, ints

FLOATS = ("float32", "float64", "float16")
NUMBERS = (*FLOATS, "int64", "int32", "uint8")
X = array("n", 3, 4)
DISTINCT = array("n", 3, 4, distinct=True)
PLANE = array(2, 3, "n", 4, distinct=True)
MIXED = ints("n", 3, low=-2, high=3)


def reduced(function):
    """A numpy reduction with the op's attributes."""
    return lambda x, axes, keepdims: function(x, axis=axes, keepdims=keepdims)


def family(op: str, wanted, spec: Spec, onnx: str, **fields) -> list[OpCase]:
    """Over the last axis, over two axes, over all, over a channel axis, over none."""
    shapes = [
        (spec, (2,), False, ""),
        (spec, (0, 2), True, "keepdims"),
        (spec, (0, 1, 2), False, "all"),
        (PLANE, (0, 2, 3), False, "channels"),
        (array("n", 3, distinct=True), (0,), False, "rows"),
        (spec, (), False, "none"),
    ]
    return [
        OpCase(
            op,
            [x],
            {"axes": axes, "keepdims": keep},
            wanted,
            onnx=None if note == "none" else onnx,
            note=note,
            **fields,
        )
        for x, axes, keep, note in shapes
    ]


def statistic(x, axes, keepdims, correction):
    with np.errstate(all="ignore"):
        away = x - x.mean(axis=axes, keepdims=True)
        count = math.prod(x.shape[a] for a in axes)
        total = (away**2).sum(axis=axes, keepdims=keepdims)
        return total / np.float64(count - correction)


def logsumexp(x, axes, keepdims):
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    out = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, axes)


def norm(x, axes, keepdims):
    return np.sqrt((x * x).sum(axis=axes, keepdims=keepdims))


def integers(op: str, function) -> list[OpCase]:
    """Sums and products of small types, which are made in int64."""
    return [
        OpCase(
            op,
            [array("n", 3, low=-3, high=4)],
            {"axes": (1,), "keepdims": False},
            lambda x, axes, keepdims: function(x, axis=axes).astype(np.int64),
            dtypes=("int64", "int32", "uint8", "bool"),
            order=0,
            note="ints",
        )
    ]


def _recurrence(a, b, reverse):
    order = range(a.shape[1])[::-1] if reverse else range(a.shape[1])
    out, state = np.zeros_like(b), 0.0
    for k in order:
        state = a[:, k] * state + b[:, k]
        out[:, k] = state
    return out


def _running(x, extreme):
    values = extreme.accumulate(x, axis=1)
    places = np.zeros(x.shape, np.int64)
    for at in np.ndindex(x.shape):
        before = x[(at[0], slice(0, at[1] + 1), *at[2:])]
        places[at] = np.flatnonzero(before == values[at])[-1]
    return values, places


ROWS = [
    *family("sum", reduced(np.sum), X, "ReduceSum", dtypes=FLOATS),
    *integers("sum", np.sum),
    *family("mean", reduced(np.mean), X, "ReduceMean", dtypes=FLOATS, empty=False),
    OpCase(
        "mean",
        [MIXED],
        {"axes": (1,), "keepdims": False},
        lambda x, axes, keepdims: x.mean(axis=axes).astype(np.float32),
        order=0,
        note="ints",
    ),
    *family("max", reduced(np.max), DISTINCT, "ReduceMax", dtypes=NUMBERS, empty=False),
    *family("min", reduced(np.min), DISTINCT, "ReduceMin", dtypes=NUMBERS, empty=False),
    OpCase("amax", [DISTINCT], reference=lambda x: x.max(1), run=lambda x: ops.amax(x, 1)),
    OpCase("amin", [DISTINCT], reference=lambda x: x.min(1), run=lambda x: ops.amin(x, 1)),
    *family("prod", reduced(np.prod), X, "ReduceProd", dtypes=FLOATS),
    *integers("prod", np.prod),
    OpCase(
        "prod",
        [lambda rng, dtype, sizes: np.array([[0, 2, 3], [0, 0, 5], [1, 2, 4]]).astype(dtype)],
        {"axes": (1,), "keepdims": False},
        reduced(np.prod),
        note="zeros",
    ),
    *(
        OpCase(
            "prod_grad",
            [array("n", 1, 4), array("n", 3, 4)],
            {"axes": (1,)},
            lambda g, x, axes: g * np.stack([x[:, [1, 2]], x[:, [0, 2]], x[:, [0, 1]]], 1).prod(2),
            order=0,
        ),
        OpCase(
            "prod_grad",
            [
                array(3, 1),
                lambda rng, dtype, sizes: np.array([[0, 2], [0, 0], [1, 2]]).astype(dtype),
            ],
            {"axes": (1,)},
            lambda g, x, axes: g * x[:, ::-1],
            order=0,
            note="zeros",
        ),
    ),
    *(
        OpCase(
            op,
            [spec],
            {"axes": (1,), "keepdims": keep},
            reduced(function),
            dtypes=dtypes,
            order=0,
            note=f"{note}{keep}",
        )
        for op, function in (("all", np.all), ("any", np.any))
        for spec, dtypes, note in (
            (bools("n", 3), ("float32",), "bool"),
            (MIXED, ("float32",), "int"),
            (array("n", 3), ("float32",), "float"),
        )
        for keep in (False, True)
    ),
    OpCase(
        "count_nonzero",
        [MIXED],
        reference=lambda x: np.count_nonzero(x, 1),
        run=lambda x: ops.count_nonzero(x, 1),
        order=0,
    ),
    *(
        OpCase(
            "var",
            [x],
            {"axes": axes, "keepdims": keep, "correction": correction},
            statistic,
            dtypes=FLOATS,
            empty=False,
            note=note,
        )
        for x, axes, keep, correction, note in (
            (X, (2,), False, 1, ""),
            (X, (0, 1, 2), True, 0, "biased"),
            (PLANE, (0, 2, 3), False, 1, "channels"),
        )
    ),
    *(
        OpCase(
            op,
            [array("n", 4)],
            {"axes": (0,), "keepdims": False, "correction": 9},
            lambda x, axes, keepdims, correction: np.full(4, np.inf),
            order=0,
            empty=False,
            single=False,
            note="infinite",
        )
        for op in ("var", "std")
    ),
    OpCase("std", [X], reference=lambda x: x.std(2, ddof=1), run=lambda x: ops.std(x, 2)),
    OpCase(
        "std",
        [array("n", 4, low=-1e30, high=1e30)],
        {"axes": (1,), "keepdims": False, "correction": 1},
        lambda x, axes, keepdims, correction: x.std(1, ddof=1),
        order=0,
        note="huge",
    ),
    OpCase(
        "std",
        [X],
        {"axes": (0, 2), "keepdims": True, "correction": 0},
        lambda x, axes, keepdims, correction: x.std(axes, keepdims=keepdims, ddof=correction),
        dtypes=FLOATS,
        empty=False,
        note="biased",
        onnx="Sqrt",
    ),
    *family("logsumexp", logsumexp, X, "ReduceLogSumExp", dtypes=FLOATS),
    OpCase(
        "logsumexp",
        [array("n", 3, low=900, high=1000)],
        {"axes": (1,), "keepdims": False},
        logsumexp,
        note="large",
    ),
    *family("norm", norm, X, "ReduceL2", dtypes=FLOATS),
    *(
        OpCase(
            "norm",
            [array("n", 3, low=0.3, distinct=True)],
            reference=lambda x, p=p: np.linalg.norm(x, p, axis=1),
            run=lambda x, p=p: vector_norm.norm(x, p, axis=1),
            order=0 if p == 0 else 2,
            note=f"p={p}",
        )
        for p in (0, 1, 2, 3, 0.5, math.inf, -math.inf)
    ),
    OpCase(
        "dist",
        [array("n", 3), array("n", 3)],
        reference=lambda x, y: np.sqrt(((x - y) ** 2).sum()),
        run=vector_norm.dist,
    ),
    *(
        OpCase(
            name,
            [
                lambda rng, dtype, sizes: np.where(rng.random((4, 3)) < 0.4, np.nan, 1.5).astype(
                    dtype
                )
            ],
            reference=lambda x, f=reference: f(x, axis=1),
            run=lambda x, f=function: f(x, 1),
            order=0,
        )
        for name, function, reference in (
            ("nansum", ops.nansum, np.nansum),
            ("nanmean", ops.nanmean, lambda x, axis: np.nansum(x, axis) / (~np.isnan(x)).sum(axis)),
        )
    ),
    *(
        OpCase(
            "sum_to",
            [array(2, 3, "n")],
            {"shape": shape},
            lambda x, shape, axes=axes: x.sum(axis=axes).reshape(shape),
            dtypes=("float32", "float64"),
            note=str(shape),
        )
        for shape, axes in (
            ((3, 1), (0, 2)),
            ((1, 3, 1), (0, 2)),
            ((), (0, 1, 2)),
            ((1,), (0, 1, 2)),
        )
    ),
    OpCase(
        "sum_to",
        [array("n", 3)],
        {"shape": (3,)},
        lambda x, shape: x.sum(0),
        note="row",
    ),
    # ---- scan
    OpCase(
        "cumsum",
        [X],
        {"axis": 1, "reverse": False},
        lambda x, axis, reverse: np.cumsum(x, axis, dtype=x.dtype),
        dtypes=(*FLOATS, "int64"),
        onnx="CumSum",
    ),
    OpCase(
        "cumsum",
        [X],
        {"axis": 0, "reverse": True},
        lambda x, axis, reverse: np.cumsum(x[::-1], axis)[::-1],
        note="reverse",
    ),
    OpCase(
        "cumsum",
        [array("n", 3)],
        reference=lambda x: np.cumsum(x),
        run=lambda x: scan.cumsum(x),
        note="flat",
    ),
    OpCase(
        "cumprod",
        [X],
        {"axis": 1, "exclusive": False},
        lambda x, axis, exclusive: np.cumprod(x, axis, dtype=x.dtype),
        dtypes=(*FLOATS, "int64"),
    ),
    OpCase(
        "cumprod",
        [lambda rng, dtype, sizes: np.array([[1, 0, 3, 0, 2], [4, 2, 0, 1, 3]]).astype(dtype)],
        {"axis": 1, "exclusive": False},
        lambda x, axis, exclusive: np.cumprod(x, axis),
        note="zeros",
    ),
    OpCase(
        "cumprod",
        [X],
        {"axis": 2, "exclusive": True},
        lambda x, axis, exclusive: np.cumprod(
            np.concatenate([np.ones_like(x[..., :1]), x[..., :-1]], 2), axis
        ),
        note="exclusive",
    ),
    *(
        OpCase(
            "recurrence",
            [X, array("n", 3, 4)],
            {"axis": 1, "reverse": reverse},
            lambda a, b, axis, reverse: _recurrence(a, b, reverse),
            note="reverse" if reverse else "",
        )
        for reverse in (False, True)
    ),
    *(
        OpCase(
            "cummax",
            [spec],
            reference=lambda x, f=extreme: _running(x, f),
            run=lambda x, f=function: f(x, 1),
            dtypes=("float32", "float64", "int64"),
            note=f"{name}{note}",
            order=order,
        )
        for name, function, extreme in (
            ("cummax", scan.cummax, np.maximum),
            ("cummin", scan.cummin, np.minimum),
        )
        for spec, note, order in (
            (DISTINCT, "", 2),
            (array("n", 5, low=-2, high=2, dtype="int64"), "ties", 0),
        )
    ),
    OpCase("diff", [X], reference=lambda x: np.diff(x, axis=1), run=lambda x: scan.diff(x, 1, 1)),
    OpCase(
        "diff",
        [array("n", 4), array("n", 1)],
        reference=lambda x, y: np.diff(x, 2, prepend=y),
        run=lambda x, y: scan.diff(x, 2, prepend=y),
        note="twice",
    ),
]
