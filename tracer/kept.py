"""What a run reads and writes that lasts from call to call: the model's state, and what is none.

A tensor that no op of the run has made is state if the model holds it, and else a constant. State
is written to, or another tensor is put in the place of a buffer; both are next values of the graph.
A constant that is written as well would carry a value that no file holds, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core.errors import SourceLine, user_line
from dyn.core.tensor import Tensor
from dyn.nn.state import Buffer, Parameter
from tracer import refusals
from tracer.errors import TraceError
from tracer.graph import Value
from tracer.session import Session


class Kept:
    """What one run reads and writes of state and of other tensors.

    Args:
        session: what all runs share.
        layer: gives the path of the layer that is running.

    Attributes:
        states: line at which each piece of state was last written in this run.
        stale: tensors outside of the model that somebody has written before the trace, and the
            lines at which they were first read.
    """

    def __init__(self, session: Session, layer: Callable[[], str]):
        self._session = session
        self._layer = layer
        self.states: dict[str, SourceLine | None] = {}
        self.stale: list[tuple[Tensor, SourceLine | None]] = []
        self._created: dict[int, Tensor] = {}
        self._read: dict[int, tuple[Tensor, SourceLine | None]] = {}
        self._written: dict[int, Tensor] = {}
        self._made: dict[int, Tensor] = {}  # buffers made in this run that were read

    def create(self, tensor: Tensor) -> None:
        """A tensor of numbers written in the forward."""
        self._created[id(tensor)] = tensor

    def first_seen(self, tensor: Tensor) -> Value:
        """What a tensor becomes that no op of this run has made.

        Raises:
            TraceError: it is state of nobody, or a temporary that carries state.
        """
        where = user_line()
        created = id(tensor) in self._created
        state = isinstance(tensor, Buffer) and tensor.persistable
        if isinstance(tensor, Parameter) or (state and not created):
            self._not_registered(tensor, where, created=created)
        elif not (created or isinstance(tensor, Buffer) or id(tensor) in self._written):
            if self._session.writes.find(tensor):
                self.carries_state(tensor, "is read before it is written", where)
            elif tensor._assigned:
                self.stale.append((tensor, where))
        if not created:
            self._read.setdefault(id(tensor), (tensor, where))
            self._session.reads.add(tensor, where)
        elif state:
            self._made[id(tensor)] = tensor
        literal = created or not tensor._array.flags.writeable
        return self._session.constant(tensor, where, literal=literal)

    def write(self, target: Tensor, *, in_block: bool) -> None:
        """A tensor that was bound to a new value.

        Raises:
            TraceError: it is state that is written in a block, or was read as a constant before.
        """
        handle = self._session.handles.get(id(target))
        if handle is None:
            self._lose(target)
        else:
            self._write(handle.name, in_block)

    def replace(self, layer: Any, name: str, value: Tensor | None, *, in_block: bool) -> None:
        """A buffer in whose place another tensor is about to come.

        Raises:
            TraceError: it is state that gets none, that other attributes hold, too, or that is
                replaced in a block; or no state, and was read as a constant before.
        """
        model = self._session.model
        state = model.name_at(layer, name)
        if state is None:
            before = layer.__dict__.get(name)
            if before is not None and before._array is not None:
                self._lose(before)
        elif value is None:
            self._refuse(refusals.state_removed(state))
        elif len(model.places[state]) > 1:
            self._refuse(refusals.state_parted([*map(self._path, model.places[state])]))
        else:
            self._write(state, in_block)
            self._session.replaced.add(state)

    def read_as_constant(self, tensor: Tensor) -> SourceLine | None:
        """The line at which this run first read an unregistered tensor, if it did."""
        return self._read[id(tensor)][1] if id(tensor) in self._read else None

    def carries_state(self, tensor: Tensor, how: str, where: SourceLine | None) -> None:
        """Refuse a temporary that keeps a value from call to call."""
        path = self._session.temporaries.get(id(tensor), (None,))[0]
        self._refuse(refusals.carries_state(tensor, path, how, where))

    def _write(self, name: str, in_block: bool) -> None:
        if in_block:
            raise refusals.state_written_in_block(name)
        self.states[name] = user_line()

    def _lose(self, target: Tensor) -> None:
        """See to it that nobody reads what is written outside of the state."""
        # What is read and written is carried from call to call; one made anew in each is lost.
        if id(target) in self._made:
            self._not_registered(target, user_line(), created=True)
        read = self._session.reads.find(target)
        if read:
            how = f"is written after it was read (at {read[0]})"
            self.carries_state(target, how, user_line())
        self._written[id(target)] = target
        self._session.writes.add(target, user_line())

    def _not_registered(self, tensor: Tensor, where: SourceLine | None, *, created: bool) -> None:
        """Refuse a parameter or buffer that the model does not hold."""
        model = self._session.model
        untrained = bool(model.optimizers) and not model.training
        self._refuse(
            refusals.not_registered(
                tensor, where, created=created, in_model=model.closed, untrained=untrained
            )
        )

    def _path(self, place: tuple[Any, str]) -> str:
        layer, attribute = place
        return f"{self._session.layer_paths.get(id(layer), '')}.{attribute}".lstrip(".")

    def _refuse(self, error: TraceError) -> None:
        self._session.problem(error, self._layer())
