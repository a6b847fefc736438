"""Computes once what is computed twice: equal ops on equal values. Never random ops.

A block may use what was computed before it around it, never what another block computed. Sizes that
depend on values are one size where the op that they come from is one.
"""

from __future__ import annotations

from collections import ChainMap
from typing import Any

from dyn.core.expr import decide
from dyn.core.op import OPS, Type
from tracer.graph import Block, Graph, Guard, Node, Value
from tracer.passes.base import Report, rebuilt, swapped
from tracer.sizes import renamed, symbol_of


def common_subexpressions(graph: Graph) -> tuple[Graph, Report]:
    """Drop a node whose op, inputs and attributes are those of an earlier one."""
    work = _Work()
    nodes = work.nodes(graph.nodes, ChainMap())
    out = rebuilt(graph, nodes, work.swap)
    if work.names:
        out.guards = [guard for guard in map(work.guard, out.guards) if not _holds_always(guard)]
    return out, Report(
        "common_subexpressions", work.dropped, f"dropped {work.dropped} repeated nodes"
    )


class _Work:
    def __init__(self) -> None:
        self.swap: dict[Value, Value] = {}
        self.names: dict[str, str] = {}
        self.dropped = 0

    def nodes(self, nodes: list[Node], seen: ChainMap[Any, Node]) -> list[Node]:
        kept = []
        for node in nodes:
            given = node
            node = swapped(node, self.swap)
            if self.names:
                node = self.renamed(node)
            if node.blocks:
                blocks = {
                    name: self.block(block, seen.new_child()) for name, block in node.blocks.items()
                }
                node = Node(
                    node.op,
                    node.inputs,
                    node.attrs,
                    node.outputs,
                    node.layer,
                    node.layer_class,
                    node.where,
                    blocks,
                )
            elif not OPS[node.op].random:
                first = seen.setdefault(_key(node), node)
                if first is not node:
                    self.drop(given, first)
                    continue
            kept.append(node)
        return kept

    def drop(self, node: Node, first: Node) -> None:
        """Let `first` stand for a node that does the same."""
        self.dropped += 1
        for value, kept in zip(node.outputs, first.outputs, strict=True):
            self.swap[value] = kept
            for size, same in zip(value.shape, kept.shape, strict=True):
                name, other = symbol_of(size), symbol_of(same)
                if name is not None and other is not None and name != other:
                    self.names[name] = other

    def renamed(self, node: Node) -> Node:
        """The node with the names of sizes that are left."""
        attrs = {name: renamed(value, self.names) for name, value in node.attrs.items()}
        outputs = [self.value(value) for value in node.outputs]
        same = all(attrs[name] is value for name, value in node.attrs.items())
        if same and all(a is b for a, b in zip(outputs, node.outputs, strict=True)):
            return node
        where = (node.layer, node.layer_class, node.where)
        return Node(node.op, node.inputs, attrs, outputs, *where, node.blocks)

    def value(self, value: Value) -> Value:
        shape = renamed(value.shape, self.names)
        if shape is value.shape:
            return value
        made = Value(value.name, Type(shape, value.dtype), value.kind, value.data, value.where)
        self.swap[value] = made
        return made

    def guard(self, guard: Guard) -> Guard:
        left, right = renamed(guard.left, self.names), renamed(guard.right, self.names)
        return Guard(left, guard.relation, right, guard.answer, guard.where)

    def block(self, block: Block, seen: ChainMap[Any, Node]) -> Block:
        if self.names:
            block = Block([self.value(v) for v in block.inputs], block.nodes, block.outputs)
        nodes = self.nodes(block.nodes, seen)
        return Block(block.inputs, nodes, [self.swap.get(v, v) for v in block.outputs])


def _key(node: Node) -> Any:
    # repr tells 1 from 1.0 and True, which are equal as attribute values but not the same.
    return node.op, tuple(map(id, node.inputs)), repr(node.attrs)


def _holds_always(guard: Guard) -> bool:
    return decide(guard.left - guard.right, guard.relation) is guard.answer
