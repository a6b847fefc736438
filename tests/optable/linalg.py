"""Rows of `dyn/ops/linalg.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import linalg as ops
from tests.optable.case import OpCase, array

KINDS = ("float32", "float64", "float16", "int64")


def product(x, y, transpose_x=False, transpose_y=False):
    x = np.swapaxes(x, -1, -2) if transpose_x and x.ndim > 1 else x
    y = np.swapaxes(y, -1, -2) if transpose_y and y.ndim > 1 else y
    return np.matmul(x, y)


def affine(x, w, b=None, transpose_w=False):
    out = x @ (w.T if transpose_w else w)
    return out if b is None else out + b


PAIRS = {
    "": (("n", 3), (3, 4)),
    "batch": (("n", 2, 3), ("n", 3, 4)),
    "broadcast": ((2, 1, "n", 3), (5, 3, 4)),
    "shared": (("n", 2, 3), (3, 4)),
    "row": ((3,), ("n", 3, 4)),
    "column": (("n", 2, 3), (3,)),
    "vectors": (("n",), ("n",)),
    "row_matrix": ((3,), (3, 4)),
}

ROWS = [
    *(
        OpCase(
            "matmul",
            [array(*x), array(*y)],
            reference=product,
            dtypes=KINDS if not note else ("float32", "float64"),
            onnx="MatMul",
            note=note,
        )
        for note, (x, y) in PAIRS.items()
    ),
    *(
        OpCase(
            "matmul",
            [array(*((3, "n") if tx else ("n", 3))), array(*((4, 3) if ty else (3, 4)))],
            attrs={"transpose_x": tx, "transpose_y": ty},
            reference=product,
            onnx="Gemm",
            note=f"transposed_{int(tx)}{int(ty)}",
        )
        for tx, ty in ((True, False), (False, True), (True, True))
    ),
    OpCase(
        "matmul",
        [array("n", 3, 2), array("n", 4, 3)],
        attrs={"transpose_x": True, "transpose_y": True},
        reference=product,
        note="transposed_batch",
    ),
    OpCase(
        "linear",
        [array("n", 3), array(3, 4), array(4)],
        reference=affine,
        dtypes=("float32", "float64", "float16"),
        onnx="Gemm",
    ),
    OpCase("linear", [array("n", 2, 3), array(3, 4), array(4)], reference=affine, note="wide"),
    OpCase("linear", [array("n", 3), array(3, 4)], reference=affine, note="plain"),
    OpCase(
        "linear",
        [array("n", 3), array(4, 3), array(4)],
        attrs={"transpose_w": True},
        reference=affine,
        note="transposed",
    ),
    OpCase(
        "linear",
        [array("n", 2, 3), array(4, 3)],
        attrs={"transpose_w": True},
        reference=affine,
        note="transposed_wide",
    ),
    OpCase(
        "matmul",
        [array("n", 3), array("n", 3)],
        run=ops.inner,
        reference=np.inner,
        note="inner",
    ),
    OpCase(
        "outer",
        [array("n"), array(3)],
        reference=np.outer,
        dtypes=("float32", "float64", "float16", "int64", "bool"),
        onnx="Mul",
    ),
    OpCase(
        "outer", [array(2, "n"), array(3, 2)], run=ops.outer, reference=np.outer, note="flattened"
    ),
    OpCase(
        "matmul",
        [array("n", 4), array("n", 3), array(3, 4)],
        run=lambda c, x, y: ops.addmm(c, x, y, 0.5, 2.0),
        reference=lambda c, x, y: 0.5 * c + 2 * (x @ y),
        note="addmm",
    ),
]
