"""Option "functions": each layer class of the model becomes an ONNX function, called by its layers.

Works on lowered nodes: neighbours that belong to one layer are moved into the body of a function,
inner layers first. Layers whose bodies are the same share one function; weights are its inputs.
Nothing here knows what an operator does.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import onnx
from onnx import helper

from exporter.builder import VALUES, Names, tensor_proto
from exporter.lowering import Lowered
from exporter.nodes import reads, subgraphs, walk

DOMAIN = "dyn.layers"
VERSION = 1
LARGEST_CONSTANT = 1024
"""Bytes up to which a constant stands in the body; larger ones are inputs like weights."""


def into_functions(lowered: Lowered, classes: Mapping[str, str]) -> Lowered:
    """The same graph, the nodes of each layer behind a call of a function.

    Args:
        lowered: what `lower` gave; it is left as it is.
        classes: class name of each layer that runs, by path.
    """
    shared = lowered.constants & set(lowered.weights)
    constants = {name: np.asarray(lowered.weights[name]) for name in shared}
    work = Functions(classes, constants, lowered.opset)
    results = [name for name, _ in (*lowered.outputs, *lowered.state_outputs)]
    nodes = work.group(lowered.nodes, results)
    used = {name for node in nodes for name in reads(node)}
    used.update(name for name, _ in lowered.state_inputs)
    weights = {name: array for name, array in lowered.weights.items() if name in used}
    return dataclasses.replace(lowered, nodes=nodes, weights=weights, functions=work.made)


class Functions:
    """Makes functions out of nodes.

    Attributes:
        made: the functions, inner ones before those that call them.
    """

    def __init__(self, classes: Mapping[str, str], constants: Mapping[str, np.ndarray], opset: int):
        """Prepare for one graph.

        Args:
            classes: class name of each layer that runs, by path.
            constants: arrays that belong to no layer, by name.
            opset: target opset of the bodies.
        """
        self.classes = classes
        self.constants = {
            name: array for name, array in constants.items() if array.nbytes <= LARGEST_CONSTANT
        }
        self.opset = opset
        self.made: list[onnx.FunctionProto] = []
        self._names = Names()
        self._calls = Names()
        self._by_body: dict[bytes, str] = {}

    def group(
        self, nodes: Sequence[onnx.NodeProto], wanted: Iterable[str], path: str = ""
    ) -> list[onnx.NodeProto]:
        """The nodes of the layer `path` with those of the layers inside it behind calls.

        Args:
            nodes: in order.
            wanted: names of the values that are read elsewhere.
            path: the layer that the nodes belong to, "" for the model.
        """
        readers = Counter(name for node in nodes for name in reads(node))
        readers.update(set(wanted))
        grouped: list[onnx.NodeProto] = []
        for child, run in groupby(nodes, lambda node: self.child(node, path)):
            inside = list(run)
            if child is None:
                grouped += inside
                continue
            own = Counter(name for node in inside for name in reads(node))
            outputs = [
                name
                for node in inside
                for name in node.output
                if name and readers[name] > own[name]
            ]
            grouped.append(self.call(child, self.group(inside, outputs, child), outputs))
        return grouped

    def child(self, node: onnx.NodeProto, path: str) -> str | None:
        """The outermost layer below `path` that a node belongs to; None if it is of `path`."""
        layer = next((e.value for e in node.metadata_props if e.key == "dyn.layer"), "")
        above = path + "." if path else ""
        if not layer.startswith(above):
            return None
        parts = layer.removeprefix(above).split(".")
        for count in range(1, len(parts) + 1):
            inner = above + ".".join(parts[:count])
            if inner in self.classes:
                return inner
        return None

    def call(
        self, path: str, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]
    ) -> onnx.NodeProto:
        """A call of the function whose body the nodes are."""
        made = {name for node in nodes for name in node.output}
        free = list(dict.fromkeys(n for node in nodes for n in _in_order(node) if n not in made))
        inputs = [name for name in free if name not in self.constants]
        constants = [name for name in free if name in self.constants]
        local = _Local(path)
        body = [
            helper.make_node("Constant", [], [local[name]], value=tensor_proto(array, ""))
            for name in constants
            for array in [self.constants[name]]
        ]
        formal = [local[name] for name in inputs]
        body += [local.renamed(node) for node in nodes]
        function = helper.make_function(
            DOMAIN,
            self.classes[path],
            formal,
            [local[name] for name in outputs],
            body,
            [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, VERSION)],
        )
        name = self.add(function)
        node = helper.make_node(name, inputs, outputs, self._calls.fresh(path), domain=DOMAIN)
        metadata = {"op": name, "layer": path, "class": self.classes[path]}
        metadata["source"] = next(
            (e.value for n in nodes for e in n.metadata_props if e.key == "dyn.source"), ""
        )
        for key, value in metadata.items():
            if value:
                node.metadata_props.add(key=f"dyn.{key}", value=value)
        return node

    def add(self, function: onnx.FunctionProto) -> str:
        """The name of a function with this body: a known one, or that of the new one."""
        key = _bare(function).SerializeToString(deterministic=True)
        name = self._by_body.get(key)
        if name is None:
            name = self._by_body[key] = function.name = self._names.fresh(function.name)
            self.made.append(function)
        return name


class _Local:
    """Names inside a body: those of weights and nodes without the path of the layer."""

    def __init__(self, path: str):
        self._path = path
        self._names = Names()
        self._local: dict[str, str] = {"": ""}

    def __getitem__(self, name: str) -> str:
        if name not in self._local:
            if name.startswith(self._path + "."):
                stem = name.removeprefix(self._path + ".")
            elif name.startswith(self._path + "/"):
                stem = name.removeprefix(self._path + "/")
            else:
                stem = "x"
            self._local[name] = self._names.fresh(stem)
        return self._local[name]

    def renamed(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """A copy of a node with the local names; which layer it was is not said any more."""
        out = onnx.NodeProto()
        out.CopyFrom(node)
        self.rename(out)
        return out

    def rename(self, node: onnx.NodeProto) -> None:
        """Give a node the local names."""
        node.input[:] = [self[name] for name in node.input]
        node.output[:] = [self[name] for name in node.output]
        node.name = node.output[0]
        kept = [e for e in node.metadata_props if e.key not in ("dyn.layer", VALUES)]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        for graph in subgraphs(node):
            for value in (*graph.input, *graph.output):
                value.name = self[value.name]
            for inner in graph.node:
                self.rename(inner)


class _Numbered(_Local):
    """Names that tell nothing but which values are the same."""

    def __init__(self) -> None:
        super().__init__("")

    def __getitem__(self, name: str) -> str:
        return self._local.setdefault(name, f"v{len(self._local)}")


def _bare(function: onnx.FunctionProto) -> onnx.FunctionProto:
    """What a function computes: the same for two that differ in names alone."""
    bare = onnx.FunctionProto()
    bare.CopyFrom(function)
    local = _Numbered()
    bare.input[:] = [local[name] for name in function.input]
    for node in bare.node:
        local.rename(node)
    _strip(bare.node)
    bare.output[:] = [local[name] for name in function.output]
    return bare


def _in_order(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, its own inputs first and in order."""
    own = [name for name in node.input if name]
    yield from own
    yield from sorted(reads(node) - set(own))


def _strip(nodes: Iterable[onnx.NodeProto]) -> None:
    """Take away what does not change what nodes compute."""
    for node in walk(nodes):
        del node.metadata_props[:]
        node.doc_string = ""
