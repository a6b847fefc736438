"""Runs a graph on dyn's kernels, bitwise as the eager model does. No tape, no observers.

It is the reference for passes and for the exporter, and a way to look at every value on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dyn.core.expr import Expr
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.core.tree import rebuild
from tracer.errors import GraphError
from tracer.graph import Block, Graph, Node, Value
from tracer.sizes import symbol_of, to_int

Watch = Callable[[Node, list[np.ndarray]], None]
"""Called with a node and the arrays of its results, which it may replace in the list."""


class Interpreter:
    """A graph ready to run, with its state.

    Attributes:
        state: arrays of the states by name; each run starts from them and replaces them.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.state: dict[str, np.ndarray] = {
            state.name: np.asarray(state.value.data)
            for state in graph.states
            if state.value is not None and state.value.data is not None
        }
        for value in (*graph.params, *graph.buffers, *graph.constants):
            if value.data is None and value.name not in self.state:
                raise GraphError(f"{value.name} has no data; a graph read from text cannot be run")

    def run(self, *inputs: Any, watch: Watch | None = None, **named: Any) -> list[np.ndarray]:
        """Arrays of all outputs, in the order of `graph.output_names`.

        Args:
            inputs: arrays or Tensors in the order of the graph's inputs.
            watch: called after each node with the node and the arrays of its results; what it
                puts into that list is what the following nodes read.
            named: inputs by name.

        Raises:
            GraphError: an input is missing, unknown, or does not fit its type.
        """
        run = _Run(watch)
        for value in (*self.graph.params, *self.graph.buffers, *self.graph.constants):
            run.arrays[value] = None if value.data is None else np.asarray(value.data)
        for state in self.graph.states:
            if state.value is not None and state.name in self.state:
                run.arrays[state.value] = self.state[state.name]
        for value, array in zip(self.graph.inputs, self._arguments(inputs, named), strict=True):
            run.bind(value, array)
        run.nodes(self.graph.nodes)
        for state in self.graph.states:
            self.state[state.name] = run.arrays[state.next]
        return [run.arrays[value] for value in self.graph.outputs]

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the model returns, nested as the model nests it, as Tensors."""
        arrays = self.run(*inputs, **named)
        return rebuild(self.graph.structure, [Tensor._of(array) for array in arrays])

    def _arguments(self, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> list[np.ndarray]:
        names = [value.name for value in self.graph.inputs]
        given = dict(zip(names, inputs, strict=False)) | dict(named)
        if len(inputs) > len(names) or set(given) != set(names):
            raise GraphError(
                f"the graph has the inputs {', '.join(names)}; "
                f"{len(inputs)} were given by position and {', '.join(named) or 'none'} by name"
            )
        arrays = []
        for value in self.graph.inputs:
            array = given[value.name]
            array = array._read() if isinstance(array, Tensor) else np.asarray(array)
            fits = len(array.shape) == len(value.shape) and all(
                isinstance(size, Expr) or size == n
                for size, n in zip(value.shape, array.shape, strict=True)
            )
            if not fits or array.dtype != value.dtype:
                raise GraphError(
                    f"input {value.name} is {value!r}; given was {array.dtype.name} "
                    f"{list(array.shape)}"
                )
            arrays.append(array)
        return arrays


def run(graph: Graph, *inputs: Any, **named: Any) -> list[np.ndarray]:
    """Arrays of all outputs of one run from the recorded state (see `Interpreter`)."""
    return Interpreter(graph).run(*inputs, **named)


class _Run:
    """Arrays and sizes of one run."""

    def __init__(self, watch: Watch | None):
        self.arrays: dict[Value, Any] = {}
        self.sizes: dict[str, int] = {}
        self.watch = watch

    def bind(self, value: Value, array: np.ndarray) -> None:
        """Give a value its array, and the symbols that are sizes of it their numbers."""
        self.arrays[value] = array
        for size, n in zip(value.shape, array.shape, strict=True):
            symbol = symbol_of(size)
            if symbol is not None and self.sizes.setdefault(symbol, n) != n:
                raise GraphError(
                    f"the size {symbol} is {self.sizes[symbol]} elsewhere and {n} in "
                    f"{value.name} of shape {list(array.shape)}"
                )

    def nodes(self, nodes: list[Node]) -> None:
        for node in nodes:
            results = getattr(self, f"_{node.op}")(node) if node.blocks else self._op(node)
            if self.watch is not None:
                self.watch(node, results)
            for value, array in zip(node.outputs, results, strict=True):
                self.bind(value, array)

    def _op(self, node: Node) -> list[np.ndarray]:
        arrays = [None if value is None else self.arrays[value] for value in node.inputs]
        attrs = {name: to_int(value, self.sizes) for name, value in node.attrs.items()}
        results = OPS[node.op].kernel(*arrays, **attrs)
        return list(results) if isinstance(results, tuple) else [results]

    def block(self, block: Block, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Results of a block for its inputs."""
        for value, array in zip(block.inputs, arrays, strict=True):
            self.arrays[value] = array
        unknown = {name for name in self.sizes if name.startswith("_")}
        self.nodes(block.nodes)
        results = [self.arrays[value] for value in block.outputs]
        # Sizes that depend on values differ from step to step.
        for name in [n for n in self.sizes if n.startswith("_") and n not in unknown]:
            del self.sizes[name]
        return results

    def _cond(self, node: Node) -> list[np.ndarray]:
        chosen = "then" if self.arrays[node.inputs[0]] else "else"  # type: ignore[index]
        return self.block(node.blocks[chosen], [])

    def _while_loop(self, node: Node) -> list[np.ndarray]:
        values = [self.arrays[value] for value in node.inputs]  # type: ignore[index]
        while self.block(node.blocks["cond"], values)[0]:
            values = self.block(node.blocks["body"], values)
        return values

    def _scan(self, node: Node) -> list[np.ndarray]:
        arrays = [self.arrays[value] for value in node.inputs]  # type: ignore[index]
        count = node.attrs["carried"]
        carries, rows = arrays[:count], arrays[count:]
        columns: list[list[np.ndarray]] = []
        for i in range(rows[0].shape[0]):
            results = self.block(node.blocks["body"], carries + [row[i, ...] for row in rows])
            carries = results[:count]
            columns.append(results[count:])
        return carries + [np.stack(column) for column in zip(*columns, strict=True)]
