"""What passes share: the report each of them gives, and building a graph out of changed nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from dyn.core.expr import is_unknown
from tracer.graph import Block, Graph, Node, Value
from tracer.names import name_constants
from tracer.sizes import unknown_sizes


@dataclass(frozen=True)
class Report:
    """What a pass did.

    Attributes:
        name: of the pass.
        changes: how many nodes it removed, replaced or folded.
        text: one sentence.
    """

    name: str
    changes: int
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def rebuilt(
    graph: Graph, nodes: list[Node], replaced: Mapping[Value, Value] | None = None
) -> Graph:
    """The graph with other nodes; params, buffers and constants are those still read.

    Args:
        replaced: values whose readers outside `nodes` (outputs, states) read another one instead.
    """
    swap = replaced or {}
    outputs = [swap.get(value, value) for value in graph.outputs]
    states = [
        dataclasses.replace(state, next=swap.get(state.next, state.next)) for state in graph.states
    ]
    out = dataclasses.replace(graph, nodes=nodes, outputs=outputs, states=states)
    collect_state(out)
    drop_sizes(out)
    name_constants(out)
    return out


def drop_sizes(graph: Graph) -> None:
    """Forget the sizes that depend on values and occur nowhere."""
    if not any(map(is_unknown, graph.sizes)):
        return
    used: set[str] = set()
    for node in graph.walk():
        used |= unknown_sizes(*node.attrs.values(), *(value.shape for value in node.outputs))
    graph.sizes = {s: n for s, n in graph.sizes.items() if s in used or not is_unknown(s)}


def copied(graph: Graph) -> Graph:
    """The graph with nodes of its own, and values of its own for their results."""
    fresh: dict[Value, Value] = {}

    def copies(values: list[Value]) -> list[Value]:
        for value in values:
            fresh[value] = Value(value.name, value.type, value.kind, value.data, value.where)
        return [fresh[value] for value in values]

    def nodes_of(nodes: list[Node]) -> list[Node]:
        made = []
        for node in nodes:
            inputs = [None if value is None else fresh.get(value, value) for value in node.inputs]
            blocks = {name: block_of(block) for name, block in node.blocks.items()}
            outputs = copies(node.outputs)
            where = (node.layer, node.layer_class, node.where)
            made.append(Node(node.op, inputs, node.attrs, outputs, *where, blocks))
        return made

    def block_of(block: Block) -> Block:
        inputs = copies(block.inputs)
        nodes = nodes_of(block.nodes)
        return Block(inputs, nodes, [fresh.get(value, value) for value in block.outputs])

    return rebuilt(graph, nodes_of(graph.nodes), fresh)


def collect_state(graph: Graph) -> None:
    """Fill params, buffers and constants with what is read: old ones in order, then new ones."""
    read = reads(graph)
    read |= {state.value for state in graph.states if state.value is not None}
    old = [*graph.params, *graph.buffers, *graph.constants]
    places = {value: i for i, value in enumerate(old)}
    named = {value.name: i for i, value in enumerate(old)}

    def place(value: Value) -> tuple[int, str]:
        # A new value with the name of an old one takes its place in the order.
        return places.get(value, named.get(value.name, len(old))), value.name

    ordered = sorted((v for v in read if v.kind in _STORED), key=place)
    graph.params = [value for value in ordered if value.kind == "param"]
    graph.buffers = [value for value in ordered if value.kind == "buffer"]
    graph.constants = [value for value in ordered if value.kind in ("const", "literal")]


_STORED = ("param", "buffer", "const", "literal")


def reads(part: Graph | Block) -> set[Value]:
    """Every value that a node, an inner block's result, an output or a state of it reads."""
    found = set(part.outputs if isinstance(part, Block) else part.roots())
    for node in part.walk():
        found.update(value for value in node.inputs if value is not None)
        for block in node.blocks.values():
            found.update(block.outputs)
    return found


def swapped(node: Node, swap: Mapping[Value, Value]) -> Node:
    """The node reading other values, also in its blocks; the same object if it reads none."""
    blocks = {name: _swapped_block(block, swap) for name, block in node.blocks.items()}
    same = all(blocks[name] is block for name, block in node.blocks.items())
    if same and not any(value in swap for value in node.inputs if value is not None):
        return node
    inputs = [None if value is None else swap.get(value, value) for value in node.inputs]
    return Node(
        node.op, inputs, node.attrs, node.outputs, node.layer, node.layer_class, node.where, blocks
    )


def _swapped_block(block: Block, swap: Mapping[Value, Value]) -> Block:
    nodes = [swapped(node, swap) for node in block.nodes]
    outputs = [swap.get(value, value) for value in block.outputs]
    if nodes == block.nodes and outputs == block.outputs:
        return block
    return Block(block.inputs, nodes, outputs)
