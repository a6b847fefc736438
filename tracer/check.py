"""`validate`: whether a graph is well formed. Run between passes in tests, and before an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dyn.core.dim import SizeScope
from dyn.core.dispatch import run_infer
from dyn.core.errors import DynError
from dyn.core.expr import Expr, is_unknown
from dyn.core.op import OPS, Type
from tracer.errors import GraphError
from tracer.graph import Block, Graph, Node, Value
from tracer.sizes import symbol_of, to_dim, type_of_dims
from tracer.text import type_text

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
        raise _error(node, f"cannot be: {error.message}") from None
    return [type_of_dims(type_) for type_ in inferred]


class _Checker:
    def __init__(self, graph: Graph):
        self.g = graph
        self.names: set[str] = set()
        self.symbols = set(graph.sizes)

    def graph(self) -> None:
        known: set[Value] = set()
        for value in (*self.g.inputs, *self.g.params, *self.g.buffers, *self.g.constants):
            self.define(value, known, None)
        if len(self.g.output_names) != len(self.g.outputs):
            raise GraphError("a graph has as many output names as outputs")
        if len(set(self.g.output_names)) != len(self.g.outputs):
            raise GraphError(f"two outputs have one name: {self.g.output_names}")
        for state in self.g.states:
            if state.value is not None and state.value.type != state.next.type:
                raise GraphError(
                    f"state {state.name} is {state.value!r} and becomes {state.next!r}"
                )
        self.block(self.g, known, None)

    def define(self, value: Value, known: set[Value], node: Node | None) -> None:
        """Take a value that the node (the graph if it is None) assigns to what is known."""
        if value in known:
            raise _error(node, f"assigns {value!r}, which is assigned already: no value is twice")
        known.add(value)
        if value.name != "_":
            if value.name in self.names:
                raise _error(node, f"gives {value!r} a name that is used twice")
            self.names.add(value.name)
        for size in value.shape:
            if isinstance(size, Expr) and not size.symbols() <= self.symbols:
                raise _error(node, f"has {value!r}, whose sizes no symbol of the graph explains")

    def block(self, block: Block, known: set[Value], owner: Node | None) -> None:
        """Check nodes and results of a block in which `known` may be read."""
        for node in block.nodes:
            for value in node.inputs:
                self.need(value, known, node)
            for inner in node.blocks.values():
                inside = set(known)
                for value in inner.inputs:
                    self.define(value, inside, node)
                self.block(inner, inside, node)
            self.node(node)
            for value in node.outputs:
                self.define(value, known, node)
        for value in block.roots():
            self.need(value, known, owner)

    def need(self, value: Value | None, known: set[Value], node: Node | None) -> None:
        if value is not None and value not in known:
            raise _error(node, f"reads {value!r}, which is not known there")

    def node(self, node: Node) -> None:
        if node.op in CONTROL:
            self.control(node)
            return
        op = OPS.get(node.op)
        if op is None:
            raise _error(node, "has an op that does not exist")
        if list(node.attrs) != list(op.attrs):
            raise _error(node, f"has the attributes {list(node.attrs)}, not {list(op.attrs)}")
        self.same_types(node, inferred_types(node, self.g.sizes))

    def same_types(self, node: Node, inferred: list[Type]) -> None:
        if len(inferred) != len(node.outputs):
            raise _error(node, f"has {len(node.outputs)} results; its op has {len(inferred)}")
        for value, type_ in zip(node.outputs, inferred, strict=True):
            same = len(value.shape) == len(type_.shape) and all(
                b is None or a == b for a, b in zip(value.shape, type_.shape, strict=True)
            )
            if not same or value.dtype != type_.dtype:
                raise _error(node, f"has {value!r}, which should be {type_text(type_)}")

    def control(self, node: Node) -> None:
        if tuple(node.blocks) != CONTROL[node.op]:
            raise _error(node, f"has the blocks {list(node.blocks)}")
        results = [value.type for value in node.outputs]
        if node.op == "cond":
            expected: dict[str, tuple[list[Type], list[Type]]] = dict.fromkeys(
                node.blocks, ([], results)
            )
        elif node.op == "while_loop":
            flag = _types(node.blocks["cond"].outputs)
            if [type_.dtype.name for type_ in flag] != ["bool"] or flag[0].shape:
                raise _error(node, "has a condition that is not a 0-d bool")
            expected = {"cond": (results, flag), "body": (results, results)}
        else:
            count = node.attrs["carried"]
            steps = [Type(t.shape[1:], t.dtype) for t in _types(node.inputs)[count:]]
            rows = [Type(t.shape[1:], t.dtype) for t in results[count:]]
            expected = {"body": (results[:count] + steps, results[:count] + rows)}
        for name, (inputs, outputs) in expected.items():
            block = node.blocks[name]
            fits = _types(block.inputs) == inputs and len(block.outputs) == len(outputs)
            if not fits or not all(map(may_become, _types(block.outputs), outputs)):
                raise _error(node, f"has a block {name!r} that does not fit it")


def may_become(inner: Type, outer: Type) -> bool:
    """Whether a result of a block may be a result of its node: sizes may become unknown ones."""
    return (
        inner.dtype == outer.dtype
        and len(inner.shape) == len(outer.shape)
        and all(
            a == b or symbol_is_unknown(b) for a, b in zip(inner.shape, outer.shape, strict=True)
        )
    )


def symbol_is_unknown(size: Any) -> bool:
    """Whether a size is a symbol that depends on values."""
    symbol = symbol_of(size)
    return symbol is not None and is_unknown(symbol)


def _types(values: Sequence[Any]) -> list[Type]:
    return [value.type for value in values]


def _error(node: Node | None, text: str) -> GraphError:
    if node is None:
        return GraphError(f"the graph {text}")
    return GraphError(f"{node!r} {text}", where=node.where)
