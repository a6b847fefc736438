"""An exported file as text: signature, state, operators, and every node on a line if wanted.

For people; the graph's own text form, which can be read back, is `tracer.text`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from exporter.nodes import walk
from exporter.serving.onnxfile import read_onnx
from exporter.serving.signature import TensorInfo

MOST_NUMBERS = 8
"""Longest list of numbers that an attribute is shown with."""


def show_text(path: Path, nodes: bool = False) -> str:
    """What a user wants to know of an ONNX file, whoever wrote it.

    Args:
        path: the file.
        nodes: also list every node.

    Raises:
        PredictorError: the file is missing or is no ONNX file.
    """
    file = read_onnx(path)
    model = onnx.load(path, load_external_data=False)
    outside = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    size = path.stat().st_size + sum((path.parent / name).stat().st_size for name in outside)
    next_states = set(file.states.values())
    opsets = ", ".join(f"{domain or 'onnx'} {version}" for domain, version in file.opsets.items())
    lines = [
        f"{path}: {size:,} bytes" + (f" with {', '.join(sorted(outside))}" if outside else ""),
        f"opset {opsets}; IR {file.ir_version}; written by {model.producer_name or 'unknown'}",
        *_listed("input", (i for i in file.inputs if i.name not in file.states)),
        *_listed("output", (o for o in file.outputs if o.name not in next_states)),
        *_listed("state", (i for i in file.inputs if i.name in file.states)),
    ]
    counts = Counter(node.op_type for node in walk(model.graph.node))
    counts.update(node.op_type for f in model.functions for node in walk(f.node))
    total, stored = sum(counts.values()), len(model.graph.initializer)
    lines.append(f"{total} nodes, {stored} initializers")
    lines += [f"  {n:5}  {name}" for name, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]
    if nodes:
        lines += ["", *_graph_lines(model.graph)]
        for function in model.functions:
            lines += ["", f"function {function.name}({', '.join(function.input)})"]
            lines += _node_lines(function.node, "  ")
    return "\n".join(lines)


def _listed(title: str, infos: Iterable[TensorInfo]) -> Iterator[str]:
    for info in infos:
        yield f"{title:<7} {info.name}: {info}"


def _graph_lines(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type).name
        yield f"  {tensor.name}: {kind}{list(tensor.dims)}"
    yield from _node_lines(graph.node, "  ")


def _node_lines(nodes: Iterable[onnx.NodeProto], indent: str) -> Iterator[str]:
    """One line a node, with its layer and line behind it; sub-graphs follow indented."""
    for node in nodes:
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        plain = [a for a in node.attribute if a.type != onnx.AttributeProto.GRAPH]
        attrs = "".join(f", {a.name}={_shown(helper.get_attribute_value(a))}" for a in plain)
        inputs = ", ".join(name or "-" for name in node.input)
        text = f"{indent}{', '.join(node.output)} = {node.op_type}({inputs}{attrs})"
        origin = " ".join(
            part for part in (metadata.get("dyn.layer"), _short(metadata.get("dyn.source"))) if part
        )
        yield f"{text:<80}  # {origin}" if origin else text
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield f"{indent}  {attribute.name}:"
                yield from _node_lines(attribute.g.node, indent + "    ")
                outputs = ", ".join(output.name for output in attribute.g.output)
                yield f"{indent}    -> {outputs}"


def _short(source: str | None) -> str:
    return Path(source).name if source else ""


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return f"tensor{list(value.dims)}"
    if isinstance(value, (list, tuple)) or hasattr(value, "__len__"):
        numbers = list(value)
        cut = ", ..." if len(numbers) > MOST_NUMBERS else ""
        return f"[{', '.join(map(_shown, numbers[:MOST_NUMBERS]))}{cut}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
