"""What the gates do in one step of a recurrent layer, forward and backward, in vector code.

A step kernel walks over the rows (samples) it is given and over the hidden units of each: the
nonlinearities, the new state and what the gradient needs, in one pass. The sums that enter the
gates are there already; the products that make them are in `walk.py`. A sample whose steps are over
keeps its state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from dyn.kernels.rnn import gates
from dyn.kernels.runtime.jit import Microkernel, microkernel
from dyn.kernels.vector.rows import word_at
from dyn.kernels.vector.simd import F32, WORD, Emitter, Value, choose, intrinsic, loop, maximum
from dyn.kernels.vector.vmath import sigmoid, tanh

(
    LENGTHS, GATES, EXTRA, H, C, Y, GY, GA, GBACK, GH, GC, H0, C0,
    BATCH, HIDDEN, START, BEFORE, GATES_ROW, Y_ROW, GY_ROW,
) = range(20)  # fmt: skip
"""Words that describe the arrays of a layer: addresses first, then sizes and rows in bytes.

LENGTHS: int64 [batch]. START: the first step; BEFORE: what leads from a step to the one before it,
1 or -1. GATES, GA: [steps, batch, gates * hidden]; EXTRA, GBACK: [steps, batch, hidden], cells or
the recurrent part of the GRU's n, and the gradient of the latter. Y, GY: [steps, batch, hidden] in
rows of Y_ROW and GY_ROW. H, C, GH, GC: the state, [batch, hidden], and its gradient; H0, C0: the
state before START.
"""
WORDS, ARRAYS = 20, 13
"""Number of words, and how many of them are addresses."""
MATHS = gates.Maths(sigmoid, tanh)


class Step:
    """One vector of hidden units of one sample at one step, while a step kernel is written."""

    def __init__(self, builder: Any, p: Any, t: Any) -> None:
        self.builder = builder
        self.emit = Emitter(builder, F32)
        self.words = [word_at(builder, p, k) for k in range(WORDS)]
        self.t = t
        self.bytes = builder.mul(self.words[HIDDEN], WORD(4))
        self.row: Any = None
        self.offset: Any = None
        self.mask: Any = None

    @property
    def length(self) -> Any:
        """Steps of this sample."""
        at = self.builder.add(self.words[LENGTHS], self.builder.mul(self.row, WORD(8)))
        return self.builder.load(self.builder.inttoptr(at, WORD.as_pointer()))

    def _sequence(self, array: int, t: Any) -> Any:
        """Where the row of this sample starts at step t in an array of all steps."""
        builder = self.builder
        wide = {GATES: GATES_ROW, GA: GATES_ROW, Y: Y_ROW, GY: GY_ROW}
        stride = self.words[wide[array]] if array in wide else self.bytes
        row = builder.add(builder.mul(t, self.words[BATCH]), self.row)
        return builder.add(self.words[array], builder.mul(row, stride))

    def _state(self, array: int) -> Any:
        """Where the row of this sample starts in an array without steps."""
        return self.builder.add(self.words[array], self.builder.mul(self.row, self.bytes))

    def _place(self, array: int, gate: int) -> Any:
        own = self._state(array) if array in (H, C, GH, GC) else self._sequence(array, self.t)
        shift = self.builder.mul(self.bytes, WORD(gate))
        return self.builder.add(self.builder.add(own, shift), self.offset)

    def load(self, array: int, gate: int = 0) -> Value:
        """The numbers of an array, of the gate with that number where it has several."""
        return self.emit.load(self._place(array, gate), self.mask)

    def store(self, value: Value, array: int, gate: int = 0) -> None:
        """Write the numbers of an array."""
        self.emit.store(value, self._place(array, gate), self.mask)

    def before(self, array: int, initial: int) -> Value:
        """What an array of all steps held at the step before; `initial` where this is the first."""
        builder = self.builder
        earlier = builder.add(self.t, self.words[BEFORE])
        is_start = builder.icmp_signed("==", self.t, self.words[START])
        # A reversed pass meets a sample at its own last step.
        is_dead = builder.icmp_signed(">=", earlier, self.length)
        own = builder.select(
            builder.or_(is_start, is_dead), self._state(initial), self._sequence(array, earlier)
        )
        return self.emit.load(builder.add(own, self.offset), self.mask)


Write = Callable[[Step], None]


def _step(alive: Write, over: Write) -> Any:
    """The generator of a step kernel: what is done for samples that still run, and for others."""

    @intrinsic
    def step(typing: Any, p: Any, t: Any, first: Any, last: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            p, t, first, last = arguments
            made = Step(builder, p, t)

            def units(write: Write) -> None:
                def vector(offset: Any, carried: list[Value], mask: Any) -> list[Value]:
                    made.offset, made.mask = offset, mask
                    write(made)
                    return carried

                made.emit.row(made.words[HIDDEN], vector, unroll=1)

            def row(index: Any, carried: list[Value]) -> list[Value]:
                made.row = index
                with builder.if_else(builder.icmp_signed(">", made.length, t)) as (yes, no):
                    with yes:
                        units(alive)
                    with no:
                        units(over)
                return carried

            loop(builder, first, last, WORD(1), row)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return step


# ---- forward: gates hold what enters them ------------------------------------------------------


def _lstm(step: Step) -> None:
    entering = [step.load(GATES, k) for k in range(4)]
    values, cell, new = gates.lstm(entering, step.load(C), MATHS)
    for k, value in enumerate(values):
        step.store(value, GATES, k)
    step.store(cell, EXTRA)
    step.store(cell, C)
    step.store(new, H)
    step.store(new, Y)


def _lstm_over(step: Step) -> None:
    step.store(step.load(C), EXTRA)
    step.store(step.emit.numbers(0), Y)


def _gru(step: Step) -> None:
    entering = [step.load(GATES, k) for k in range(3)]
    values, new = gates.gru(*entering, step.load(EXTRA), step.load(H), MATHS)
    for k, value in enumerate(values):
        step.store(value, GATES, k)
    step.store(new, H)
    step.store(new, Y)


def _plain(activation: Callable[[Value], Value]) -> Write:
    def write(step: Step) -> None:
        new = activation(step.load(GATES))
        for array in (GATES, H, Y):
            step.store(new, array)

    return write


def _over(step: Step) -> None:
    step.store(step.emit.numbers(0), Y)


# ---- backward: gates hold their values ---------------------------------------------------------


def _lstm_grad(step: Step) -> None:
    values = [step.load(GATES, k) for k in range(4)]
    g = step.load(GH) + step.load(GY)
    before, squashed = step.before(EXTRA, C0), tanh(step.load(EXTRA))
    entering, gc = gates.lstm_grad(values, g, step.load(GC), before, squashed)
    for k, gradient in enumerate(entering):
        step.store(gradient, GA, k)
    step.store(gc, GC)
    step.store(step.emit.numbers(0), GH)


def _gru_grad(step: Step) -> None:
    values = [step.load(GATES, k) for k in range(3)]
    g = step.load(GH) + step.load(GY)
    entering, gback, gh = gates.gru_grad(values, g, step.load(EXTRA), step.before(Y, H0))
    for k, gradient in enumerate(entering):
        step.store(gradient, GA, k)
    step.store(gback, GBACK)
    step.store(gh, GH)


def _plain_grad(slope: Callable[[Value, Value], Value]) -> Write:
    def write(step: Step) -> None:
        g = step.load(GH) + step.load(GY)
        step.store(slope(g, step.load(GATES)), GA)
        step.store(step.emit.numbers(0), GH)

    return write


def _grad_over(count: int, is_gru: bool = False) -> Write:
    def write(step: Step) -> None:
        for k in range(count):
            step.store(step.emit.numbers(0), GA, k)
        if is_gru:
            step.store(step.emit.numbers(0), GBACK)

    return write


_lstm_step = _step(_lstm, _lstm_over)
_gru_step = _step(_gru, _over)
_tanh_step = _step(_plain(tanh), _over)
_relu_step = _step(_plain(lambda a: maximum(a, 0.0)), _over)
_lstm_back = _step(_lstm_grad, _grad_over(4))
_gru_back = _step(_gru_grad, _grad_over(3, is_gru=True))
_tanh_back = _step(_plain_grad(lambda g, a: g * (1.0 - a * a)), _grad_over(1))
_relu_back = _step(_plain_grad(lambda g, a: choose(a > 0.0, g, g * 0.0)), _grad_over(1))


@microkernel(4)
def lstm_step(p, t, first, last):
    """Rows `first` to `last` of an LSTM at step t."""
    _lstm_step(p, t, first, last)


@microkernel(4)
def gru_step(p, t, first, last):
    """Rows `first` to `last` of a GRU at step t."""
    _gru_step(p, t, first, last)


@microkernel(4)
def tanh_step(p, t, first, last):
    """Rows `first` to `last` of a simple RNN at step t."""
    _tanh_step(p, t, first, last)


@microkernel(4)
def relu_step(p, t, first, last):
    """Rows `first` to `last` of a simple RNN with relu at step t."""
    _relu_step(p, t, first, last)


@microkernel(4)
def lstm_back(p, t, first, last):
    """Gradients of `lstm_step`; GH becomes what the product with the weight is added to."""
    _lstm_back(p, t, first, last)


@microkernel(4)
def gru_back(p, t, first, last):
    """Gradients of `gru_step`; GH becomes what the products with the weight are added to."""
    _gru_back(p, t, first, last)


@microkernel(4)
def tanh_back(p, t, first, last):
    """Gradients of `tanh_step`; GH becomes what the product with the weight is added to."""
    _tanh_back(p, t, first, last)


@microkernel(4)
def relu_back(p, t, first, last):
    """Gradients of `relu_step`; GH becomes what the product with the weight is added to."""
    _relu_back(p, t, first, last)


FORWARD: dict[str, Microkernel] = {
    "lstm": lstm_step, "gru": gru_step, "tanh": tanh_step, "relu": relu_step,
}  # fmt: skip
BACKWARD: dict[str, Microkernel] = {
    "lstm": lstm_back, "gru": gru_back, "tanh": tanh_back, "relu": relu_back,
}  # fmt: skip
