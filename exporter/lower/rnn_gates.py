"""The formulas of one recurrent step and of its gradient in ONNX, for steps in a Scan and alone.

Values are [batch, gates * hidden] or [batch, hidden]; no node here knows of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.builder import Val

ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu"}


class Gates:
    """Writes the nodes of a step into a builder."""

    def __init__(self, b: Any, dtype: Any):
        self.b = b
        self.dtype = dtype

    def maths(self, op_type: str, *operands: Any) -> Val:
        """A node; numbers among its operands become constants."""
        values = [self.b.const(x, self.dtype) if isinstance(x, int) else x for x in operands]
        return self.b.op(op_type, *values)

    def cut(self, value: Val, parts: int) -> list[Val]:
        """The gates of a value."""
        sizes = {"num_outputs": parts} if self.b.has("Split", since=18) else {}
        return list(self.b.op("Split", value, outputs=parts, axis=1, **sizes))

    def joined(self, parts: Sequence[Val]) -> Val:
        """One value of the gates."""
        return self.b.op("Concat", *parts, axis=1)

    def slope(self, s: Val) -> Val:
        """Derivative of the sigmoid whose value is s."""
        return self.maths("Mul", s, self.maths("Sub", 1, s))

    def bend(self, s: Val) -> Val:
        """Derivative of the tanh whose value is s."""
        return self.maths("Sub", 1, self.maths("Mul", s, s))

    # -- forward -----------------------------------------------------------------------------

    def lstm(self, a: Val, back: Val, before: Val) -> tuple[list[Val], Val, Val]:
        """Values of the gates i, f, g, o, the next cell and the next h."""
        m = self.maths
        i, f, n, o = self.cut(m("Add", a, back), 4)
        i, f, o, n = m("Sigmoid", i), m("Sigmoid", f), m("Sigmoid", o), m("Tanh", n)
        cell = m("Add", m("Mul", f, before), m("Mul", i, n))
        return [i, f, n, o], cell, m("Mul", o, m("Tanh", cell))

    def gru(self, a: Val, back: Val, before: Val, hidden: Any) -> tuple[list[Val], Val, Val]:
        """Values of the gates reset and update, and new; what the state gave to n; the next h."""
        m, two = self.maths, self.b.shape_vector([2 * hidden, hidden])
        (a, an), (back, bn) = (self.b.op("Split", v, two, outputs=2, axis=1) for v in (a, back))
        both = m("Sigmoid", m("Add", a, back))
        reset, z = self.cut(both, 2)
        n = m("Tanh", m("Add", an, m("Mul", reset, bn)))
        return [both, n], bn, m("Add", n, m("Mul", z, m("Sub", before, n)))

    def plain(self, activation: str, a: Val, back: Val) -> Val:
        """The next h of a simple recurrent layer."""
        return self.maths(ACTIVATIONS[activation], self.maths("Add", a, back))

    # -- backward ----------------------------------------------------------------------------

    def lstm_grad(self, values: Val, g: Val, gc: Val, before: Val, cell: Val) -> tuple[Val, Val]:
        """Gradients of what enters the gates, and of the cell before.

        `values` are those of the gates, `g` and `gc` the gradients of the next h and cell.
        """
        m = self.maths
        i, f, n, o = self.cut(values, 4)
        squashed = m("Tanh", cell)
        gcell = m("Add", gc, m("Mul", m("Mul", g, o), self.bend(squashed)))
        entering = [
            m("Mul", m("Mul", gcell, n), self.slope(i)),
            m("Mul", m("Mul", gcell, before), self.slope(f)),
            m("Mul", m("Mul", gcell, i), self.bend(n)),
            m("Mul", m("Mul", g, squashed), self.slope(o)),
        ]
        return self.joined(entering), m("Mul", gcell, f)

    def gru_grad(self, values: Val, g: Val, back: Val, before: Val) -> tuple[Val, Val, Val]:
        """Gradients of what inputs and state contribute to the gates, and of h but for the latter.

        `back` is what the state contributed to n.
        """
        m = self.maths
        reset, z, n = self.cut(values, 3)
        gn = m("Mul", m("Mul", g, m("Sub", 1, z)), self.bend(n))
        gz = m("Mul", m("Mul", g, m("Sub", before, n)), self.slope(z))
        gr = m("Mul", m("Mul", gn, back), self.slope(reset))
        return (
            self.joined([gr, gz, gn]),
            self.joined([gr, gz, m("Mul", gn, reset)]),
            m("Mul", g, z),
        )

    def plain_grad(self, activation: str, h: Val, g: Val) -> Val:
        """Gradient of what enters the activation whose value is h."""
        if activation == "tanh":
            return self.maths("Mul", g, self.bend(h))
        return self.maths("Where", self.maths("Greater", h, 0), g, 0)
