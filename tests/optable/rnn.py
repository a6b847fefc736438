"""Rows of `dyn/ops/rnn.py` and `rnn_cell.py`. References go sample by sample and step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.autograd import grad
from dyn.core.op import OPS
from tests.optable.case import OpCase, array


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(mode, a, back, h, c):
    """State and cell after one step of one sample."""
    n = len(h)
    if mode == "lstm":
        i, f, g, o = np.split(a + back, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    if mode == "gru":
        reset, z = sigmoid(a[:n] + back[:n]), sigmoid(a[n : 2 * n] + back[n : 2 * n])
        new = np.tanh(a[2 * n :] + reset * back[2 * n :])
        return (1 - z) * new + z * h, c
    return (np.tanh(a + back) if mode == "tanh" else np.maximum(a + back, 0)), c


def way(mode, x, w, r, b, rb, h, c, lengths, backwards):
    """One direction, sample by sample."""
    steps, batch, _ = x.shape
    y = np.zeros((steps, batch, r.shape[1]))
    h, c = h.copy(), c.copy()
    for n in range(batch):
        end = steps if lengths is None else min(lengths[n], steps)
        for t in reversed(range(end)) if backwards else range(end):
            h[n], c[n] = step(mode, w @ x[t, n] + b, r @ h[n] + rb, h[n], c[n])
            y[t, n] = h[n]
    return y, h, c


def reference(mode, with_cell):
    def run(x, *inputs, reverse, activation=None):
        ahead, back = inputs[:4], inputs[4:8]
        h, c = inputs[8], inputs[9] if with_cell else None
        lengths = inputs[-1]
        made = []
        for d, (w, r, b, rb) in enumerate((ahead, back)):
            if w is None:
                continue
            zeros = np.zeros((x.shape[1], r.shape[1]))
            b, rb = (np.zeros(len(w)) if v is None else v for v in (b, rb))
            start = [zeros if s is None else s[d] for s in (h, c)]
            made.append(way(activation or mode, x, w, r, b, rb, *start, lengths, reverse or d == 1))
        y = np.concatenate([m[0] for m in made], 2)
        states = [np.stack([m[i] for m in made]) for i in (1, 2)]
        return (y, *states[: 1 + with_cell])

    return run


def recurrent(gates: int, both: bool, state: bool, bias: bool, ends: bool) -> list[Any]:
    """The inputs of a recurrent op with 3 inputs and a state of 4."""
    one = [array(gates * 4, 3), array(gates * 4, 4)]
    one += [array(gates * 4), array(gates * 4)] if bias else [None, None]
    directions = 2 if both else 1
    states = [array(directions, "n", 4) if state else None] * (2 if gates == 4 else 1)
    lengths = [lambda rng, dtype, sizes: rng.integers(1, sizes["t"] + 2, sizes["n"])]
    return [
        array("t", "n", 3),
        *one,
        *(one if both else [None] * 4),
        *states,
        *(lengths if ends else [None]),
    ]


def gradients(op: str, attrs: dict[str, Any]) -> Any:
    """Calls the gradient op: derivatives of the sum of y squared by x and both weights.

    Its values are checked as first derivatives of the rows of `op`; here it is run and exported.
    """

    def run(*inputs: Any) -> Any:
        given = [None if v is None else v.detach() for v in inputs]
        for v in given[:3]:
            v.stop_gradient = False
        y = OPS[op](*given, **attrs)[0]
        return grad(y * y, given[:3])

    return run


SEQUENCE = {"t": (4, 6), "n": (3, 2)}
RECURRENT = []
for op, onnx, gates in (("lstm", "LSTM", 4), ("gru", "GRU", 3), ("simple_rnn", "RNN", 1)):
    extra = {"activation": "tanh"} if gates == 1 else {}
    for note, both in (("", False), ("both", True)):
        RECURRENT.append(
            OpCase(
                f"{op}_grad",
                recurrent(gates, both, True, True, False),
                run=gradients(op, {"reverse": False, **extra}),
                shapes=(("t", "n", 3), (gates * 4, 3), (gates * 4, 4)),
                sizes=SEQUENCE,
                empty=False,
                order=0,
                wrt=(),
                note=note,
            )
        )
    for note, flags, reverse in (
        ("", (False, True, True, False), False),
        ("plain", (False, False, False, False), False),
        ("reverse", (False, True, True, False), True),
        ("both", (True, True, True, False), False),
        ("ragged", (False, True, True, True), False),
        ("both-ragged", (True, False, True, True), False),
    ):
        RECURRENT.append(
            OpCase(
                op,
                recurrent(gates, *flags),
                {"reverse": reverse, **extra},
                reference(op, gates == 4),
                onnx=onnx,
                sizes=SEQUENCE,
                empty=False,
                note=note,
                tol=1e-5,
            )
        )
RECURRENT.append(
    OpCase(
        "simple_rnn",
        recurrent(1, False, True, True, False),
        {"reverse": False, "activation": "relu"},
        reference("relu", False),
        sizes=SEQUENCE,
        empty=False,
        note="relu",
        tol=1e-5,
    )
)


# ---- single steps ------------------------------------------------------------------------------


def cell_reference(mode):
    def run(a, back, state):
        made = [step(mode, *given, given[2]) for given in zip(a, back, state, strict=True)]
        parts = [np.reshape([m[k] for m in made], state.shape) for k in range(2)]
        return tuple(parts) if mode == "lstm" else parts[0]

    return run


def ref_lstm_cell_grad(gh, gc, c, c_next, gates):
    i, f, n, o = np.split(gates, 4, axis=1)
    squashed = np.tanh(c_next)
    gc = gc + gh * o * (1 - squashed**2)
    parts = gc * n * i * (1 - i), gc * c * f * (1 - f), gc * i * (1 - n**2)
    return np.concatenate([*parts, gh * squashed * o * (1 - o)], axis=1), gc * f


def ref_gru_cell_grad(g, back, h, gates):
    reset, z, n = np.split(gates, 3, axis=1)
    gn = g * (1 - z) * (1 - n**2)
    gr, gz = gn * np.split(back, 3, axis=1)[2] * reset * (1 - reset), g * (h - n) * z * (1 - z)
    ga, gback = (np.concatenate([gr, gz, last], axis=1) for last in (gn, gn * reset))
    return ga, gback, g * z


BATCH = {"n": (3, 2)}
HIDDEN = (4, 19)
"""Less than a vector, and whole vectors and a rest."""
CELLS = [
    OpCase(
        op,
        [array("n", width * k) for k in widths],
        {},
        reference,
        sizes=BATCH,
        tol=1e-5,
        note=str(width),
    )
    for width in HIDDEN
    for op, widths, reference in (
        ("lstm_cell", (4, 4, 1), cell_reference("lstm")),
        ("lstm_cell_grad", (1, 1, 1, 1, 4), ref_lstm_cell_grad),
        ("gru_cell", (3, 3, 1), cell_reference("gru")),
        ("gru_cell_grad", (1, 3, 1, 3), ref_gru_cell_grad),
    )
]

ROWS = [*RECURRENT, *CELLS]
