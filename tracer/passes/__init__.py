"""Passes: each takes a graph and gives a new one, with a report of what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracer.graph import Graph
from tracer.names import number
from tracer.passes.base import Report, copied
from tracer.passes.common_subexpressions import common_subexpressions
from tracer.passes.constant_folding import constant_folding
from tracer.passes.dead_code import dead_code
from tracer.passes.fold_batch_norm import fold_batch_norm
from tracer.passes.relu import early_relu_grad, fuse_relu
from tracer.passes.simplify import simplify

Pass = Callable[[Graph], tuple[Graph, Report]]

DEFAULT: tuple[Pass, ...] = (
    dead_code,
    simplify,
    common_subexpressions,
    constant_folding,
    fold_batch_norm,
    early_relu_grad,
    dead_code,
)
"""What an export runs, in this order."""


def optimize(graph: Graph, passes: Sequence[Pass] = DEFAULT) -> tuple[Graph, list[Report]]:
    """Run passes one after the other; the graph given is left as it is.

    Returns:
        The graph of the last pass, its values numbered anew, and a report of each pass.
    """
    reports = []
    for step in passes:
        graph, report = step(graph)
        reports.append(report)
    graph = copied(graph)
    number(graph)
    return graph, reports


__all__ = [
    "DEFAULT",
    "Pass",
    "Report",
    "common_subexpressions",
    "constant_folding",
    "dead_code",
    "early_relu_grad",
    "fold_batch_norm",
    "fuse_relu",
    "optimize",
    "simplify",
]
