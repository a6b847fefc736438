"""What tracing refuses, and what is wrong with a graph."""

from __future__ import annotations

from dyn.core.errors import DynError


class TraceError(DynError, RuntimeError):
    """The forward does something that one recorded graph could not do for every input.

    Attributes:
        of_branches: whether it is what conditions on values lead to that cannot be recorded, where
            the forward itself runs.
    """

    of_branches = False


def headline(error: Exception) -> str:
    """The class of an error, and the first line of its message if it has one."""
    name, message = type(error).__name__, str(error).partition("\n")[0]
    return f"{name}: {message}" if message else name


class GraphError(DynError, ValueError):
    """A graph is not well formed, or its text cannot be read."""
