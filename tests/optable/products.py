"""Rows of `dyn/ops/products.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops import products as ops
from tests.optable.case import OpCase, array

EQUATIONS = {
    "nij,jk->nik": (("n", 2, 3), (3, 4)),
    "nhd,nkd->nhk": (("n", 2, 3), ("n", 4, 3)),
    "ni,i,ij->nj": (("n", 3), (3,), (3, 2)),
    "nij->nj": (("n", 2, 3),),
    "ni,nj->n": (("n", 2), ("n", 3)),
}

ROWS = [
    *(
        OpCase(
            "einsum",
            [array(*shape) for shape in shapes],
            attrs={"equation": equation},
            reference=lambda *xs, equation: np.einsum(equation, *xs),
            onnx="Einsum",
            note=equation,
        )
        for equation, shapes in EQUATIONS.items()
    ),
    OpCase(
        "einsum",
        [array("n", 2, 3), array(3, 4)],
        run=lambda x, y: ops.einsum("...ij,jk", x, y),
        reference=lambda x, y: np.einsum("...ij,jk", x, y),
        note="dots",
    ),
    OpCase(
        "einsum",
        [array("n", 3, 2, 3), array(3, 3)],
        run=lambda x, y: ops.einsum("...iji,ii->j...i", x, y),
        reference=lambda x, y: np.einsum("...iji,ii->j...i", x, y),
        note="diagonals",
    ),
    OpCase(
        "einsum",
        [array(1, 3, 2), array("n", 3), array("n", 1)],
        run=lambda x, y, z: ops.einsum("ijk,ij,ij->", x, y, z),
        reference=lambda x, y, z: np.einsum("ijk,ij,ij->", x, y, z),
        note="ones",
    ),
    OpCase(
        "matmul",
        [array("n", 2, 3), array(3, 2, 4)],
        run=lambda x, y: ops.tensordot(x, y, [[1, 2], [1, 0]]),
        reference=lambda x, y: np.tensordot(x, y, [[1, 2], [1, 0]]),
        note="tensordot",
    ),
    OpCase(
        "kron",
        [array("n", 2), array(2, 3)],
        reference=np.kron,
        dtypes=("float32", "float64", "float16", "int64", "bool"),
        onnx="Mul",
        empty=False,
    ),
    OpCase(
        "kron",
        [array("n", 2), array(3)],
        run=ops.kron,
        reference=np.kron,
        note="ranks",
        empty=False,
    ),
    OpCase(
        "kron",
        [array("n", 2)],
        run=lambda x: ops.kron(x, x),
        reference=lambda x: np.kron(x, x),
        note="itself",
        empty=False,
    ),
    *(
        OpCase(
            "cross",
            [array(*x), array(*y)],
            {"axis": axis},
            reference=lambda x, y, axis: np.cross(*np.broadcast_arrays(x, y), axis=axis),
            dtypes=("float32", "float64", "int64") if axis else ("float32", "float64"),
            note=f"{len(x)}{len(y)}{axis}",
        )
        for x, y, axis in ((("n", 3), ("n", 3), 1), ((3, "n"), (3, 1), 0), ((3,), (2, "n", 3), 2))
    ),
    OpCase(
        "cross",
        [array("n", 3), array("n", 3)],
        run=ops.cross,
        reference=np.cross,
        note="first",
        sizes={"n": (4, 5)},
        empty=False,
    ),
    OpCase(
        "matmul",
        [array(3, 3)],
        run=lambda x: ops.matrix_power(x, 5),
        reference=lambda x: np.linalg.matrix_power(x, 5),
        note="matrix_power",
        tol=1e-4,
        gradient_tol=1e-6,
    ),
    OpCase(
        "einsum",
        [array("n", 2), array("n", 3), array(4, 2, 3), array(4)],
        run=ops.bilinear,
        reference=lambda x, y, w, b: np.einsum("ni,oij,nj->no", x, w, y) + b,
        note="bilinear",
    ),
]
