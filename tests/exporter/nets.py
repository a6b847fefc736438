"""Small models for the tests of the exporter, and what several of those tests do with a file.

Each model shows one thing: state, tied weights, branches, several inputs. Models of published
shapes belong in the benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import dyn
from dyn import nn
from tracer import InputSpec

IMAGE = InputSpec([None, 1, 28, 28], "float32", name="image")


class LeNet(nn.Layer):
    """Convolution, batch norm, pooling, dropout and linear layers: the network of the demo."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(1, 8, 5, padding=2)
        self.bn1 = nn.BatchNorm2D(8)
        self.conv2 = nn.Conv2D(8, 16, 5)
        self.bn2 = nn.BatchNorm2D(16)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2D(2, 2)
        self.fc1 = nn.Linear(16 * 5 * 5, 32)
        self.dropout = nn.Dropout(0.25)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.pool(self.relu(self.bn2(self.conv2(x))))
        x = self.dropout(self.relu(self.fc1(dyn.flatten(x, 1))))
        return self.fc2(x)


class Counter(nn.Layer):
    """Adds up what it has seen: `write` is how the buffer is written."""

    def __init__(self, write: str = "assign") -> None:
        super().__init__()
        self.write = write
        self.register_buffer("total", dyn.to_tensor(np.array([1.0, 2.0], np.float32)))

    def forward(self, x: Any) -> Any:
        seen = x.sum(0)
        if self.write == "assign":
            dyn.assign(self.total + seen, self.total)
        elif self.write == "plus":
            self.total += seen
        elif self.write == "add_":
            self.total.add_(seen)
        elif self.write == "set_value":
            self.total.set_value(self.total + seen)
        elif self.write == "item":
            self.total[...] = self.total + seen
        else:
            self.total = self.total + seen
        return x * self.total


class Tied(nn.Layer):
    """One table, used as embedding and as the output projection."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 6)

    def forward(self, ids: Any) -> Any:
        return dyn.matmul(self.head(self.head(self.embed(ids))), self.embed.weight.T)


def warmed(net: Any, *shape: int) -> Any:
    """The net after two training steps' worth of statistics, back in eval mode."""
    rng = np.random.default_rng(0)
    net.train()
    for _ in range(2):
        net(dyn.to_tensor(rng.normal(0.5, 2.0, shape).astype(np.float32)))
    net.eval()
    return net


def load(path: str | Path) -> onnx.ModelProto:
    """Read a file and let onnx's checker see all of it."""
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path)


def op_types(model: onnx.ModelProto) -> list[str]:
    """Operators of the model in order, those of sub-graphs after their node."""
    return all_op_types(model.graph.node)


def all_op_types(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """Operators of some nodes in order, those of sub-graphs after their node."""
    found: list[str] = []
    for node in nodes:
        found.append(node.op_type)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += all_op_types(attribute.g.node)
    return found


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Initializers by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def signature(values: Sequence[onnx.ValueInfoProto]) -> list[tuple[str, list[Any]]]:
    """Name and sizes (numbers, names or None) of graph inputs or outputs."""
    return [
        (
            value.name,
            [
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
                for dim in value.type.tensor_type.shape.dim
            ],
        )
        for value in values
    ]
