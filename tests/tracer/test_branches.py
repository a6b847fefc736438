"""Conditions on values: both sides recorded, merged, limited, and explained when they cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from tracer import InputSpec, Interpreter, Live, TraceError, optimize, trace, validate
from tracer.graph import Graph, Node

S = InputSpec


def conds(graph: Graph) -> list[Node]:
    return [node for node in graph.walk() if node.op == "cond"]


def check(function: Any, *specs: Any, count: int = 20) -> Graph:
    """Trace, and compare graph and function on many inputs."""
    graph, _ = optimize(trace(function, *specs))
    validate(graph)
    run, live = Interpreter(graph), Live(function, *specs)
    rng = np.random.default_rng(1)
    for _ in range(count):
        arrays = [rng.standard_normal(s.shape).astype(s.dtype) for s in graph.samples]
        for a, b in zip(run.run(*arrays), live.run(arrays), strict=True):
            np.testing.assert_array_equal(a, b)
    return graph


def test_the_rest_of_the_model_stands_behind_the_branch_once() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.middle, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x: Any) -> Any:
            x = self.first(x).relu()
            if x.mean() > 0.4:
                x = self.middle(x).relu()
            return self.last(x)

    graph = check(Model(), S(["n", 3]))
    assert [n.op for n in graph.nodes] == [
        "linear", "relu", "mean", "greater_than", "cond", "linear",
    ]  # fmt: skip
    (cond,) = conds(graph)
    assert [n.op for n in cond.blocks["then"].nodes] == ["linear", "relu"]
    assert cond.blocks["else"].nodes == []
    assert cond.where is not None and cond.where.text.startswith("if x.mean() > 0.4")


def test_branches_in_a_row_stay_in_a_row() -> None:
    def forward(x: Any) -> Any:
        for i in range(4):
            x = x * 2 if x[0, i] > 0 else x + 1
            x = x.tanh()
        return x

    graph = check(forward, S([2, 4]))
    assert len(conds(graph)) == 4 and all(n in graph.nodes for n in conds(graph))


def test_nested_branches_nest() -> None:
    def forward(x: Any) -> Any:
        if x.sum() > 0:
            if x[0] > 0:
                return x.exp()
            return x * 2
        return x - 1

    graph = check(forward, S([3]))
    outer, inner = conds(graph)
    assert inner in outer.blocks["then"].nodes


def test_a_branch_without_effect_leaves_nothing() -> None:
    def forward(x: Any) -> Any:
        if x.sum() > 0:
            print_nothing = x * 100
            del print_nothing
        return x * 2

    assert [n.op for n in check(forward, S([3])).nodes] == ["multiply"]


def test_one_condition_asked_twice_is_one_fork() -> None:
    def forward(x: Any) -> Any:
        positive = x.sum() > 0
        y = x * 2 if positive else x
        z = y + 1
        return z * 3 if positive else z

    graph = check(forward, S([3]))
    assert len(conds(graph)) == 1


def test_several_results_of_a_branch() -> None:
    def forward(x: Any, y: Any) -> Any:
        a, b = (y, x) if x.sum() > y.sum() else (x, y)
        return a * 2 + b, a - b

    graph = check(forward, S([3]), S([3]))
    (cond,) = conds(graph)
    assert len(cond.outputs) == 2 and [n.op for n in graph.nodes][-3:] == [
        "multiply", "add", "subtract",
    ]  # fmt: skip


def test_conditions_of_any_kind() -> None:
    def forward(x: Any) -> Any:
        if x.sum().astype("int64"):
            x = x * 2
        while x.max() > 1e9:
            x = x / 2
        return x if (x[0:1] > 0) else x + 1

    with pytest.raises(TraceError, match="more than 64 paths"):
        trace(forward, S([3]))

    def without_the_loop(x: Any) -> Any:
        if x.sum().astype("int64"):
            x = x * 2
        return x if (x[0:1] > 0) else x + 1

    check(without_the_loop, S([3]))


def test_a_random_branch_takes_both_sides() -> None:
    class Model(nn.Layer):
        """The model of seed 003, smaller."""

        def __init__(self) -> None:
            super().__init__()
            self.linear1, self.linear2 = nn.Linear(4, 4), nn.Linear(4, 4)
            self.linear3 = nn.Linear(4, 1)

        def forward(self, x: Any) -> Any:
            x = self.linear1(x).relu()
            if dyn.rand([1]) > 0.5:
                x = self.linear2(x).relu()
            return self.linear3(x)

    dyn.seed(0)  # with some weights all units are off, and both sides give 0
    graph, _ = optimize(trace(Model(), S(["n", 4])))
    validate(graph)
    assert "uniform" in [n.op for n in graph.nodes] and len(conds(graph)) == 1
    run = Interpreter(graph)
    seen = [run.run(np.ones((1, 4), np.float32))[0].item() for _ in range(200)]
    values, counts = np.unique(seen, return_counts=True)
    assert len(values) == 2 and counts.min() > 60


def test_too_many_paths_name_the_line() -> None:
    def forward(x: Any) -> Any:
        for i in range(7):
            if x[i] > 0:
                x = x * 2
        return x

    with pytest.raises(TraceError, match="more than 64 paths") as caught:
        trace(forward, S([7]))
    assert caught.value.where is not None and caught.value.where.text == "if x[i] > 0:"


def test_sides_that_do_not_fit_name_all_lines() -> None:
    def forward(x: Any) -> Any:
        if x.sum() > 0:
            y = x * 2
            y = y + 1
        else:
            y = x[:2]
        return y.exp()

    with pytest.raises(TraceError) as caught:
        trace(forward, S([4]))
    text, first = str(caught.value), forward.__code__.co_firstlineno
    assert f"f32[4] (from {__file__}:{first + 6}) if the condition is true" in text
    assert f"f32[2] (from {__file__}:{first + 6}) if it is false" in text
    assert caught.value.where is not None and caught.value.where.line == first + 1


def test_a_side_that_raises_is_an_assumption() -> None:
    def forward(x: Any) -> Any:
        if x.isnan().any():
            raise ValueError("not a number")
        assert (x < 10).all(), "out of range"
        return x * 2

    graph = check(forward, S([3]))
    # pytest lets its assertions say more than Python's.
    assert [(a.answer, a.error.split("\n")[0]) for a in graph.assumptions] == [
        (False, "ValueError: not a number"),
        (True, "AssertionError: out of range"),
    ]
    assert not conds(graph)
    assert "assume False, otherwise ValueError: not a number" in str(graph)


def test_both_sides_of_an_inner_condition_may_raise() -> None:
    def forward(x: Any) -> Any:
        if x.sum() > 1e6:
            raise ValueError("large" if x[0] > 0 else "small")
        return x

    graph = check(forward, S([3]))
    assert [a.answer for a in graph.assumptions] == [False]


def test_an_error_of_the_natural_side_is_the_users() -> None:
    def forward(x: Any) -> Any:
        if x.sum() < 1e9:
            raise KeyError("mine")
        return x

    with pytest.raises(KeyError, match="mine"):
        trace(forward, S([3]))


def test_a_side_that_cannot_run_with_the_sample() -> None:
    def forward(x: Any) -> Any:
        rows = dyn.nonzero(x > 1e9)
        if rows.shape[0] > 0:
            return x + rows[0].astype("float32").sum()
        return x

    with pytest.raises(TraceError, match="where it is True cannot be recorded with this sample"):
        trace(forward, S([3]))
    example = np.array([0, 2e9, 0], np.float32)
    trace(forward, S([3], example=example))


def test_counters_in_python_are_found_out() -> None:
    calls = []

    def forward(x: Any) -> Any:
        calls.append(1)
        y = x * float(len(calls))
        return y if y.sum() > 0 else x

    with pytest.raises(TraceError, match="not the same twice"):
        trace(forward, S([3]))


def test_temporaries_start_anew_for_each_side() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.saved = self.create_tensor()
            self.log: list[Any] = []

        def forward(self, x: Any) -> Any:
            self.log.append(x)
            dyn.assign(self.log[-1] * min(len(self.log), 1), self.saved)
            return self.saved if x.sum() > 0 else x

    graph = trace(Model(), S([3]))
    assert [n.op for n in graph.nodes].count("multiply") <= 1


def test_unknown_sizes_fork_like_values() -> None:
    def forward(x: Any) -> Any:
        count = dyn.nonzero(x > 0).shape[0]
        if count > 1:
            return x * 2
        return x if count == 1 else x - 1

    graph = check(forward, S([3]), count=40)
    assert len(conds(graph)) == 2


def test_sizes_that_were_compared_are_not_compared_again() -> None:
    def forward(x: Any) -> Any:
        a, b = x[x > 0], x[x < 0.2]
        total = x.sum()
        for _ in range(8):
            if a.shape[0] == b.shape[0] or b.shape[0] != a.shape[0] - 1:
                total = total + 1
        return total

    assert len(conds(check(forward, S([6]), count=40))) == 2


def test_what_a_mask_selects_and_then_writes_is_no_branch() -> None:
    def forward(x: Any) -> Any:
        y = x.detach() * 1
        y.stop_gradient = False
        z = y.tanh()
        for _ in range(4):
            z[z < -0.1] *= 0.5
            z[z > 0.3] = z[z > 0.3] ** 2 + 0.1
            rows = z[:, 0] > 0
            z[rows] = z[rows] * 2 + x[0]
        return z, dyn.grad(z.sum(), y)[0]

    assert not conds(check(forward, S(["n", 3])))


def test_gradients_through_a_branch() -> None:
    def forward(x: Any) -> Any:
        w = x.detach() * 1
        w.stop_gradient = False
        y = (w**2 if w.sum() > 0 else w * 3).sum()
        return dyn.grad(y, w)[0]

    check(forward, S([3]))
