"""`exporter.diff`: the node that is at fault, by layer and line, whatever the fault is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import dyn
import exporter
from dyn import nn
from exporter.lowering import LOWERINGS
from tests.exporter.nets import Counter, LeNet, warmed
from tracer import InputSpec, optimize, trace

X = InputSpec(["n", 4, 8, 8], name="x")


class Mixed(nn.Layer):
    """Many kinds of op, each on a line of its own; the layers are used several times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(4, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2D(6)
        self.conv2 = nn.Conv2D(6, 6, 3, padding=1, groups=2)
        self.pool = nn.MaxPool2D(2)
        self.norm = nn.LayerNorm(16)
        self.linear1 = nn.Linear(16, 16)
        self.linear2 = nn.Linear(16, 16)
        self.act = nn.GELU()

    def forward(self, x: Any) -> Any:
        x = self.bn1(self.conv1(x))
        x = dyn.tanh(x)
        y = self.conv2(x)
        y = dyn.exp(y * 0.1)
        x = x + y
        x = self.pool(x)
        x = x.reshape([x.shape[0], 6, 16])
        x = self.norm(x)
        y = self.linear1(x)
        y = self.act(y)
        x = x - y
        y = self.linear2(x)
        y = dyn.sin(y)
        x = x * y
        z = x.mean(2, keepdim=True)
        x = x / (abs(z) + 1.0)
        x = dyn.concat([x, y], 1)
        x = x.transpose([0, 2, 1])
        x = dyn.matmul(x, x.transpose([0, 2, 1]))
        return x.max(1)


@pytest.fixture(scope="module")
def net() -> Any:
    return warmed(Mixed(), 4, 4, 8, 8)


def broken_once(op: str, turn: int) -> Callable[..., Any]:
    """A lowering that goes wrong, a little, at its n-th use."""
    right, uses = LOWERINGS[op], iter(range(100))

    def lowering(b: Any, node: Any) -> Any:
        made = right(b, node)
        if next(uses) != turn:
            return made
        first = made[0] if isinstance(made, tuple) else made
        wrong = b.op("Mul", first, b.const(1.001, node.out.dtype))
        return (wrong, *made[1:]) if isinstance(made, tuple) else wrong

    return lowering


@pytest.mark.parametrize("seed", range(20))
def test_a_seeded_fault_is_found(
    net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    nodes = optimize(trace(net, X))[0].nodes
    # What a permutation or a reshape gives is the same numbers; a factor is a fault all the same.
    culprit = nodes[rng.permutation(len(nodes))[seed % len(nodes)]]
    turn = [node for node in nodes if node.op == culprit.op].index(culprit)
    monkeypatch.setitem(LOWERINGS, culprit.op, broken_once(culprit.op, turn))
    path = tmp_path / "m.onnx"
    exporter.export(net, path, X, verify=False)
    x = rng.normal(size=(3, 4, 8, 8)).astype(np.float32)
    found = exporter.diff(net, path, x)
    assert found is not None
    assert (found.op, found.layer, found.where) == (culprit.op, culprit.layer, culprit.where)
    assert 1e-4 < found.relative < 1e-2
    assert "test_diff.py:" in str(found)


def test_no_fault(net: Any, tmp_path: Path) -> None:
    exporter.export(net, tmp_path / "m.onnx", X)
    assert exporter.diff(net, tmp_path / "m.onnx") is None
    x = np.random.default_rng(3).normal(size=(7, 4, 8, 8)).astype(np.float32)
    assert exporter.diff(net, tmp_path / "m.onnx", x) is None
    assert exporter.diff(net, tmp_path / "m.onnx", dyn.to_tensor(x)) is None


@pytest.mark.parametrize("external", [False, True])
def test_a_weight_that_was_changed(net: Any, tmp_path: Path, external: bool) -> None:
    path = tmp_path / "m.onnx"
    exporter.export(net, path, X, external_data=external)
    before = net.linear2.weight.numpy().copy()
    net.linear2.weight.set_value(before * 1.01)
    found = exporter.diff(net, path)
    net.linear2.weight.set_value(before)
    assert found is not None and found.layer == "linear2" and found.layer_class == "Linear"
    assert "linear2.weight has other numbers" in str(found)


def test_an_attribute_that_was_changed(net: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    exporter.export(net, path, X)
    model = onnx.load(path)
    (norm,) = (n for n in model.graph.node if n.op_type == "LayerNormalization")
    next(a for a in norm.attribute if a.name == "epsilon").f = 0.01
    onnx.save(model, path)
    found = exporter.diff(net, path)
    assert found is not None and found.layer == "norm" and norm.name in found.nodes


def test_a_fault_in_one_side_of_a_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(x: Any) -> Any:
        y = x * 2
        z = dyn.cond(y.sum() > 0, lambda: dyn.exp(y), lambda: y)
        return z + 1

    monkeypatch.setitem(LOWERINGS, "exp", lambda b, node: b.op("Tanh", node.x))
    path = tmp_path / "m.onnx"
    exporter.export(forward, path, InputSpec([2], name="x"), verify=False)
    assert exporter.diff(forward, path, np.array([-1, -2], np.float32)) is None
    found = exporter.diff(forward, path, np.array([1, 2], np.float32))
    assert found is not None and found.op == "cond"


def test_state_and_random_numbers_are_no_difference(tmp_path: Path) -> None:
    net = Counter()
    spec = InputSpec(["n", 2], name="x")
    exporter.export(net, tmp_path / "c.onnx", spec)
    assert exporter.diff(net, tmp_path / "c.onnx") is None

    def noisy(x: Any) -> Any:
        return dyn.tanh(x + dyn.rand([2]))

    exporter.export(noisy, tmp_path / "r.onnx", spec)
    assert exporter.diff(noisy, tmp_path / "r.onnx") is None


def test_results_without_elements_are_no_difference(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        return x[:0] * 2, (x > 0)[:0], x + 1

    exporter.export(forward, tmp_path / "e.onnx", InputSpec(["n", 2], name="x"))
    assert exporter.diff(forward, tmp_path / "e.onnx") is None


def test_training_behaviour(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1D(4))
    exporter.export(net, tmp_path / "m.onnx", InputSpec(["n", 3]), training=True)
    assert exporter.diff(net, tmp_path / "m.onnx") is None


def test_a_file_of_another_model(net: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    exporter.export(net, path, X)
    other = nn.Sequential(nn.Conv2D(4, 6, 3), nn.ReLU())
    with pytest.raises(exporter.ExportError, match="another model"):
        exporter.diff(other, path)
    with pytest.raises(exporter.ExportError, match="takes x"):
        exporter.diff(net, path, np.zeros(1), np.zeros(1))


def test_a_file_of_another_exporter(net: Any, tmp_path: Path) -> None:
    info = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "g", [info("x", 1, [2])], [info("y", 1, [2])])
    onnx.save(onnx.helper.make_model(graph, ir_version=9), tmp_path / "m.onnx")
    with pytest.raises(exporter.ExportError, match="not written by"):
        exporter.diff(lambda x: dyn.tanh(x), tmp_path / "m.onnx")


def test_weights_of_a_folded_batch_norm(tmp_path: Path) -> None:
    """The weights in the file are those of two layers; a changed statistic names the first."""
    net = warmed(LeNet(), 2, 1, 28, 28)
    path = tmp_path / "m.onnx"
    exporter.export(net, path, InputSpec([None, 1, 28, 28]))
    net.bn2._mean.set_value(net.bn2._mean.numpy() + 0.1)
    found = exporter.diff(net, path)
    assert found is not None and found.layer == "conv2"
