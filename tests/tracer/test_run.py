"""The interpreter: state from call to call, what it refuses, and that it is eager mode bitwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from tests.tracer.golden_models import Attention, LeNet, Stateful
from tracer import GraphError, InputSpec, Interpreter, Live, Node, run, trace

S = InputSpec


@pytest.mark.parametrize("training", [False, True])
def test_networks_run_bitwise(training: bool) -> None:
    spec = S(["n", 1, 28, 28])
    model = LeNet()
    graph, live = trace(model, spec, training=training), Live(model, spec, training=training)
    interpreter = Interpreter(graph)
    rng = np.random.default_rng(0)
    for n in (3, 1, 8):
        x = rng.standard_normal((n, 1, 28, 28)).astype(np.float32)
        dyn.seed(n)
        wanted = live.run([x])
        dyn.seed(n)
        for a, b in zip(wanted, interpreter.run(x), strict=True):
            assert a.tobytes() == b.tobytes()
    for name, array in interpreter.state.items():
        assert model.state_dict()[name].numpy().tobytes() == array.tobytes()
    live.restart()


def test_sequences_of_any_length_run_bitwise() -> None:
    model = Attention()
    graph = trace(model, S(["n", "t", 16]))
    for n, t in ((3, 5), (1, 1), (2, 17)):
        x = np.random.default_rng(t).standard_normal((n, t, 16)).astype(np.float32)
        assert run(graph, x)[0].tobytes() == model(dyn.to_tensor(x))._array.tobytes()


def test_state_branches_and_loops_run_bitwise() -> None:
    specs = S(["n", 3]), S([])
    model = Stateful()
    graph, live = trace(model, *specs), Live(model, *specs)
    interpreter = Interpreter(graph)
    rng = np.random.default_rng(0)
    limit = np.array(3, np.float32)
    for n in (5, 1, 2, 30):
        arrays = [(rng.standard_normal((n, 3)) * 20).astype(np.float32), limit]
        for a, b in zip(live.run(arrays), interpreter.run(*arrays), strict=True):
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
    assert interpreter.state["calls"].tolist() == model.state_dict()["calls"].tolist() == [4]
    run(graph, *graph.samples)
    assert interpreter.state["calls"].tolist() == [4], "run() starts from the recorded state"


def test_inputs_by_position_and_by_name() -> None:
    graph = trace(lambda x, y: x - y, S(["n"]), S(["n"]))
    a, b = np.array([5.0], np.float32), np.array([3.0], np.float32)
    assert run(graph, a, b)[0] == run(graph, y=b, x=a)[0] == run(graph, a, y=dyn.to_tensor(b))[0]


def test_what_does_not_fit() -> None:
    graph = trace(lambda x, y: x + y, S(["n", 2], name="image"), S(["n", 2]))
    x = np.ones((3, 2), np.float32)
    with pytest.raises(GraphError, match="has the inputs image, y; 1 were given by position"):
        run(graph, x)
    with pytest.raises(GraphError, match="and z by name"):
        run(graph, x, x, z=x)
    with pytest.raises(GraphError, match=r"f32\[n, 2\]>; given was float64 \[3, 2\]"):
        run(graph, x, x.astype(np.float64))
    with pytest.raises(GraphError, match=r"given was float32 \[3, 3\]"):
        run(graph, x, np.ones((3, 3), np.float32))
    with pytest.raises(GraphError, match=r"given was float32 \[6\]"):
        run(graph, x, x.reshape(-1))
    with pytest.raises(GraphError, match="the size n is 3 elsewhere and 4 in y"):
        run(graph, x, np.ones((4, 2), np.float32))


def test_every_node_can_be_watched() -> None:
    def forward(x: Any) -> Any:
        y = nn.functional.relu(x)
        return dyn.cond(y.sum() > 0, lambda: y * 2, lambda: y)

    graph = trace(forward, S([3]))
    seen: list[tuple[Node, list[np.ndarray]]] = []
    Interpreter(graph).run(np.ones(3, np.float32), watch=lambda n, r: seen.append((n, r)))
    assert [n.op for n, _ in seen] == ["relu", "sum", "greater_than", "multiply", "cond"]
    assert seen[0][1][0].tolist() == [1, 1, 1]


def test_results_are_nested_as_the_model_nests_them() -> None:
    graph = trace(lambda x: {"a": (x, None), "b": [x * 2]}, S([2]))
    out = Interpreter(graph)(dyn.ones([2]))
    assert out["a"][1] is None and out["b"][0].tolist() == [2, 2]
