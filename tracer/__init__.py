"""Records one forward of a dyn model as a graph: data that can be read, checked, run, exported."""

from tracer.check import validate
from tracer.errors import GraphError, TraceError
from tracer.graph import Assumption, Block, Graph, Guard, Node, State, Value
from tracer.live import Live
from tracer.parse import parse
from tracer.passes import optimize
from tracer.run import Interpreter, run
from tracer.spec import InputSpec
from tracer.trace import trace

__all__ = [
    "Assumption",
    "Block",
    "Graph",
    "GraphError",
    "Guard",
    "InputSpec",
    "Interpreter",
    "Live",
    "Node",
    "State",
    "TraceError",
    "Value",
    "optimize",
    "parse",
    "run",
    "trace",
    "validate",
]
