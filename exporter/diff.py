"""`diff`: finds the first node of a file that computes something else than the model's op.

Every op is run again on what the file itself gives it, so that errors of earlier nodes do not
count against later ones. File and model are matched by the metadata that `builder.py` leaves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

import tracer
from dyn.core.errors import SourceLine
from dyn.core.op import OPS
from exporter.builder import VALUES
from exporter.errors import ExportError
from exporter.export import inputs_of
from exporter.model import TRAINING
from exporter.nudges import NUDGES, difference, farther, is_rounding, nudged
from exporter.serving import Predictor
from exporter.trials import random_results
from exporter.verify import RELATIVE
from tracer.graph import Graph, Node, Value
from tracer.sizes import symbol_of, to_int

LOCAL = {"float64": 1e-9, "float32": 2e-5, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest error of one op, relative to the largest value of its result."""


@dataclass(frozen=True)
class Difference:
    """Where a file leaves the model.

    Attributes:
        op: name of the dyn op.
        layer, layer_class: path and class of the layer that ran it, "" for the model itself.
        where: the user's line.
        nodes: names of the file's nodes that stand for the op.
        absolute, relative: largest error, and that over the largest value of the result.
        reason: what is known beside the error.
    """

    op: str
    layer: str
    layer_class: str
    where: SourceLine | None
    nodes: tuple[str, ...]
    absolute: float
    relative: float
    reason: str = ""

    def __str__(self) -> str:
        layer = f" of {self.layer} ({self.layer_class})" if self.layer else ""
        text = f"{self.op}{layer} differs by {self.absolute:.3g} ({self.relative:.3g} of its "
        text += f"largest value)\n  in the file: {', '.join(self.nodes)}"
        if self.where is not None:
            code = self.where.text
            text += f"\n  at {self.where}" + (f": {code}" if code else "")
        return text + (f"\n  {self.reason}" if self.reason else "")


def diff(
    model: Any, path: str | os.PathLike[str], *inputs: Any, input_spec: Any = None, **tracing: Any
) -> Difference | None:
    """Name the first node of a file that differs from the model it was exported from.

    Args:
        model: the model as it was given to `export`; its state is the one it has now.
        path: the file.
        inputs: one array or Tensor per input of the file; by default plausible numbers are drawn.
        input_spec: what was given to `export`, where the model takes more than plain tensors.
        tracing: as for `export`.

    Returns:
        The first difference in the order of the model's forward, or None if there is none.

    Raises:
        ExportError: the file was not written by this exporter, or from another model.
        TraceError: the model cannot be traced.
    """
    file = _File(Path(path))
    given = [np.asarray(a) for a in inputs]
    if input_spec is None:
        specs, named = file.specs(given), {}
    else:
        specs, named = inputs_of(input_spec)
    training = file.training
    traced = tracer.trace(model, *specs, training=training, **tracing, **named)
    graph, _ = tracer.optimize(traced)
    file.need_graph(graph)
    arrays = given or graph.samples
    found = _Walk(graph, file, file.run(arrays)).first(arrays)
    if found is None:
        _need_sound_graph(tracer.Live(model, *specs, training=training, **named), graph, arrays)
    return found


def _need_sound_graph(live: tracer.Live, graph: Graph, arrays: Sequence[np.ndarray]) -> None:
    """Where every node agrees, the graph itself must be the model."""
    wanted = live.run(arrays)
    live.restart()
    given = tracer.Interpreter(graph).run(*arrays)
    random = random_results(graph)
    for name, a, b in zip(graph.output_names, wanted, given, strict=True):
        if name not in random and difference(a, b)[1] > RELATIVE.get(a.dtype.name, 0.0):
            raise ExportError(
                f"every node of the file computes what the graph says, but output {name!r} of the "
                "graph is not the model's: the trace or a pass is wrong"
            )


class _File:
    """An exported file, and which of its tensors are which values of the graph."""

    def __init__(self, path: Path):
        self.path = path
        self.predictor = Predictor(path)
        self.model = onnx.load(path, load_external_data=False)
        if self.model.functions:
            raise ExportError(f"{path} has functions; compare a file exported without them")
        self.training = TRAINING in self.predictor.metadata
        self.tensors: dict[str, str] = {}
        self.nodes: dict[str, list[str]] = {}
        self.ops: dict[str, str] = {}
        waiting: list[str] = []
        for node in self.model.graph.node:
            metadata = {entry.key: entry.value for entry in node.metadata_props}
            waiting.append(node.name)
            values = metadata.get(VALUES, "").split(",")
            for value, tensor in zip(values, node.output, strict=False):
                if value:
                    self.tensors[value] = tensor
                    self.ops[value] = metadata.get("dyn.op", "")
                    self.nodes[value] = waiting
            if any(values):
                waiting = []
        if not self.tensors and self.model.graph.node:
            raise ExportError(
                f"{path} was not written by exporter.export; its nodes have no origin"
            )

    def specs(self, given: Sequence[np.ndarray]) -> list[tracer.InputSpec]:
        """What the file's inputs look like, with the given arrays as examples."""
        infos = self.predictor.inputs
        if given and len(given) != len(infos):
            names = ", ".join(info.name for info in infos)
            raise ExportError(f"{len(given)} inputs are given; {self.path.name} takes {names}")
        examples = given or [None] * len(infos)
        return [
            tracer.InputSpec(info.shape or (), info.dtype, info.name, example=example)
            for info, example in zip(infos, examples, strict=True)
        ]

    def need_graph(self, graph: Graph) -> None:
        """Raise if the values of the file are not those of the graph."""
        ops = {value.name: node for node in graph.nodes for value in node.outputs}
        for value, op in self.ops.items():
            node = ops.get(value)
            if node is None or node.op != op:
                here = "missing" if node is None else f"{node.op} in {node.layer or graph.name}"
                raise ExportError(
                    f"{self.path} was exported from another model: {value} is {op} there and "
                    f"{here} here"
                )

    def run(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Every tensor that is a value of the graph, by the value's name."""
        model, known = onnx.ModelProto(), {output.name for output in self.model.graph.output}
        model.CopyFrom(self.model)
        for tensor in dict.fromkeys(self.tensors.values()):
            if tensor not in known:
                model.graph.output.add(name=tensor)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(self.path.parent.absolute())
        )
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        tensors = list(self.tensors.values())
        feeds = dict(zip((info.name for info in self.predictor.inputs), arrays, strict=True))
        results = dict(zip(tensors, session.run(tensors, feeds), strict=True))
        return {value: np.asarray(results[tensor]) for value, tensor in self.tensors.items()}

    def weight(self, name: str) -> np.ndarray | None:
        """The initializer of that name."""
        for tensor in self.model.graph.initializer:
            if tensor.name == name:
                return numpy_helper.to_array(tensor, str(self.path.parent))
        return None


class _Walk:
    """Goes through the graph with the file's own numbers."""

    def __init__(self, graph: Graph, file: _File, results: Mapping[str, np.ndarray]):
        self.graph = graph
        self.file = file
        self.results = results
        self.found: Difference | None = None
        self.arrays: dict[Value, Any] = {}
        self.sizes: dict[str, int] = {}

    def first(self, arrays: Sequence[np.ndarray]) -> Difference | None:
        """The first node whose results differ, given the file's values as its inputs."""
        for value in (*self.graph.params, *self.graph.buffers, *self.graph.constants):
            self.know(value, np.asarray(value.data))
        for value, array in zip(self.graph.inputs, arrays, strict=True):
            self.know(value, array)
        tracer.Interpreter(self.graph).run(*arrays, watch=self.visit)
        return self.found

    def know(self, value: Value, array: Any) -> None:
        """Keep what a value is, and the sizes that are read from it."""
        self.arrays[value] = array
        self.sizes |= {
            symbol: n
            for size, n in zip(value.shape, array.shape, strict=False)
            if (symbol := symbol_of(size)) is not None
        }

    def visit(self, node: Node, results: list[Any]) -> None:
        """Compare the results of a node, and go on with those of the file."""
        for i, value in enumerate(node.outputs):
            if self.found is None and value.name in self.results:
                self.compare(node, i, results[i])
                results[i] = self.results[value.name]
            self.know(value, results[i])

    def compare(self, node: Node, i: int, wanted: np.ndarray) -> None:
        """Remember the difference if result `i` of a node is not what the file has."""
        value = node.outputs[i]
        given = self.results[value.name]
        if given.shape != wanted.shape or given.dtype != wanted.dtype:
            reason = (
                f"it is {given.dtype.name} {list(given.shape)} instead of "
                f"{wanted.dtype.name} {list(wanted.shape)}"
            )
            self.found = self.difference(node, value, np.inf, np.inf, reason)
        elif wanted.size and not (node.op in OPS and OPS[node.op].random):
            absolute, relative = difference(wanted, given)
            allowed = LOCAL.get(wanted.dtype.name, 0.0)
            if relative > allowed and not is_rounding(
                wanted, given, allowed, self.moves(node, i, wanted)
            ):
                reason = self.weights(node)
                self.found = self.difference(node, value, absolute, relative, reason)

    def moves(self, node: Node, i: int, wanted: np.ndarray) -> np.ndarray | None:
        """How far result `i` of the op moves when its inputs change by what rounding is."""
        if node.blocks or wanted.dtype.name not in RELATIVE:
            return None
        rng = np.random.default_rng(0)
        inputs = [None if value is None else self.arrays[value] for value in node.inputs]
        attrs = {name: to_int(value, self.sizes) for name, value in node.attrs.items()}
        moves = None
        for _ in range(NUDGES):
            moved = [None if a is None else nudged(a, rng) for a in inputs]
            out = OPS[node.op].kernel(*moved, **attrs)
            moves = farther(moves, wanted, out[i] if isinstance(out, tuple) else out)
        return moves

    def weights(self, node: Node) -> str:
        """Which weights of the node have other numbers in the file."""
        texts = []
        for value in node.inputs:
            if value is None or value.kind not in ("param", "buffer") or value.data is None:
                continue
            stored = self.file.weight(value.name)
            if stored is not None and not np.array_equal(stored, np.asarray(value.data)):
                texts.append(f"{value.name} has other numbers in the file than in the model")
        return "; ".join(texts)

    def difference(
        self, node: Node, value: Value, absolute: float, relative: float, reason: str
    ) -> Difference:
        """What is told about a node."""
        return Difference(
            op=node.op,
            layer=node.layer,
            layer_class=node.layer_class,
            where=node.where,
            nodes=tuple(self.file.nodes[value.name]),
            absolute=absolute,
            relative=relative,
            reason=reason,
        )
