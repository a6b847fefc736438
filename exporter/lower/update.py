"""Lowerings of `dyn/ops/update.py`: a chain of element-wise operators per parameter.

The rules of `update_rules.py` are run over ONNX values instead of numbers. What is the same for all
elements is computed in double, as the kernels do.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from dyn.core.op import OPS
from dyn.kernels.update_rules import RULES, trust_ratio
from exporter.registry import NodeView, lowers


class _Number:
    """An ONNX value in a formula: operators add nodes, Python's numbers become constants."""

    def __init__(self, b: Any, value: Any, dtype: Any):
        self.b = b
        self.value = value
        self.dtype = dtype

    def op(self, op_type: str, *operands: Any) -> _Number:
        """An operator on numbers of this dtype."""
        return _Number(self.b, self.b.op(op_type, *[self.like(x) for x in operands]), self.dtype)

    def like(self, x: Any) -> Any:
        """A number as an ONNX value of this dtype; truth values as they are."""
        return x.value if isinstance(x, _Number) else self.b.const(x, self.dtype)

    def to(self, dtype: Any) -> _Number:
        """The number as another dtype."""
        value = self.value if dtype == self.dtype else self.b.cast(self.value, dtype)
        return _Number(self.b, value, dtype)

    def __add__(self, other: Any) -> _Number:
        return self.op("Add", self, other)

    def __radd__(self, other: Any) -> _Number:
        return self.op("Add", other, self)

    def __sub__(self, other: Any) -> _Number:
        return self.op("Sub", self, other)

    def __rsub__(self, other: Any) -> _Number:
        return self.op("Sub", other, self)

    def __mul__(self, other: Any) -> _Number:
        return self.op("Mul", self, other)

    def __rmul__(self, other: Any) -> _Number:
        return self.op("Mul", other, self)

    def __truediv__(self, other: Any) -> _Number:
        return self.op("Div", self, other)

    def __rtruediv__(self, other: Any) -> _Number:
        return self.op("Div", other, self)

    def __neg__(self) -> _Number:
        return self.op("Neg", self)

    def __lt__(self, other: Any) -> _Number:
        return self.op("Less", self, other)

    def __gt__(self, other: Any) -> _Number:
        return self.op("Greater", self, other)


def _where(condition: _Number, a: Any, b: Any) -> _Number:
    # Of two constants neither says a dtype; the condition was made of numbers that have one.
    kind = next((x for x in (a, b) if isinstance(x, _Number)), condition)
    chosen = kind.b.op("Where", condition.value, kind.like(a), kind.like(b))
    return _Number(kind.b, chosen, kind.dtype)


MATHS = SimpleNamespace(
    abs=lambda x: x.op("Abs", x),
    maximum=lambda x, y: x.op("Max", x, y),
    minimum=lambda x, y: x.op("Min", x, y),
    sqrt=lambda x: x.op("Sqrt", x) if isinstance(x, _Number) else math.sqrt(x),
    where=_where,
)
"""Functions of formulas, on ONNX values."""


def _length(x: _Number) -> _Number:
    total = _Number(x.b, x.b.op("ReduceSumSquare", x.value, keepdims=0), x.dtype)
    return MATHS.sqrt(total)


@lowers("sgd_update", "momentum_update", "dampened_update", "adagrad_update",
        "decaying_adagrad_update", "adadelta_update", "rmsprop_update", "rprop_update")  # fmt: skip
def update(b: Any, node: NodeView) -> Any:
    """The rule of an op, parameter by parameter."""
    rule = RULES[node.op]
    flags = {name: x for name, x in node.attrs.items() if isinstance(x, bool)}
    settings = {name: x for name, x in node.attrs.items() if name not in flags}
    given = [
        _Number(b, x, t.dtype) for x, t in zip(node.inputs, node.input_types, strict=True) if t
    ]
    first = len(OPS[node.op].inputs) - 1
    scalars, tensors = given[:first], given[first:]
    runs = 2 + rule.slots(**flags)
    wide = [x.to(np.dtype(np.float64)) for x in scalars]
    numbers, after = rule.settled(MATHS, wide, settings.pop("weight_decay", 0.0), settings)
    rate = numbers.pop("lr") if rule.measured else None
    made: list[list[Any]] = [[] for _ in range(runs - 1)]
    count = len(tensors) // runs
    for i in range(count):
        row = tensors[i::count]
        dtype = row[0].dtype
        own = {k: x.to(dtype) if isinstance(x, _Number) else x for k, x in numbers.items()}
        fresh = list(rule.new_values(MATHS, row, own, flags))
        if rate is not None:
            p, step = row[0], fresh[0]
            ratio = trust_ratio(MATHS, _length(p), _length(step))
            fresh[0] = p - rate.to(dtype) * ratio * step
        for values, value in zip(made, fresh, strict=True):
            values.append(value.value)
    counters = [x.to(old.dtype).value for x, old in zip(after, scalars[1:], strict=True)]
    return (*[value for values in made for value in values], *counters)
