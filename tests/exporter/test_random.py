"""Random ops in the file: drawn anew at each run, with the right distribution.

At old and new opsets: onnxruntime lacks the newer versions of the random operators, so that there
they are written otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from exporter.registry import LOWERINGS
from tests.runtime import among
from tracer import InputSpec

N = 20_000
OPSETS = pytest.mark.parametrize("opset", among(17, 21, 22, 26))


def drawn(function: Any, folder: Path, opset: int, n: int = N, dtype: str = "float32") -> Any:
    """Two runs of a function of one input of n zeros, with dynamic size."""
    path = folder / "random.onnx"
    exporter.export(function, path, InputSpec(["n"], dtype, name="x"), opset=opset)
    predictor = exporter.Predictor(path)
    x = np.zeros(n, dtype)
    first, second = predictor.run(x)[0], predictor.run(x)[0]
    assert not np.array_equal(first, second)
    return first


@OPSETS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(tmp_path: Path, opset: int, dtype: str) -> None:
    a = drawn(lambda x: x + dyn.uniform(x.shape, dtype, -1.0, 3.0), tmp_path, opset, dtype=dtype)
    assert a.min() >= -1 and a.max() <= 3 and len(np.unique(a)) > 0.99 * N
    quarters = np.histogram(a, 4, (-1, 3))[0]
    assert np.abs(quarters - N / 4).max() < 6 * np.sqrt(N * 3 / 16)


@OPSETS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(tmp_path: Path, opset: int, dtype: str) -> None:
    a = drawn(lambda x: x + dyn.gaussian(x.shape, 2.0, 3.0, dtype), tmp_path, opset, dtype=dtype)
    z = (a - 2) / 3
    assert abs(z.mean()) < 6 / np.sqrt(N) and abs(z.std() - 1) < 6 / np.sqrt(2 * N)
    for bound, share in ((1, 0.6827), (2, 0.9545)):
        assert abs((np.abs(z) < bound).mean() - share) < 6 * np.sqrt(share * (1 - share) / N)


@OPSETS
def test_integers(tmp_path: Path, opset: int) -> None:
    a = drawn(lambda x: x + dyn.randint_like(x, -2, 3), tmp_path, opset, dtype="int64")
    counts = np.unique(a, return_counts=True)
    assert counts[0].tolist() == [-2, -1, 0, 1, 2]
    assert np.abs(counts[1] - N / 5).max() < 6 * np.sqrt(N * 0.16)


@OPSETS
def test_permutation(tmp_path: Path, opset: int) -> None:
    def forward(x: Any) -> Any:
        return x + dyn.randperm(x.shape[0])

    a = drawn(forward, tmp_path, opset, 1000, "int64")
    assert sorted(a.tolist()) == list(range(1000)) and a.tolist() != list(range(1000))


@OPSETS
@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial(tmp_path: Path, opset: int, replacement: bool) -> None:
    weights = np.array([1.0, 0.0, 3.0, 4.0], np.float32)

    def forward(x: Any) -> Any:
        rows = dyn.tile(dyn.to_tensor(weights), [x.shape[0], 1])
        return dyn.multinomial(rows, 2, replacement) + x.reshape([-1, 1])

    a = drawn(forward, tmp_path, opset, dtype="int64")
    shares = np.bincount(a[:, 0], minlength=4) / N
    assert np.abs(shares - weights / 8).max() < 6 * np.sqrt(0.25 / N)
    assert replacement == (a[:, 0] == a[:, 1]).any()


def test_a_branch_on_a_random_number(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        if dyn.rand([1]) < 0.25:
            return x + 1
        return x - 1

    path = tmp_path / "m.onnx"
    exporter.export(forward, path, InputSpec([1], name="x"))
    predictor = exporter.Predictor(path)
    ups = sum(predictor.run(np.zeros(1, np.float32))[0][0] > 0 for _ in range(2000))
    assert abs(ups - 500) < 6 * np.sqrt(2000 * 3 / 16)


@OPSETS
def test_dropout_in_training_mode(tmp_path: Path, opset: int) -> None:
    net = nn.Sequential(nn.ReLU(), nn.Dropout(0.25), nn.ReLU())
    path = tmp_path / "m.onnx"
    exporter.export(net, path, InputSpec(["n"], name="x"), opset=opset, training=True)
    predictor = exporter.Predictor(path)
    first, second = (predictor.run(np.full(N, 3.0, np.float32))[0] for _ in range(2))
    assert not np.array_equal(first, second)
    values, counts = np.unique(first, return_counts=True)
    np.testing.assert_allclose(values, [0, 4])
    assert abs(counts[0] - N / 4) < 6 * np.sqrt(N * 3 / 16)


@OPSETS
@pytest.mark.parametrize("functions", [False, True])
def test_a_seed_is_for_a_session(tmp_path: Path, opset: int, functions: bool) -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))

    def noisy(x: Any) -> Any:
        return net(x), dyn.rand([100]) - dyn.rand([100]), dyn.randn([100]), dyn.randperm(100)

    def runs(seed: int | None) -> list[list[bytes]]:
        path = tmp_path / "m.onnx"
        options: Any = {"opset": opset, "functions": functions, "training": True, "seed": seed}
        exporter.export(noisy, path, InputSpec([100], name="x"), layers={"net": net}, **options)
        predictor = exporter.Predictor(path)
        x = np.ones(100, np.float32)
        return [[a.tobytes() for a in predictor.run(x)] for _ in range(2)]

    first, again, other, unseeded = runs(7), runs(7), runs(8), runs(None)
    assert first == again
    for a, b, c, d in zip(*first, other[0], unseeded[0], strict=True):
        assert a not in (b, c, d)
    assert np.frombuffer(first[0][1], np.float32).any(), "two draws of one run differ"


def test_numbers_drawn_once_and_for_all_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frozen(b: Any, node: Any) -> Any:
        return b.const(np.linspace(0, 1, 4).astype(np.float32))

    monkeypatch.setitem(LOWERINGS, "uniform", frozen)
    with pytest.raises(exporter.VerificationError, match="the same in every run"):
        exporter.export(lambda x: x + dyn.rand([4]), tmp_path / "m.onnx", InputSpec([4]))
