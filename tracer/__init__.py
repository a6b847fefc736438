"""Records one forward of a dyn model as a graph: data that can be read, checked, run, exported."""

from tracer.check import validate
from tracer.compiled import CompiledTraining, compile_training
from tracer.errors import GraphError, TraceError
from tracer.graph import Assumption, Block, Graph, Guard, Node, State, Value
from tracer.live import Live
from tracer.parse import parse
from tracer.passes import optimize
from tracer.run import Interpreter, run
from tracer.spec import InputSpec
from tracer.trace import trace
from tracer.training import Training

__all__ = [
    "Assumption",
    "Block",
    "CompiledTraining",
    "Graph",
    "GraphError",
    "Guard",
    "InputSpec",
    "Interpreter",
    "Live",
    "Node",
    "State",
    "TraceError",
    "Training",
    "Value",
    "compile_training",
    "optimize",
    "parse",
    "run",
    "trace",
    "validate",
]
