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


def affine_grad(g, w, x, transpose_w, of):
    w = w.T if transpose_w else w
    rows = g.reshape(-1, g.shape[-1])
    found = {"x": lambda: g @ w.T, "b": lambda: rows.sum(0)}
    if x is not None:
        gw = x.reshape(-1, x.shape[-1]).T @ rows
        found["w"] = lambda: gw.T if transpose_w else gw
    return tuple(found[name]() for name in of)


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
    *(
        OpCase(
            "matmul",
            [array(*x), array(3)],
            attrs={"transpose_x": True},
            reference=product,
            onnx="Transpose",
            note=f"transposed_by_vector_{len(x)}",
        )
        for x in ((3, "n"), ("n", 3, 2))
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
    *(
        OpCase(
            "linear_grad",
            [
                array(*lead, 4),
                array(*((4, 3) if turned else (3, 4))),
                array(*lead, 3) if "w" in wanted else None,
            ],
            attrs={"transpose_w": turned, "of": tuple(wanted)},
            reference=affine_grad,
            dtypes=("float32", "float64", "float16"),
            onnx="MatMul" if "x" in wanted and len(lead) != 1 else "Gemm",
            note=f"{wanted}{'_turned' * turned}_{len(lead)}",
        )
        for lead, turned, wanted in (
            (("n",), False, "xwb"),
            (("n",), True, "xwb"),
            (("n", 2), False, "xwb"),
            (("n", 2), True, "wb"),
            (("n", 2), True, "x"),
            (("n",), False, "x"),
            (("n",), False, "xb"),
            (("n",), True, "w"),
            ((), False, "xwb"),
        )
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
