"""The graph: Value, Node, Block, Graph. Plain data, nothing that records, runs or prints it.

A value is assigned once: it is an input, a piece of state, a constant, or an output of a node.
Sizes are ints or `Expr`s over the sizes that the inputs declare. Nodes are in execution order.
Treat nodes and values as immutable: a pass builds a new graph and shares what it did not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from dyn.core.errors import SourceLine
from dyn.core.expr import Expr
from dyn.core.op import Type
from tracer import text


class Stored(Protocol):
    """What a value holds: an array, or an object that `numpy.asarray` makes an array of."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        ...

    @property
    def ndim(self) -> int:
        """Number of axes."""
        ...

    @property
    def size(self) -> int:
        """Number of elements."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        ...

    def __array__(self) -> np.ndarray:
        """The array, made anew if it is not one already."""
        ...


@dataclass(eq=False, slots=True)
class Value:
    """One tensor of the graph.

    Attributes:
        name: unique in the graph. Inputs have their declared name, parameters and buffers their
            `state_dict` key; results of nodes are `%1`, `%2` ..., and `_` while nothing reads them.
        type: shape (ints or `Expr`s) and numpy dtype.
        kind: "input", "param", "buffer", "const" (a tensor found outside the model's state, listed
            in reports), "literal" (a number or array written in the forward), "node" (a result of
            a node) or "block" (an input of a block, such as a loop variable).
        data: of a param, buffer, const or literal; None for the others, and for state that has no
            value yet or whose weights were not loaded.
        where: the user's line that a const was first read at.
    """

    name: str
    type: Type
    kind: str
    data: Stored | None = None
    where: SourceLine | None = None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Sizes, ints or `Expr`s."""
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.type.dtype

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}: {text.type_text(self.type)}>"


@dataclass(eq=False, slots=True)
class Node:
    """One run of an op.

    Attributes:
        op: name of the op; "cond", "while_loop" and "scan" are control flow and carry blocks.
        inputs: values, None for an absent optional input.
        attrs: attribute values by name; sizes in them are ints or `Expr`s.
        outputs: values of all results, private ones after the public ones.
        layer: path of the layer that ran it, "" for the model itself.
        layer_class: class name of that layer.
        where: the user's line.
        blocks: "then" and "else" of a cond; "cond" and "body" of a while_loop; "body" of a scan.
    """

    op: str
    inputs: list[Value | None]
    attrs: dict[str, Any]
    outputs: list[Value]
    layer: str = ""
    layer_class: str = ""
    where: SourceLine | None = None
    blocks: dict[str, Block] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<node {text.node_text(self)}>"


@dataclass(eq=False, slots=True)
class Block:
    """A straight run of nodes. May read values of the blocks around it.

    Attributes:
        inputs: values given from outside at each run (none for the branches of a cond).
        nodes: in execution order.
        outputs: results; may be inputs, state, constants or values from around the block.
    """

    inputs: list[Value]
    nodes: list[Node]
    outputs: list[Value]

    def walk(self) -> Iterator[Node]:
        """All nodes, those of inner blocks right after the node that holds them."""
        stack = [iter(self.nodes)]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            yield node
            for block in reversed(list(node.blocks.values())):
                stack.append(iter(block.nodes))

    def roots(self) -> list[Value]:
        """What the block is for: every value that must be computed."""
        return self.outputs


@dataclass(frozen=True)
class State:
    """A buffer or parameter that the forward writes.

    Attributes:
        name: its `state_dict` key.
        value: what it holds when the forward starts; None if the forward never reads that.
        next: what it holds afterwards.
        where: the user's line of the last write.
        replaced: whether the forward puts another tensor in the place of a buffer
            (`layer.buffer = value`), rather than writing to it.
    """

    name: str
    value: Value | None
    next: Value
    where: SourceLine | None = None
    replaced: bool = False


@dataclass(frozen=True)
class Guard:
    """A comparison of sizes that was decided by the sample: the graph is right where it holds.

    Attributes:
        left, relation, right: the comparison, such as `h % 2`, "==", `0`.
        answer: what it gave for the sample sizes.
        where: the user's line.
    """

    left: Expr
    relation: str
    right: Expr
    answer: bool
    where: SourceLine | None = None

    def holds(self, sizes: dict[str, int]) -> bool:
        """Whether the comparison gives the recorded answer for these sizes."""
        a, b = self.left.value(sizes), self.right.value(sizes)
        return RELATIONS[self.relation](a, b) == self.answer

    def __str__(self) -> str:
        relation = self.relation if self.answer else _OPPOSITE[self.relation]
        return f"{self.left} {relation} {self.right}"


RELATIONS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@dataclass(frozen=True)
class Assumption:
    """A branch on a value whose one side raises: the graph takes the other side always.

    Attributes:
        answer: the condition's answer on the side that was recorded.
        where: the user's line of the condition.
        error: what the model raises on the other side, in one line.
    """

    answer: bool
    where: SourceLine | None
    error: str

    def __str__(self) -> str:
        return f"the condition is {self.answer} at {self.where} (otherwise {self.error})"


@dataclass(eq=False, slots=True)
class Graph(Block):
    """One forward of a model.

    Attributes:
        name: name of the model's class or of the function.
        inputs, outputs: in declared order; unused and repeated ones too.
        output_names: one per output.
        structure: what forward returned, with `tree.Leaf(i)` in the place of output i.
        params, buffers, constants: values that are read, each once. Literals are in `constants`.
        states: buffers and parameters that the forward writes.
        guards, assumptions: where the graph is the model.
        sizes: size of each symbol in the run that was recorded. A name that starts with "_" is a
            size that depends on values (of `nonzero`, for example) and may be 0.
        samples: arrays of the inputs in the run that was recorded.
        results: arrays of the outputs in that run.
        training: whether layers were in training mode.
    """

    name: str = ""
    output_names: list[str] = field(default_factory=list)
    structure: Any = None
    params: list[Value] = field(default_factory=list)
    buffers: list[Value] = field(default_factory=list)
    constants: list[Value] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    assumptions: list[Assumption] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    samples: list[np.ndarray] = field(default_factory=list)
    results: list[np.ndarray] = field(default_factory=list)
    training: bool = False

    def roots(self) -> list[Value]:
        """Outputs and next values of states."""
        return [*self.outputs, *(state.next for state in self.states)]

    def __str__(self) -> str:
        return text.graph_text(self)

    def __repr__(self) -> str:
        return f"<graph {self.name}: {len(self.nodes)} nodes>"
