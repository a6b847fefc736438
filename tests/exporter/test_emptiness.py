"""What has no elements: written as such, or computed in a branch where it depends on values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from dyn.nn import functional as F
from tests.exporter.nets import load, op_types
from tests.runtime import among
from tracer import InputSpec

A = np.random.default_rng(0).normal(0, 0.1, (4, 3, 3)) + np.eye(3)
X = (A @ A.transpose(0, 2, 1)).astype(np.float32)
LAYERS = {"gru": nn.GRU(3, 2), "lstm": nn.LSTM(3, 2)}

# Functions of matrices; `rows` is [n, 3] of them, and n depends on values and may be 0.
FUNCTIONS: dict[str, Any] = {
    "mean": lambda x, rows: rows.mean(),
    "mean of an axis": lambda x, rows: rows.mean(0),
    "variance": lambda x, rows: dyn.var(rows, 0, unbiased=False),
    "squared error": lambda x, rows: F.mse_loss(rows, rows * 2),
    "margins": lambda x, rows: F.margin_ranking_loss(rows, rows * 2, rows),
    "cross entropy": lambda x, rows: F.cross_entropy(rows, (rows[:, 0] * 0).astype("int64")),
    "matrix and vector": lambda x, rows: rows @ x[0, 0],
    "vector and matrices": lambda x, rows: x[0, 0] @ _some(x),
    "matrix and matrices": lambda x, rows: x[0] @ _some(x),
    "matrices and vector": lambda x, rows: _some(x) @ x[0, 0],
    "einsum": lambda x, rows: dyn.einsum("nhd,nkd->nhk", _some(x), _some(x)),
    "roll": lambda x, rows: dyn.roll(rows, 1, 0),
    "cumprod": lambda x, rows: dyn.cumprod(rows, 1),
    "cummax": lambda x, rows: dyn.cummax(rows, 0),
    "inverse": lambda x, rows: dyn.linalg.inv(_some(x)),
    "solve": lambda x, rows: dyn.linalg.solve(_some(x), _some(x)),
    "cholesky": lambda x, rows: dyn.linalg.cholesky(_some(x)),
    "group norm": lambda x, rows: F.group_norm(rows, 3),
    "attention": lambda x, rows: F.scaled_dot_product_attention(*[_some(x).unsqueeze(2)] * 3),
    "pixel_unshuffle": lambda x, rows: F.pixel_unshuffle(_some(x).unsqueeze(1), 3),
    "adaptive pooling": lambda x, rows: F.adaptive_avg_pool1d(_some(x), 2),
    "gru": lambda x, rows: LAYERS["gru"](_some(x)),
    "lstm": lambda x, rows: LAYERS["lstm"](_some(x))[0],
}


def _some(x: Any) -> Any:
    return x[x[:, 0, 0] > 0]


@pytest.mark.parametrize("opset", among(17, 20, 26))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_sizes_that_depend_on_values(name: str, opset: int, tmp_path: Path) -> None:
    def model(x: Any) -> Any:
        return FUNCTIONS[name](x, _some(x)[:, 0])

    spec = InputSpec(["n", 3, 3], name="x", example=X)
    exporter.export(model, tmp_path / "m.onnx", [spec], opset=opset, layers=LAYERS)
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    for x in (X, -X, X * np.array([1, -1, 1, -1], np.float32)[:, None, None]):
        wanted = model(dyn.to_tensor(x))
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for a, b in zip(wanted, predictor.run(x), strict=True):
            assert a.numpy().shape == b.shape
            np.testing.assert_allclose(b, a.numpy(), 1e-4, 1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: dyn.repeat_interleave(x, 0, 0),
        lambda x: dyn.repeat_interleave(x, 0),
        lambda x: dyn.repeat_interleave(x, dyn.to_tensor([0, 0]), 1),
        lambda x: dyn.tile(x, [2, 0]),
        lambda x: dyn.expand(x[:, :1], [-1, 0]),
        lambda x: dyn.cumprod(x[:, 2:], 0),
    ],
)
def test_known_to_be_empty(function: Any, tmp_path: Path) -> None:
    x = np.ones((3, 2), np.float32)
    wanted = function(dyn.to_tensor(x)).numpy()
    assert wanted.size == 0
    for size in (3, "n"):
        exporter.export(function, tmp_path / "m.onnx", [InputSpec([size, 2], name="x")])
        (found,) = exporter.Predictor(tmp_path / "m.onnx").run(x)
        assert found.shape == wanted.shape and found.dtype == wanted.dtype


def test_sizes_that_are_declared_need_no_branch(tmp_path: Path) -> None:
    def model(x: Any) -> Any:
        return dyn.cumprod(x, 1), x.mean(), x @ x[0], F.mse_loss(x, x * 2)

    exporter.export(model, tmp_path / "m.onnx", [InputSpec(["n", 3], name="x")])
    assert not {"If", "Where"} & set(op_types(load(tmp_path / "m.onnx")))


def test_sizes_that_are_computed_may_be_none(tmp_path: Path) -> None:
    """A 0 among several sizes is a size, not a wish to copy that of the input."""

    def model(x: Any) -> Any:
        later = x[:, 1:]
        n, t = later.shape[:2]
        rows = (later * 2).reshape([n * t, 3])
        return rows.reshape([n, t, 3]) + later, (rows + 1).reshape([t, n, 3])

    exporter.export(model, tmp_path / "m.onnx", InputSpec(["n", "t", 3], name="x"))
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    for n, t in ((1, 1), (2, 1), (2, 4)):
        x = np.arange(n * t * 3, dtype=np.float32).reshape(n, t, 3)
        later = x[:, 1:]
        first, second = predictor.run(x)
        np.testing.assert_array_equal(first, later * 3)
        np.testing.assert_array_equal(second, (later * 2 + 1).reshape(t - 1, n, 3))
