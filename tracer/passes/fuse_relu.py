"""Lets the kernels that know how to clip what they write do so, instead of an op after them.

That saves reading and writing all of it once more. ONNX has no such operators: this is for graphs
that run here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tracer.graph import Graph, Node, Value
from tracer.passes.base import Report, reads, rebuilt

OPS_WITH_ACTIVATION = ("batch_norm", "conv")
"""Ops whose attribute `activation` says what happens to their first result."""


def fuse_relu(graph: Graph) -> tuple[Graph, Report]:
    """Join a relu with the op before it, if nothing else reads what that op gives.

    The rules of gradients read what comes out of a relu, so that a training step may be joined as
    well as an inference. Blocks are left as they are.
    """
    alone = _read_once(graph)
    makers: dict[Value | None, int] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        source = node.inputs[0] if node.op == "relu" else None
        if source in makers and source in alone:
            place = makers[source]
            nodes[place] = _joined(nodes[place], node)
            continue
        if node.op in OPS_WITH_ACTIVATION and node.attrs["activation"] is None:
            makers[node.outputs[0]] = len(nodes)
        nodes.append(node)
    fused = len(graph.nodes) - len(nodes)
    return rebuilt(graph, nodes), Report("fuse_relu", fused, f"joined {fused} relus with their ops")


def _read_once(graph: Graph) -> set[Value | None]:
    """Values that one node reads, and no block, output or state besides."""
    readers = Counter(value for node in graph.nodes for value in node.inputs)
    blocks = [block for node in graph.nodes for block in node.blocks.values()]
    kept = set(graph.roots()).union(*map(reads, blocks))
    return {value for value, count in readers.items() if count == 1} - kept


def _joined(maker: Node, relu: Node) -> Node:
    """The op that makes what the relu makes, at its own place."""
    attrs = {**maker.attrs, "activation": "relu"}
    return replace(maker, attrs=attrs, outputs=[*relu.outputs, *maker.outputs[1:]])
