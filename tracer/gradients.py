"""Gradients last from call to call and are no part of a graph: none may be read from before it.

That a backward pass adds to an old gradient is no harm in itself: so it does to the gradients of
parameters that nobody trains. What counts is whether results depend on it.
"""

from __future__ import annotations

from collections.abc import Callable

from tracer import refusals
from tracer.branch import End, Path, Segment
from tracer.passes.dead_code import live_nodes
from tracer.recorder import Recorder


def need_fresh_gradients(recorder: Recorder, end: End) -> None:
    """Refuse a run whose results depend on gradients that were there before it.

    Raises:
        TraceError: it names the first of them and the line that reads it.
    """
    gradients = {value for _, value in recorder.gradients}
    if not gradients:
        return
    (path,) = recorder.paths
    roots = [*end.outputs, *(value for value, _ in end.states.values()), *path.answers]
    for node in live_nodes(list(path.nodes()), roots):
        for value in node.inputs:
            if value in gradients:
                error = refusals.gradients_add_up(value.name, node.where)
                recorder.session.problem(error, node.layer)
                return


def need_none_left(recorder: Recorder, record: Callable[[Recorder], End]) -> None:
    """Refuse a forward whose next run would depend on gradients that this run has left behind.

    Args:
        record: runs the forward once more; what it records is not kept.

    Raises:
        TraceError: as `need_fresh_gradients`.
    """
    session = recorder.session
    before = {id(array) for array, _ in recorder.gradients}
    after = session.model.gradients()
    left = {name: g for name, g in after.items() if id(g._array) not in before}
    if not left:
        return
    session.start_run()
    for name, gradient in left.items():
        session.model.tensors[name]._grad = gradient
    again = Recorder(session, Path(Segment(), tuple(recorder.paths[0].taken)))
    need_fresh_gradients(again, record(again))
