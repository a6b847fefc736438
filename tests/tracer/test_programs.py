"""Random programs of arithmetic, writes, branches and loops: graph and program agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import dyn
from tracer import InputSpec, Interpreter, TraceError, optimize, parse, trace, validate

NAMES = ("a", "b", "c")
name = st.sampled_from(NAMES)
number = st.sampled_from([-2.0, -0.5, 0.5, 1.0, 3.0])

simple = st.one_of(
    st.tuples(st.just("add"), name, name, name),
    st.tuples(st.just("scale"), name, name, number),
    st.tuples(st.just("tanh"), name, name),
    st.tuples(st.just("iadd"), name, name),
    st.tuples(st.just("write"), name, name, st.integers(0, 2)),
    st.tuples(st.just("view"), name, name, st.integers(0, 2)),
    st.tuples(st.just("mask"), name, number),
    st.tuples(st.just("by_size"), name),
)


def nested(inner: Any) -> Any:
    block = st.lists(inner, max_size=3)
    return st.one_of(
        st.tuples(st.just("if"), name, block, block),
        st.tuples(st.just("cond"), name, name, number, number),
        st.tuples(st.just("for"), st.integers(1, 2), block),
        st.tuples(st.just("while"), name, st.integers(0, 3), number),
        st.tuples(st.just("scan"), name),
    )


programs = st.lists(st.one_of(simple, nested(st.one_of(simple, nested(simple)))), max_size=6)


def execute(program: list[Any], v: dict[str, Any]) -> None:
    """Run a program on the variables."""
    for op, *args in program:
        if op == "add":
            v[args[0]] = v[args[1]] + v[args[2]]
        elif op == "scale":
            v[args[0]] = v[args[1]] * args[2]
        elif op == "tanh":
            v[args[0]] = dyn.tanh(v[args[1]])
        elif op == "iadd":
            v[args[0]] += v[args[1]].detach() * 0.5
        elif op == "write":
            v[args[0]][:, args[2]] = v[args[1]][:, 0] + 1
        elif op == "view":
            row = v[args[0]][:, args[2]]
            row += v[args[1]][:, 1] * 0.5
        elif op == "mask":
            v[args[0]][v[args[0]] > args[1]] = args[1]
        elif op == "by_size":
            v[args[0]] = v[args[0]] * v[args[0]].shape[0] / 4
        elif op == "if":
            execute(args[1] if v[args[0]].sum() > 0 else args[2], v)
        elif op == "for":
            for _ in range(args[0]):
                execute(args[1], v)
        elif op == "cond":
            x = v[args[1]]
            v[args[1]] = dyn.cond(v[args[0]].max() > 1, lambda: x * args[2], lambda: x + args[3])  # noqa: B023
        elif op == "while":
            body = lambda i, y: (i + 1, y * 0.5 + args[2])  # noqa: B023, E731
            v[args[0]] = dyn.while_loop(lambda i, y: i < args[1], body, [0, v[args[0]]])[1]  # noqa: B023
        else:
            x = v[args[0]]
            v[args[0]] = dyn.scan(lambda c, row: (c + row, c * 0.5), x[0] * 0, x)[1]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs)
def test_programs(program: list[Any]) -> None:
    def forward(a: Any, b: Any) -> Any:
        v = {"a": a * 1, "b": b * 1, "c": a + b}
        execute(program, v)
        return [v[n] for n in NAMES]

    try:
        graph = trace(forward, InputSpec(["n", 3]), InputSpec(["n", 3]))
    except TraceError as error:
        assume("more than 64 paths" not in str(error))
        raise
    validate(graph)
    assert str(parse(str(graph))) == str(graph)
    optimized, _ = optimize(graph)
    validate(optimized)
    rng = np.random.default_rng(0)
    for n in (graph.sizes["n"], 1, 4):
        for _ in range(3):
            arrays = [rng.standard_normal((n, 3)).astype(np.float32) for _ in range(2)]
            wanted = forward(*(dyn.to_tensor(x) for x in arrays))
            for form in (graph, optimized):
                for a, b in zip(wanted, Interpreter(form).run(*arrays), strict=True):
                    assert a._array.shape == b.shape
                    np.testing.assert_allclose(a._array, b, rtol=1e-5, atol=1e-6)
