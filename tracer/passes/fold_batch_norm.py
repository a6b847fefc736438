"""Folds an inference batch norm into the convolution or linear layer before it.

Both are affine per channel: (w x + b - mean) / sqrt(var + epsilon) * scale + bias is a convolution
with other weights. Only where nothing else reads the convolution's result, and never with weights
that the forward writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.core.op import Type
from tracer.graph import Graph, Node, Stored, Value
from tracer.passes.base import Report, rebuilt


def fold_batch_norm(graph: Graph) -> tuple[Graph, Report]:
    """Replace conv, conv_transpose or linear followed by batch_norm_infer by one node.

    The new weights keep the names of the old ones where nothing else reads those; a layer without
    bias takes over the name of the batch norm's.
    """
    work = _Work(graph)
    nodes = work.nodes(graph.nodes)
    return rebuilt(graph, nodes), Report(
        "fold_batch_norm", work.folded, f"folded {work.folded} batch norms into the layers before"
    )


class _Work:
    def __init__(self, graph: Graph):
        self.reads = Counter(graph.roots())
        for node in graph.walk():
            self.reads.update(value for value in node.inputs if value is not None)
            for block in node.blocks.values():
                self.reads.update(block.outputs)
        self.written = {state.name for state in graph.states}
        self.folded = 0

    def nodes(self, nodes: list[Node]) -> list[Node]:
        """The nodes of the graph itself; blocks are left as they are."""
        makers = {node.outputs[0]: node for node in nodes if node.op in _AXES}
        replaced: dict[Node, Node | None] = {}
        for node in nodes:
            before = makers.get(node.inputs[0]) if node.op == "batch_norm_infer" else None  # type: ignore[arg-type]
            if before is not None and self.may_fold(before, node):
                replaced[node] = self.fold(before, node)
                replaced[before] = None
                self.folded += 1
        kept = [replaced.get(node, node) for node in nodes]
        return [node for node in kept if node is not None]

    def may_fold(self, layer: Node, norm: Node) -> bool:
        if self.reads[layer.outputs[0]] != 1 or layer.attrs.get("activation") is not None:
            return False
        if layer.op == "linear" and len(layer.outputs[0].shape) != 2:
            return False
        return all(
            value is None or (value.data is not None and value.name not in self.written)
            for value in (*layer.inputs[1:], *norm.inputs[1:])
        )

    def fold(self, layer: Node, norm: Node) -> Node:
        x, w, b = (*layer.inputs, None)[:3]
        assert w is not None and w.data is not None
        _, scale, bias, mean, var = norm.inputs
        assert mean is not None and var is not None
        factor = 1.0 / np.sqrt(_wide(var) + norm.attrs["epsilon"])
        if scale is not None:
            factor = factor * _wide(scale)
        shift = -_wide(mean) * factor
        if b is not None:
            shift = shift + _wide(b) * factor
        if bias is not None:
            shift = shift + _wide(bias)
        weight = Scaled(w.data, _AXES[layer.op](w.data, factor, layer))
        inputs = [
            x,
            self.renewed(w, weight, w.name),
            self.renewed(b or bias, shift.astype(w.dtype), w.name.replace("weight", "bias")),
        ]
        return Node(
            layer.op,
            inputs,
            layer.attrs,
            norm.outputs,
            layer.layer,
            layer.layer_class,
            layer.where,
        )

    def renewed(self, old: Value | None, data: Stored, stem: str) -> Value:
        """A weight with other numbers, under the name of the old one if that is free now."""
        type_ = Type(data.shape, data.dtype)
        if old is not None and self.reads[old] == 1 and old.kind == "param":
            return Value(old.name, type_, "param", data)
        return Value(f"{old.name if old else stem}.folded{self.folded}", type_, "param", data)


class Scaled:
    """Weights times factors, computed whenever they are read: a graph holds no copy of its weights.

    Attributes:
        weights: the array as the model has it.
        factors: broadcasts against it.
    """

    def __init__(self, weights: Stored, factors: np.ndarray):
        self.weights = weights
        self.factors = factors.astype(np.result_type(weights.dtype, np.float32))
        self.shape, self.dtype = weights.shape, weights.dtype
        self.ndim, self.size, self.nbytes = weights.ndim, weights.size, weights.nbytes

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The product; each call gives a new array."""
        product = np.asarray(self.weights) * self.factors
        return product.astype(self.dtype if dtype is None else dtype, copy=False)


def _wide(value: Value) -> np.ndarray:
    return np.asarray(value.data, np.float64)


def _of_conv(w: Stored, factor: np.ndarray, node: Node) -> np.ndarray:
    return factor.reshape(-1, *[1] * (w.ndim - 1))


def _of_conv_transpose(w: Stored, factor: np.ndarray, node: Node) -> np.ndarray:
    # Weights are [in, out of a group, ...]: the group of an input channel chooses the factors.
    groups = node.attrs["groups"]
    rows = np.repeat(factor.reshape(groups, -1), w.shape[0] // groups, axis=0)
    return rows.reshape(*rows.shape, *[1] * (w.ndim - 2))


def _of_linear(w: Stored, factor: np.ndarray, node: Node) -> np.ndarray:
    return factor[:, None] if node.attrs["transpose_w"] else factor


_AXES: dict[str, Callable[[Stored, np.ndarray, Node], np.ndarray]] = {
    "conv": _of_conv,
    "conv_transpose": _of_conv_transpose,
    "linear": _of_linear,
}
"""How factors per output channel lie beside the weights of each op."""
