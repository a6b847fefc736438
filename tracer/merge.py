"""Makes one straight list of nodes out of the tree of paths: every fork becomes a cond node.

What both sides end with is moved behind the cond, so that a model with an `if` in the middle keeps
one copy of the rest. Sides are matched node by node from the end; nothing is reordered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core.errors import SourceLine
from dyn.core.tree import Leaf
from tracer.branch import End, Fork, Segment
from tracer.errors import TraceError
from tracer.graph import Block, Node, Value
from tracer.match import same_node
from tracer.passes.dead_code import live_nodes
from tracer.text import type_text

Resolve = Callable[[Value, Value], Value]
"""The one value that stands for the values of two sides."""


def merge(
    root: Segment, results: Callable[[End], list[Value]], names: list[str]
) -> tuple[list[Node], list[Value]]:
    """Nodes and results of the whole tree.

    Args:
        results: the values a path must deliver, in the same order for every path.
        names: what to call them in messages.

    Raises:
        TraceError: the sides of a condition deliver results of differing type.
    """
    then = root.then
    if isinstance(then, End):
        return list(root.nodes), results(then)
    assert isinstance(then, Fork)
    sides = {answer: merge(side, results, names) for answer, side in then.sides.items()}
    _need_same_types(then, sides, names)
    nodes, values = _join(then, *sides[True], *sides[False])
    return root.nodes + nodes, values


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
            f"the forward returns {_nesting(true)} (last line {true_line}) if the condition is "
            f"true and {_nesting(false)} (last line {false_line}) if it is false; both sides must "
            "return the same number of tensors, nested alike",
            where=then.where,
        )
    return true, true_line


def _nesting(structure: Any) -> str:
    if isinstance(structure, Leaf):
        return "a tensor"
    if isinstance(structure, dict):
        return "{" + ", ".join(f"{k!r}: {_nesting(v)}" for k, v in structure.items()) + "}"
    if isinstance(structure, (tuple, list)):
        return "(" + ", ".join(map(_nesting, structure)) + ")"
    return repr(structure)


def _need_same_types(fork: Fork, sides: dict[bool, Any], names: list[str]) -> None:
    (true_nodes, true_values), (false_nodes, false_values) = sides[True], sides[False]
    for name, a, b in zip(names, true_values, false_values, strict=True):
        if a.type != b.type:
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


def _join(
    fork: Fork,
    true_nodes: list[Node],
    true_values: list[Value],
    false_nodes: list[Node],
    false_values: list[Value],
) -> tuple[list[Node], list[Value]]:
    """A cond node and what follows it, from the two sides of a fork."""
    a_nodes = live_nodes(true_nodes, true_values)
    b_nodes = live_nodes(false_nodes, false_values)
    # Pairs of values that the code behind the cond needs: one side's and the other's.
    needed = {(a, b): None for a, b in zip(true_values, false_values, strict=True) if a is not b}
    tail: list[tuple[Node, Node]] = []
    while a_nodes and b_nodes and _move(a_nodes[-1], b_nodes[-1], needed):
        tail.insert(0, (a_nodes.pop(), b_nodes.pop()))
    chosen = {pair: Value("", pair[0].type, "node") for pair in needed}

    def resolve(a: Value, b: Value) -> Value:
        return a if a is b else chosen.get((a, b), a)

    nodes = []
    if chosen:
        blocks = {
            "then": Block([], a_nodes, [a for a, _ in chosen]),
            "else": Block([], b_nodes, [b for _, b in chosen]),
        }
        outputs = list(chosen.values())
        nodes.append(Node("cond", [fork.condition], {}, outputs, *fork.layer, fork.where, blocks))
    nodes += [_zip_nodes(a, b, resolve) for a, b in tail]
    return nodes, [resolve(a, b) for a, b in zip(true_values, false_values, strict=True)]


def _move(a: Node, b: Node, needed: dict[tuple[Value, Value], None]) -> bool:
    """Move the last node of both sides behind the cond, if they are one node."""
    inputs: list[tuple[Value, Value]] = []

    def outside(x: Value, y: Value) -> bool:
        if x is y:
            return True
        inputs.append((x, y))
        return x.type == y.type

    if not same_node(a, b, outside):
        return False
    results = set(zip(a.outputs, b.outputs, strict=True))
    mine, yours = set(a.outputs), set(b.outputs)
    if any((x in mine or y in yours) and (x, y) not in results for x, y in needed):
        return False
    for pair in results:
        needed.pop(pair, None)
    needed.update(dict.fromkeys(inputs))
    return True


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
