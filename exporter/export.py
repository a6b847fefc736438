"""`export`: six named steps from a live model to a verified file.

trace -> passes -> coverage -> lower -> check -> verify; only then does the file get its name. Each
step is a function of its own with one input and one output that can be printed.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import tracer
from exporter import model as files
from exporter.errors import ExportError
from exporter.functions import into_functions
from exporter.lowering import NEXT, Lowered, lower, require_coverage
from exporter.nodes import walk
from exporter.opset import DEFAULT_OPSET, IR_VERSION, check_opset, check_runtime
from exporter.report import Comparison, Report
from exporter.target import TEST_DATA, check_target, staged
from exporter.verify import Verifier
from tracer.call import forward_of
from tracer.graph import Graph


def export(
    model: Any,
    path: str | os.PathLike[str],
    input_spec: Any = None,
    *,
    opset: int = DEFAULT_OPSET,
    training: bool = False,
    verify: bool = True,
    tolerance: float | None = None,
    external_data: bool | None = None,
    functions: bool = False,
    seed: int | None = None,
    test_data: bool = False,
    metadata: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
    **tracing: Any,
) -> Report:
    """Write a model as an ONNX file that is known to compute what the model computes.

    Args:
        model: a `dyn.nn.Layer`, a function of Tensors, or a graph from `tracer.trace`.
        path: the file. It appears (or replaces an older one) only after it was verified.
        input_spec: one `InputSpec`, example Tensor or array per input; not needed for a graph.
        opset: target opset, 17 to 26.
        training: record training behaviour (dropout, batch statistics) instead of eval behaviour.
        verify: run the file in onnxruntime against the live model.
        tolerance: largest allowed error relative to the largest value of an output; by default
            3e-4 for float32.
        external_data: weights in a file of their own (`<path>.data`); by default above 2 GiB.
        functions: make each layer class an ONNX function that its layers call, with the same
            layers inside as in the model; runtimes inline them.
        seed: makes random numbers of the file the same from session to session; within one they
            differ from run to run. By default the runtime seeds them.
        test_data: also write the sample and what the model gives for it beside the file, as
            onnx's own tests have it (`test_data_set_0`).
        metadata: entries for the file's metadata.
        progress: called with the name of each step when it begins.
        tracing: more for `tracer.trace`: `sizes`, `output_names`, `layers`, `state`, `optimizers`;
            anything else is an argument of the model, given by its name.

    Returns:
        What was written and how well it agrees.

    Raises:
        TraceError: the forward does something that a file could not do for every input.
        UnsupportedOpError: ops without an ONNX form; all of them are named.
        VerificationError: onnxruntime and the model disagree.
        ExportError: the path cannot be written.
    """
    tell = progress or (lambda step: None)
    check_opset(opset)
    if verify:
        check_runtime(opset, onnxruntime.__version__)
    target = check_target(path)
    tell("trace")
    traced = capture(model, input_spec, training=training, **tracing)
    tell("passes")
    graph, reports = tracer.optimize(traced.graph)
    notes = [str(done) for done in reports if done.changes]
    tell("lower")
    require_coverage(graph)
    lowered = lower(graph, opset, seed)
    if functions:
        lowered = into_functions(lowered, traced.classes())
    tell("check")
    entries = dict(metadata or {}) | ({files.TRAINING: "1"} if graph.training else {})
    skeleton = files.skeleton(lowered, entries)
    files.check(skeleton, lowered.weights)
    with staged(target) as file, ThreadPoolExecutor(1) as aside:
        tell("write")
        size = files.write(skeleton, lowered.weights, file, external_data)
        settled = aside.submit(files.settle, file)
        if test_data:
            inputs = dict(zip((v.name for v in graph.inputs), graph.samples, strict=True))
            files.write_test_data(file.with_name(TEST_DATA), inputs, sample_results(graph))
        compared = None
        if verify:
            tell("verify")
            compared = Verifier(traced.require_live(), graph, file, tolerance).run()
        settled.result()
        return report(target, graph, lowered, skeleton, size, notes, compared)


@dataclass
class Traced:
    """A graph together with the live model it was recorded from, if that is known."""

    graph: Graph
    live: Any

    def classes(self) -> dict[str, str]:
        """Class names of the layers by path; of a graph alone, of those that have nodes."""
        if self.live is not None:
            return self.live.classes()
        return {node.layer: node.layer_class for node in self.graph.walk() if node.layer}

    def require_live(self) -> Any:
        """The live model; an error where only a graph was given."""
        if self.live is None:
            raise ExportError(
                "a graph alone cannot be verified against a live model; export the model itself, "
                "or pass verify=False"
            )
        return self.live


_OF_MODEL = ("training", "layers", "state", "optimizers")
_OPTIONS = (*_OF_MODEL, "sizes", "output_names", "problems")
"""Arguments of `tracer.trace`; others are arguments of the model."""
_ELSEWHERE = {
    "opset_version": "write opset=",
    "input_names": "write the name into the spec: InputSpec(shape, dtype, name=...)",
    **dict.fromkeys(
        ("dynamic_axes", "dynamic_shapes"),
        "dynamic sizes are names in the shape of a spec: InputSpec(['batch', 3])",
    ),
}
"""Arguments of PyTorch's export, and what stands for them here."""


def capture(model: Any, input_spec: Any, **tracing: Any) -> Traced:
    """Step "trace": the graph of one forward, and the means to run the model again."""
    if isinstance(model, Graph):
        return Traced(model, None)
    specs, named = inputs_of(input_spec)
    for key in [key for key in tracing if key not in _OPTIONS]:
        if key in _ELSEWHERE and not _takes(model, key):
            raise ExportError(f"export has no argument {key!r}; {_ELSEWHERE[key]}")
        named[key] = tracing.pop(key)
    of_model = {key: tracing[key] for key in _OF_MODEL if key in tracing}
    live = tracer.Live(model, *specs, **of_model, **named)
    return Traced(tracer.trace(model, *specs, **tracing, **named), live)


def _takes(model: Any, name: str) -> bool:
    """Whether a model has an argument of this name."""
    try:
        return name in inspect.signature(forward_of(model)).parameters
    except (TypeError, ValueError):
        return False


def inputs_of(input_spec: Any) -> tuple[Sequence[Any], dict[str, Any]]:
    """Positional and keyword inputs out of what a user gives: one spec, several, or by name."""
    if input_spec is None:
        return (), {}
    if isinstance(input_spec, Mapping):
        return (), dict(input_spec)
    if isinstance(input_spec, (list, tuple)):
        return input_spec, {}
    return (input_spec,), {}


def sample_results(graph: Graph) -> dict[str, np.ndarray]:
    """Outputs and next states of the graph for its samples, by name."""
    interpreter = tracer.Interpreter(graph)
    results = dict(zip(graph.output_names, interpreter.run(*graph.samples), strict=True))
    return results | {state.name + NEXT: interpreter.state[state.name] for state in graph.states}


def report(
    path: Path,
    graph: Graph,
    lowered: Lowered,
    skeleton: onnx.ModelProto,
    size: int,
    notes: Sequence[str],
    compared: Comparison | None,
) -> Report:
    """Gather what the user is told."""
    guards = [f"{guard} ({guard.where})" for guard in graph.guards]
    return Report(
        path=path,
        opset=lowered.opset,
        ir_version=IR_VERSION[lowered.opset],
        nodes=sum(1 for part in (skeleton.graph, *lowered.functions) for _ in walk(part.node)),
        bytes=size,
        initializers=tuple(v.name for v in (*graph.params, *graph.buffers)),
        states=dict(lowered.states),
        constants=tuple(
            f"{value.name or 'a tensor'} {list(value.shape)} read at {value.where}"
            for value in graph.constants
            if value.kind == "const"
        ),
        guards=tuple(guards + [str(a) for a in graph.assumptions]),
        notes=tuple(notes),
        verified=compared,
    )
