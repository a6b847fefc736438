"""Step "lower": turns a checked graph into ONNX nodes, constants and named state.

Walks the nodes in order and calls the lowering of each op. The result is plain data that `model.py`
puts into a file. What is declared (inputs, outputs, state) keeps its declared name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import onnx
from onnx import helper

import exporter.lower  # noqa: F401  (registers every lowering)
from dyn.core.errors import DynError
from dyn.core.expr import Expr
from dyn.core.op import Type
from exporter.builder import Builder, Scope, Val, tensor_type
from exporter.emptiness import unless_empty
from exporter.errors import UnsupportedOpError
from exporter.nodes import live, reads, rename
from exporter.registry import LOWERINGS, NodeView
from exporter.wider import in_wider_types
from tracer.graph import Block, Graph, Node, Stored, Value
from tracer.passes.base import reads as values_read
from tracer.sizes import symbol_of

CONTROL_FLOW = ("cond", "while_loop", "scan")
NEXT = ".next"
"""A state `x` that the forward writes is given back as the output `x.next`."""


@dataclass
class Lowered:
    """A graph in ONNX terms, weights apart.

    Attributes:
        nodes: NodeProtos in order.
        inputs, outputs: (name, type), as declared.
        state_inputs: (name, type) of state that is read and written: inputs with a default.
        state_outputs: (name, type) of what that state becomes.
        weights: arrays of params, buffers and constants by initializer name.
        constants: which of them belong to no layer: axes, shapes, numbers.
        functions: the functions that nodes call, each before those that call it.
        states: state input name -> state output name.
    """

    name: str
    opset: int
    nodes: list[onnx.NodeProto]
    inputs: list[tuple[str, Type]]
    outputs: list[tuple[str, Type]]
    state_inputs: list[tuple[str, Type]] = field(default_factory=list)
    state_outputs: list[tuple[str, Type]] = field(default_factory=list)
    weights: dict[str, Stored] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    constants: frozenset[str] = frozenset()
    functions: list[onnx.FunctionProto] = field(default_factory=list)


def require_coverage(graph: Graph) -> None:
    """Step "coverage": every op has a lowering.

    Raises:
        UnsupportedOpError: lists each op without one, with layer path and line.
    """
    problems = unsupported(graph)
    if problems:
        raise UnsupportedOpError(problems)


def unsupported(graph: Graph) -> list[str]:
    """One line for every node that cannot be lowered: op, layer, source line."""
    return [
        f"{node.op} in {node.layer or graph.name} at {node.where or 'an unknown line'}"
        for node in graph.walk()
        if node.op not in LOWERINGS and node.op not in CONTROL_FLOW
    ]


def lower(graph: Graph, opset: int, seed: int | None = None) -> Lowered:
    """Write every node of `graph` in ONNX operators of `opset`.

    Args:
        seed: seeds the operators that draw random numbers, each with another number.

    Raises:
        UnsupportedOpError: lists every node that a lowering refused to write.
    """
    return _Lowering(graph, Builder(opset, seed=seed)).run()


class _Lowering:
    def __init__(self, graph: Graph, builder: Builder):
        self.graph = graph
        self.builder = builder
        self.values: dict[Value, Val] = {}
        self.weights: dict[str, Stored] = {}
        self.read = values_read(graph)
        self.refused: list[DynError] = []

    def run(self) -> Lowered:
        graph, b = self.graph, self.builder
        carried = {state.value: state for state in graph.states if state.value is not None}
        for value in graph.inputs:
            if value not in self.values:
                self.values[value] = Val(b.names.reserve(value.name))
                self.bind_sizes(b, value)
        for name in (*graph.output_names, *(state.name + NEXT for state in graph.states)):
            b.names.reserve(name)
        for value in (*graph.params, *graph.buffers, *graph.constants):
            self.declare_state(b, value)
        self.block(b, graph)
        if self.refused:
            raise UnsupportedOpError([str(error) for error in self.refused])
        outputs = list(zip(graph.output_names, graph.outputs, strict=True))
        nexts = [(state.name + NEXT, state.next) for state in graph.states]
        self.name_outputs(b, [*outputs, *nexts])
        b.nodes = live(b.nodes, [name for name, _ in (*outputs, *nexts)])
        self.weights.update(b.constants)
        used = {name for node in b.nodes for name in reads(node)}
        return Lowered(
            name=graph.name,
            opset=b.opset,
            nodes=b.nodes,
            inputs=[(v.name, v.type) for v in graph.inputs],
            outputs=[(name, v.type) for name, v in outputs],
            state_inputs=[(s.name, v.type) for v, s in carried.items()],
            state_outputs=[(name, v.type) for name, v in nexts],
            weights={
                name: array
                for name, array in self.weights.items()
                if name in used or name in {s.name for s in carried.values()}
            },
            states={s.name: s.name + NEXT for s in graph.states if s.value is not None},
            constants=frozenset(b.constants),
        )

    def declare_state(self, b: Builder, value: Value) -> None:
        """A param, buffer or constant becomes an initializer; literals are stored once."""
        if value.data is None:
            return
        if value.kind == "literal":
            self.values[value] = b.const(value.data)
            return
        name = b.names.reserve(value.name) if value.kind != "const" else b.names.fresh(value.name)
        self.weights[name] = value.data
        self.values[value] = Val(name)

    def bind_sizes(self, b: Builder, value: Value) -> None:
        """Sizes first seen on this value are read from its shape."""
        for axis, size in enumerate(value.type.shape):
            symbol = symbol_of(size)
            if symbol is not None:
                b.bind_symbol(symbol, self.values[value], axis)

    def block(self, b: Builder, block: Block) -> None:
        """Lower the nodes of a block in order."""
        for node in block.nodes:
            b.scope = Scope(node.op, node.layer, node.layer_class, node.where)
            run = self.control_flow if node.op in CONTROL_FLOW else self.node
            made = run(b, node)
            for value, val in zip(node.outputs, made, strict=False):
                if val is not None:
                    self.values[value] = val
                    self.bind_sizes(b, value)
                    b.tag(val, value.name)

    def node(self, b: Builder, node: Node) -> tuple[Val | None, ...]:
        """Call the lowering of one node."""
        view = NodeView(
            op=node.op,
            inputs=[None if v is None else self.values[v] for v in node.inputs],
            attrs=node.attrs,
            input_types=[None if v is None else v.type for v in node.inputs],
            output_types=[v.type for v in node.outputs],
            used=[v in self.read for v in node.outputs],
            layer=node.layer,
            where=node.where,
        )
        try:
            return unless_empty(partial(in_wider_types, LOWERINGS[node.op]), b, view)
        except DynError as error:
            error.op = error.op or node.op
            error.where = node.where or error.where
            error.layers = [node.layer] if node.layer else []
            self.refused.append(error)
            # Go on, so that all refusals are told together.
            return tuple(Val("?") for _ in node.outputs)

    # -- control flow ------------------------------------------------------------------------

    def control_flow(self, b: Builder, node: Node) -> tuple[Val, ...]:
        """If, Loop and Scan over sub-graphs."""
        from_outside = [None if v is None else self.values[v] for v in node.inputs]
        if node.op == "cond":
            made = b.op(
                "If",
                from_outside[0],
                outputs=len(node.outputs),
                then_branch=self.subgraph(b, node.blocks["then"], "then"),
                else_branch=self.subgraph(b, node.blocks["else"], "else"),
            )
        elif node.op == "while_loop":
            made = self.loop(b, node, from_outside)
        else:
            made = self.scan(b, node, from_outside)
        return made if isinstance(made, tuple) else (made,)

    def subgraph(self, b: Builder, block: Block, name: str) -> onnx.GraphProto:
        """A block without inputs as a GraphProto."""
        child = b.child()
        self.block(child, block)
        return self.close(child, block, [], name)

    def enter(self, child: Builder, value: Value) -> onnx.ValueInfoProto:
        """Name an input of a block in its sub-graph, and declare it there."""
        self.values[value] = Val(child.names.fresh(value.name))
        return _declared(self.values[value].name, value.type)

    def close(
        self, child: Builder, block: Block, inputs: list[onnx.ValueInfoProto], name: str
    ) -> onnx.GraphProto:
        """Finish a sub-graph: outputs must be made inside it, each under a name of its own."""
        made = {output for node in child.nodes for output in node.output}
        outputs = []
        for value in block.outputs:
            val = self.values[value]
            if val.name not in made or any(o.name == val.name for o in outputs):
                val = child.copy(val)
            outputs.append(_declared(val.name, value.type))
        nodes = live(child.nodes, [output.name for output in outputs])
        return helper.make_graph(nodes, name, inputs, outputs)

    def loop(self, b: Builder, node: Node, initial: list[Val | None]) -> Any:
        """while_loop: the condition is computed before the first run and at the end of each."""
        test, body = node.blocks["cond"], node.blocks["body"]
        for value, val in zip(test.inputs, initial, strict=True):
            assert val is not None
            self.values[value] = val
        self.block(b, test)
        start = self.values[test.outputs[0]]
        child = b.child()
        counter, going = child.names.fresh("iteration"), child.names.fresh("going")
        infos = [
            helper.make_tensor_value_info(counter, onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info(going, onnx.TensorProto.BOOL, []),
        ]
        infos += [self.enter(child, value) for value in body.inputs]
        self.block(child, body)
        for value, result in zip(test.inputs, body.outputs, strict=True):
            self.values[value] = self.values[result]
        for inner in test.walk():
            for output in inner.outputs:
                self.values.pop(output, None)
        self.block(child, test)
        whole = Block(inputs=[], nodes=[], outputs=[test.outputs[0], *body.outputs])
        graph = self.close(child, whole, infos, "body")
        return b.op("Loop", None, start, *initial, outputs=len(node.outputs), body=graph)

    def scan(self, b: Builder, node: Node, inputs: list[Val | None]) -> Any:
        """scan: carried values first, then the sequences, cut along their first axis."""
        body = node.blocks["body"]
        carried = node.attrs["carried"]
        child = b.child()
        infos = []
        for value in body.inputs:
            infos.append(self.enter(child, value))
            self.bind_sizes(child, value)
        self.block(child, body)
        graph = self.close(child, body, infos, "body")
        count = len(body.inputs) - carried
        return b.op("Scan", *inputs, outputs=len(node.outputs), body=graph, num_scan_inputs=count)

    # -- outputs -----------------------------------------------------------------------------

    def name_outputs(self, b: Builder, outputs: list[tuple[str, Value]]) -> None:
        """Give results their declared names: renamed where possible, else by an Identity."""
        made = {output for node in b.nodes for output in node.output}
        renamed: dict[str, str] = {}
        b.scope = Scope("output")
        copies = []
        for name, value in outputs:
            val = self.values[value]
            if val.name in made and val.name not in renamed:
                renamed[val.name] = name
            else:
                copies.append((name, val))
        rename(b.nodes, renamed)
        for name, val in copies:
            b.add_node("Identity", [str(renamed.get(val.name, val.name))], [name])


_UNKNOWN = re.compile(r"\b_(?=\w)")
"""The start of a size that depends on values; no declared size has the "?" that replaces it."""


def value_info(type_: Type) -> tuple[int, list[Any]]:
    """Element type and shape as a file declares them; symbolic sizes are texts."""
    shape = [_UNKNOWN.sub("?", str(n)) if isinstance(n, Expr) else n for n in type_.shape]
    return tensor_type(type_.dtype), shape


def _declared(name: str, type_: Type) -> onnx.ValueInfoProto:
    """An input or output of a sub-graph, symbolic sizes left open."""
    shape = [None if isinstance(n, Expr) else n for n in type_.shape]
    return helper.make_tensor_value_info(name, tensor_type(type_.dtype), shape)
