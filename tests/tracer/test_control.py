"""dyn.cond, dyn.while_loop, dyn.scan: eagerly with gradients, and recorded as nodes with blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.errors import AttributeValueError, DTypeError, GradError, ShapeError
from tracer import InputSpec, Interpreter, Live, TraceError, optimize, parse, trace, validate
from tracer.graph import Graph
from tracer.passes import dead_code
from tracer.sizes import to_int

S = InputSpec


def check(function: Any, *specs: Any, sizes: tuple[dict[str, int], ...] = ()) -> Graph:
    """Trace, and compare graph and function on other values and sizes."""
    graph = trace(function, *specs)
    validate(graph)
    assert str(parse(str(graph))) == str(graph)
    optimized, _ = optimize(graph)
    validate(optimized)
    live, rng = Live(function, *specs), np.random.default_rng(2)
    for chosen in (graph.sizes, graph.sizes, *sizes):
        shapes = [to_int(v.shape, chosen) for v in graph.inputs]
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        for form in (graph, optimized):
            for a, b in zip(Interpreter(form).run(*arrays), live.run(arrays), strict=True):
                np.testing.assert_array_equal(a, b)
    return graph


# ---- eager -------------------------------------------------------------------------------------


def test_cond_runs_one_function() -> None:
    x = dyn.to_tensor([2.0])
    calls = []
    y = dyn.cond(x > 1, lambda: x * 3, lambda: calls.append("no"))
    assert y.item() == 6 and not calls
    assert dyn.cond(True, lambda a: a + 1, lambda a: a - 1, (x,)).item() == 3
    assert dyn.cond(x < 1, lambda: x) is None
    with pytest.raises(DTypeError, match="then must be a function, got Tensor"):
        dyn.cond(x > 1, x)  # type: ignore[arg-type]


def test_gradients_flow_through_what_ran() -> None:
    w: Any = dyn.to_tensor([2.0], stop_gradient=False)
    dyn.cond(w > 1, lambda: w * w, lambda: w).backward()
    assert w.grad.item() == 4

    w.clear_grad(set_to_zero=False)
    _, y = dyn.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w), [0, dyn.ones([1])])
    y.backward()
    assert w.grad.item() == pytest.approx(3 * 2**2)

    w.clear_grad(set_to_zero=False)
    xs: Any = dyn.to_tensor([[1.0], [2.0], [3.0]], stop_gradient=False)
    carry, ys = dyn.scan(lambda c, x: (c * w + x, c), dyn.zeros([1]), xs)
    (carry.sum() + ys.sum()).backward()
    # carry = x0 w^2 + x1 w + x2; ys = 0, x0, x0 w + x1
    assert w.grad.item() == pytest.approx(2 * 1 * 2 + 2 + 1)
    assert xs.grad.tolist() == [[4 + 1 + 2], [2 + 1], [1]]


def test_while_loop_keeps_structure() -> None:
    result = dyn.while_loop(
        lambda s, pair: s < 3,
        lambda s, pair: [s + 1, {"a": pair["a"] * 2}],
        [0, {"a": dyn.ones([2])}],
    )
    assert isinstance(result, list) and result[0].item() == 3
    assert result[1]["a"].tolist() == [8, 8]


def test_scan_is_a_cumulative_sum() -> None:
    xs = dyn.arange(6, dtype="float32").reshape([3, 2])
    last, sums = dyn.scan(lambda c, x: (c + x, c + x), dyn.zeros([2]), xs)
    assert last.tolist() == [6, 9] and sums.tolist() == dyn.cumsum(xs, 0).tolist()
    both, rows = dyn.scan(
        lambda c, x: (c, {"sum": x[0] + x[1], "n": 1}), dyn.zeros([1]), (xs, xs * 10)
    )
    assert both.tolist() == [0] and rows["sum"].shape == [3, 2] and rows["n"].tolist() == [1, 1, 1]


def test_bad_arguments() -> None:
    with pytest.raises(AttributeValueError, match="at least one loop variable"):
        dyn.while_loop(lambda: True, lambda: None, [])
    with pytest.raises(AttributeValueError, match="it takes 1 and returned 2"):
        dyn.while_loop(lambda i: i < 1, lambda i: (i, i), [0])
    with pytest.raises(AttributeValueError, match="must return a pair"):
        dyn.scan(lambda c, x: c, dyn.zeros([1]), dyn.ones([2, 1]))
    with pytest.raises(ShapeError, match="tensors that have one"):
        dyn.scan(lambda c, x: (c, x), dyn.zeros([1]), dyn.ones([]))
    with pytest.raises(ShapeError, match="first sizes of xs differ: 2 and 3"):
        dyn.scan(lambda c, x: (c, c), dyn.zeros([1]), (dyn.ones([2]), dyn.ones([3])))
    with pytest.raises(ShapeError, match="at least one step"):
        dyn.scan(lambda c, x: (c, x), dyn.zeros([1]), dyn.ones([0, 1]))


# ---- traced ------------------------------------------------------------------------------------


def test_cond_is_one_node_and_one_path() -> None:
    def forward(x: Any) -> Any:
        for _ in range(8):
            x = dyn.cond(x.sum() > 0, lambda: x * 0.5 - 1, lambda: x + 2)  # noqa: B023
        return x

    graph = check(forward, S(["n", 3]), sizes=({"n": 1}, {"n": 6}))
    assert [n.op for n in graph.nodes].count("cond") == 8


def test_cond_with_operands_and_nested_results() -> None:
    def forward(x: Any) -> Any:
        pair = dyn.cond(
            x.sum() > 0, lambda a: {"y": (a, a * 2)}, lambda a: {"y": (a - 1, a)}, operands=[x]
        )
        return pair["y"][0] + pair["y"][1]

    check(forward, S([3]))


def test_a_condition_that_does_not_depend_on_inputs_is_decided() -> None:
    graph = check(lambda x: dyn.cond(dyn.ones([1]) > 0, lambda: x, lambda: x[:1]), S([3]))
    assert not graph.nodes or all(n.op != "cond" for n in graph.nodes)


def test_while_loop_depends_on_values() -> None:
    def forward(x: Any) -> Any:
        steps, y = dyn.while_loop(
            lambda i, y: y.abs().max() > 0.1, lambda i, y: (i + 1, y * 0.5), [0, x]
        )
        return steps, y.sum()

    graph = check(forward, S(["n", 3]), sizes=({"n": 1}, {"n": 50}))
    (loop,) = [n for n in graph.nodes if n.op == "while_loop"]
    assert list(loop.blocks) == ["cond", "body"]


def test_a_loop_that_does_not_run_is_recorded_all_the_same() -> None:
    def forward(x: Any) -> Any:
        return dyn.while_loop(lambda y: y.max() > 100, lambda y: y / 2, [x])[0]

    graph = check(forward, S([3]))
    assert Interpreter(graph).run(np.full(3, 400, np.float32))[0].max() == 100


def test_scan_over_any_length() -> None:
    class Cell(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            def step(h: Any, row: Any) -> Any:
                h = dyn.tanh(self.fc(dyn.concat([h, row], axis=1)))
                return h, h.sum(axis=1)

            return dyn.scan(step, dyn.zeros([x.shape[1], 3]), x)

    sizes = ({"t": 1, "n": 4}, {"t": 9, "n": 1})
    graph = check(Cell(), S(["t", "n", 2]), sizes=sizes)
    (scan,) = [n for n in graph.nodes if n.op == "scan"]
    assert scan.attrs == {"carried": 1}
    assert [str(size) for size in scan.outputs[1].shape] == ["t", "n"]


def test_loops_in_loops_and_branches_in_bodies() -> None:
    def forward(x: Any) -> Any:
        def inner(j: Any, y: Any) -> Any:
            return j + 1, y * 2 if y.sum() > 0 else y + 1

        def outer(i: Any, y: Any) -> Any:
            y = dyn.while_loop(lambda j, y: j < i, inner, [0, y])[1]
            return i + 1, dyn.cond(y.max() > 5, lambda: y / 4, lambda: y)

        return dyn.while_loop(lambda i, y: i < 4, outer, [0, x])[1]

    graph = check(forward, S([3]))
    assert sorted(n.op for n in graph.walk() if n.blocks) == [
        "cond", "cond", "while_loop", "while_loop",
    ]  # fmt: skip


def test_loops_beside_forks() -> None:
    def forward(x: Any) -> Any:
        y = dyn.while_loop(lambda y: y.max() > 1, lambda y: y / 2, [x])[0]
        if y.sum() > 0:
            y = y * 3
        return dyn.cond(y.max() > 1, lambda: y, lambda: y + 1)

    graph = check(forward, S([3]))
    assert [n.op for n in graph.nodes if n.blocks] == ["while_loop", "cond", "cond"]


def test_an_assumption_in_a_body_is_listed_once() -> None:
    def forward(x: Any) -> Any:
        def body(y: Any) -> Any:
            assert (y < 1e9).all()
            return y / 2

        y = dyn.while_loop(lambda y: y.max() > 1, body, [x])[0]
        return y * 2 if y.sum() > 0 else y

    assert len(check(forward, S([3])).assumptions) == 1


def test_sides_may_differ_in_sizes_that_depend_on_values() -> None:
    def forward(x: Any) -> Any:
        y = dyn.cond(x.sum() > 0, lambda: x[x > 0], lambda: x[x < -1])
        z = x[x > 1] if x.max() > 2 else x[x < 0] * 2
        return y * y.shape[0], z.reshape([z.shape[0], 1])

    check(forward, S(["n", 3]), sizes=({"n": 1}, {"n": 9}))


def test_sizes_of_sides_that_are_recorded_again_are_forgotten() -> None:
    def forward(x: Any) -> Any:
        y = dyn.cond(x.sum() > 0, lambda: x[x > 0], lambda: x[x < -1]).sum()
        return y if x.max() > 1 else y * 2

    graph = check(forward, S([3]))
    assert list(graph.sizes) == ["_1", "_2", "_3"]
    assert list(dead_code(trace(lambda x: (x[x > 0], x * 2)[1], S([3])))[0].sizes) == []


def test_selections_behind_a_branch_are_made_once() -> None:
    def forward(x: Any) -> Any:
        if x.sum() > 0:
            x = x * 2
        y = x[x > 0]
        return y * y.shape[0]

    graph = check(forward, S(["n", 3]), sizes=({"n": 1}, {"n": 9}))
    assert [n.op for n in graph.walk()].count("nonzero") == 1


def test_parameters_are_seen_inside() -> None:
    layer = nn.Linear(3, 3)
    graph = check(
        lambda x: dyn.while_loop(lambda y: y.max() > 1, lambda y: layer(y) * 0.1, [x])[0],
        S(["n", 3]),
    )
    assert [p.name for p in graph.params] == ["weight", "bias"]


# ---- refused -----------------------------------------------------------------------------------


def test_functions_must_fit() -> None:
    with pytest.raises(TraceError, match=r"true_fn returns f32\[3\], false_fn f32\[1\]"):
        trace(lambda x: dyn.cond(x.sum() > 0, lambda: x, lambda: x[:1]), S([3]))
    with pytest.raises(TraceError, match="true_fn returns None, false_fn a tensor"):
        trace(lambda x: dyn.cond(x.sum() > 0, None, lambda: x), S([3]))
    with pytest.raises(TraceError, match=r"loop variable 0 is i64\[\] before.*f32\[\] after"):
        trace(lambda x: (x, *dyn.while_loop(lambda i: i < 3, lambda i: i + 0.5, [0])), S([3]))
    with pytest.raises(
        TraceError, match=r"structure.* it is a tensor, after it \(a tensor, a tensor\)"
    ):
        trace(lambda x: dyn.scan(lambda c, r: ((c, c), r), x[0], x), S(["n", 3]))


def test_values_do_not_leak_out_of_a_muted_loop() -> None:
    seen: list[Any] = []

    def forward(x: Any) -> Any:
        def body(y: Any) -> Any:
            seen.append(y * 2)
            return y / 2

        return dyn.while_loop(lambda y: y.max() > 0.1, body, [x])[0] + seen[-1]

    with pytest.raises(TraceError, match="return it from the function"):
        trace(forward, S([3], example=np.ones(3, np.float32)))


def test_gradients_through_recorded_control_flow_are_refused() -> None:
    def forward(x: Any) -> Any:
        w = x * 1
        w.stop_gradient = False
        y = dyn.while_loop(lambda y: y.max() > 1, lambda y: y * 0.5, [w * 2])[0]
        return dyn.grad(y.sum(), w)[0]

    with pytest.raises(GradError, match=r"dyn\.while_loop in a traced model has no gradient"):
        trace(forward, S([3]))
