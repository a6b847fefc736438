"""Computes once what is computed twice: equal ops on equal values. Never random ops.

A block may use what was computed before it around it, never what another block computed.
"""

from __future__ import annotations

from collections import ChainMap
from typing import Any

from dyn.core.op import OPS
from tracer.graph import Block, Graph, Node, Value
from tracer.passes.base import Report, rebuilt, swapped


def common_subexpressions(graph: Graph) -> tuple[Graph, Report]:
    """Drop a node whose op, inputs and attributes are those of an earlier one."""
    work = _Work()
    nodes = work.nodes(graph.nodes, ChainMap())
    out = rebuilt(graph, nodes, work.swap)
    return out, Report(
        "common_subexpressions", work.dropped, f"dropped {work.dropped} repeated nodes"
    )


class _Work:
    def __init__(self) -> None:
        self.swap: dict[Value, Value] = {}
        self.dropped = 0

    def nodes(self, nodes: list[Node], seen: ChainMap[Any, Node]) -> list[Node]:
        kept = []
        for node in nodes:
            node = swapped(node, self.swap)
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
                    self.swap.update(zip(node.outputs, first.outputs, strict=True))
                    self.dropped += 1
                    continue
            kept.append(node)
        return kept

    def block(self, block: Block, seen: ChainMap[Any, Node]) -> Block:
        nodes = self.nodes(block.nodes, seen)
        return Block(block.inputs, nodes, [self.swap.get(v, v) for v in block.outputs])


def _key(node: Node) -> Any:
    # repr tells 1 from 1.0 and True, which are equal as attribute values but not the same.
    return node.op, tuple(map(id, node.inputs)), repr(node.attrs)
