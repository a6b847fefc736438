"""`check`: everything that would keep a model from being exported, told at once. Writes nothing.

The trace goes on after a problem wherever it can; what needs a running file is left to `verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tracer
from dyn.core.errors import DynError, SourceLine
from exporter.errors import UnsupportedOpError
from exporter.export import inputs_of
from exporter.lowering import lower, require_coverage
from exporter.opset import DEFAULT_OPSET, check_opset
from tracer.graph import Graph


@dataclass(frozen=True)
class Problem:
    """One reason why a model cannot be exported.

    Attributes:
        kind: "trace" (the forward does what one graph cannot do for every input), "op" (an op has
            no ONNX form at the opset) or "model" (the forward itself fails).
        text: what is wrong, where in the model, and what to do.
        where: the user's line.
    """

    kind: str
    text: str
    where: SourceLine | None = None

    def __str__(self) -> str:
        return self.text


def check(
    model: Any,
    input_spec: Any = None,
    *,
    opset: int = DEFAULT_OPSET,
    training: bool = False,
    **tracing: Any,
) -> list[Problem]:
    """Find all problems that an export would meet, without writing anything.

    Args:
        model, input_spec, opset, training, tracing: as for `exporter.export`.

    Returns:
        The problems in the order of the forward; empty if the model can be exported.

    Raises:
        AttributeValueError: the opset is not one that can be written.
    """
    check_opset(opset)
    found: list[tracer.TraceError] = []
    problems: list[Problem] = []
    graph: Graph | None = None
    if isinstance(model, Graph):
        graph = model
    else:
        specs, named = inputs_of(input_spec)
        try:
            graph = tracer.trace(
                model, *specs, training=training, problems=found, **tracing, **named
            )
        except tracer.TraceError as error:
            found.append(error)
        except DynError as error:
            problems.append(Problem("model", str(error), error.where))
    problems = [Problem("trace", str(error), error.where) for error in found] + problems
    if graph is not None:
        problems += [Problem("op", text) for text in _refused(graph, opset)]
    return problems


def _refused(graph: Graph, opset: int) -> list[str]:
    """One text for every node that cannot be written."""
    graph, _ = tracer.optimize(graph)
    try:
        require_coverage(graph)
        lower(graph, opset)
    except UnsupportedOpError as error:
        return error.problems
    return []
