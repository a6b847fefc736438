"""Small forwards, legal and illegal: what tracing must accept in silence and what it must refuse.

A legal one comes with specs and must give, at every size, what the model gives. An illegal one
marks the line to be named with `# refused` and comes with words that the remedy must contain.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tracer import InputSpec


@dataclass(frozen=True)
class Forward:
    """One entry.

    Attributes:
        make: gives a fresh model or function.
        inputs: specs or other arguments.
        remedy: words of the error; empty for a legal forward.
        source: the function that holds the line marked `# refused`.
        other: sizes to run a legal one at, beside the traced ones.
        kwargs: keyword inputs.
    """

    name: str
    make: Callable[[], Any]
    inputs: tuple[Any, ...]
    remedy: tuple[str, ...] = ()
    source: Callable[..., Any] | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> int:
        """Number of the line that the error must name."""
        assert self.source is not None
        lines, first = inspect.getsourcelines(self.source)
        return next(
            first + i for i, line in enumerate(lines) if line.rstrip().endswith("# refused")
        )


LEGAL: list[Forward] = []
ILLEGAL: list[Forward] = []


def legal(*inputs: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """Add a function of tensors, or a Layer class, to the legal ones."""

    def add(target: Any) -> Any:
        make = target if isinstance(target, type) else lambda: target
        LEGAL.append(Forward(target.__name__, make, inputs, kwargs=kwargs))
        return target

    return add


def illegal(*remedy: str, inputs: tuple[Any, ...] = (InputSpec(["n", 3]),)) -> Callable[[Any], Any]:
    """Add a function or Layer class to the illegal ones."""

    def add(target: Any) -> Any:
        is_class = isinstance(target, type)
        make = target if is_class else lambda: target
        source = target.forward if is_class else target  # type: ignore[attr-defined]
        ILLEGAL.append(Forward(target.__name__, make, inputs, remedy, source))
        return target

    return add
