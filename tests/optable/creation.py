"""Rows of `dyn/ops/creation.py`, `dyn/ops/matrix.py` and `dyn/ops/random.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import creation as ops
from dyn.ops import matrix, random
from tests.optable.case import OpCase, array, ints

X = array("n", 3)
REALS = ("float32", "float64", "int64")


def _like(x, value, dtype):
    return np.full(x.shape, value, dtype)


ROWS = [
    *(
        OpCase(
            "full",
            [],
            {"shape": (2, 3), "value": value, "dtype": dtype},
            lambda shape, value, dtype: np.full(shape, value, dtype),
            dtypes=("float32",),
            order=0,
            note=dtype,
        )
        for value, dtype in ((1.5, "float32"), (2, "int64"), (True, "bool"))
    ),
    OpCase(
        "full",
        [X, array()],
        reference=lambda x, v: np.full(x.shape, v),
        run=lambda x, v: ops.full(x.shape, v),
        note="tensor",
    ),
    OpCase("full_like", [X], {"value": 2, "dtype": "int64"}, _like, order=0, dtypes=REALS),
    OpCase("zeros_like", [X], reference=np.zeros_like, order=0, dtypes=REALS),
    OpCase("ones_like", [X], reference=np.ones_like, order=0, dtypes=REALS),
    OpCase(
        "zeros",
        [X],
        reference=lambda x: np.zeros(x.shape),
        run=lambda x: ops.zeros(x.shape),
        dtypes=("float32",),
        order=0,
    ),
    *(
        OpCase(
            "arange",
            [],
            {"start": start, "stop": stop, "step": step, "dtype": dtype},
            lambda start, stop, step, dtype: np.arange(start, stop, step).astype(dtype),
            dtypes=("float32",),
            order=0,
            note=f"{start},{stop},{step}",
        )
        for start, stop, step, dtype in (
            (0, 5, 1, "int64"),
            (5, 0, -2, "int64"),
            (3, 3, 1, "int64"),
            (0.5, 2.0, 0.25, "float32"),
        )
    ),
    OpCase(
        "arange",
        [X],
        reference=lambda x: np.arange(1, 2 * len(x)),
        run=lambda x: ops.arange(1, 2 * x.shape[0]),
        order=0,
        onnx="Range",
        note="size",
    ),
    *(
        OpCase(
            "linspace",
            [],
            reference=lambda n=n: np.linspace(-1, 2, n).astype(np.float32),
            run=lambda n=n: ops.linspace(-1, 2, n),
            dtypes=("float32",),
            order=0,
            note=str(n),
        )
        for n in (1, 2, 7)
    ),
    OpCase(
        "linspace",
        [X],
        reference=lambda x: np.linspace(-1, 2, len(x)),
        run=lambda x: ops.linspace(-1, 2, x.shape[0]),
        order=0,
        onnx="Range",
        empty=False,
        note="size",
    ),
    OpCase(
        "one_hot",
        [ints("n", 2, low=0, high=4)],
        {"classes": 4, "dtype": "float32"},
        lambda x, classes, dtype: np.eye(classes, dtype=dtype)[x],
        order=0,
        onnx="OneHot",
    ),
    OpCase(
        "one_hot",
        [ints(low=0, high=4)],
        {"classes": 4, "dtype": "float32"},
        lambda x, classes, dtype: np.eye(classes, dtype=dtype)[x],
        order=0,
        onnx="Equal",
        note="number",
    ),
    OpCase("clone", [X], reference=np.array, dtypes=REALS, onnx="Identity"),
    OpCase("assign", [X], reference=np.array, run=ops.assign),
    OpCase("shape", [X], reference=lambda x: np.array(x.shape), order=0, onnx="Shape"),
    OpCase("numel", [X], reference=lambda x: np.array(x.size), order=0, onnx="Size"),
    # ---- matrices
    *(
        OpCase(
            "eye",
            [],
            {"rows": rows, "columns": columns, "dtype": "float32"},
            lambda rows, columns, dtype: np.eye(rows, columns, dtype=dtype),
            dtypes=("float32",),
            order=0,
            note=f"{rows}x{columns}",
        )
        for rows, columns in ((3, 3), (2, 4))
    ),
    *(
        OpCase(
            op,
            [array(2, "n", 4)],
            {"diagonal": diagonal},
            lambda x, diagonal, f=function: f(x, diagonal),
            dtypes=(*REALS, "bool"),
            onnx="Trilu",
            note=str(diagonal),
        )
        for op, function in (("tril", np.tril), ("triu", np.triu))
        for diagonal in (0, 1, -1)
    ),
    *(
        OpCase(
            "diag_embed",
            [array(2, "n", low=0.5, high=2)],
            {"offset": offset, "beside": 3.0 * (offset == 1)},
            lambda x, offset, beside: np.stack(
                [np.where(np.diag(row, offset) > 0, np.diag(row, offset), beside) for row in x]
            ),
            empty=False,
            onnx="Where",
            note=str(offset),
        )
        for offset in (0, 1, -2)
    ),
    *(
        OpCase(
            "diag",
            [array("n")],
            reference=lambda x, k=k: np.diag(x, k),
            run=lambda x, k=k: matrix.diag(x, k),
            dtypes=REALS,
            note=str(k),
        )
        for k in (0, 1, -2)
    ),
    OpCase(
        "diag",
        [array(3)],
        reference=lambda x: np.where(np.eye(3, dtype=bool), np.diag(x), 7),
        run=lambda x: matrix.diag(x, padding_value=7),
        note="padding",
    ),
    OpCase(
        "diag",
        [array(3, 4)],
        reference=lambda x: np.diag(x, 1),
        run=lambda x: matrix.diag(x, 1),
        note="matrix",
    ),
    OpCase(
        "diag_embed",
        [array("n", 3)],
        reference=lambda x: (
            np.stack([np.diag(row, -1) for row in x]) if len(x) else np.zeros((0, 4, 4))
        ),
        run=lambda x: matrix.diag_embed(x, -1),
    ),
    # ---- random: values are checked by their distribution in test_random.py
    *(
        OpCase(op, [], attrs, dtypes=("float32",), shapes=(shape,), order=0)
        for op, shape, attrs in (
            ("uniform", (2, 3), {"shape": (2, 3), "low": -1.0, "high": 2.0, "dtype": "float32"}),
            ("normal", (2, 3), {"shape": (2, 3), "mean": 1.0, "std": 2.0, "dtype": "float32"}),
            ("randint", (2, 3), {"shape": (2, 3), "low": 1, "high": 9, "dtype": "int64"}),
            ("randperm", (5,), {"n": 5, "dtype": "int64"}),
        )
    ),
    OpCase(
        "uniform",
        [X],
        run=random.rand_like,
        shapes=(X.shape,),
        order=0,
        note="like",
    ),
    OpCase("bernoulli", [array("n", 3, low=0, high=1)], shapes=(("n", 3),), order=0),
    *(
        OpCase(
            "multinomial",
            [array("n", 4, low=0.1, high=1)],
            {"num_samples": 3, "replacement": replacement},
            shapes=(("n", 3),),
            order=0,
            note="with" if replacement else "without",
        )
        for replacement in (True, False)
    ),
]
