"""Computes ahead what depends on constants alone. Never random ops, state, or what they feed.

Parameters are left alone: folding them would lose their names and store shared ones twice. A result
larger than the limit stays an op, unless it is no larger than what it is made from.
"""

from __future__ import annotations

import numpy as np

from dyn.core.dispatch import quietly
from dyn.core.op import OPS, Type
from tracer.graph import Block, Graph, Node, Value
from tracer.passes.base import Report, rebuilt
from tracer.sizes import is_symbolic

LIMIT = 1 << 16
"""Bytes that a folded result may have."""


def constant_folding(graph: Graph, limit: int = LIMIT) -> tuple[Graph, Report]:
    """Replace nodes whose inputs are constants by their results.

    Args:
        limit: bytes that a result may have beyond those of the node's inputs.
    """
    work = _Work(limit)
    nodes = work.nodes(graph.nodes)
    out = rebuilt(graph, nodes, work.swap)
    return out, Report(
        "constant_folding", work.folded, f"computed {work.folded} nodes ahead, {work.bytes} bytes"
    )


class _Work:
    def __init__(self, limit: int):
        self.limit = limit
        self.swap: dict[Value, Value] = {}
        self.folded = 0
        self.bytes = 0

    def nodes(self, nodes: list[Node]) -> list[Node]:
        kept = []
        for node in nodes:
            inputs = [None if v is None else self.swap.get(v, v) for v in node.inputs]
            blocks = {name: self.block(block) for name, block in node.blocks.items()}
            if not blocks and self.fold(node, inputs):
                continue
            changed = inputs != node.inputs or any(blocks[k] is not node.blocks[k] for k in blocks)
            if changed:
                node = Node(
                    node.op,
                    inputs,
                    node.attrs,
                    node.outputs,
                    node.layer,
                    node.layer_class,
                    node.where,
                    blocks,
                )
            kept.append(node)
        return kept

    def block(self, block: Block) -> Block:
        nodes = self.nodes(block.nodes)
        outputs = [self.swap.get(value, value) for value in block.outputs]
        if nodes == block.nodes and outputs == block.outputs:
            return block
        return Block(block.inputs, nodes, outputs)

    def fold(self, node: Node, inputs: list[Value | None]) -> bool:
        """Run the node and remember its results as constants, if that is allowed."""
        op = OPS[node.op]
        if op.random or any(is_symbolic(value) for value in node.attrs.values()):
            return False
        given = [value for value in inputs if value is not None]
        if any(v.kind not in ("const", "literal") or v.data is None for v in given):
            return False
        size = sum(_bytes(value.type) for value in node.outputs)
        if op.dynamic or size > self.limit + sum(_bytes(value.type) for value in given):
            return False
        arrays = [None if value is None else np.asarray(value.data) for value in inputs]
        results = quietly(op.kernel, *arrays, **node.attrs)
        for value, array in zip(
            node.outputs, results if isinstance(results, tuple) else (results,), strict=True
        ):
            array = np.asarray(array)
            self.swap[value] = Value("", value.type, "literal", array, node.where)
            self.bytes += array.nbytes
        self.folded += 1
        return True


def _bytes(type_: Type) -> int:
    total = type_.dtype.itemsize
    for size in type_.shape:
        total *= size
    return total
