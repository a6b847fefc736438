"""Whether blocks of nodes do the same, values of two runs correspond, and what a run repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core.op import Type
from tracer.graph import Block, Node, Value

Pairing = Callable[[Value, Value], bool]
"""Whether two values from outside the compared nodes may stand for one another."""


def same_block(a: Block, b: Block, outside: Pairing | None = None) -> bool:
    """Whether two blocks do the same to the same inputs.

    Args:
        outside: asked for values from around the blocks; by default they must be one value.
    """
    return _Matcher(outside or (lambda x, y: x is y)).blocks(a, b)


def same_node(a: Node, b: Node, outside: Pairing) -> bool:
    """Whether two nodes run one op with equal attributes, types and blocks at one line."""
    return (
        a.where == b.where
        and a.layer == b.layer
        and _Matcher(outside).nodes(a, b)
        and all(x.type == y.type for x, y in zip(a.outputs, b.outputs, strict=True))
    )


def same_attrs(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether attribute values are equal; nan is equal to itself here, and 0.0 not to -0.0."""
    return repr(a) == repr(b)


class _Matcher:
    """Follows two blocks side by side and remembers which values correspond."""

    def __init__(self, outside: Pairing):
        self.outside = outside
        self.pairs: dict[Value, Value] = {}
        self.inner: set[Value] = set()

    def values(self, a: Value | None, b: Value | None) -> bool:
        if a is None or b is None:
            return a is b
        if a in self.pairs or b in self.inner:
            return self.pairs.get(a) is b
        return self.outside(a, b)

    def lists(self, a: list, b: list) -> bool:
        return len(a) == len(b) and all(map(self.values, a, b))

    def nodes(self, a: Node, b: Node) -> bool:
        return (
            a.op == b.op
            and same_attrs(a.attrs, b.attrs)
            and len(a.outputs) == len(b.outputs)
            and a.blocks.keys() == b.blocks.keys()
            and self.lists(a.inputs, b.inputs)
            and all(self.blocks(block, b.blocks[name]) for name, block in a.blocks.items())
        )

    def bind(self, a: list[Value], b: list[Value]) -> None:
        self.pairs.update(zip(a, b, strict=True))
        self.inner.update(b)

    def blocks(self, a: Block, b: Block) -> bool:
        if len(a.inputs) != len(b.inputs) or len(a.nodes) != len(b.nodes):
            return False
        if any(x.type != y.type for x, y in zip(a.inputs, b.inputs, strict=True)):
            return False
        self.bind(a.inputs, b.inputs)
        for x, y in zip(a.nodes, b.nodes, strict=True):
            if not self.nodes(x, y):
                return False
            self.bind(x.outputs, y.outputs)
        return self.lists(a.outputs, b.outputs)


class Repeats:
    """What one run computes more than once, without random numbers, from the same values.

    A size that depends on values has one symbol each time: where `x[x < 0]` is read and then
    written, nobody has to ask whether there are as many elements as before.
    """

    def __init__(self) -> None:
        self._made: dict[Any, list[Value]] = {}
        self._first: dict[Value, Value] = {}

    def _key(self, op: str, inputs: list[Value | None], attrs: dict[str, Any]) -> Any:
        return op, tuple(None if v is None else self._first.get(v, v) for v in inputs), repr(attrs)

    def types(
        self, op: str, inputs: list[Value | None], attrs: dict[str, Any]
    ) -> list[Type] | None:
        """The types of what this op made of these inputs before, or None."""
        made = self._made.get(self._key(op, inputs, attrs))
        return None if made is None else [value.type for value in made]

    def add(self, node: Node) -> None:
        """Remember what a node has made."""
        first = self._made.setdefault(self._key(node.op, node.inputs, node.attrs), node.outputs)
        if first is not node.outputs:
            self._first.update(zip(node.outputs, first, strict=True))
