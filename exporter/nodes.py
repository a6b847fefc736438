"""What NodeProtos hold and read, sub-graphs included.

Nothing here knows what an operator does; choosing and saving nodes is up to lowerings and
`peephole.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs among the attributes of a node: branches of If, bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g


def walk(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """All nodes, those of sub-graphs right after the node that holds them."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from walk(graph.node)


def rename(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Call values that nodes read and make by other names, in place; `names` gives new by old."""
    for node in walk(nodes):
        for listed in (node.input, node.output):
            for i, name in enumerate(listed):
                if name in names:
                    listed[i] = names[name]


def reads(node: onnx.NodeProto) -> set[str]:
    """Names of the values that a node reads, those read from outside by its sub-graphs too."""
    found = {name for name in node.input if name}
    for graph in subgraphs(node):
        own = {value.name for value in graph.input}
        own.update(name for inner in graph.node for name in inner.output)
        for inner in graph.node:
            found |= reads(inner) - own
        found.update({output.name for output in graph.output} - own)
    return found


def live(nodes: Sequence[onnx.NodeProto], wanted: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that the wanted values need, in their order."""
    needed = set(wanted)
    kept = []
    for node in reversed(nodes):
        if any(output in needed for output in node.output):
            needed.update(reads(node))
            kept.append(node)
    return kept[::-1]
