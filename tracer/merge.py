"""Makes one straight list of nodes out of the tree of paths: every fork becomes a cond node.

What both sides end with is moved behind the cond, so that a model with an `if` in the middle keeps
one copy of the rest. Sides are matched node by node from the end; nothing is reordered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core.errors import SourceLine
from dyn.core.op import Type
from dyn.core.tree import Leaf
from tracer.branch import End, Fork, Segment
from tracer.errors import TraceError
from tracer.graph import Block, Node, Value
from tracer.match import same_node
from tracer.passes.dead_code import live_nodes
from tracer.sizes import new_unknown_size, to_int, unknown_sizes
from tracer.text import type_text

Side = tuple[list[Node], list[Value]]
"""Nodes and results of one side of a fork."""
Pairs = dict[tuple[Value, Value], None]
"""Values that stand for one another on the two sides, in order."""
Resolve = Callable[[Value, Value], Value]
"""The one value that stands for the values of two sides."""


def merge(
    root: Segment, results: Callable[[End], list[Value]], names: list[str], sizes: dict[str, int]
) -> tuple[list[Node], list[Value]]:
    """Nodes and results of the whole tree.

    Args:
        results: the values a path must deliver, in the same order for every path.
        names: what to call them in messages.
        sizes: sample sizes by symbol; symbols that arise here are added.

    Raises:
        TraceError: the sides of a condition deliver results of differing type.
    """
    then = root.then
    if isinstance(then, End):
        return list(root.nodes), results(then)
    assert isinstance(then, Fork)
    sides = {answer: merge(side, results, names, sizes) for answer, side in then.sides.items()}
    _need_same_types(then, sides, names)
    nodes, values = _Join(then, sides[True], sides[False], sizes).join()
    return root.nodes + nodes, values


def may_be_one(a: Type, b: Type) -> bool:
    """Whether a value may have one type on one side and the other type on the other side.

    They must be equal, except for sizes that depend on values on either side.
    """
    return (
        a.dtype == b.dtype
        and len(a.shape) == len(b.shape)
        and all(x == y or unknown_sizes(x, y) for x, y in zip(a.shape, b.shape, strict=True))
    )


def common_type(a: Type, b: Type, sizes: dict[str, int]) -> Type:
    """The type of a value that has one of two types, which may be one; new symbols for sizes."""
    shape = []
    for x, y in zip(a.shape, b.shape, strict=True):
        if x != y:
            x = new_unknown_size(sizes, to_int(x, sizes))
        shape.append(x)
    return Type(tuple(shape), a.dtype)


def need_same_structure(root: Segment) -> None:
    """Raise unless all paths return the same nested structure.

    Raises:
        TraceError: they do not; it names the condition and the last line of both sides.
    """
    _structure(root, None)


def _structure(segment: Segment, line: SourceLine | None) -> tuple[Any, SourceLine | None]:
    """How the results of all paths from here are nested, and the last line of one of them."""
    line = segment.nodes[-1].where if segment.nodes else line
    then = segment.then
    if isinstance(then, End):
        return then.structure, line
    assert isinstance(then, Fork)
    (true, true_line), (false, false_line) = (
        _structure(then.sides[answer], then.where) for answer in (True, False)
    )
    if true != false:
        raise TraceError(
            f"the forward returns {nesting_text(true)} (last line {true_line}) if the condition is "
            f"true and {nesting_text(false)} (last line {false_line}) if it is false; both sides "
            "must return the same number of tensors, nested alike",
            where=then.where,
        )
    return true, true_line


def nesting_text(structure: Any) -> str:
    """How results are nested, in the notation of Python: `(a tensor, {'y': a tensor})`."""
    if isinstance(structure, Leaf):
        return "a tensor"
    if isinstance(structure, dict):
        return "{" + ", ".join(f"{k!r}: {nesting_text(v)}" for k, v in structure.items()) + "}"
    if isinstance(structure, list):
        return "[" + ", ".join(map(nesting_text, structure)) + "]"
    if isinstance(structure, tuple):
        inner = ", ".join(map(nesting_text, structure))
        return f"({inner},)" if len(structure) == 1 else f"({inner})"
    return repr(structure)


def _need_same_types(fork: Fork, sides: dict[bool, Side], names: list[str]) -> None:
    (true_nodes, true_values), (false_nodes, false_values) = sides[True], sides[False]
    for name, a, b in zip(names, true_values, false_values, strict=True):
        if not may_be_one(a.type, b.type):
            raise TraceError(
                f"{name} is {type_text(a.type)} (from {_origin(a, true_nodes)}) if the condition "
                f"is true and {type_text(b.type)} (from {_origin(b, false_nodes)}) if it is "
                "false; both sides must deliver the same shape and dtype",
                where=fork.where,
            )


def _origin(value: Value, nodes: list[Node]) -> str:
    for node in nodes:
        if value in node.outputs:
            return str(node.where)
    where: SourceLine | None = value.where
    return str(where) if where else f"the {value.kind} {value.name}"


class _Join:
    """A cond node, and behind it what both sides of a fork end with."""

    def __init__(self, fork: Fork, true: Side, false: Side, sizes: dict[str, int]):
        self.fork = fork
        self.sizes = sizes
        self.results = list(zip(true[1], false[1], strict=True))
        self.a = live_nodes(*true)
        self.b = live_nodes(*false)

    def join(self) -> Side:
        """Nodes and results."""
        count, needed = self.common_tail()
        keep = len(self.a) - count, len(self.b) - count
        chosen = {
            (a, b): Value("", common_type(a.type, b.type, self.sizes), "node") for a, b in needed
        }

        def resolve(a: Value, b: Value) -> Value:
            return a if a is b else chosen.get((a, b), a)

        nodes = []
        if chosen:
            blocks = {
                "then": Block([], self.a[: keep[0]], [a for a, _ in chosen]),
                "else": Block([], self.b[: keep[1]], [b for _, b in chosen]),
            }
            fork, outputs = self.fork, list(chosen.values())
            nodes = [Node("cond", [fork.condition], {}, outputs, *fork.layer, fork.where, blocks)]
        tail = zip(self.a[keep[0] :], self.b[keep[1] :], strict=True)
        nodes += [_zip_nodes(a, b, resolve) for a, b in tail]
        return nodes, [resolve(a, b) for a, b in self.results]

    def common_tail(self) -> tuple[int, Pairs]:
        """How many nodes from the end are the same on both sides.

        Returns:
            Their number, and the pairs of values (one side's, the other's) that they and the
            results need from before them.
        """
        needed: Pairs = {(a, b): None for a, b in self.results if a is not b}
        steps = [needed]
        while len(steps) <= min(len(self.a), len(self.b)):
            count = len(steps)
            before = _before(self.a[-count], self.b[-count], steps[-1])
            if before is None:
                break
            steps.append(before)
        count = len(steps) - 1
        while count and not self.knows_its_sizes(count):
            count -= 1
        return count, steps[count]

    def knows_its_sizes(self, count: int) -> bool:
        """Whether sizes that depend on values are made in the tail that speaks of them."""
        made_before = {
            symbol
            for node in self.a[: len(self.a) - count]
            for symbol in unknown_sizes(*(value.shape for value in node.outputs))
        }
        tail = Block([], self.a[len(self.a) - count :], [])
        return not any(made_before & unknown_sizes(*n.attrs.values()) for n in tail.walk())


def _before(a: Node, b: Node, needed: Pairs) -> Pairs | None:
    """What is needed before the last nodes of both sides, if they are one node; else None."""
    inputs: list[tuple[Value, Value]] = []

    def outside(x: Value, y: Value) -> bool:
        if x is y:
            return True
        inputs.append((x, y))
        return x.type == y.type

    if not same_node(a, b, outside):
        return None
    results = set(zip(a.outputs, b.outputs, strict=True))
    mine, yours = set(a.outputs), set(b.outputs)
    if any((x in mine or y in yours) and (x, y) not in results for x, y in needed):
        return None
    kept = {pair: None for pair in needed if pair not in results}
    return kept | dict.fromkeys(inputs)


def _zip_nodes(a: Node, b: Node, resolve: Resolve) -> Node:
    """The node that stands for `a` and `b`; its outputs are those of `a`."""
    inputs = [_zip(x, y, resolve) for x, y in zip(a.inputs, b.inputs, strict=True)]
    blocks = {name: _zip_blocks(block, b.blocks[name], resolve) for name, block in a.blocks.items()}
    return Node(a.op, inputs, a.attrs, a.outputs, a.layer, a.layer_class, a.where, blocks)


def _zip(a: Value | None, b: Value | None, resolve: Resolve) -> Value | None:
    return None if a is None or b is None else resolve(a, b)


def _zip_blocks(a: Block, b: Block, resolve: Resolve) -> Block:
    nodes = [_zip_nodes(x, y, resolve) for x, y in zip(a.nodes, b.nodes, strict=True)]
    outputs = [resolve(x, y) for x, y in zip(a.outputs, b.outputs, strict=True)]
    return Block(a.inputs, nodes, outputs)
