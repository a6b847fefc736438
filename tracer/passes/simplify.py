"""Removes ops that change nothing, and joins reshapes and transposes that follow one another.

An op changes nothing if its result has the type and the elements of its input: a cast to the dtype
that is there, a reshape to the same shape, a slice of everything.
"""

from __future__ import annotations

from collections.abc import Callable

from tracer.graph import Block, Graph, Node, Value
from tracer.passes.base import Report, rebuilt, swapped

_RESHAPES = ("reshape", "squeeze", "unsqueeze")
"""Ops that keep all elements in row-major order."""


def simplify(graph: Graph) -> tuple[Graph, Report]:
    """Skip every node that changes nothing; what it skipped over is left to `dead_code`."""
    work = _Work()
    nodes = work.nodes(graph.nodes)
    out = rebuilt(graph, nodes, work.swap)
    return out, Report("simplify", work.changes, f"removed or joined {work.changes} nodes")


class _Work:
    def __init__(self) -> None:
        self.swap: dict[Value, Value] = {}
        self.makers: dict[Value, Node] = {}
        self.changes = 0

    def nodes(self, nodes: list[Node]) -> list[Node]:
        kept = []
        for node in nodes:
            node = swapped(node, self.swap)
            if node.blocks:
                blocks = {name: self.block(block) for name, block in node.blocks.items()}
                node = _changed(node, blocks=blocks)
            joined = self.joined(node)
            if joined is not node:
                self.changes += 1
                node = joined
            if _is_nothing(node):
                self.changes += 1
                self.swap[node.outputs[0]] = node.inputs[0]  # type: ignore[assignment]
                continue
            self.makers[node.outputs[0]] = node
            kept.append(node)
        return kept

    def block(self, block: Block) -> Block:
        nodes = self.nodes(block.nodes)
        return Block(block.inputs, nodes, [self.swap.get(v, v) for v in block.outputs])

    def joined(self, node: Node) -> Node:
        """The node reading past a reshape or transpose that its own makes superfluous."""
        before = self.makers.get(node.inputs[0]) if node.inputs else None  # type: ignore[arg-type]
        if before is None:
            return node
        if node.op in _RESHAPES and before.op in _RESHAPES:
            shape = node.outputs[0].shape
            return _changed(node, op="reshape", inputs=before.inputs, attrs={"shape": shape})
        if node.op == before.op == "transpose":
            first, second = before.attrs["perm"], node.attrs["perm"]
            perm = tuple(first[axis] for axis in second)
            return _changed(node, inputs=before.inputs, attrs={"perm": perm})
        return node


def _changed(
    node: Node,
    op: str | None = None,
    inputs: list[Value | None] | None = None,
    attrs: dict | None = None,
    blocks: dict[str, Block] | None = None,
) -> Node:
    return Node(
        op or node.op,
        node.inputs if inputs is None else inputs,
        node.attrs if attrs is None else attrs,
        node.outputs,
        node.layer,
        node.layer_class,
        node.where,
        node.blocks if blocks is None else blocks,
    )


def _is_nothing(node: Node) -> bool:
    """Whether the first result of a node is its first input."""
    test = _NOTHING.get(node.op)
    if test is None or not node.inputs or node.inputs[0] is None:
        return False
    return node.outputs[0].type == node.inputs[0].type and test(node)


def _takes_all(node: Node) -> bool:
    """Whether an index selects everything, given that it keeps the shape."""
    return all(
        entry[0] == "slice" and entry[1] in (None, 0) and entry[3] in (None, 1)
        for entry in node.attrs["index"]
    )


_NOTHING: dict[str, Callable[[Node], bool]] = {
    "cast": lambda node: True,
    "clone": lambda node: True,
    "concat": lambda node: len(node.inputs) == 1,
    "expand": lambda node: True,
    "flip": lambda node: not node.attrs["axes"],
    "getitem": _takes_all,
    "pad": lambda node: not any(before or after for before, after in node.attrs["pads"]),
    "reshape": lambda node: True,
    "squeeze": lambda node: True,
    "sum_to": lambda node: True,
    "tile": lambda node: True,
    "transpose": lambda node: node.attrs["perm"] == tuple(range(len(node.outputs[0].shape))),
    "unsqueeze": lambda node: True,
}
"""For each op, when it changes nothing although its result has the type of its input."""
