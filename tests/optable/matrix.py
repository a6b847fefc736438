"""Rows of the diagonals of `dyn/ops/matrix.py`; unit matrices and triangles are with creation."""

from __future__ import annotations

import numpy as np

from dyn.ops import matrix
from tests.optable.case import OpCase, array


def on_diagonal(g: np.ndarray, rows: int, columns: int, offset: int) -> np.ndarray:
    out = np.zeros((*g.shape[:-1], rows, columns))
    at = np.arange(g.shape[-1])
    out[..., at + max(-offset, 0), at + max(offset, 0)] = g
    return out


SHAPES = ((3, 4, 0), (3, 4, 1), (4, 3, -2), (3, 3, 2), (2, 5, 2), (3, 2, 4), (3, 2, -3), (3, 1, 0))

ROWS = [
    *(
        OpCase(
            "diagonal",
            [array("n", rows, columns)],
            {"offset": offset},
            lambda x, offset: np.diagonal(x, offset, -2, -1),
            dtypes=("float32", "float64", "int64"),
            onnx="Slice" if -rows < offset < columns else None,
            note=f"{rows}_{columns}_{offset}",
        )
        for rows, columns, offset in SHAPES
    ),
    *(
        OpCase(
            "diagonal",
            [array(3, 4, "n")],
            run=lambda x, k=k: matrix.diagonal(x, k),
            reference=lambda x, k=k: np.diagonal(x, k),
            note=f"first_axes_{k}",
        )
        for k in (0, -2)
    ),
    *(
        OpCase(
            "diagonal_grad",
            [array("n", len(np.diagonal(np.zeros((rows, columns)), offset)))],
            {"rows": rows, "columns": columns, "offset": offset},
            on_diagonal,
            onnx="Pad",
            note=f"{rows}_{columns}_{offset}",
        )
        for rows, columns, offset in SHAPES
    ),
    *(
        OpCase(
            "trace",
            [array("n", *sizes)],
            {"offset": offset},
            lambda x, offset: np.trace(x, offset, -2, -1),
            dtypes=("float32", "float64", "int64", "int32"),
            note=f"{offset}",
        )
        for sizes, offset in (((3, 4), 0), ((4, 3), 1), ((3, 3), -2))
    ),
    OpCase(
        "trace",
        [array(4, 5)],
        run=lambda x: matrix.trace(x, 1),
        reference=lambda x: np.trace(x, 1),
        dtypes=("float32", "float64", "float16", "int64"),
        note="matrix",
    ),
    OpCase(
        "trace",
        [array(3, 4, "n")],
        reference=lambda x: np.trace(x, 1),
        run=lambda x: matrix.trace(x, 1),
        note="axes",
    ),
]
