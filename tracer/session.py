"""What all runs of one trace share: the values that exist before the forward starts.

Inputs, state and constants are the same `Value` objects in every run, however often the forward is
run again for its branches; so are sizes, guards and problems. Events are handled in `recorder.py`.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyn.core.errors import SourceLine
from dyn.core.expr import Expr
from dyn.core.op import Type
from dyn.core.tensor import Tensor
from dyn.kernels.runtime.derived import share
from dyn.nn.state import Parameter
from tracer.errors import TraceError
from tracer.graph import Assumption, Guard, Value
from tracer.names import Model
from tracer.preserve import Snapshot
from tracer.sizes import new_unknown_size
from tracer.spec import BoundInput

FREE, FROZEN, SIZED, TRACED = range(4)
"""What a value depends on: constants alone; parameters and buffers too; dynamic sizes too; inputs,
random numbers and written state too."""


@dataclass
class Handle:
    """A parameter or persistable buffer of the model during the trace.

    Attributes:
        array: an array object of its own, so that no two handles share one; None if the buffer
            has no value yet.
        value: what it holds when the forward starts.
    """

    name: str
    tensor: Tensor
    array: np.ndarray | None
    value: Value | None


class Lines:
    """The lines at which tensors outside of the model were first met, in whichever run."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[weakref.ref[Tensor], SourceLine | None]] = {}

    def add(self, tensor: Tensor, where: SourceLine | None) -> None:
        """Note a tensor, unless it was met before."""
        if not self.find(tensor):
            self._lines[id(tensor)] = weakref.ref(tensor), where

    def find(self, tensor: Tensor) -> tuple[SourceLine | None] | None:
        """The line of a tensor in a tuple; None if it was not met."""
        known, where = self._lines.get(id(tensor), (None, None))
        # Tensors of earlier runs are gone, and others may have their ids.
        return (where,) if known is not None and known() is tensor else None


class Session:
    """The fixed part of one trace.

    Attributes:
        inputs: values of the inputs, with the array object that stands for each in every run.
        handles: state of the model by `id` of its tensor.
        levels: what each value depends on.
        sizes: sample size of every symbol.
        guards: comparisons of sizes, each once.
        assumptions: sides of conditions in blocks that only raise.
        written: names of the state that earlier runs were seen to write.
        replaced: names of buffers in whose place a run has put others.
        problems: None to raise the first problem, or a list that collects them all.
        refused: the first problem that was raised, which the forward may have caught.
        doubted: whether the model is called twice even if nothing tells that it keeps something.
        results: arrays that the first run gave for the samples.
        reads, writes: tensors outside of the model that were read before they were written, and
            those that were written.
    """

    def __init__(
        self,
        model: Model,
        inputs: Sequence[BoundInput],
        sizes: dict[str, int],
        written: frozenset[str],
        problems: list[TraceError] | None,
    ):
        self.model = model
        self.sizes = sizes
        self.written = written
        self.replaced: set[str] = set()
        self.problems = problems
        self.refused: TraceError | None = None
        self.doubted = False
        self.results: list[np.ndarray] = []
        self.reads, self.writes = Lines(), Lines()
        self.guards: dict[Any, Guard] = {}
        self.assumptions: list[Assumption] = []
        self.levels: dict[Value, int] = {}
        self.constants: list[Value] = []
        self.frozen_escape: SourceLine | None = None
        self._by_content: dict[Any, Value] = {}
        self._by_array: dict[int, tuple[np.ndarray, Value]] = {}
        self._unknown_sizes: dict[Any, Expr] = {}
        self._gradients: dict[int, tuple[np.ndarray, Value]] = {}
        self.layer_paths = {id(layer): path for path, layer in model.layers.items()}
        self.snapshot = Snapshot(model)
        self.temporaries = {id(t): (path, t) for path, t in model.temporaries().items()}
        self.inputs: list[tuple[BoundInput, Value, np.ndarray]] = []
        for one in inputs:
            value = Value(one.name, one.type, "input")
            self.levels[value] = TRACED
            self.inputs.append((one, value, one.sample.view()))
        self.handles: dict[int, Handle] = {}
        for name, tensor in model.tensors.items():
            self.handles[id(tensor)] = self._handle(name, tensor)

    def _handle(self, name: str, tensor: Tensor) -> Handle:
        array = tensor._array
        if array is None:
            return Handle(name, tensor, None, None)
        kind = "param" if isinstance(tensor, Parameter) else "buffer"
        value = Value(name, Type(array.shape, array.dtype), kind, array)
        self.levels[value] = TRACED if name in self.written else FROZEN
        view = array.view()
        share(view, array)
        return Handle(name, tensor, view, value)

    def start_run(self, *, attributes: bool = True) -> None:
        """Put the model as it was, with array objects that can be told apart.

        Args:
            attributes: False leaves what layers keep beside parameters and buffers.
        """
        self.snapshot.restore(attributes=attributes)
        for handle in self.handles.values():
            handle.tensor._array = handle.array

    def constant(self, tensor: Tensor, where: SourceLine | None, *, literal: bool) -> Value:
        """The value of a tensor that comes from outside the ops: equal ones are one value."""
        array = tensor._array
        known = self._by_array.get(id(array))
        if known is not None:
            return known[1]
        key = (array.dtype.name, array.shape, _content(array))
        value = self._by_content.get(key)
        if value is None:
            kind = "literal" if literal else "const"
            name = self.temporaries[id(tensor)][0] if id(tensor) in self.temporaries else ""
            value = Value(name, Type(array.shape, array.dtype), kind, array, where)
            self._by_content[key] = value
            self.levels[value] = FREE
            self.constants.append(value)
        self._by_array[id(array)] = (array, value)
        return value

    def gradients(self) -> list[tuple[np.ndarray, Value]]:
        """What stands in `grad` of the model's tensors now: each array with its value."""
        found = []
        for name, gradient in self.model.gradients().items():
            array = gradient._array
            value = Value(f"{name}.grad", Type(array.shape, array.dtype), "const", array)
            found.append(self._gradients.setdefault(id(array), (array, value)))
            self.levels[found[-1][1]] = TRACED
        return found

    def unknown_size(self, point: Any, sample: int) -> Expr:
        """The symbol for a size that depends on values.

        Args:
            point: tells where in the program the size arises. Runs that come there on different
                paths have the same symbol for it.
            sample: the size in this run.
        """
        if point not in self._unknown_sizes:
            self._unknown_sizes[point] = new_unknown_size(self.sizes, sample)
        return self._unknown_sizes[point]

    def guard(
        self, left: Expr, relation: str, right: Expr, answer: bool, where: SourceLine | None
    ) -> None:
        """Remember a comparison that the sample decided."""
        key = (left.key, relation, right.key, answer)
        self.guards.setdefault(key, Guard(left, relation, right, answer, where))

    def problem(self, error: TraceError, layer: str) -> None:
        """Raise a problem, or collect it once with the path of the layer it is in."""
        if self.problems is None:
            self.refused = self.refused or error
            raise error
        error.layers = [self.model.name, *filter(None, layer.split("."))]
        if not any(p.message == error.message and p.where == error.where for p in self.problems):
            self.problems.append(error)


def _content(array: np.ndarray) -> bytes:
    """The bytes of an array, or their digest if they are many."""
    if array.nbytes <= 4096:
        return array.tobytes()
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.blake2b(flat).digest()  # type: ignore[arg-type]
