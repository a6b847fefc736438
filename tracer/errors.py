"""What tracing refuses, and what is wrong with a graph."""

from __future__ import annotations

from dyn.core.errors import DynError


class TraceError(DynError, RuntimeError):
    """The forward does something that one recorded graph could not do for every input."""


class GraphError(DynError, ValueError):
    """A graph is not well formed, or its text cannot be read."""
