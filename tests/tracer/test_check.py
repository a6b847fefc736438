"""`validate`: graphs that are recorded pass; each kind of damage is found and named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.expr import Expr
from dyn.core.op import Type
from tracer import Graph, GraphError, InputSpec, Node, State, Value, trace, validate


def recorded() -> Graph:
    layer = nn.Linear(3, 3)
    layer.register_buffer("count", dyn.zeros([1]))

    def forward(x: Any) -> Any:
        layer.count += 1
        y = dyn.cond(x.sum() > 0, lambda: layer(x), lambda: x * 2)
        z = dyn.while_loop(lambda z: z.max() > 1, lambda z: z / 2, [y])[0]
        last, rows = dyn.scan(lambda c, r: (c + r, c * 2), z[0], z)
        return last, rows

    return trace(forward, InputSpec(["n", 3]))


def node(graph: Graph, op: str) -> Node:
    return next(n for n in graph.walk() if n.op == op)


def _drop_block(graph: Graph) -> None:
    del node(graph, "cond").blocks["else"]


def _read_ahead(graph: Graph) -> None:
    graph.nodes.insert(0, graph.nodes.pop())


def _assign_twice(graph: Graph) -> None:
    graph.nodes.append(graph.nodes[0])


def _read_from_a_block(graph: Graph) -> None:
    graph.outputs[0] = node(graph, "linear").outputs[0]


def _same_name(graph: Graph) -> None:
    graph.nodes[0].outputs[0].name = "x"


def _same_output_name(graph: Graph) -> None:
    graph.output_names[1] = graph.output_names[0]


def _no_output_name(graph: Graph) -> None:
    graph.output_names.pop()


def _no_such_op(graph: Graph) -> None:
    node(graph, "linear").op = "linnear"


def _lost_attribute(graph: Graph) -> None:
    del node(graph, "sum").attrs["keepdims"]


def _wrong_attribute(graph: Graph) -> None:
    node(graph, "getitem").attrs["index"] = (("int", 0),) * 3


def _wrong_shape(graph: Graph) -> None:
    value = node(graph, "multiply").outputs[0]
    value.type = Type((Expr.symbol("n"), 4), value.dtype)


def _wrong_dtype(graph: Graph) -> None:
    value = node(graph, "sum").outputs[0]
    value.type = Type(value.shape, np.dtype(np.float64))


def _unknown_symbol(graph: Graph) -> None:
    del graph.sizes["n"]


def _lost_result(graph: Graph) -> None:
    node(graph, "sum").outputs.clear()


def _state_of_another_type(graph: Graph) -> None:
    state = graph.states[0]
    graph.states[0] = State(state.name, state.value, graph.inputs[0])


def _loop_that_changes_type(graph: Graph) -> None:
    loop = node(graph, "while_loop")
    loop.blocks["body"].outputs[0] = graph.constants[0]


def _condition_that_is_none(graph: Graph) -> None:
    node(graph, "while_loop").blocks["cond"].outputs[0] = graph.inputs[0]


def _foreign_value(graph: Graph) -> None:
    graph.nodes[-1].inputs[0] = Value("lost", graph.inputs[0].type, "node")


DAMAGE: dict[Callable[[Graph], None], str] = {
    _drop_block: r"has the blocks \['then'\]",
    _read_ahead: "which is not known there",
    _assign_twice: "assigns .* which is assigned already",
    _read_from_a_block: "the graph reads .* which is not known there",
    _same_name: "a name that is used twice",
    _same_output_name: "two outputs have one name",
    _no_output_name: "as many output names as outputs",
    _no_such_op: "an op that does not exist",
    _lost_attribute: r"has the attributes \['axes'\]",
    _wrong_attribute: "cannot be: too many indices",
    _wrong_shape: r"has <node %\d+: f32\[n, 4\]>, which should be f32\[n, 3\]",
    _wrong_dtype: r"f64\[\]>, which should be f32\[\]",
    _unknown_symbol: "whose sizes no symbol of the graph explains",
    _lost_result: "has 0 results; its op has 1",
    _state_of_another_type: "state count is",
    _loop_that_changes_type: "has a block 'body' that does not fit",
    _condition_that_is_none: "is not a 0-d bool",
    _foreign_value: "<node lost: .* not known there",
}


def test_recorded_graphs_are_well_formed() -> None:
    validate(recorded())


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__[1:])
def test_damage_is_found(damage: Callable[[Graph], None]) -> None:
    graph = copy.deepcopy(recorded())
    validate(graph)
    damage(graph)
    with pytest.raises(GraphError, match=DAMAGE[damage]):
        validate(graph)
