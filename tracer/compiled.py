"""`compile_training`: a training step that is recorded once and then runs without Python between
its kernels.

What Python around the step may change is watched (`unchanged.py`); the kernels run in `program.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dyn.core import observe
from dyn.core.errors import DTypeError, StateError, user_level
from dyn.core.modes import is_grad_enabled
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten, rebuild
from dyn.nn.layer import Layer
from dyn.nn.state import Buffer, Parameter
from dyn.optimizer import Optimizer
from dyn.optimizer.group import Group
from tracer import passes
from tracer.call import Call
from tracer.errors import TraceError
from tracer.names import Model
from tracer.program import Program, is_straight
from tracer.reach import is_users
from tracer.spec import class_beside
from tracer.steady import same
from tracer.trace import need_same_twice, trace
from tracer.training import Training
from tracer.unchanged import Unchanged

MAX_RECORDS = 16
"""Combinations of shapes, dtypes and constants that are recorded; others run as written."""
MAX_CHANGES = 8
"""Recordings anew of one combination, because something around the step had changed, after which it
runs as it is written."""
WORTHWHILE = 32
"""Steps after which a recording was worth it, and does not count among these."""

PASSES = (
    passes.dead_code,
    passes.simplify,
    passes.common_subexpressions,
    passes.constant_folding,
    passes.early_relu_grad,
    passes.fuse_relu,
    passes.dead_code,
)
"""Those of an export that leave parameters where they are, and what kernels here can do at once."""


def compile_training(
    loss: Any,
    *,
    optimizer: Optimizer | Sequence[Optimizer],
    layers: Mapping[str, Layer] | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> CompiledTraining:
    """A function that takes one training step: forward, backward, update of the optimisers.

    Called with the arguments of `loss`, it does what this does, and returns what `loss` returned:

        optimizer.clear_grad(set_to_zero=False)
        result = loss(*args)
        result.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)

    The first call with inputs of certain shapes and dtypes records the step as a graph; later calls
    run its kernels one after the other, without layers, tape and dispatch, which for small networks
    takes half of the time or less. Parameters, buffers, slots and learning rates are those of the
    model and the optimisers, before and after every step; schedulers, `state_dict` and evaluation
    work as ever. It is recorded anew when attributes of layers, modes, hooks, settings of the
    optimiser, or variables that the loss, a forward or a function called by these reads have
    changed. Other effects of Python's, such as printing or counting in a forward, happen while it
    is recorded and not afterwards. Parameters that no optimiser of the step trains get no
    gradients.

    Args:
        loss: a Layer or a function of tensors that returns the loss, or a tuple that begins with
            it, or a dict with a "loss". It is differentiated and must not call `backward` itself.
        optimizer: takes a step after the backward pass; several take theirs in turn.
        layers: the layers that the loss uses, by name, where they cannot be found by looking.
        state: tensors that are to be state beside those of layers and optimisers, by name.

    Raises:
        DTypeError: `optimizer` is not an Optimizer or a list of them, or has a `step` of its own.
    """
    return CompiledTraining(loss, optimizer, layers, state)


class _Arguments:
    """The arguments of a call.

    Attributes:
        key: types of the tensors, and everything else.
        arrays: of the tensors.
        kind: class of the first tensor; without one, that of what arrays become.
        plain: whether none of the tensors is differentiated or written.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], kind: type[Tensor]):
        self.args, self.kwargs = args, kwargs
        if not kwargs and all([isinstance(x, Tensor) for x in args]):
            rest, tensors, given = None, args, args
        else:
            structure, found = flatten((args, kwargs), lambda x: isinstance(x, _ARRAYS))
            # Of arrays a copy: results and state may lie in their memory, which is the user's.
            tensors = [x if isinstance(x, Tensor) else _tensor(x, kind) for _, x in found]
            given = [x for _, x in found if isinstance(x, Tensor)]
            rest = _frozen(structure)
            self.args, self.kwargs = rebuild(structure, tensors)
        self.kind = type(given[0]) if given else kind
        self.plain = all([x.stop_gradient and not isinstance(x, _STATE) for x in tensors])
        self.arrays = [x._read() for x in tensors]
        types = [(a.shape, a.dtype, type(x)) for a, x in zip(self.arrays, tensors, strict=True)]
        self.key = (rest, *types)


def _tensor(array: Any, kind: type[Tensor]) -> Tensor:
    tensor = Tensor(array)
    tensor.__class__ = kind
    return tensor


_ARRAYS = (Tensor, np.ndarray, np.generic)
_STATE = (Parameter, Buffer)


def _frozen(value: Any) -> Any:
    """Arguments that are no tensors, as part of a key."""
    if isinstance(value, dict):
        return dict, *((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), *map(_frozen, value)
    if isinstance(value, float):
        return type(value), value.hex()  # 0.0 and -0.0 are two, and NaN is itself
    try:
        hash(value)
    except TypeError:
        raise DTypeError(
            f"an argument of a compiled step is {type(value).__name__}; pass tensors, arrays, "
            "hashable constants, and lists, tuples and dicts of them"
        ) from None
    return type(value), value


class _Record:
    """A step as it was recorded for inputs of certain types.

    Attributes:
        program: None where the graph has branches, loops or sizes that depend on values, or would
            have more of them than can be recorded.
        changes: how often in a row it was recorded anew before it was worth it.
        runs: steps taken with it.
    """

    def __init__(
        self, training: Training, inputs: _Arguments, options: Mapping[str, Any], changes: int = 0
    ):
        self.changes, self.runs = changes, 0
        self._training = training
        named = dict(options, training=None)
        with training.ready(*inputs.args, **named, **inputs.kwargs) as results:
            with_steps = dict(named, optimizers=training.optimizers)
            graph = None
            try:
                graph = trace(training.step, *inputs.args, **with_steps, **inputs.kwargs)
            except TraceError as error:
                if not error.of_branches:
                    raise
            model = Model(training.step, optimizers=training.optimizers, training=None, **options)
            if graph is not None and not same(results, graph.results):
                # Kernels may differ, too, with nobody watching; here it is told apart.
                call = Call(model, inputs.args, inputs.kwargs)
                need_same_twice(model, call, None)
            self._stepped = [(one, group) for one, group in self._groups() if one._active(group)]
        loss = training.step.__wrapped__  # type: ignore[attr-defined]
        self._around = Unchanged(model, training.parameters, loss, (inputs.args, inputs.kwargs))
        self._settings = self._settings_now()
        self.program = None
        if graph is not None:
            graph, _ = passes.optimize(graph, PASSES)
            self._structure = graph.structure
            self.program = Program(graph, model.tensors) if is_straight(graph) else None
            self._replaced = [state.name for state in graph.states if state.replaced]
        self._places = model.places
        self._buffers = {name: model.tensors[name] for name in model.places}

    def _groups(self) -> Iterator[tuple[Optimizer, Group]]:
        for one in self._training.optimizers.values():
            for group in one._groups:
                yield one, group

    def prepare(self) -> None:
        """Let learning rates, and whatever else optimisers read before a step, be those of now."""
        for one, group in self._groups():
            if group.lr is not None:  # it has been stepped
                one._prepare(group)

    def _settings_now(self) -> list[Any]:
        """Parameters and settings of all groups."""
        return [
            (*map(id, group.parameters), *(() if group.lr is None else one.settings_of(group)))
            for one, group in self._groups()
        ]

    def holds(self) -> bool:
        """Whether the step would be recorded alike now."""
        if self.program is not None and not self._follow():
            return False
        if self._settings_now() != self._settings or not self._around.holds():
            return False
        return self.program is None or self.program.fits()

    def _follow(self) -> bool:
        """Go over to the buffers that layers hold now; False if these are not one for one."""
        moved = {}
        for name, buffer in self._buffers.items():
            for layer, attribute in self._places[name]:
                now = layer.__dict__.get(attribute)
                if now is not buffer:
                    if not isinstance(now, Buffer) or len(self._places[name]) > 1:
                        return False
                    moved[name] = now
        if moved:
            assert self.program is not None
            self._around.follow({id(self._buffers[name]): now for name, now in moved.items()})
            self.program.follow(moved)
            self._buffers |= moved
        return True

    def change(self) -> str:
        """What is no longer as it was recorded."""
        if self._settings_now() != self._settings:
            return "settings or parameters of an optimizer"
        return self._around.change() or "the type of a parameter"

    def run(self, arrays: Sequence[np.ndarray], kind: type[Tensor]) -> Any:
        """Take a step; the results are tensors of a class."""
        assert self.program is not None
        self.runs += 1
        if self._replaced:
            # As in the step as it is written, whoever holds the old ones goes on to see them.
            for name in self._replaced:
                for layer, attribute in self._places[name]:
                    before = layer.__dict__[attribute]
                    layer.__dict__[attribute] = Buffer.holding(before, before)
            self._follow()
        results = []
        for array in self.program.run(arrays):
            results.append(Tensor._of(array))
            results[-1].__class__ = kind
        for one, group in self._stepped:
            one.count_step(group)
        return rebuild(self._structure, results)


class CompiledTraining:
    """What `compile_training` makes: called with the arguments of the loss, it takes a step.

    Args:
        loss, optimizer, layers, state: see `compile_training`.
    """

    def __init__(
        self,
        loss: Any,
        optimizer: Optimizer | Sequence[Optimizer],
        layers: Mapping[str, Layer] | None,
        state: Mapping[str, Tensor] | None,
    ):
        self._training = Training(loss, optimizer)
        for one in self._training.optimizers.values():
            _need_our_step(one)
        self._options = {"layers": layers, "state": state}
        self._kind = class_beside(self._training.parameters)
        self._records: dict[Any, _Record] = {}
        self._as_written = False
        self._is_full = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take a step; arguments and result are those of the loss.

        Raises:
            TraceError: the step does what cannot be recorded; it names the line and the remedy.
            DynError: as the loss itself.
        """
        inputs = _Arguments(args, kwargs, self._kind)
        hooked = any([getattr(one, "_hooks", None) for one in self._training.optimizers.values()])
        watched = observe.current() or hooked or not is_grad_enabled()
        if watched or not inputs.plain or self._as_written:
            return self._training.step(*inputs.args, **inputs.kwargs)
        record = self._records.get(inputs.key)
        if record is not None:
            record.prepare()
        if record is None or not record.holds():
            record = self._recorded(inputs, record)
        if record is None or record.program is None:
            return self._training.step(*inputs.args, **inputs.kwargs)
        self._training.clear()
        return record.run(inputs.arrays, inputs.kind)

    def _recorded(self, inputs: _Arguments, old: _Record | None) -> _Record | None:
        """A new record in the place of an old one; None if there were too many."""
        changes = 0
        if old is not None:
            changes = old.changes + 1 if old.runs < WORTHWHILE else 0
            if changes > MAX_CHANGES:
                self._as_written = True
                self._records.clear()
                warnings.warn(
                    f"what a compiled step depends on has changed {changes} times, at last "
                    f"{old.change()}; from now on it runs as it is written. Pass what changes as "
                    "a tensor argument",
                    stacklevel=user_level(),
                )
                return None
        elif len(self._records) >= MAX_RECORDS:
            if not self._is_full:
                self._is_full = True
                warnings.warn(
                    f"a compiled step was called with more than {MAX_RECORDS} combinations of "
                    "shapes, dtypes and constants; further ones run as they are written. Pass "
                    "numbers that change as tensors, and pad inputs to few shapes",
                    stacklevel=user_level(),
                )
            return None
        record = _Record(self._training, inputs, self._options, changes)
        self._records[inputs.key] = record
        return record

    def __reduce__(self) -> Any:
        raise StateError(
            "a compiled step belongs to its model and optimizer and is neither copied nor saved; "
            "copy these or save their state_dict, and call compile_training for the copies"
        )


def _need_our_step(optimizer: Optimizer) -> None:
    step: Callable[..., Any] = getattr(type(optimizer).step, "__wrapped__", type(optimizer).step)
    if is_users(step.__module__):
        raise DTypeError(
            f"{type(optimizer).__name__} has a step of its own, whose Python cannot be recorded; "
            "call loss, backward and step one after the other"
        )
