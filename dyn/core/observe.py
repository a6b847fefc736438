"""Who else wants to know what ran: observers, held in a context variable.

dyn reports what happens and asks a few questions; it never knows who listens. The tracer is an
observer, so are the profiler and the NaN finder. An observer must not change what an op computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dyn.core.op import Op
    from dyn.core.tensor import Tensor


class Observer:
    """Base with events that do nothing; override the ones you want."""

    def on_op(
        self,
        op: Op,
        inputs: Sequence[Tensor | None],
        attrs: dict[str, Any],
        outputs: Sequence[Tensor],
    ) -> None:
        """An op ran. `outputs` holds private outputs too; attribute values may hold `Dim`s."""

    def on_gradient(self, node: Any, position: int, gradient: Tensor) -> None:
        """The rule of a node on the tape gave the gradient of the input at `position`."""

    def on_create(self, tensor: Tensor) -> None:
        """A tensor was made from numbers rather than by an op."""

    def before_assign(self, target: Tensor) -> None:
        """`target` is about to be bound to a new value; it still has the old one."""

    def on_assign(self, target: Tensor) -> None:
        """`target` was bound to a new value (assign, `x[...] = v`, `x += y`, `set_value`)."""

    def before_replace(self, layer: Any, name: str, value: Tensor | None) -> None:
        """The buffer that a layer keeps under a name is about to be another: `value`, or a buffer
        that takes over its value; None if there will be none."""

    def on_escape(self, tensor: Tensor, how: str) -> Any:
        """A value leaves for Python ("bool", "int", "float", "item", "numpy", "iter", "format").

        Returns:
            None to let the true value out, or the value to hand to Python in its place.
        """

    def on_layer(self, layer: Any, phase: str) -> None:
        """A layer is entered ("enter") or left ("exit", also when it raised)."""

    def on_control(self, kind: str, functions: dict[str, Any], operands: Sequence[Any]) -> Any:
        """A branch or loop made of functions is about to run ("cond", "while_loop", "scan").

        Returns:
            NotImplemented to let it run, or its results if the observer ran it.
        """
        return NotImplemented

    def shape_of(self, tensor: Tensor) -> Sequence[Any] | None:
        """The sizes user code shall see for `tensor` (`Dim`s), or None for the plain ones."""


_OBSERVERS: ContextVar[tuple[Observer, ...]] = ContextVar("dyn.observers", default=())

current = _OBSERVERS.get
"""`current()` gives the observers of this thread or task, innermost last."""


@contextmanager
def observing(observer: Observer) -> Iterator[Observer]:
    """Add `observer` for the length of a `with` block, in this thread or task only."""
    token = _OBSERVERS.set((*_OBSERVERS.get(), observer))
    try:
        yield observer
    finally:
        _OBSERVERS.reset(token)


def set_observers(observers: Sequence[Observer]) -> None:
    """Have these observers from now on in this thread or task: for switches that are no blocks."""
    _OBSERVERS.set(tuple(observers))


@contextmanager
def unobserved() -> Iterator[None]:
    """Run without observers: for code that only looks at values, such as printing."""
    token = _OBSERVERS.set(())
    try:
        yield
    finally:
        _OBSERVERS.reset(token)
