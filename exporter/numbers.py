"""ONNX values that formulas compute with: those of kernels, written once, become operators.

Lowerings use it that have no operator of ONNX's own; what a formula means is not known here.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any


class Number:
    """An ONNX value in a formula: operators add nodes, Python's numbers become constants."""

    def __init__(self, b: Any, value: Any, dtype: Any):
        self.b = b
        self.value = value
        self.dtype = dtype

    def op(self, op_type: str, *operands: Any) -> Number:
        """An operator on numbers of this dtype."""
        return Number(self.b, self.b.op(op_type, *[self.like(x) for x in operands]), self.dtype)

    def like(self, x: Any) -> Any:
        """A number as an ONNX value of this dtype; truth values as they are."""
        return x.value if isinstance(x, Number) else self.b.const(x, self.dtype)

    def to(self, dtype: Any) -> Number:
        """The number as another dtype."""
        value = self.value if dtype == self.dtype else self.b.cast(self.value, dtype)
        return Number(self.b, value, dtype)

    def __add__(self, other: Any) -> Number:
        return self.op("Add", self, other)

    def __radd__(self, other: Any) -> Number:
        return self.op("Add", other, self)

    def __sub__(self, other: Any) -> Number:
        return self.op("Sub", self, other)

    def __rsub__(self, other: Any) -> Number:
        return self.op("Sub", other, self)

    def __mul__(self, other: Any) -> Number:
        return self.op("Mul", self, other)

    def __rmul__(self, other: Any) -> Number:
        return self.op("Mul", other, self)

    def __truediv__(self, other: Any) -> Number:
        return self.op("Div", self, other)

    def __rtruediv__(self, other: Any) -> Number:
        return self.op("Div", other, self)

    def __neg__(self) -> Number:
        return self.op("Neg", self)

    def __lt__(self, other: Any) -> Number:
        return self.op("Less", self, other)

    def __gt__(self, other: Any) -> Number:
        return self.op("Greater", self, other)


def _where(condition: Number, a: Any, b: Any) -> Number:
    # Of two constants neither says a dtype; the condition was made of numbers that have one.
    kind = next((x for x in (a, b) if isinstance(x, Number)), condition)
    chosen = kind.b.op("Where", condition.value, kind.like(a), kind.like(b))
    return Number(kind.b, chosen, kind.dtype)


MATHS = SimpleNamespace(
    abs=lambda x: x.op("Abs", x),
    maximum=lambda x, y: x.op("Max", x, y),
    minimum=lambda x, y: x.op("Min", x, y),
    exp=lambda x: x.op("Exp", x),
    floor=lambda x: x.op("Floor", x),
    log=lambda x: x.op("Log", x),
    power=lambda x, y: x.op("Pow", x, y),
    rint=lambda x: x.op("Round", x),
    sin=lambda x: x.op("Sin", x),
    sqrt=lambda x: x.op("Sqrt", x) if isinstance(x, Number) else math.sqrt(x),
    where=_where,
)
"""Functions of formulas, on ONNX values."""
