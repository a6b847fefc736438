"""Removes nodes whose results nobody reads, in the graph and in its blocks."""

from __future__ import annotations

from collections.abc import Iterable

from tracer.graph import Block, Graph, Node, Value
from tracer.passes.base import Report, reads, rebuilt
from tracer.sizes import unknown_sizes


def dead_code(graph: Graph) -> tuple[Graph, Report]:
    """Keep what the outputs and the next values of states depend on."""
    before = sum(1 for _ in graph.walk())
    out = rebuilt(graph, live_nodes(graph.nodes, graph.roots()))
    removed = before - sum(1 for _ in out.walk())
    return out, Report("dead_code", removed, f"removed {removed} nodes that nothing reads")


def live_nodes(nodes: list[Node], roots: Iterable[Value]) -> list[Node]:
    """Those of the nodes that the roots depend on; results and blocks that nobody reads are cut."""
    wanted = set(roots)
    spoken_of: set[str] = set()
    makers: dict[str, Node] = {}
    for node in nodes:
        for symbol in unknown_sizes(*(value.shape for value in node.outputs)):
            makers.setdefault(symbol, node)
    kept: list[Node] = []
    for node in reversed(nodes):
        counts = any(makers.get(symbol) is node for symbol in spoken_of)
        if not counts and not any(value in wanted for value in node.outputs):
            continue
        if node.blocks:
            node = _trimmed(node, wanted)
        wanted.update(value for value in node.inputs if value is not None)
        for block in node.blocks.values():
            wanted |= reads(block)
        # An attribute that speaks of a size that depends on values needs the node that makes it.
        for inner in Block([], [node], []).walk() if makers else ():
            spoken_of |= unknown_sizes(*inner.attrs.values())
        kept.append(node)
    kept.reverse()
    return kept


def _trimmed(node: Node, wanted: set[Value]) -> Node:
    """A control-flow node without the dead code in its blocks; a cond also without dead results."""
    outputs, keep = node.outputs, range(len(node.outputs))
    if node.op == "cond":
        keep = [i for i, value in enumerate(outputs) if value in wanted]
        outputs = [outputs[i] for i in keep]
    blocks = {}
    for name, block in node.blocks.items():
        results = [block.outputs[i] for i in keep] if node.op == "cond" else block.outputs
        blocks[name] = Block(block.inputs, live_nodes(block.nodes, results), results)
    return Node(
        node.op, node.inputs, node.attrs, outputs, node.layer, node.layer_class, node.where, blocks
    )
