"""Relus where they cost least: joined with the op before, their gradients before those of poolings.

Either saves reading and writing all of it once more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tracer.graph import Graph, Node, Value
from tracer.passes.base import Report, reads, rebuilt

OPS_WITH_ACTIVATION = ("batch_norm", "conv")
"""Ops whose attribute `activation` says what happens to their first result."""
POOLINGS = ("max_pool", "adaptive_max_pool")
"""Ops that give maxima of their input, and where each was found."""


def fuse_relu(graph: Graph) -> tuple[Graph, Report]:
    """Join a relu with the op before it, if nothing else reads what that op gives.

    ONNX has no such operators: this is for graphs that run here.
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


def early_relu_grad(graph: Graph) -> tuple[Graph, Report]:
    """Swap the gradients of a maximum pooling and of the relu whose results it pools.

    A window's maximum is one of the numbers that it is taken of: whether the relu let that number
    through can be told from the maximum, of which there are fewer. With windows of 2 x 2 that saves
    three quarters of the mask.

    What comes out is the same to the bit: a place takes the gradients of all windows whose maximum
    it is, and all of these pass or none does. Blocks are left as they are.
    """
    alone = _read_once(graph)
    makers: dict[Value | None, Node] = {v: node for node in graph.nodes for v in node.outputs}
    swapped: dict[int, list[Node]] = {}
    for node in graph.nodes:
        back = makers.get(node.inputs[0]) if node.op == "relu_grad" else None
        if back is None or back.op != "max_pool_grad" or node.inputs[0] not in alone:
            continue
        pool = makers.get(back.inputs[1])
        if pool is None or pool.op not in POOLINGS or pool.inputs[0] is not node.inputs[1]:
            continue
        gradient, places = back.inputs
        assert gradient is not None
        passed = Value("", gradient.type, "node")
        swapped[id(back)] = []
        swapped[id(node)] = [
            replace(node, inputs=[gradient, pool.outputs[0]], outputs=[passed]),
            replace(back, inputs=[passed, places], outputs=node.outputs),
        ]
    nodes = [one for node in graph.nodes for one in swapped.get(id(node), [node])]
    count = len(swapped) // 2
    text = f"took {count} gradients of relus before those of poolings"
    return rebuilt(graph, nodes), Report("early_relu_grad", count, text)


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
