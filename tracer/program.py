"""A graph of fixed sizes as one Python function: a line for each kernel, over live tensors.

Kernels are looked up once, as dispatch would find them, and results dropped after their last
reader. Written out as source, a step costs its kernel and nothing else; a loop over the same calls
takes half as long again for small networks. The interpreter in `run.py` is the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dyn.core.dispatch import kernel_error, make_plan, quietly
from dyn.core.errors import SourceLine
from dyn.core.op import OPS, freeze
from dyn.core.tensor import Tensor
from dyn.kernels.lending import lend
from dyn.ops.sole import WORTHWHILE, lend_sole, rebind
from tracer.graph import Graph, Node, Value
from tracer.sizes import is_symbolic


def is_straight(graph: Graph) -> bool:
    """Whether a graph has neither blocks nor sizes that depend on values or inputs."""
    return not graph.sizes and not any(
        node.blocks
        or any(map(is_symbolic, node.attrs.values()))
        or any(is_symbolic(value.shape) for value in node.outputs)
        for node in graph.nodes
    )


class Program:
    """A straight graph, ready to run.

    Args:
        graph: it must be `is_straight`.
        tensors: the live tensors by the names of parameters, buffers and state; they are read when
            a run begins, and bound to their next values when it ends.
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, Tensor]):
        self._tensors = dict(tensors)
        self._types = [(v.name, v.shape, v.dtype) for v in (*graph.params, *graph.buffers)]
        self._random = any(OPS[node.op].random for node in graph.nodes)
        writer = _Writer(graph)
        self._lines = writer.lines
        self._owners = writer.held
        self._changed = writer.changed
        self._function = writer.function()
        self._hold()

    def _hold(self) -> None:
        """Let the names in the program stand for the tensors of now."""
        tensors, known = self._tensors, self._function.__globals__
        self._held = [(tensors[name], shape, dtype) for name, shape, dtype in self._types]
        known |= {owner: tensors[name] for owner, name in self._owners.items()}
        known["targets"] = [tensors[name] for name in self._changed]

    def follow(self, tensors: Mapping[str, Tensor]) -> None:
        """Read and bind other tensors under some names from now on."""
        self._tensors |= tensors
        self._hold()

    def fits(self) -> bool:
        """Whether the live tensors have the shapes and dtypes that were recorded."""
        for tensor, shape, dtype in self._held:
            array = tensor._array if tensor._alias is None else tensor._read()
            if array is None or array.shape != shape or array.dtype != dtype:
                return False
        return True

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for arrays of the shapes and dtypes that were recorded.

        Raises:
            DynError: a kernel refuses a value, such as a label out of range; it names the line at
                which the op was recorded.
        """
        try:
            if not self._random:
                return quietly(self._function, inputs)
            with np.errstate(all="ignore"):
                return self._function(inputs)
        except (IndexError, ValueError, ZeroDivisionError) as error:
            trail = error.__traceback__
            while trail is not None and trail.tb_frame.f_code is not self._function.__code__:
                trail = trail.tb_next
            found = trail and self._lines.get(trail.tb_lineno)
            if not found:
                raise
            op, where = found
            raise kernel_error(OPS[op], error, where) from None


class _Writer:
    """The source of a program, and what its names stand for.

    Values are `v0`, `v1` ...; `k`, `t` and `c` are kernels, tensors and constants.

    Attributes:
        lines: op and user's line of the node that a line runs.
        held: parameters and buffers by the names that stand for their tensors.
        changed: the state that `targets` stands for.
    """

    def __init__(self, graph: Graph):
        self._graph = graph
        self.held: dict[str, str] = {}
        self._names: dict[Value, str] = {}
        self._owners: dict[Value | None, str] = {}
        self._known: dict[str, Any] = {
            "parts": _parts,
            "lend": lend,
            "lend_sole": lend_sole,
            "rebind": rebind,
        }
        self.lines: dict[int, tuple[str, SourceLine | None]] = {}
        self._source = ["def run(inputs):"]
        self._read_inputs()
        self._run_nodes()
        self._write_results()

    def _read_inputs(self) -> None:
        """Constants, the tensors that hold state, and what the step is called with."""
        graph = self._graph
        for value in graph.constants:
            self._line(f"{self._name(value)} = {self._own('c', np.asarray(value.data))}")
        for value in (*graph.params, *graph.buffers):
            self._owners[value] = owner = self._own("t", None)
            self.held[owner] = value.name
            self._line(f"{self._name(value)} = {_read(owner)}")
        if graph.inputs:
            self._line(f"{self._list(graph.inputs)} = inputs")

    def _run_nodes(self) -> None:
        """A line for each node, and one that forgets what nobody reads any more."""
        graph = self._graph
        changing = {state.value: state.next for state in graph.states}
        last = {value: i for i, node in enumerate(graph.nodes) for value in node.inputs}
        roots = set(graph.roots())
        for i, node in enumerate(graph.nodes):
            dead = [v for v in dict.fromkeys(node.inputs) if v and last[v] == i and v not in roots]
            # Their tensors are bound to the next values only when the run ends.
            over = [v for v in dead if changing.get(v) in node.outputs and _is_large(v)]
            self._call(node, {v: self._owners[v] for v in over})
            dead += [v for v in node.outputs if v not in last and v not in roots]
            if dead:
                self._line(" = ".join([*map(self._name, dead), "None"]))

    def _write_results(self) -> None:
        """Next values of state to their tensors, and the outputs."""
        changed = [state for state in self._graph.states if state.next is not state.value]
        self.changed = [state.name for state in changed]
        values = self._list([state.next for state in changed])
        self._line(f"rebind(targets, ({values}))")
        self._line(f"return [{', '.join(map(self._name, self._graph.outputs))}]")

    def function(self) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
        """What was written, compiled."""
        exec(compile("\n".join(self._source), "<compiled step>", "exec"), self._known)
        return self._known["run"]

    def _call(self, node: Node, over: Mapping[Value, str]) -> None:
        """The lines of a node; it may write over values that only their owners refer to."""
        kernel = self._own("k", _kernel(node))
        read = ", ".join("None" if v is None else self._name(v) for v in node.inputs)
        call = f"{kernel}({read})"
        op = OPS[node.op]
        if op.public != 1 or len(op.outputs) > 1:
            call = f"{self._list(node.outputs)} = parts({call})"
        else:
            call = f"{self._name(node.outputs[0])} = {call}"
        if over:
            self._line(" = ".join([*map(self._name, over), "None"]))
            self._line(f"lend_sole([{', '.join(over.values())}])")
            self._line("try:")
            for value, owner in over.items():
                self._line(f" {self._name(value)} = {_read(owner)}")
            self._line(f" {call}", node)
            self._line("finally:")
            self._line(" lend()")
        else:
            self._line(call, node)

    def _line(self, text: str, node: Node | None = None) -> None:
        self._source.append(f" {text}")
        if node is not None:
            self.lines[len(self._source)] = node.op, node.where

    def _name(self, value: Value) -> str:
        return self._names.setdefault(value, f"v{len(self._names)}")

    def _list(self, values: Sequence[Value]) -> str:
        return "".join(f"{self._name(value)}, " for value in values)

    def _own(self, kind: str, thing: Any) -> str:
        name = f"{kind}{len(self._known)}"
        self._known[name] = thing
        return name


def _read(owner: str) -> str:
    return f"{owner}._array if {owner}._alias is None else {owner}._read()"


def _parts(made: Any) -> Any:
    """The results of an op that may have several, of which a kernel gives a single one bare."""
    return made if made.__class__ is tuple else (made,)


def _is_large(value: Value) -> bool:
    return int(np.prod(value.shape)) * value.dtype.itemsize >= WORTHWHILE


def _kernel(node: Node) -> Callable[..., Any]:
    """The kernel of a node, as dispatch would call it for inputs of these shapes and dtypes."""
    op = OPS[node.op]
    attrs = tuple(freeze(node.attrs[name]) for name in op.attrs)
    parts = [(None, None) if v is None else (v.shape, v.dtype) for v in node.inputs]
    key = (attrs, *(part for pair in parts for part in pair))
    return (op.plans.get(key) or make_plan(op, tuple(node.inputs), key)).run
