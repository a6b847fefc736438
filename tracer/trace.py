"""`trace`: run a model for real, watch it, and give back the graph of what it does.

The run is repeated for the other side of every condition on a value, and once more when it turns
out that state which was used as a plain number is written. The model is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dyn.core.dim import Dim
from dyn.core.errors import DynError, IndexRangeError, ShapeError, SourceLine
from dyn.core.observe import current, observing
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten
from dyn.nn.layer import Layer
from dyn.optimizer import Optimizer
from tracer.branch import End, Path, Segment, assumptions, ends, explore
from tracer.call import Call, Modes, is_output
from tracer.errors import TraceError
from tracer.gradients import need_fresh_gradients, need_none_left
from tracer.graph import Graph, State, Value
from tracer.merge import merge, need_same_structure
from tracer.names import Model, name_constants, number
from tracer.passes.base import collect_state, drop_sizes, reads
from tracer.recorder import Recorder
from tracer.session import Handle, Session
from tracer.spec import bind, drawn_sizes
from tracer.steady import draws, need_steady
from tracer.text import type_text
from tracer.unchanged import Unchanged


def trace(
    model: Layer | Callable[..., Any],
    *inputs: Any,
    training: bool | None = False,
    sizes: Mapping[str, int] | None = None,
    output_names: Sequence[str] | None = None,
    layers: Mapping[str, Layer] | None = None,
    state: Mapping[str, Tensor] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
    problems: list[TraceError] | None = None,
    **kwargs: Any,
) -> Graph:
    """Record one forward of a model, for every input that its specs allow.

    Args:
        model: a Layer, a method of one, or a function of tensors.
        inputs: what the model is called with: InputSpecs, or example tensors and arrays (fixed
            sizes), also inside tuples, lists and dicts. Anything else is passed on as it is.
        training: False runs all layers in eval mode. True leaves the mode of each layer as it is
            if the model is in training mode (frozen layers stay so), else sets them all to train.
            None leaves every layer in its mode.
        sizes: sample sizes by symbol; by default they are chosen.
        output_names: one per tensor that the model returns; by default `output`, or positions and
            keys in what it returns.
        layers: the layers that a function uses, by name, where they cannot be found by looking.
        state: tensors that are to be state beside those of the layers, by name.
        optimizers: the optimisers whose steps a function takes, by name, where they cannot be
            found by looking. Slots, counters and learning rates are state.
        problems: a list to collect what is wrong with the model, instead of raising the first.
        kwargs: keyword arguments of the model, given like `inputs`.

    Returns:
        The graph. Passes have not been run on it.

    Raises:
        TraceError: the forward does what one graph cannot do for every input; it names the line
            and the remedy.
    """
    if any(isinstance(observer, Recorder) for observer in current()):
        raise TraceError("a model is traced while another trace runs; trace one after the other")
    found = Model(model, layers, state, optimizers, training)
    call = Call(found, inputs, kwargs)
    bound, chosen = bind(call.specs, sizes)
    with Modes(found.layers, training):
        written = frozenset(found.carried)
        while True:
            session = Session(found, bound, dict(chosen), written, problems)
            try:
                graph = _trace(session, call, output_names)
            except (ShapeError, IndexRangeError) as error:
                _tell_sizes(error, drawn_sizes(call.specs, sizes or (), chosen))
                raise
            seen = frozenset(state.name for state in graph.states)
            if session.frozen_escape is None or seen <= written:
                break
            # State was read as a plain number before it was known that the forward writes it.
            written |= seen
        modes = [layer.training for layer in found.layers.values()]
    graph.training = any(modes) if training is None else training
    return graph


def _tell_sizes(error: DynError, drawn: dict[str, int]) -> None:
    """Say which sizes of the sample the user has not chosen: the model may want others."""
    if drawn:
        text = ", ".join(f"{name} = {size}" for name, size in drawn.items())
        name = next(iter(drawn))
        error.message += (
            f" (the model ran on a sample whose sizes were drawn: {text}; if it wants others, give "
            f"them as sizes={{{name!r}: ...}} or by InputSpec(example=...))"
        )


def need_same_twice(model: Model, call: Call, training: bool | None) -> None:
    """Trace a model and call it a second time with the same inputs, of whatever it keeps.

    Raises:
        TraceError: the results differ; it names the first line that does.
    """
    bound, chosen = bind(call.specs)
    with Modes(model.layers, training):
        session = Session(model, bound, dict(chosen), frozenset(), None)
        session.doubted = True
        _trace(session, call, None)


def _trace(session: Session, call: Call, output_names: Sequence[str] | None) -> Graph:
    """One trace: all runs, merged into a graph."""
    order: list[list[str]] = []

    def run(path: Path) -> End:
        session.start_run()
        before = None if order else draws()
        recorder = Recorder(session, path)
        end, paths, results = _record(recorder, call)
        if not order:
            session.results = results
            drawn = draws() != before
            if session.doubted or drawn or session.snapshot.changed():
                path.end(end)
                _call_again(recorder, call, drawn)
        need_fresh_gradients(recorder, end)
        if not order:
            need_none_left(recorder, lambda again: _record(again, call)[0])
        if recorder.kept.stale:
            path.end(end)
            _need_no_later_write(recorder, call)
        order.append(paths)
        return end

    try:
        root = explore(run)
    finally:
        session.snapshot.restore()
    # A function that every run records again says the same every time.
    assumed = dict.fromkeys(session.assumptions + assumptions(root))
    return _graph(session, root, order[0], list(assumed), output_names)


def _record(recorder: Recorder, call: Call) -> tuple[End, list[str], list[np.ndarray]]:
    """One run from start to end."""
    session = recorder.session
    tensors = []
    for spec, _, array in session.inputs:
        tensors.append(Tensor._of(array))
        tensors[-1].stop_gradient = spec.stop_gradient
    args, kwargs = call.arguments(tensors)
    try:
        with observing(recorder):
            result = session.model.function(*args, **kwargs)
            end = _end(recorder, result)
            _need_no_hidden_state(recorder)
    finally:
        recorder.close()
    if session.refused is not None:
        raise session.refused
    return end


def _call_again(recorder: Recorder, call: Call, drawn: bool) -> None:
    """See to it that the forward is the same twice, after a first run that left something."""
    session = recorder.session
    kept = session.model.temporaries()
    suspects = {name: t for name, t in kept.items() if recorder.computed_from_inputs(t)}

    need_steady(session, call, suspects, drawn, lambda: _follow(recorder, call))


def _follow(recorder: Recorder, call: Call) -> None:
    """Record a run once more, as an earlier call has left what Python keeps."""
    session, (path,) = recorder.session, recorder.paths
    session.start_run(attributes=False)
    again = Path(path.root, tuple(path.taken))
    again.end(_record(Recorder(session, again), call)[0])


def _need_no_later_write(recorder: Recorder, call: Call) -> None:
    """Refuse to read what was written before the trace if a later call may write it again.

    None does that writes it on no path now and finds everything as this call has found it. What
    compiled steps could not watch is refused, too.
    """
    session = recorder.session
    function = getattr(session.model.function, "__wrapped__", session.model.function)
    again = not session.snapshot.changed()
    if again:
        around = Unchanged(session.model, (), function, ())
        _follow(recorder, call)
        again = around.holds() and all(around.watches(tensor) for tensor, _ in recorder.kept.stale)
    if not again:
        for tensor, where in recorder.kept.stale:
            recorder.kept.carries_state(tensor, "is read before it is written", where)


def _end(recorder: Recorder, result: Any) -> tuple[End, list[str], list[np.ndarray]]:
    """What a run has come to: values of the outputs and of the state it wrote."""
    structure, leaves = flatten(result, is_output)
    outputs, arrays = [], []
    for _, leaf in leaves:
        tensor = leaf
        if isinstance(leaf, Dim):
            tensor = recorder.lift(leaf)
        elif not isinstance(leaf, Tensor):
            tensor = Tensor(leaf)
        arrays.append(tensor._read())
        outputs.append(recorder.value_of(tensor))
    if not outputs:
        raise TraceError(
            f"the forward returned {type(result).__name__}; it must return a tensor, or a tuple, "
            "list or dict of tensors"
        )
    model = recorder.session.model
    states = {
        name: (recorder.value_of(model.now(name)), line)
        for name, line in recorder.kept.states.items()
    }
    return End(outputs, structure, states), [path for path, _ in leaves], arrays


def _need_no_hidden_state(recorder: Recorder) -> None:
    """Refuse attributes that were read as constants and are now bound to something else."""
    session = recorder.session
    after = session.model.temporaries()
    for path, before in session.temporaries.values():
        line = recorder.kept.read_as_constant(before)
        if line is not None and after.get(path) is not before:
            recorder.kept.carries_state(before, f"is read (at {line}) and then replaced", line)


def _graph(
    session: Session,
    root: Segment,
    paths: list[str],
    assumed: list[Any],
    output_names: Sequence[str] | None,
) -> Graph:
    """The graph of all runs, merged: state in front, names and numbers given.

    Args:
        root: the runs, as a tree that forks at conditions.
        paths: where in the result of the forward each output stands.
        assumed: what is taken for granted for every input.
        output_names: what the outputs are to be called, or None.
    """
    finished = ends(root)
    need_same_structure(root)
    names = _output_names(paths, output_names, {value.name for _, value, _ in session.inputs})
    carried = session.model.carried.union(*(end.states for end in finished))
    written = [h for h in session.handles.values() if h.name in carried]
    lines = {name: line for end in finished for name, (_, line) in end.states.items()}
    titles = [f"output {name}" for name in names] + [f"the new value of {h.name}" for h in written]
    nodes, values = merge(
        root,
        lambda end: [*end.outputs, *(_next_value(end, handle, lines) for handle in written)],
        titles,
        session.sizes,
    )
    stored = [h.value for h in session.handles.values() if h.value is not None]
    graph = Graph(
        inputs=[value for _, value, _ in session.inputs],
        nodes=nodes,
        outputs=values[: len(names)],
        name=session.model.name,
        output_names=names,
        structure=finished[0].structure,
        params=[value for value in stored if value.kind == "param"],
        buffers=[value for value in stored if value.kind == "buffer"],
        constants=session.constants,
        states=[
            State(h.name, h.value, value, lines.get(h.name), h.name in session.replaced)
            for h, value in zip(written, values[len(names) :], strict=True)
        ],
        guards=list(session.guards.values()),
        assumptions=assumed,
        sizes=session.sizes,
        samples=[spec.sample for spec, _, _ in session.inputs],
        results=session.results,
    )
    _drop_idle_states(graph)
    _settle_states(graph)
    collect_state(graph)
    drop_sizes(graph)
    _need_distinct_names(graph)
    name_constants(graph)
    number(graph)
    return graph


def _next_value(end: End, handle: Handle, lines: Mapping[str, SourceLine | None]) -> Value:
    """What a state is after a run: what the run wrote, or what it was before.

    Args:
        lines: where each state was written, in whichever run.
    """
    value = end.states[handle.name][0] if handle.name in end.states else handle.value
    if value is None:
        raise TraceError(
            f"the buffer {handle.name} has no value yet and is written on one side of a "
            "condition only; give it a first value",
            where=lines[handle.name],
        )
    return value


def _output_names(paths: list[str], wanted: Sequence[str] | None, taken: set[str]) -> list[str]:
    """Names of the outputs: those that are wanted, or keys and positions in the result."""
    if wanted is None:
        names = []
        for path in paths:
            name = path or "output"
            if name[0].isdigit():
                name = f"output_{name}"
            names.append(f"output_{name}" if name in taken else name)
        return names
    names = list(wanted)
    if len(names) != len(paths):
        raise TraceError(f"{len(names)} output names are given; the forward returns {len(paths)}")
    twice = [name for i, name in enumerate(names) if name in taken or name in names[:i]]
    if twice:
        raise TraceError(f"the name {twice[0]!r} of an output is that of another input or output")
    return names


def _drop_idle_states(graph: Graph) -> None:
    """Forget state that stays what it is and that nothing reads."""
    read = {value for node in graph.walk() for value in node.inputs}
    graph.states = [s for s in graph.states if s.next is not s.value or s.value in read]


def _settle_states(graph: Graph) -> None:
    """Forget a first value that is never read if it is of another type; refuse it if it is read."""
    read = reads(graph)
    for i, state in enumerate(graph.states):
        if state.value is None or state.value.type == state.next.type:
            continue
        if state.value in read:
            raise TraceError(
                f"{state.name} is {type_text(state.value.type)} when the forward starts and is "
                f"written as {type_text(state.next.type)}; state that is read must keep its shape "
                "and dtype",
                where=state.where,
            )
        graph.states[i] = replace(state, value=None)


def _need_distinct_names(graph: Graph) -> None:
    """Raise if an input is called like a parameter or buffer."""
    state = {value.name for value in (*graph.params, *graph.buffers)}
    for value in graph.inputs:
        if value.name in state:
            raise TraceError(
                f"an input is called {value.name!r} like a parameter of the model; name it "
                "otherwise with InputSpec(name=...)"
            )
