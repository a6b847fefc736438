"""One step of an LSTM or a GRU out of what inputs and state contribute to its gates.

float32 runs row by row (sample by sample) in vector code, with the formulas of `gates.py`; other
dtypes are written in numpy. Contributions and gates are [batch, gates * hidden], the states
[batch, hidden]. Nothing is computed from one sample to another, nor is any product made here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.rnn import gates as formulas
from dyn.kernels.rnn.general import cut, joined, step
from dyn.kernels.rnn.step import MATHS
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector.rows import Row, RowKernel, chunks
from dyn.kernels.vector.simd import F32, WORD, Value


class _Units:
    """A vector of hidden units of a sample, while a kernel is written.

    Word 0 of a kernel says how many bytes lie between the gates of a unit.
    """

    def __init__(self, row: Row, offset: Any, mask: Any):
        self.row = row
        self.offset = offset
        self.mask = mask

    def _place(self, gate: int) -> Any:
        builder = self.row.emit.builder
        return builder.add(self.offset, builder.mul(self.row.word(0), WORD(gate)))

    def load(self, array: int, gate: int = 0) -> Value:
        """The numbers of an array, of the gate with that number where it has several."""
        return self.row.load(array, self._place(gate), self.mask)

    def store(self, value: Value, array: int, gate: int = 0) -> None:
        """Write the numbers of an array."""
        self.row.store(value, array, self._place(gate), self.mask)


def _lstm(units: _Units) -> None:
    """Arrays: a, back, c, next h, next c, gates."""
    sums = [units.load(0, k) + units.load(1, k) for k in range(4)]
    values, cell, new = formulas.lstm(sums, units.load(2), MATHS)
    units.store(new, 3)
    units.store(cell, 4)
    for k, value in enumerate(values):
        units.store(value, 5, k)


def _lstm_grad(units: _Units) -> None:
    """Arrays: gh, gc, c, next c, gates; gradients of the sums, of c."""
    values = [units.load(4, k) for k in range(4)]
    squashed = MATHS.tanh(units.load(3))
    entering, gc = formulas.lstm_grad(values, units.load(0), units.load(1), units.load(2), squashed)
    for k, gradient in enumerate(entering):
        units.store(gradient, 5, k)
    units.store(gc, 6)


def _gru(units: _Units) -> None:
    """Arrays: a, back, h, next h, gates."""
    reset, z = (units.load(0, k) + units.load(1, k) for k in range(2))
    values, new = formulas.gru(reset, z, units.load(0, 2), units.load(1, 2), units.load(2), MATHS)
    units.store(new, 3)
    for k, value in enumerate(values):
        units.store(value, 4, k)


def _gru_grad(units: _Units) -> None:
    """Arrays: g, back, h, gates; gradients of a, of back, of h."""
    values = [units.load(3, k) for k in range(3)]
    entering, gback, gh = formulas.gru_grad(values, units.load(0), units.load(1, 2), units.load(2))
    for k, gradient in enumerate(entering):
        units.store(gradient, 4, k)
    for k, gradient in enumerate((*entering[:2], gback)):
        units.store(gradient, 5, k)
    units.store(gh, 6)


def _kernel(write: Any, arrays: int) -> RowKernel:
    def kernel(row: Row) -> None:
        def vector(at: Any, carried: Any, mask: Any) -> Any:
            write(_Units(row, at, mask))
            return carried

        row.scan(vector, unroll=1)

    return RowKernel(f"{write.__name__}_cell", F32, kernel, arrays)


# Which arrays hold one number per gate, by the arrays' numbers above.
_KERNELS = {
    "lstm": (_kernel(_lstm, 6), 4, (0, 1, 5)),
    "lstm_grad": (_kernel(_lstm_grad, 7), 4, (4, 5)),
    "gru": (_kernel(_gru, 5), 3, (0, 1, 4)),
    "gru_grad": (_kernel(_gru_grad, 7), 3, (1, 3, 4, 5)),
}


@lru_cache(1024)
def _plan(name: str, batch: int, hidden: int) -> Launch:
    kernel, gates, wide = _KERNELS[name]
    narrow = 4 * hidden
    steps = [gates * narrow if k in wide else narrow for k in range(kernel.arrays)]
    return kernel.plan(batch, hidden, steps, narrow, parts=chunks(batch, gates * hidden))


def lstm(
    a: np.ndarray, back: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Next h, next cell, and values of the gates i, f, g, o."""
    if a.dtype != np.float32:
        h, cell, gates = step("lstm", a, back, c, c)
        return h, cell, gates
    h, cell, gates = empty(c.shape), empty(c.shape), empty(a.shape)
    plan = _plan("lstm", *c.shape)
    plan(contiguous(a), contiguous(back), contiguous(c), h, cell, gates)
    return h, cell, gates


def lstm_grad(
    gh: np.ndarray, gc: np.ndarray, c: np.ndarray, cell: np.ndarray, gates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the sum of the contributions, and of c.

    Args:
        gh, gc: gradients of the next h and cell.
        c, cell: the cell before and the next one.
        gates: values of the gates.
    """
    if gates.dtype != np.float32:
        entering, before = formulas.lstm_grad(cut(gates, 4), gh, gc, c, np.tanh(cell))
        return joined(entering), before
    ga, before = empty(gates.shape), empty(c.shape)
    given = [contiguous(x) for x in (gh, gc, c, cell, gates)]
    _plan("lstm_grad", *c.shape)(*given, ga, before)
    return ga, before


def gru(a: np.ndarray, back: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Next h, and values of the gates reset, update, new."""
    if a.dtype != np.float32:
        new, _, gates = step("gru", a, back, h, None)
        return new, gates
    new, gates = empty(h.shape), empty(a.shape)
    _plan("gru", *h.shape)(contiguous(a), contiguous(back), contiguous(h), new, gates)
    return new, gates


def gru_grad(
    g: np.ndarray, back: np.ndarray, h: np.ndarray, gates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of both contributions, and of h but for what flows through `back`.

    Args:
        g: gradient of the next h.
        back: what h contributed to the gates.
        h: the state before.
        gates: values of the gates.
    """
    if gates.dtype != np.float32:
        entering, gn, gh = formulas.gru_grad(cut(gates, 3), g, cut(back, 3)[2], h)
        return joined(entering), joined([*entering[:2], gn]), gh
    ga, gback, gh = empty(gates.shape), empty(gates.shape), empty(h.shape)
    given = [contiguous(x) for x in (g, back, h, gates)]
    _plan("gru_grad", *h.shape)(*given, ga, gback, gh)
    return ga, gback, gh
