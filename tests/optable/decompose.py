"""Rows of `dyn/ops/decompose.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.op import OPS
from dyn.ops.linalg import matmul
from dyn.ops.shape import swapaxes
from tests.optable.case import OpCase, array


def squared(x: np.ndarray) -> np.ndarray:
    return x @ np.swapaxes(x, -1, -2) + np.eye(x.shape[-1])


def of_squared(upper: bool) -> Any:
    """The op on positive definite matrices: x @ x.T + 1."""

    def run(x: Any) -> Any:
        unit = np.eye(4).astype(x.dtype.name)
        return OPS["cholesky"](matmul(x, swapaxes(x, -1, -2)) + unit, upper=upper)

    return run


def ref_qr(x: np.ndarray) -> Any:
    return np.linalg.qr(x)


def ref_qr_complete(x: np.ndarray) -> Any:
    return np.linalg.qr(x, "complete")


ROWS = [
    *(
        OpCase(
            "cholesky",
            [array("n", 4, 4)],
            run=of_squared(upper),
            reference=lambda x, upper=upper: np.linalg.cholesky(squared(x), upper=upper),
            tol=1e-5,
            onnx="Scan",
            note="upper" if upper else "lower",
        )
        for upper in (False, True)
    ),
    *(
        OpCase(
            "qr",
            [array("n", *sizes)],
            reference=ref_qr,
            tol=2e-5,
            gradient_tol=1e-4,
            onnx="Scan",
            note=note,
        )
        for note, sizes in {"square": (3, 3), "tall": (4, 2), "wide": (2, 4)}.items()
    ),
    OpCase(
        "qr_complete",
        [array("n", 4, 2)],
        reference=ref_qr_complete,
        tol=2e-5,
        gradient_tol=1e-4,
        onnx="Scan",
    ),
]
