"""The builder: names, shared nodes and constants, sizes, and the small savings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn.core.expr import Expr
from exporter.builder import Builder, Names, Val
from tests.exporter.nets import load, op_types
from tracer import InputSpec

X = InputSpec(["n", "t", 4], name="x")


def ops(b: Builder) -> list[str]:
    return [node.op_type for node in b.nodes]


def written(model: Any, folder: Path, *specs: InputSpec, **options: Any) -> list[str]:
    """Operators of the verified file."""
    exporter.export(model, folder / "m.onnx", specs, **options)
    return op_types(load(folder / "m.onnx"))


def test_names() -> None:
    names = Names()
    assert [names.fresh("a") for _ in range(3)] == ["a", "a_1", "a_2"]
    names.reserve("b_1")
    assert [names.fresh("b"), names.fresh("b")] == ["b", "b_2"]
    with pytest.raises(ValueError, match="used twice"):
        names.reserve("a")


def test_equal_constants_are_one() -> None:
    b = Builder(20)
    assert b.const(1, np.int64) == b.const(np.int64(1)) == b.child().const(1, np.int64)
    assert b.const(1, np.int64) != b.const(1, np.int32) != b.ints(1)
    assert b.const(0.0) != b.const(-0.0)
    assert len(b.constants) == 5


def test_equal_nodes_are_one_except_random_ones() -> None:
    b, x, y = Builder(20), Val("x"), Val("y")
    assert b.op("Add", x, y) == b.op("Add", x, y)
    assert b.op("Add", x, y) != b.op("Add", y, x)
    assert b.op("Softmax", x, axis=1) != b.op("Softmax", x, axis=0)
    assert b.op("Split", x, outputs=2, axis=0) == b.op("Split", x, outputs=2, axis=0)
    assert b.op("LeakyRelu", x, alpha=0.0) != b.op("LeakyRelu", x, alpha=-0.0)
    assert b.op("RandomNormal", shape=[2]) != b.op("RandomNormal", shape=[2])
    assert b.child().op("Add", x, y) == b.op("Add", x, y)
    inner = b.child().op("Mul", x, y)
    assert b.op("Mul", x, y) != inner, "a node of a branch is not there outside"


def test_moves_that_follow_each_other() -> None:
    b, x = Builder(20), Val("x")
    once = b.transpose(x, [0, 2, 1, 3])
    assert b.transpose(once, [0, 2, 1, 3]) == x
    assert b.transpose(x, [0, 1, 2]) == x
    twice = b.transpose(once, [0, 1, 3, 2])
    node = b.maker(twice.name)
    assert node is not None and list(node.input) == ["x"]
    assert list(node.attribute[0].ints) == [0, 2, 3, 1]
    made = b.reshape(b.unsqueeze(b.reshape(x, [6, 4]), 0), [2, 12])
    node = b.maker(made.name)
    assert node is not None and node.input[0] == "x"


def test_a_reshape_that_holds_zeros_stays() -> None:
    b = Builder(20)
    empty = b.reshape(b.reshape(Val("x"), [0, 3]), [0, 5])
    node = b.maker(empty.name)
    assert node is not None and node.input[0] == "Reshape"


@pytest.mark.parametrize("opset", [17, 20, 26])
def test_a_reshape_that_copies_sizes_of_its_input_stays(opset: int, tmp_path: Path) -> None:
    norm = dyn.nn.GroupNorm(2, 8)

    def forward(x: Any) -> Any:
        n, t, c = x.shape
        return norm(x.reshape([n * t, c])).reshape([n, t, c])

    path = tmp_path / "m.onnx"
    exporter.export(forward, path, InputSpec(["n", "t", 8], name="x"), opset=opset, verify=False)
    x = np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)
    groups = x.reshape(3, 5, 2, 4)
    centred = groups - groups.mean(-1, keepdims=True)
    wanted = centred / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    (found,) = exporter.Predictor(path).run(x)
    np.testing.assert_allclose(found, wanted.reshape(x.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [17, 20, 26])
def test_what_the_target_has(opset: int) -> None:
    b = Builder(opset)
    assert b.has("Gelu") == (opset >= 20)
    assert b.has("ReduceMean", since=18) == (opset >= 18)
    assert not b.has("NoSuchOperator")
    made = b.axes("ReduceMean", Val("x"), [1])
    node = b.maker(made.name)
    assert node is not None and len(node.input) == (2 if opset >= 18 else 1)
    assert b.axes("ReduceMean", Val("x"), []) == Val("x")


def test_sizes_are_computed_once() -> None:
    b = Builder(20)
    b.bind_symbol("n", Val("x"), 0)
    b.bind_symbol("t", Val("x"), 1)
    n, t = Expr.symbol("n"), Expr.symbol("t")
    assert b.shape_vector([2, 3]) == b.ints(2, 3)
    assert ops(b) == []
    b.shape_vector([n, t * 2])
    b.shape_vector([t * 2, n])
    assert ops(b).count("Shape") == 2 and ops(b).count("Mul") == 1
    with pytest.raises(KeyError, match="'h'"):
        b.size(Expr.symbol("h"))


def test_size_arithmetic_in_onnxruntime(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        n, t = x.shape[0], x.shape[1]
        sizes = [n * t, n + 2 * t - 3, t // 2, (n - 7) // 3, (n - 7) % 4, -n]
        return dyn.stack([dyn.full([], size, "int64") for size in sizes])

    kinds = written(forward, tmp_path, X)
    assert kinds.count("Shape") == 2
    for n, t in ((1, 1), (2, 9), (8, 3)):
        (given,) = exporter.Predictor(tmp_path / "m.onnx").run(np.zeros((n, t, 4), np.float32))
        wanted = [n * t, n + 2 * t - 3, t // 2, (n - 7) // 3, (n - 7) % 4, -n]
        assert given.tolist() == wanted


def test_no_shape_where_minus_one_does(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        n, t, d = x.shape
        x = x.reshape([n, t, 2, d // 2]).transpose([0, 2, 1, 3])
        return x.transpose([0, 2, 1, 3]).reshape([n * t, d])

    assert written(forward, tmp_path, X) == ["Reshape"]


def test_results_that_nobody_reads_are_not_written(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        dyn.exp(x)
        return dyn.cond(x.sum() > 0, lambda: dyn.tanh(x), lambda: x)

    kinds = written(forward, tmp_path, X)
    assert "Exp" not in kinds and kinds.count("Tanh") == 1
