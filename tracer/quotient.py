"""Numbers made of sizes: what is in `dyn.shape(x)[2:] * 2`, and `math.ceil(h / 2)`, are sizes.

`h / 2` and `dyn.shape(x)` are values of the graph, made by ops. Where they leave it as whole
numbers it is asked here what they were made of. Quotients are computed in whole numbers, without
rounding errors; what else ops make of sizes is not looked through.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from dyn.core.expr import Expr, decide, function_of
from dyn.core.op import OPS
from tracer.graph import Node, Value
from tracer.sizes import is_symbolic

_PARTS = 4096
"""The largest denominator of a constant: 0.5 and 0.75 are quotients, 0.1 in binary is none."""
_ELEMENTS = 256
"""Tensors of more elements are no lists of sizes."""
_OF_ONE = frozenset({"item", "int", "float", "index"})
"""Ways in which one whole number leaves. Where Python wants a plain number, the size refuses."""
_ONE = Expr.of(1)


class _NoSizes(Exception):
    """A value that is something else than quotients of sizes."""


@dataclass(frozen=True)
class Quotient:
    """One expression over sizes divided by another, as exact as fractions are."""

    top: Expr
    bottom: Expr = _ONE

    def __add__(self, other: Quotient) -> Quotient:
        top = self.top * other.bottom + other.top * self.bottom
        return Quotient(top, self.bottom * other.bottom)

    def __neg__(self) -> Quotient:
        return Quotient(-self.top, self.bottom)

    def __sub__(self, other: Quotient) -> Quotient:
        return self + -other

    def __mul__(self, other: Quotient) -> Quotient:
        return Quotient(self.top * other.top, self.bottom * other.bottom)

    def __truediv__(self, other: Quotient) -> Quotient:
        return Quotient(self.top * other.bottom, self.bottom * other.top)

    def __floordiv__(self, other: Quotient) -> Quotient:
        return (self / other).floor()

    def __mod__(self, other: Quotient) -> Quotient:
        if self.bottom.constant == 1 and other.bottom.constant == 1 and decide(other.top, ">"):
            return Quotient(self.top % other.top)
        return self - (self // other) * other

    def floor(self) -> Quotient:
        """The largest whole number that is not above."""
        return Quotient(self.top // self._divisor())

    def ceil(self) -> Quotient:
        """The smallest whole number that is not below."""
        return Quotient((self.top + self.bottom - 1) // self._divisor())

    def trunc(self) -> Quotient:
        """The whole number towards zero, of what is known not to be negative."""
        if self.bottom.constant != 1 and not decide(self.top, ">="):
            raise _NoSizes
        return self.floor()

    def _divisor(self) -> Expr:
        if not decide(self.bottom, ">"):
            raise _NoSizes
        return self.bottom


ROUNDINGS: dict[str, Callable[[Quotient], Quotient]] = {
    "floor": Quotient.floor,
    "ceil": Quotient.ceil,
    "trunc": Quotient.trunc,
}


def leaving(
    value: Value, nodes: Iterable[Node], how: str, array: np.ndarray, sizes: Mapping[str, int]
) -> Any:
    """What a value is that leaves the graph: the expression of a size, or nested lists of them.

    Args:
        value: one that depends on sizes alone.
        nodes: those that made it.
        how: as in `Observer.on_escape`.
        array: what it is in this run.
        sizes: the size of every symbol in this run.

    Returns:
        None where it is not made of sizes as quotients are, or leaves as no whole numbers.
    """
    single = how in _OF_ONE and array.size == 1
    if how not in ROUNDINGS and (array.dtype.kind != "i" or not (single or how == "tolist")):
        return None
    try:
        found = _Search(nodes).found(value)
        exprs = _each(lambda item: ROUNDINGS.get(how, Quotient.trunc)(item).top, found)
    except _NoSizes:
        return None
    given = array if how not in ROUNDINGS else np.asarray(getattr(math, how)(array.item()))
    if any(e.value(sizes) != n for e, n in zip(exprs.flat, given.flat, strict=True)):
        return None
    return exprs.tolist() if how == "tolist" else exprs.item()


def _each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """The results for all elements, as an array of objects also where there is but one."""
    return np.asarray(np.frompyfunc(function, len(arrays), 1)(*arrays), object)


class _Search:
    """Goes from a value to what it was made of."""

    def __init__(self, nodes: Iterable[Node]):
        self._makers = {output: node for node in nodes for output in node.outputs}
        self._known: dict[Value, np.ndarray] = {}

    def found(self, value: Value | None) -> np.ndarray:
        """The elements of a value as Quotients, in its shape."""
        if value is None or is_symbolic(value.shape) or np.prod(value.shape, dtype=int) > _ELEMENTS:
            raise _NoSizes
        if value not in self._known:
            self._known[value] = self._made(value)
        return self._known[value]

    def _made(self, value: Value) -> np.ndarray:
        if value.kind in ("literal", "const") and value.data is not None:
            return _each(_constant, np.asarray(value.data))
        node = self._makers.get(value)
        if node is None:
            raise _NoSizes
        if node.op in _OF_A_SHAPE and node.inputs[0] is not None:
            return _OF_A_SHAPE[node.op]([Quotient(Expr.of(n)) for n in node.inputs[0].shape])
        if node.op == "full":
            return _each(lambda _: _constant(node.attrs["value"]), np.empty(value.shape))
        if node.op in _MOVES:
            return self._moved(node)[node.outputs.index(value)]
        rule = _RULES.get(node.op)
        if rule is None:
            raise _NoSizes
        return np.asarray(rule(node, *map(self.found, node.inputs)), object)

    def _moved(self, node: Node) -> list[np.ndarray]:
        """What an op that only moves elements does: it is run on the numbers of their places."""
        if is_symbolic(tuple(node.attrs.values())):
            raise _NoSizes
        pool: list[Any] = []
        places: list[np.ndarray] = []
        for i, value in enumerate(node.inputs):
            elements = self.found(value)
            if i and node.op in _BY_INDEX:
                places.append(_each(_number, elements).astype(np.int64))
                continue
            count = np.arange(len(pool), len(pool) + elements.size, dtype=np.int64)
            places.append(count.reshape(elements.shape))
            pool.extend(elements.flat)
        results = OPS[node.op].kernel(*places, **node.attrs)
        if not isinstance(results, (tuple, list)):
            results = [results]
        return [_each(lambda place: pool[place], np.asarray(r)) for r in results]


def _constant(number: Any) -> Quotient:
    if isinstance(number, Expr):
        return Quotient(number)
    try:
        exact = Fraction(np.asarray(number).item())
    except (TypeError, ValueError, OverflowError):
        raise _NoSizes from None
    if exact.denominator > _PARTS:
        raise _NoSizes
    return Quotient(Expr.of(exact.numerator), Expr.of(exact.denominator))


def _number(quotient: Quotient) -> int:
    """The number of a quotient that is a constant, such as an index."""
    number = quotient.top.constant
    if number is None or quotient.bottom.constant != 1:
        raise _NoSizes
    return number


def _cast(node: Node, x: np.ndarray) -> np.ndarray:
    kind = node.outputs[0].dtype
    if kind.kind == "f":
        return x
    if kind.kind == "i" and kind.itemsize >= 4:
        return _each(Quotient.trunc, x)
    raise _NoSizes


def _bound(name: str) -> Callable[..., np.ndarray]:
    def of_two(a: Quotient, b: Quotient) -> Quotient:
        if a.bottom.constant != 1 or b.bottom.constant != 1:
            raise _NoSizes
        return Quotient(function_of(name, a.top, b.top))

    return lambda node, a, b: _each(of_two, a, b)


def _elementwise(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda node, *arrays: _each(function, *arrays)


def _folded(function: np.ufunc) -> Callable[..., np.ndarray]:
    def fold(node: Node, x: np.ndarray) -> np.ndarray:
        axes, keepdims = node.attrs["axes"], node.attrs["keepdims"]
        return function.reduce(x, axis=axes, keepdims=keepdims) if x.size else _no_sizes()

    return fold


def _no_sizes() -> np.ndarray:
    raise _NoSizes


_OF_A_SHAPE: dict[str, Callable[[list[Quotient]], np.ndarray]] = {
    "shape": lambda sizes: np.array(sizes, object),
    "numel": lambda sizes: np.asarray(np.multiply.reduce(np.array([_constant(1), *sizes]))),
}
_RULES: dict[str, Callable[..., np.ndarray]] = {
    "add": _elementwise(operator.add),
    "subtract": _elementwise(operator.sub),
    "multiply": _elementwise(operator.mul),
    "divide": _elementwise(operator.truediv),
    "floor_divide": _elementwise(operator.floordiv),
    "remainder": _elementwise(operator.mod),
    "neg": _elementwise(operator.neg),
    "floor": _elementwise(Quotient.floor),
    "ceil": _elementwise(Quotient.ceil),
    "maximum": _bound("max"),
    "minimum": _bound("min"),
    "cast": _cast,
    "sum": _folded(np.add),
    "prod": _folded(np.multiply),
}
_BY_INDEX = frozenset({"gather", "take_along_axis"})
"""Ops whose further inputs say where the elements are that they take."""
_MOVES = _BY_INDEX | {
    "clone", "concat", "expand", "flip", "getitem", "reshape", "setitem", "split", "squeeze",
    "stack", "tile", "transpose", "unbind", "unsqueeze",
}  # fmt: skip
