"""The tasks of `ctc.py`: forward and backward recursions of a sample, and the gradient's rows.

The states of a sample are the blanks before, between and after its labels; state s stands for label
s // 2 where s is odd. A step is one loop over all states, which LLVM vectorises: its rows are
filled up to a multiple of WIDE with what is impossible, and have two such places at the end that
states are entered from.
"""

from __future__ import annotations

import math

import numpy as np

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import instance, kernel
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector import vmath_numba
from dyn.kernels.vector.runs import pointer

WIDE = 16
"""Rows of states are filled up to a multiple of so many."""
BLOCK = 8192
"""Numbers of the gradient that a chunk goes over at a time, so that they stay in cache."""
_I64 = np.int64(0)

(
    LOGITS, NORM, LABELS, STEPS, COUNTS, LOSS, ALPHA, SCRATCH, G, POSTERIOR, GX,
) = range(11)  # fmt: skip
ARRAYS = 11
"""Arrays of the tasks: [T, N, C], [T, N], [N, L], [N], [N], [N], [T, N, S]; buffers of four rows
of states; [N], [T, N, S], [T, N, C]. The forward pass has in the place of G the flag that something
given is out of range."""
LENGTH, BATCH, CLASSES, LABEL_COUNT, BLANK = range(ARRAYS, ARRAYS + 5)
"""Words: sizes T, N, C, L, and the class that stands for no label."""

ZERO, INF, SIZE = np.float32(0), np.float32(math.inf), 4
exp, log = vmath_numba.exp, vmath_numba.log
"""What instances of a task have of their own: numbers of their elements, bytes of one, formulas."""


def row_bytes(labels: int, size: int) -> int:
    """Bytes of a row of states, with its two further places."""
    return (-(-(2 * labels + 1) // WIDE) * WIDE + 2) * size


@kernel(forceinline=True)
def _emissions(seen, logits, labels, first, count, blank, norm):
    """Fill in the log probability of what each state stands for."""
    nothing = logits[blank] - norm
    for i in range(count):
        seen[2 * i] = nothing
        seen[2 * i + 1] = logits[labels[first + i]] - norm
    seen[2 * count] = nothing


@kernel
def _out_of_range(labels, first, count, most, steps, length, classes):
    """Whether a sample has more steps or labels than there are, or a label that is no class."""
    bad = steps < 0 or steps > length or count < 0 or count > most
    for i in range(first, first + (0 if bad else count)):
        bad = bad or labels[i] < 0 or labels[i] >= classes
    return bad


def _alpha(args, chunk, chunks):
    """Log probabilities of ending in each state after each step, and of all alignments."""
    batch, classes = argument(args, BATCH), argument(args, CLASSES)
    length, most = argument(args, LENGTH), argument(args, LABEL_COUNT)
    blank = argument(args, BLANK)
    labels = pointer(data(argument(args, LABELS)), _I64)
    lengths = pointer(data(argument(args, STEPS)), _I64)
    counts = pointer(data(argument(args, COUNTS)), _I64)
    failed = pointer(data(argument(args, G)), _I64)
    loss = pointer(data(argument(args, LOSS)), ZERO)
    norms = pointer(data(argument(args, NORM)), ZERO)
    full = 2 * most + 1
    row = (full + WIDE - 1) // WIDE * WIDE + 2
    memory = data(argument(args, SCRATCH))
    slot = take(memory)
    space = buffer(memory, slot, 4 * row * SIZE)
    seen = pointer(space, ZERO)
    skip = pointer(space + row * SIZE, ZERO)
    start, stop = bounds(batch, chunk, chunks, 1)
    for n in range(start, stop):
        steps, count = lengths[n], counts[n]
        if _out_of_range(labels, n * most, count, most, steps, length, classes):
            failed[0] = 1
            continue
        states = 2 * count + 1
        wide = (states + WIDE - 1) // WIDE * WIDE
        for s in range(4 * row):
            seen[s] = -INF
        for i in range(1, count):
            if labels[n * most + i] != labels[n * most + i - 1]:
                skip[2 * i + 1] = ZERO
        for t in range(steps):
            # Two rows by turns; what impossible states are entered from stands at the front.
            before = pointer(space + (2 + t % 2) * row * SIZE, ZERO)
            after = pointer(space + (3 - t % 2) * row * SIZE, ZERO)
            at = t * batch + n
            logits = pointer(data(argument(args, LOGITS)) + at * classes * SIZE, ZERO)
            _emissions(seen, logits, labels, n * most, count, blank, norms[at])
            if t == 0:
                for s in range(min(2, states)):
                    after[2 + s] = seen[s]
            else:
                for s in range(wide):
                    a, b, c = before[s + 2], before[s + 1], before[s] + skip[s]
                    top = max(max(a, b), c)
                    top = ZERO if top == -INF else top
                    total = exp(a - top) + exp(b - top) + exp(c - top)
                    after[s + 2] = log(total) + top + seen[s]
            alpha = pointer(data(argument(args, ALPHA)) + at * full * SIZE, ZERO)
            for s in range(full):
                alpha[s] = after[s + 2] if s < states else -INF
        for t in range(steps, length):
            place = (t * batch + n) * full * SIZE
            alpha = pointer(data(argument(args, ALPHA)) + place, ZERO)
            for s in range(full):
                alpha[s] = -INF
        if steps == 0:
            loss[n] = ZERO if count == 0 else INF
            continue
        final = pointer(space + (2 + steps % 2) * row * SIZE, ZERO)
        a, b = final[states + 1], final[states] if count > 0 else -INF
        top = max(a, b)
        top = ZERO if top == -INF else top
        loss[n] = -(log(exp(a - top) + exp(b - top)) + top)
    leave(memory, slot)


def _posterior(args, chunk, chunks):
    """Probabilities of passing through each state at each step, given the labels.

    The backward recursion leaves a step's own probability out, so that nothing is taken off again
    that may be minus infinity.
    """
    batch, classes = argument(args, BATCH), argument(args, CLASSES)
    most, blank = argument(args, LABEL_COUNT), argument(args, BLANK)
    labels = pointer(data(argument(args, LABELS)), _I64)
    lengths = pointer(data(argument(args, STEPS)), _I64)
    counts = pointer(data(argument(args, COUNTS)), _I64)
    loss = pointer(data(argument(args, LOSS)), ZERO)
    norms = pointer(data(argument(args, NORM)), ZERO)
    full = 2 * most + 1
    row = (full + WIDE - 1) // WIDE * WIDE + 2
    memory = data(argument(args, SCRATCH))
    slot = take(memory)
    space = buffer(memory, slot, 4 * row * SIZE)
    seen = pointer(space, ZERO)
    skip = pointer(space + row * SIZE, ZERO)
    beta = pointer(space + 2 * row * SIZE, ZERO)
    share = pointer(space + 3 * row * SIZE, ZERO)
    start, stop = bounds(batch, chunk, chunks, 1)
    for n in range(start, stop):
        steps, count, whole = lengths[n], counts[n], loss[n]
        states = 2 * count + 1
        wide = (states + WIDE - 1) // WIDE * WIDE
        for s in range(4 * row):
            seen[s] = -INF
        # Where state s may be left to: s + 2, unless that has the same label.
        for i in range(1, count):
            if labels[n * most + i] != labels[n * most + i - 1]:
                skip[2 * i - 1] = ZERO
        beta[states - 1] = ZERO
        if count > 0:
            beta[states - 2] = ZERO
        for back in range(steps):
            at = (steps - 1 - back) * batch + n
            if back > 0:
                # In place: a state reads none that was written before it.
                for s in range(wide):
                    a, b, c = beta[s], beta[s + 1], beta[s + 2] + skip[s]
                    top = max(max(a, b), c)
                    top = ZERO if top == -INF else top
                    total = exp(a - top) + exp(b - top) + exp(c - top)
                    beta[s] = log(total) + top
            logits = pointer(data(argument(args, LOGITS)) + at * classes * SIZE, ZERO)
            alpha = pointer(data(argument(args, ALPHA)) + at * full * SIZE, ZERO)
            posterior = pointer(data(argument(args, POSTERIOR)) + at * full * SIZE, ZERO)
            for s in range(states):
                share[s] = alpha[s]
            for s in range(wide):
                share[s] = exp(share[s] + beta[s] + whole)
            for s in range(states):
                posterior[s] = share[s]
            for s in range(states, wide):
                share[s] = -INF
            _emissions(seen, logits, labels, n * most, count, blank, norms[at])
            for s in range(wide):
                beta[s] += seen[s]
    leave(memory, slot)


def _rows(args, chunk, chunks):
    """Gradients of some steps: probability less posterior, times the gradient of the loss."""
    batch, classes = argument(args, BATCH), argument(args, CLASSES)
    most, blank = argument(args, LABEL_COUNT), argument(args, BLANK)
    labels = pointer(data(argument(args, LABELS)), _I64)
    lengths = pointer(data(argument(args, STEPS)), _I64)
    counts = pointer(data(argument(args, COUNTS)), _I64)
    loss = pointer(data(argument(args, LOSS)), ZERO)
    norms = pointer(data(argument(args, NORM)), ZERO)
    given = pointer(data(argument(args, G)), ZERO)
    full = 2 * most + 1
    start, stop = bounds(argument(args, LENGTH) * batch, chunk, chunks, 1)
    some = max(1, BLOCK // classes)
    while start < stop:
        rows = min(some, stop - start)
        logits = pointer(data(argument(args, LOGITS)) + start * classes * SIZE, ZERO)
        gx = pointer(data(argument(args, GX)) + start * classes * SIZE, ZERO)
        for r in range(rows):
            norm = norms[start + r]
            for c in range(r * classes, (r + 1) * classes):
                gx[c] = logits[c] - norm
        for c in range(rows * classes):
            gx[c] = exp(gx[c])
        for r in range(rows):
            n, t = (start + r) % batch, (start + r) // batch
            g, first = given[n], r * classes
            if t >= lengths[n] or g == ZERO:
                for c in range(first, first + classes):
                    gx[c] = ZERO
                continue
            if loss[n] == INF:
                g = INF - INF
            at = (start + r) * full * SIZE
            posterior = pointer(data(argument(args, POSTERIOR)) + at, ZERO)
            for i in range(counts[n]):
                gx[first + blank] -= posterior[2 * i]
                gx[first + labels[n * most + i]] -= posterior[2 * i + 1]
            gx[first + blank] -= posterior[2 * counts[n]]
            for c in range(first, first + classes):
                gx[c] *= g
        start += rows


_OWN = {
    np.float32: {"SIZE": 4, "exp": exp, "log": log},
    np.float64: {"SIZE": 8, "exp": math.exp, "log": math.log},
}
TASKS = {
    np.dtype(kind): tuple(
        instance(
            f"ctc{body.__name__}_{kind.__name__}", body, ZERO=kind(0), INF=kind(math.inf), **own
        )
        for body in (_alpha, _posterior, _rows)
    )
    for kind, own in _OWN.items()
}
"""Forward recursion, backward recursion and rows of the gradient, by dtype."""
