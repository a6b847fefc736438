"""Models on bytes, short integers and booleans, for which onnxruntime lacks operators.

numpy says what comes out, overflow included; `export` compares with the model besides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn.core.op import OPS
from dyn.nn import functional as F
from exporter.lowering import LOWERINGS
from exporter.wider import WIDER
from tests.runtime import RUNNABLE
from tracer import InputSpec

INT8, UINT8, INT16, INT32, BOOL = "int8", "uint8", "int16", "int32", "bool"
SMALL = (INT8, UINT8, INT16)


def windows(x: np.ndarray) -> np.ndarray:
    """Largest numbers of windows of 2 by 2, two apart, of [n, 4, 4]."""
    return x.reshape(-1, 2, 2, 2, 2).max((2, 4))


def shuffled(x: np.ndarray) -> np.ndarray:
    """Four channels [n, 4, 4] in one of twice the height and width."""
    return x.reshape(1, -1, 2, 2, 4, 4).transpose(0, 1, 4, 2, 5, 3).reshape(1, -1, 8, 8)


ROWS: list[tuple[str, tuple[str, ...], Any, Any]] = [
    (
        "where",
        (BOOL, INT16),
        lambda x: dyn.where(x != x[::-1], x, x.flip(1)),
        lambda x: np.where(x != x[::-1], x, np.flip(x, 1)),
    ),
    ("matmul", SMALL, lambda x: x @ x, lambda x: x @ x),
    (
        "einsum",
        SMALL,
        lambda x: dyn.einsum("nij,nkj->ik", x, x),
        lambda x: np.einsum("nij,nkj->ik", x, x),
    ),
    ("max", (BOOL, INT16), lambda x: x.max(2), lambda x: x.max(2)),
    ("min", (BOOL, INT16), lambda x: x.min(0), lambda x: x.min(0)),
    ("argmax", (BOOL, INT16), lambda x: x.argmax(1), lambda x: x.argmax(1)),
    (
        "extreme",
        (BOOL, INT16),
        lambda x: OPS["extreme"](x, axis=1, keepdims=False, largest=True)[0],
        lambda x: x.max(1),
    ),
    (
        "lower_median",
        SMALL,
        lambda x: dyn.median(x, 1, mode="min")[0],
        lambda x: np.sort(x, 1)[:, (x.shape[1] - 1) // 2],
    ),
    ("triu", SMALL, lambda x: dyn.triu(x), np.triu),
    ("negative", (UINT8,), lambda x: -x, np.negative),
    ("quotient", (UINT8,), lambda x: x // (x // 2 + 1), lambda x: x // (x // 2 + 1)),
    ("remainder", (UINT8,), lambda x: x % (x // 2 + 1), lambda x: x % (x // 2 + 1)),
    ("square", SMALL, lambda x: x**2, lambda x: x**2),
    ("extremes", (INT16,), lambda x: dyn.maximum(x, x[:1]), lambda x: np.maximum(x, x[:1])),
    ("clip", (UINT8,), lambda x: x.clip(-2, 100), lambda x: np.minimum(x, 100)),
    ("clip", (INT16,), lambda x: x.clip(-2, 100), lambda x: np.clip(x, -2, 100)),
    ("pad", (INT16,), lambda x: F.pad(x, [1, 2]), lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2)))),
    ("pool", (INT16,), lambda x: F.max_pool2d(x.unsqueeze(0), 2)[0], windows),
    ("shuffle", (BOOL, INT16, INT32), lambda x: F.pixel_shuffle(x.unsqueeze(0), 2), shuffled),
]  # fmt: skip
"""Name, dtypes, model of [4 n, 4, 4], and the same in numpy."""


def numbers(dtype: str, n: int) -> np.ndarray:
    """All bits of integers are used, so products overflow."""
    rng = np.random.default_rng(n)
    if dtype == BOOL:
        return rng.random((n, 4, 4)) < 0.5
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (n, 4, 4), dtype, endpoint=True)


@pytest.mark.parametrize("opset", sorted({RUNNABLE[0], 20, RUNNABLE[-1]}))
@pytest.mark.parametrize(
    ("dtype", "model", "wanted"),
    [pytest.param(d, *row[2:], id=f"{row[0]}-{d}") for row in ROWS for d in row[1]],
)
def test_narrow_types(dtype: str, model: Any, wanted: Any, opset: int, tmp_path: Path) -> None:
    path, spec = tmp_path / "m.onnx", InputSpec(["n", 4, 4], dtype, example=numbers(dtype, 8))
    exporter.export(model, path, spec, opset=opset)
    predictor = exporter.Predictor(path)
    for n in (4, 12):
        x = numbers(dtype, n)
        (found,) = predictor.run(x)
        np.testing.assert_array_equal(found, wanted(x), strict=True)


def test_the_table_names_ops_and_wider_types() -> None:
    assert set(WIDER) <= set(LOWERINGS)
    for pairs in WIDER.values():
        assert all(np.can_cast(narrow, wide) for narrow, wide in pairs.items())
