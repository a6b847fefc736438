"""Lowerings of `dyn/ops/ctc.py`: the recursions over steps are Scans over all states at once.

What cannot be has a log probability of HIDDEN, finite, so that nothing takes infinity from itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.lower.scan import scanned
from exporter.registry import NodeView, lowers
from exporter.windows import filled

HIDDEN = -1e30
IMPOSSIBLE = 1e20
"""A loss that no alignment of float32 numbers has."""


class _States:
    """The states of all samples, and the maths of the recursions."""

    def __init__(self, b: Any, node: NodeView, first: int):
        """`first` is the position of the logits among the inputs of the node."""
        self.b = b
        logits, labels = node.input_types[first : first + 2]
        self.length, self.batch, self.classes = logits.shape  # type: ignore[union-attr]
        self.most = labels.shape[1]  # type: ignore[union-attr]
        self.count = 2 * self.most + 1
        self.wide = [self.length, self.batch, self.count]
        self.dtype = node.dtype if node.dtype.itemsize >= 4 else np.dtype(np.float32)
        x, labels, steps, counts = node.inputs[first : first + 4]
        self.x = b.cast(x, self.dtype) if node.dtype != self.dtype else x
        self.labels, self.steps, self.counts = (
            b.cast(v, np.int64) for v in (labels, steps, counts)
        )
        blank = node.attrs["blank"]
        gap = filled(b, [self.batch, self.most, 1], blank, np.int64)
        pairs = b.op("Concat", gap, b.unsqueeze(self.labels, 2), axis=2)
        pairs = b.reshape(pairs, [self.batch, 2 * self.most])
        last = filled(b, [self.batch, 1], blank, np.int64)
        classes = b.op("Concat", pairs, last, axis=1)
        # What follows a sample's labels may be anything.
        top = b.op("Sub", b.size(self.classes), b.const(1, np.int64))
        self.of_state = b.op("Clip", classes, b.const(0, np.int64), top)
        self.index = b.op("Expand", b.unsqueeze(self.of_state, 0), b.shape_vector(self.wide))
        self.number = b.op("Range", b.const(0, np.int64), b.size(self.count), b.const(1, np.int64))

    def number_of(self, value: float) -> Any:
        """A constant of the dtype of the recursions."""
        return self.b.const(value, self.dtype)

    def lead(self, by: int, value: float = HIDDEN) -> Any:
        """`by` states that are none, [N, by]."""
        return filled(self.b, [self.batch, by], value, self.dtype)

    def moved(self, b: Any, states: Any, lead: Any, by: int) -> Any:
        """States moved on by `by` places (back if negative), `lead` coming in, [N, S]."""
        axis, big = b.ints(1), b.ints(np.iinfo(np.int64).max)
        if by > 0:
            wide = b.op("Concat", lead, states, axis=1)
            return b.op("Slice", wide, b.ints(0), b.ints(-by), axis)
        wide = b.op("Concat", states, lead, axis=1)
        return b.op("Slice", wide, b.ints(-by), big, axis)

    def skips(self) -> Any:
        """Zero where a state may be entered from the last but one before it, else HIDDEN."""
        b = self.b
        before = self.moved(b, self.of_state, filled(b, [self.batch, 2], -1, np.int64), 2)
        # The first label follows no other one.
        other = b.op("Not", b.op("Equal", self.of_state, before))
        after = b.op("GreaterOrEqual", self.number, b.const(2, np.int64))
        odd = b.op("And", other, after)
        return b.op("Where", odd, self.number_of(0), self.number_of(HIDDEN))

    def ends(self) -> Any:
        """Whether a sample's alignment may end in a state, [N, S]."""
        b = self.b
        last = b.unsqueeze(b.op("Mul", self.counts, b.const(2, np.int64)), 1)
        before = b.op("Sub", last, b.const(1, np.int64))
        return b.op("Or", b.op("Equal", self.number, last), b.op("Equal", self.number, before))

    def look(self, logs: Any) -> Any:
        """Log probabilities of what each state stands for, [T, N, S]."""
        seen = self.b.op("GatherElements", logs, self.index, axis=2)
        return self.b.op("Max", seen, self.number_of(HIDDEN))

    @staticmethod
    def sum(b: Any, *logs: Any) -> Any:
        """log(sum(exp)) of values of one shape."""
        top = b.op("Max", *logs)
        parts = [b.op("Exp", b.op("Sub", x, top)) for x in logs]
        return b.op("Add", top, b.op("Log", b.op("Sum", *parts)))

    def back(self, value: Any, dtype: Any) -> Any:
        """A result in the dtype of the node."""
        return value if dtype == self.dtype else self.b.cast(value, dtype)


@lowers("ctc_loss")
def _(b: Any, node: NodeView) -> Any:
    states = _States(b, node, 0)
    logs = states.x if node.attrs["normalised"] else b.op("LogSoftmax", states.x, axis=2)
    skips, one, two = states.skips(), states.lead(1), states.lead(2)
    # Before the first step all is in state 0, from which the first two are entered.
    none = filled(b, [states.batch, 2 * states.most], HIDDEN, states.dtype)
    start = b.op("Concat", states.lead(1, 0), none, axis=1)

    def step(child: Any, a: Any, seen: Any) -> Any:
        jump = child.op("Add", states.moved(child, a, two, 2), skips)
        after = states.sum(child, a, states.moved(child, a, one, 1), jump)
        after = child.op("Add", after, seen)
        return (after,), after

    dtype = states.dtype
    alpha = scanned(b, step, [(start, dtype)], [(states.look(logs), dtype)], dtype, rank=3, axis=0)
    # After each sample's own last step, [1, N, S].
    every = b.op("Concat", b.unsqueeze(start, 0), alpha, axis=0)
    shape = b.shape_vector([1, *states.wide[1:]])
    own = b.op("Expand", b.unsqueeze(states.steps, 0, 2), shape)
    final = b.squeeze(b.op("GatherElements", every, own, axis=0), 0)
    final = b.op("Where", states.ends(), final, states.number_of(HIDDEN))
    loss = b.op("Neg", b.axes("ReduceLogSumExp", final, [1], keepdims=False))
    none = b.op("Greater", loss, states.number_of(IMPOSSIBLE))
    loss = b.op("Where", none, states.number_of(np.inf), loss)
    norm = None
    if node.used[2] and node.attrs["normalised"]:
        norm = filled(b, states.wide[:2], 0, node.dtype)
    elif node.used[2]:
        norm = b.axes("ReduceLogSumExp", states.x, [2], keepdims=False)
        norm = states.back(norm, node.dtype)
    return states.back(loss, node.dtype), states.back(alpha, node.dtype), norm


@lowers("ctc_loss_grad")
def _(b: Any, node: NodeView) -> Any:
    states = _States(b, node, 1)
    g, loss, alpha, norm = (
        v if node.dtype == states.dtype else b.cast(v, states.dtype)
        for v in (node.x, *node.inputs[5:])
    )
    logs = b.op("Sub", states.x, b.unsqueeze(norm, 2))
    dtype, zero, hidden = states.dtype, states.number_of(0), states.number_of(HIDDEN)
    one, two = states.lead(1), states.lead(2)
    # States are left as they are entered, seen from two places on.
    leave = states.moved(b, states.skips(), two, -2)
    ends = b.op("Where", states.ends(), zero, hidden)
    step_numbers = b.op("Range", b.const(0, np.int64), b.size(states.length), b.const(1, np.int64))
    step_numbers = b.unsqueeze(step_numbers, 1)
    before_end = b.op("Sub", states.steps, b.const(1, np.int64))
    last = b.unsqueeze(b.op("Equal", step_numbers, before_end), 2)

    def step(child: Any, q: Any, seen: Any, last: Any) -> Any:
        jump = child.op("Add", states.moved(child, q, two, -2), leave)
        beta = states.sum(child, q, states.moved(child, q, one, -1), jump)
        beta = child.op("Where", last, ends, beta)
        return (child.op("Add", beta, seen),), beta

    inputs = [(states.look(logs), dtype), (last, np.dtype(bool))]
    start = filled(b, states.wide[1:], HIDDEN, dtype)
    beta = scanned(b, step, [(start, dtype)], inputs, dtype, rank=3, axis=0, reverse=True)
    none = b.op("IsInf", loss)
    finite = b.op("Where", none, zero, loss)
    whole = b.op("Add", b.op("Add", alpha, beta), b.unsqueeze(finite, 0, 2))
    nothing = filled(b, [*states.wide[:2], states.classes], 0, dtype)
    posterior = b.op(
        "ScatterElements", nothing, states.index, b.op("Exp", whole), axis=2, reduction="add"
    )
    away = b.op("Sub", b.op("Exp", logs), posterior)
    factor = b.unsqueeze(b.op("Where", none, states.number_of(np.nan), g), 0, 2)
    running = b.unsqueeze(b.op("Less", step_numbers, states.steps), 2)
    wanted = b.unsqueeze(b.op("Not", b.op("Equal", g, zero)), 0, 2)
    gx = b.op("Where", b.op("And", running, wanted), b.op("Mul", away, factor), zero)
    return states.back(gx, node.dtype)
