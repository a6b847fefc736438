"""The formulas of one step of an LSTM and a GRU, and of its gradient, written once.

They are the same for vectors of machine code, for arrays and for Tensors: for whatever has + - *,
given its sigmoid and tanh. Gates are named as in the papers: i, f, g (here n), o of an LSTM,
reset, z, n of a GRU. `before` is the state that the step started from.

Source: Hochreiter & Schmidhuber, Long Short-Term Memory, 1997, with the forget gate of Gers,
Schmidhuber & Cummins, 2000; Cho et al., arXiv 1406.1078, for the GRU, whose reset gate multiplies
the product of state and weight, as in cuDNN, PyTorch and ONNX's linear_before_reset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Maths(NamedTuple):
    """The two functions that the formulas need."""

    sigmoid: Callable[[Any], Any]
    tanh: Callable[[Any], Any]


def lstm(sums: Sequence[Any], before: Any, maths: Maths) -> tuple[tuple[Any, ...], Any, Any]:
    """What enters the gates i, f, n, o, and the cell, to values of the gates, next cell and h."""
    i, f, o = (maths.sigmoid(sums[k]) for k in (0, 1, 3))
    n = maths.tanh(sums[2])
    cell = f * before + i * n
    return (i, f, n, o), cell, o * maths.tanh(cell)


def lstm_grad(
    gates: Sequence[Any], g: Any, gc: Any, before: Any, squashed: Any
) -> tuple[tuple[Any, ...], Any]:
    """Gradients of what enters the gates, and of the cell before.

    Args:
        gates: values of i, f, n, o.
        g, gc: gradients of the next h and cell.
        before: the cell before.
        squashed: tanh of the next cell.
    """
    i, f, n, o = gates
    gcell = gc + g * o * (1.0 - squashed * squashed)
    entering = (
        gcell * n * (i * (1.0 - i)),
        gcell * before * (f * (1.0 - f)),
        gcell * i * (1.0 - n * n),
        g * squashed * (o * (1.0 - o)),
    )
    return entering, gcell * f


def gru(
    reset: Any, z: Any, n: Any, back: Any, before: Any, maths: Maths
) -> tuple[tuple[Any, ...], Any]:
    """Values of the gates reset, z, n, and the next h.

    Args:
        reset, z: what enters these gates.
        n, back: what the inputs and what the state contribute to n.
        before: h before.
    """
    reset, z = maths.sigmoid(reset), maths.sigmoid(z)
    n = maths.tanh(n + reset * back)
    return (reset, z, n), (1.0 - z) * n + z * before


def gru_grad(
    gates: Sequence[Any], g: Any, back: Any, before: Any
) -> tuple[tuple[Any, ...], Any, Any]:
    """Gradients of what the inputs contribute to the gates, of `back`, and of h before.

    Args:
        gates: values of reset, z, n.
        g: gradient of the next h.
        back: what the state contributed to n.
        before: h before; its gradient leaves out what flows through the gates.
    """
    reset, z, n = gates
    gn = g * (1.0 - z) * (1.0 - n * n)
    entering = (
        gn * back * (reset * (1.0 - reset)),
        g * (before - n) * (z * (1.0 - z)),
        gn,
    )
    return entering, gn * reset, g * z
