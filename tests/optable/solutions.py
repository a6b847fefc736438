"""Rows of `dyn/ops/solutions.py`. Matrices are kept away from singular ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.optable.case import OpCase, array


def regular(*lead: int | str, size: int = 4) -> Any:
    """Matrices with a heavy diagonal in another order of rows, so that pivots must be sought."""

    def draw(rng: np.random.Generator, dtype: str, sizes: Any) -> np.ndarray:
        shape = [sizes[n] if isinstance(n, str) else n for n in lead]
        x = rng.uniform(-1, 1, (*shape, size, size))
        return (x + 3 * np.roll(np.eye(size), 1, 0)).astype(dtype)

    return draw


def triangle(x: np.ndarray, upper: bool, transpose: bool, unitriangular: bool) -> np.ndarray:
    part = np.triu(x) if upper else np.tril(x)
    if unitriangular:
        part = part * (1 - np.eye(x.shape[-1])) + np.eye(x.shape[-1])
    return np.swapaxes(part, -1, -2) if transpose else part


def ref_triangular(x: np.ndarray, y: np.ndarray, **attrs: bool) -> np.ndarray:
    return np.linalg.solve(triangle(x, **attrs), y)


def heavy(*lead: int | str) -> Any:
    """Matrices with a heavy diagonal."""

    def draw(rng: np.random.Generator, dtype: str, sizes: Any) -> np.ndarray:
        return np.roll(regular(*lead)(rng, dtype, sizes), -1, -2)

    return draw


ROWS = [
    OpCase("det", [array("n", 3, 3)], reference=np.linalg.det, tol=1e-5, onnx="Det"),
    OpCase("slogdet", [regular(3)], reference=np.linalg.slogdet, onnx="Scan", wrt=(0,)),
    OpCase(
        "slogdet",
        [array("n", 3, 3)],
        reference=np.linalg.slogdet,
        tol=1e-5,
        gradient_tol=1e-4,
        sizes={"n": (2, 3)},
        single=False,
        note="batch",
    ),
    OpCase("inverse", [regular(3)], reference=np.linalg.inv, tol=1e-5, onnx="Scan"),
    OpCase("inverse", [regular(2, 2, size=1)], reference=np.linalg.inv, note="single"),
    OpCase(
        "inverse",
        [regular()],
        reference=np.linalg.inv,
        dtypes=("float32", "float64", "float16"),
        tol=1e-2,
        note="matrix",
    ),
    OpCase(
        "solve",
        [regular(3), array(3, 4, "k")],
        reference=np.linalg.solve,
        tol=1e-5,
        onnx="Scan",
    ),
    OpCase(
        "solve",
        [regular(2, 1), array("n", 4, 2)],
        reference=np.linalg.solve,
        tol=1e-5,
        note="broadcast",
    ),
    *(
        OpCase(
            "triangular_solve",
            [heavy(2), array(2, 4, "k")],
            {"upper": upper, "transpose": transpose, "unitriangular": unit},
            ref_triangular,
            tol=1e-5,
            onnx="Scan",
            note=f"{int(upper)}{int(transpose)}{int(unit)}",
        )
        for upper in (False, True)
        for transpose in (False, True)
        for unit in (False, True)
    ),
    OpCase(
        "triangular_solve",
        [heavy(), array("n", 4, 2)],
        {"upper": False, "transpose": False, "unitriangular": False},
        ref_triangular,
        tol=1e-5,
        note="broadcast",
    ),
]
