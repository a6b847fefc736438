"""`validate`: whether a graph is well formed. Run between passes in tests, and before an export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dyn.core.dim import SizeScope
from dyn.core.dispatch import run_infer
from dyn.core.errors import DynError
from dyn.core.expr import Expr
from dyn.core.op import OPS, Type
from tracer.errors import GraphError
from tracer.graph import Block, Graph, Node, Value
from tracer.sizes import to_dim, type_of_dims

CONTROL = {"cond": ("then", "else"), "while_loop": ("cond", "body"), "scan": ("body",)}
"""Control-flow nodes and the blocks that they must have."""


def validate(graph: Graph) -> None:
    """Check that the graph could have been recorded.

    Every value is assigned once and read only where it is known; names are unique; ops exist and
    have the attributes they declare; `infer` gives the recorded types; blocks fit their node.

    Raises:
        GraphError: it could not; it names the node.
    """
    _Checker(graph).graph()


def inferred_types(node: Node, sizes: Mapping[str, int]) -> list[Type]:
    """Types of all outputs of a node, as its op infers them; None for a size that it cannot know.

    Args:
        sizes: sample size of every symbol.

    Raises:
        GraphError: the op refuses the inputs or attributes.
    """
    scope = SizeScope()
    types = [
        None if value is None else Type(to_dim(value.shape, sizes, scope), value.dtype)
        for value in node.inputs
    ]
    attrs = {name: to_dim(value, sizes, scope) for name, value in node.attrs.items()}
    try:
        inferred = run_infer(OPS[node.op], types, attrs)
    except DynError as error:
        raise GraphError(f"{node!r} cannot be: {error.message}", op=node.op) from None
    return [type_of_dims(type_) for type_ in inferred]


class _Checker:
    def __init__(self, graph: Graph):
        self.g = graph
        self.names: set[str] = set()
        self.symbols = set(graph.sizes)

    def graph(self) -> None:
        known: set[Value] = set()
        for value in (*self.g.inputs, *self.g.params, *self.g.buffers, *self.g.constants):
            self.define(value, known, "the graph")
        if len(self.g.output_names) != len(self.g.outputs):
            raise GraphError("a graph has as many output names as outputs")
        if len(set(self.g.output_names)) != len(self.g.outputs):
            raise GraphError(f"two outputs have one name: {self.g.output_names}")
        for state in self.g.states:
            if state.value is not None and state.value.type != state.next.type:
                raise GraphError(
                    f"state {state.name} is {state.value!r} and becomes {state.next!r}"
                )
        self.block(self.g, known, "the graph")

    def define(self, value: Value, known: set[Value], where: str) -> None:
        if value in known:
            raise GraphError(f"{value!r} is assigned twice, the second time by {where}")
        known.add(value)
        if value.name != "_":
            if value.name in self.names:
                raise GraphError(f"the name {value.name!r} is used twice, in {where}")
            self.names.add(value.name)
        for size in value.shape:
            if isinstance(size, Expr) and not size.symbols() <= self.symbols:
                raise GraphError(f"{value!r} has a size that no symbol of the graph explains")

    def block(self, block: Block, known: set[Value], where: str) -> None:
        """Check nodes and results of a block in which `known` may be read."""
        for node in block.nodes:
            for value in node.inputs:
                self.need(value, known, repr(node))
            for inner in node.blocks.values():
                inside = set(known)
                for value in inner.inputs:
                    self.define(value, inside, repr(node))
                self.block(inner, inside, repr(node))
            self.node(node)
            for value in node.outputs:
                self.define(value, known, repr(node))
        for value in block.roots():
            self.need(value, known, where)

    def need(self, value: Value | None, known: set[Value], where: str) -> None:
        if value is not None and value not in known:
            raise GraphError(f"{where} reads {value!r}, which is not known there")

    def node(self, node: Node) -> None:
        if node.op in CONTROL:
            self.control(node)
            return
        op = OPS.get(node.op)
        if op is None:
            raise GraphError(f"there is no op {node.op!r} ({node!r})")
        if list(node.attrs) != list(op.attrs):
            raise GraphError(
                f"{node!r} has the attributes {list(node.attrs)}, not {list(op.attrs)}"
            )
        self.same_types(node, inferred_types(node, self.g.sizes))

    def same_types(self, node: Node, inferred: list[Type]) -> None:
        if len(inferred) != len(node.outputs):
            raise GraphError(f"{node!r} has {len(node.outputs)} results, infer {len(inferred)}")
        for value, type_ in zip(node.outputs, inferred, strict=True):
            same = len(value.shape) == len(type_.shape) and all(
                b is None or a == b for a, b in zip(value.shape, type_.shape, strict=True)
            )
            if not same or value.dtype != type_.dtype:
                raise GraphError(f"{value!r} of {node!r} should be {type_}")

    def control(self, node: Node) -> None:
        if tuple(node.blocks) != CONTROL[node.op]:
            raise GraphError(f"{node!r} has the blocks {list(node.blocks)}")
        results = [value.type for value in node.outputs]
        if node.op == "cond":
            expected: dict[str, tuple[list[Any], list[Any]]] = dict.fromkeys(
                node.blocks, ([], results)
            )
        elif node.op == "while_loop":
            flag = [type_ for type_ in self.types(node.blocks["cond"].outputs)]
            if [t.dtype.name for t in flag] != ["bool"] or flag[0].shape:
                raise GraphError(f"the condition of {node!r} is not a 0-d bool")
            expected = {"cond": (results, flag), "body": (results, results)}
        else:
            count = node.attrs["carried"]
            steps = [Type(t.shape[1:], t.dtype) for t in self.types(node.inputs)[count:]]
            rows = [Type(t.shape[1:], t.dtype) for t in results[count:]]
            expected = {"body": (results[:count] + steps, results[:count] + rows)}
        for name, (inputs, outputs) in expected.items():
            block = node.blocks[name]
            if self.types(block.inputs) != inputs or self.types(block.outputs) != outputs:
                raise GraphError(f"the block {name!r} of {node!r} does not fit its node")

    @staticmethod
    def types(values: list[Any]) -> list[Type]:
        return [value.type for value in values]
