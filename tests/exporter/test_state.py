"""State that a forward writes: an input with a default, an output `<name>.next`, carried on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from dyn.compat import torch
from tests.exporter.nets import Counter, initializers, load, signature
from tracer import InputSpec, TraceError

X = InputSpec(["n", 2], name="x")
WRITES = ("assign", "plus", "add_", "set_value", "item", "bind")


@pytest.mark.parametrize("write", WRITES)
def test_two_calls_of_the_file_are_two_calls_of_the_model(tmp_path: Path, write: str) -> None:
    net, path = Counter(write), tmp_path / "m.onnx"
    before = net.total.numpy().copy()
    report = exporter.export(net, path, X)
    np.testing.assert_array_equal(net.total.numpy(), before)
    assert report.states == {"total": "total.next"}
    assert "total -> total.next" in str(report)
    model = load(path)
    assert signature(model.graph.input) == [("x", ["n", 2]), ("total", [2])]
    assert signature(model.graph.output) == [("output", ["n", 2]), ("total.next", [2])]
    np.testing.assert_array_equal(initializers(model)["total"], before)
    predictor = exporter.Predictor(path)
    assert json.loads(predictor.metadata["dyn.states"]) == {"total": "total.next"}
    assert [info.name for info in predictor.inputs] == ["x"]
    assert [info.name for info in predictor.outputs] == ["output"]
    for n in (3, 1):
        x = np.full((n, 2), 0.5, np.float32)
        wanted = net(dyn.to_tensor(x)).numpy()
        np.testing.assert_array_equal(predictor.run(x)[0], wanted)
        np.testing.assert_array_equal(predictor.state["total"], net.total.numpy())
    predictor.reset()
    np.testing.assert_array_equal(predictor.state["total"], before)


def test_predictors_do_not_share_state(tmp_path: Path) -> None:
    exporter.export(Counter(), tmp_path / "m.onnx", X)
    first, second = (exporter.Predictor(tmp_path / "m.onnx") for _ in range(2))
    first.run(np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(second.state["total"], [1, 2])


def test_state_that_is_written_and_never_read(tmp_path: Path) -> None:
    class Last(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", dyn.zeros([2]))

        def forward(self, x: Any) -> Any:
            self.last.set_value(x.max(0))
            return x + 1

    exporter.export(Last(), tmp_path / "m.onnx", X)
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    np.testing.assert_array_equal(predictor.state["last"], [0, 0])
    assert len(predictor.run(np.array([[1, 5], [3, 2]], np.float32))) == 1
    np.testing.assert_array_equal(predictor.state["last"], [3, 5])


def test_state_that_changes_its_shape_and_is_not_read_is_an_output(tmp_path: Path) -> None:
    class Cache(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", dyn.zeros([1]))

        def forward(self, x: Any) -> Any:
            self.cache = x * 2
            return x + 1

    report = exporter.export(Cache(), tmp_path / "m.onnx", X)
    assert report.states == {}
    names = [info.name for info in exporter.Predictor(tmp_path / "m.onnx").outputs]
    assert names == ["output", "cache.next"]


def test_state_that_is_swapped(tmp_path: Path) -> None:
    """Each next value is the other's value of before; and one of them is an output as well."""

    class Swap(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("a", dyn.to_tensor([1.0, 2.0]))
            self.register_buffer("b", dyn.to_tensor([3.0, 4.0]))

        def forward(self, x: Any) -> Any:
            a, b = self.a.clone(), self.b.clone()
            self.a.set_value(b)
            self.b.set_value(a)
            return x + self.a, self.b

    exporter.export(Swap(), tmp_path / "m.onnx", X)
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    x = np.zeros((1, 2), np.float32)
    for a, b in (((3, 4), (1, 2)), ((1, 2), (3, 4))):
        first, second = predictor.run(x)
        np.testing.assert_array_equal(first, [a])
        np.testing.assert_array_equal(second, b)


def test_batch_statistics_in_training_mode(tmp_path: Path, rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1D(3), nn.ReLU())
    report = exporter.export(net, tmp_path / "m.onnx", X, training=True)
    assert set(report.states) == {"1._mean", "1._variance"}
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    net.train()
    for n in (4, 7):
        x = rng.normal(size=(n, 2)).astype(np.float32)
        wanted = net(dyn.to_tensor(x)).numpy()
        np.testing.assert_allclose(predictor.run(x)[0], wanted, rtol=1e-4, atol=1e-5)
        for name, value in predictor.state.items():
            np.testing.assert_allclose(value, net.state_dict()[name].numpy(), rtol=1e-5, atol=1e-6)


def test_statistics_of_samples_in_training_mode(tmp_path: Path, rng: np.random.Generator) -> None:
    """The number of steps, and with it the share of n - 1, is known in the file only."""
    net = torch.nn.InstanceNorm1d(3, momentum=0.3, affine=True, track_running_stats=True)
    spec = [InputSpec(["batch", 3, "time"], "float32", name="x")]
    report = exporter.export(net, tmp_path / "m.onnx", spec, training=True)
    assert set(report.states) == {"running_mean", "running_var"}
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    net.train()
    for batch, time in ((4, 7), (2, 5)):
        x = rng.normal(size=(batch, 3, time)).astype(np.float32)
        wanted = net(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(predictor.run(x)[0], wanted, rtol=1e-4, atol=1e-5)
        for name, value in predictor.state.items():
            np.testing.assert_allclose(value, net.state_dict()[name].numpy(), rtol=1e-5, atol=1e-6)
    exporter.export(net.eval(), tmp_path / "eval.onnx", spec)
    made = exporter.Predictor(tmp_path / "eval.onnx").run(x)[0]
    np.testing.assert_allclose(made, net(torch.from_numpy(x)).detach().numpy(), rtol=1e-4)


@pytest.mark.parametrize("bags", [False, True])
def test_rows_that_are_shortened_are_state(tmp_path: Path, bags: bool) -> None:
    net = torch.nn.EmbeddingBag(5, 3, 0.9) if bags else torch.nn.Embedding(5, 3, max_norm=0.9)
    net.eval()
    spec = [InputSpec(["batch", 2], "int64", name="x")]
    report = exporter.export(net, tmp_path / "m.onnx", spec)
    assert set(report.states) == {"weight"}
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    for x in ([[1, 3]], [[4, 4], [0, 1], [1, 0]]):
        fed = np.array(x, np.int64)
        wanted = net(torch.from_numpy(fed)).detach().numpy()
        np.testing.assert_allclose(predictor.run(fed)[0], wanted, rtol=1e-5)
        np.testing.assert_allclose(predictor.state["weight"], net.weight.detach().numpy(), 1e-6)
    lengths = np.linalg.norm(predictor.state["weight"], axis=1)
    assert (lengths[[0, 1, 3, 4]] <= 0.9000001).all() and lengths[2] == pytest.approx(
        float(net.weight[2].norm())
    )


def test_frozen_layers_stay_frozen(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1D(3), nn.BatchNorm1D(3))
    net.train()
    net[1].eval()
    report = exporter.export(net, tmp_path / "m.onnx", X, training=True)
    assert set(report.states) == {"2._mean", "2._variance"}


def test_a_temporary_that_carries_state_is_refused(tmp_path: Path) -> None:
    class Hidden(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seen = dyn.zeros([2])

        def forward(self, x: Any) -> Any:
            self.seen = self.seen + x.sum(0)
            return x * self.seen

    with pytest.raises(TraceError, match="register_buffer"):
        exporter.export(Hidden(), tmp_path / "m.onnx", X)


def test_a_constant_is_listed(tmp_path: Path) -> None:
    table = dyn.to_tensor([1.0, 2.0])
    report = exporter.export(lambda x: x + table, tmp_path / "m.onnx", X)
    assert len(report.constants) == 1 and "test_state.py:" in report.constants[0]
