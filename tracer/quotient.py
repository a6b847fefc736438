"""Quotients of sizes: `math.ceil(h / 2)` of a dynamic size is a size again.

`h / 2` is a number of the graph, made by ops. Rounded to a whole number it is asked here what it
was made of; the sizes of the rounded number are computed in whole numbers, without rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from dyn.core.expr import Expr, decide
from tracer.graph import Node, Value

ROUNDINGS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "floor": lambda a, b: a // b,
    "ceil": lambda a, b: (a + b - 1) // b,
    # Towards zero, of what is known not to be negative.
    "trunc": lambda a, b: a // b,
}
_PARTS = 4096
"""The largest denominator of a constant: 0.5 and 0.75 are quotients, 0.1 in binary is none."""

Quotient = tuple[Expr, Expr]


def rounded(value: Value, nodes: Iterable[Node], how: str) -> Expr | None:
    """The size that a number rounds to; None where it is no quotient of sizes.

    Args:
        value: a 0-d value that depends on sizes alone.
        nodes: those that made it.
        how: "floor", "ceil" or "trunc".
    """
    makers = {output: node for node in nodes for output in node.outputs}
    found = _quotient(value, makers)
    if found is None or not decide(found[1], ">"):
        return None
    if how == "trunc" and not decide(found[0], ">="):
        return None
    return ROUNDINGS[how](*found)


def _quotient(value: Value | None, makers: dict[Value, Node]) -> Quotient | None:
    """Numerator and denominator of a value."""
    if value is None or value.shape != ():
        return None
    if value.kind == "literal":
        return _constant(value.data)
    node = makers.get(value)
    if node is None:
        return None
    if node.op == "full":
        return _constant(node.attrs["value"])
    given: list[Quotient] = []
    for one in node.inputs:
        part = _quotient(one, makers)
        if part is None:
            return None
        given.append(part)
    if node.op == "cast":
        # Only to floating point: to whole numbers it rounds.
        return given[0] if node.outputs[0].dtype.kind == "f" else None
    combine = _COMBINED.get(node.op)
    return combine(*given) if combine else None


def _constant(number: Any) -> Quotient | None:
    if isinstance(number, Expr):
        return number, Expr.of(1)
    exact = Fraction(np.asarray(number).item())
    if exact.denominator > _PARTS:
        return None
    return Expr.of(exact.numerator), Expr.of(exact.denominator)


_COMBINED: dict[str, Callable[[Quotient, Quotient], Quotient]] = {
    "add": lambda a, b: (a[0] * b[1] + b[0] * a[1], a[1] * b[1]),
    "subtract": lambda a, b: (a[0] * b[1] - b[0] * a[1], a[1] * b[1]),
    "multiply": lambda a, b: (a[0] * b[0], a[1] * b[1]),
    "divide": lambda a, b: (a[0] * b[1], a[1] * b[0]),
}
