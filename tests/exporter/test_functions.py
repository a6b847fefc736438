"""`functions=True`: the file has the structure of the model, and computes the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import dyn
import exporter
from dyn import nn
from tests.exporter.nets import IMAGE, LeNet, initializers, load, warmed
from tests.exporter.nets import Counter as Counting
from tests.runtime import among
from tracer import InputSpec, trace

X = InputSpec(["n", 4], name="x")


class Block(nn.Layer):
    """Two linear layers and a residual connection, with a size and a branch in it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        n, d = x.shape
        y = self.fc2(self.act(self.fc1(x))).reshape([n, 2, d // 2]).reshape([n, d])
        return x + dyn.cond(y.sum() > 0, lambda: y * 2, lambda: y)


class Net(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.LayerList([Block(4) for _ in range(3)])
        self.head = nn.Sequential(nn.Linear(4, 2), nn.Softmax())

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def written(model: Any, folder: Path, *specs: InputSpec, **options: Any) -> onnx.ModelProto:
    exporter.export(model, folder / "m.onnx", specs, functions=True, **options)
    return load(folder / "m.onnx")


@pytest.mark.parametrize("opset", among(17, 20, 23, 26))
def test_one_function_per_layer_class(tmp_path: Path, opset: int) -> None:
    net = Net()
    model = written(net, tmp_path, X, opset=opset)
    assert [node.op_type for node in model.graph.node] == ["Block"] * 3 + ["Sequential"]
    assert [node.name for node in model.graph.node] == ["blocks.0", "blocks.1", "blocks.2", "head"]
    functions = {f.name: f for f in model.functions}
    # Layers of one class but of other sizes have the same nodes, hence the same function.
    assert set(functions) == {"Linear", "GELU", "Block", "Softmax", "Sequential"}
    kinds = Counter(node.op_type for node in functions["Block"].node)
    assert kinds["Linear"] == 2 and kinds["GELU"] == 1 and kinds["If"] == 1
    assert list(functions["Linear"].input)[1:] == ["weight", "bias"]
    assert set(net.state_dict()) <= set(initializers(model))


def test_nodes_still_say_where_they_come_from(tmp_path: Path) -> None:
    model = written(Net(), tmp_path, X)
    for node in (*model.graph.node, *(n for f in model.functions for n in f.node)):
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        if node.op_type != "Constant":
            assert metadata["dyn.op"] and "test_functions.py:" in metadata["dyn.source"]
    layers = [e.value for n in model.graph.node for e in n.metadata_props if e.key == "dyn.layer"]
    assert layers == ["blocks.0", "blocks.1", "blocks.2", "head"]


def test_layers_that_differ_have_functions_of_their_own(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Softmax(0), nn.Softmax(1), nn.LeakyReLU(0.1), nn.LeakyReLU(0.2))
    model = written(net, tmp_path, X)
    names = ["Softmax", "Softmax_1", "LeakyReLU", "LeakyReLU_1"]
    assert [node.op_type for node in model.graph.node] == names


def test_a_network_with_pooling_and_dropout(tmp_path: Path) -> None:
    net = warmed(LeNet(), 2, 1, 28, 28)
    model = written(net, tmp_path, IMAGE)
    assert {f.name for f in model.functions} >= {"Conv2D", "ReLU", "MaxPool2D", "Linear"}
    x = np.random.default_rng(0).normal(size=(5, 1, 28, 28)).astype(np.float32)
    (y,) = exporter.Predictor(tmp_path / "m.onnx").run(x)
    np.testing.assert_allclose(y, net(dyn.to_tensor(x)).numpy(), rtol=1e-4, atol=1e-4)


def test_state_and_random_numbers(tmp_path: Path) -> None:
    class Noisy(nn.Layer):
        def forward(self, x: Any) -> Any:
            return x + dyn.rand([x.shape[0], 2])

    net = nn.Sequential(Counting(), Noisy())
    for opset in (20, 23):
        written(net, tmp_path, InputSpec(["n", 2], name="x"), opset=opset)
        predictor = exporter.Predictor(tmp_path / "m.onnx")
        x = np.ones((2, 2), np.float32)
        assert not np.array_equal(predictor.run(x)[0], predictor.run(x)[0])
        np.testing.assert_array_equal(predictor.state["0.total"], [5, 6])


def test_a_layer_called_twice_and_an_inner_value_read_outside(tmp_path: Path) -> None:
    class Twice(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            y = self.fc(x)
            z = self.fc(dyn.tanh(y))
            return y + z, y

    model = written(Twice(), tmp_path, X)
    assert [n.op_type for n in model.graph.node] == ["Linear", "Tanh", "Linear", "Add"]
    assert len({n.name for n in model.graph.node}) == 4


def test_a_graph_alone(tmp_path: Path) -> None:
    graph = trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), X)
    exporter.export(graph, tmp_path / "m.onnx", functions=True, verify=False)
    assert [n.op_type for n in load(tmp_path / "m.onnx").graph.node] == ["Linear", "ReLU"]
    with pytest.raises(exporter.ExportError, match="has functions"):
        exporter.diff(nn.Linear(4, 4), tmp_path / "m.onnx")
