"""Recurrent layers in numpy, one direction at a time: any dtype, any size.

x is [steps, batch, inputs]; weights are [gates * hidden, inputs] and [gates * hidden, hidden].
`lengths`, where given, freezes the state of a sample after its last step and zeroes the outputs
beyond. A reversed pass runs from the last step to the first. float32 has kernels of its own, which
`sequence.py` and `cell.py` drive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.kernels.rnn import gates as formulas


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


MATHS = formulas.Maths(_sigmoid, np.tanh)


def cut(x: np.ndarray, parts: int) -> list[np.ndarray]:
    """Views of the gates of [batch, parts * hidden]."""
    hidden = x.shape[1] // parts
    return [x[:, k * hidden : (k + 1) * hidden] for k in range(parts)]


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """[batch, gates * hidden] of the gates."""
    return np.concatenate(parts, axis=1)


def step(
    mode: str, a: np.ndarray, back: np.ndarray, h: np.ndarray, c: Any
) -> tuple[np.ndarray, Any, np.ndarray]:
    """Next state, next cell (LSTM only) and values of the gates.

    `a` and `back` are what inputs and state contribute to the gates, [batch, gates * hidden].
    """
    if mode == "lstm":
        values, cell, new = formulas.lstm(cut(a + back, 4), c, MATHS)
        return new, cell, joined(values)
    if mode == "gru":
        (ar, az, an), (br, bz, bn) = cut(a, 3), cut(back, 3)
        values, new = formulas.gru(ar + br, az + bz, an, bn, h, MATHS)
        return new, None, joined(values)
    new = np.tanh(a + back) if mode == "tanh" else np.maximum(a + back, 0)
    return new, None, new


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _alive(lengths: np.ndarray | None, t: int) -> Any:
    """Which samples still run at step t, as a column; True for all."""
    return True if lengths is None else (lengths > t)[:, None]


def forward(
    mode: str,
    x: np.ndarray,
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    rb: np.ndarray | None,
    h: np.ndarray,
    c: np.ndarray | None,
    lengths: np.ndarray | None,
    reverse: bool,
) -> tuple[np.ndarray, ...]:
    """Run one direction.

    Args:
        mode: "lstm" (gates i, f, g, o), "gru" (r, z, n), "tanh" or "relu".
        x: [steps, batch, inputs]. h, c: [batch, hidden] initial state (c for LSTM only).
        w, r: input and recurrent weights; b, rb: their biases [gates * hidden].
        lengths: [batch] steps of each sample, or None.

    Returns:
        y [steps, batch, hidden], last h, last c (LSTM only), then what the gradient needs: gate
        values [steps, batch, gates * hidden], and for LSTM cells [steps, batch, hidden], for GRU
        the recurrent part of n.
    """
    steps, batch, inputs = x.shape
    hidden = h.shape[1]
    gates = x.reshape(steps * batch, inputs) @ w.T
    gates = (gates if b is None else gates + b).reshape(steps, batch, len(w))
    y = np.zeros((steps, batch, hidden), x.dtype)
    extra = np.zeros((steps, batch, hidden), x.dtype)
    for t in _order(steps, reverse):
        back = h @ r.T
        if rb is not None:
            back += rb
        new, cell, gates[t] = step(mode, gates[t], back, h, c)
        if mode == "lstm":
            c = extra[t] = np.where(_alive(lengths, t), cell, c)
        elif mode == "gru":
            extra[t] = back[:, 2 * hidden :]
        alive = _alive(lengths, t)
        h = np.where(alive, new, h)
        y[t] = np.where(alive, new, 0)
    if mode == "lstm":
        return y, h, c, gates, extra
    return (y, h, gates, extra) if mode == "gru" else (y, h, gates)


def backward(
    mode: str,
    gy: np.ndarray,
    gh: np.ndarray,
    gc: np.ndarray | None,
    x: np.ndarray,
    w: np.ndarray,
    r: np.ndarray,
    h: np.ndarray,
    c: np.ndarray | None,
    lengths: np.ndarray | None,
    y: np.ndarray,
    gates: np.ndarray,
    extra: np.ndarray | None,
    reverse: bool,
) -> tuple[np.ndarray, ...]:
    """Gradients of `forward`: (ga, gw, gr, gb, grb, gh) and, for LSTM, gc."""
    steps, batch, inputs = x.shape
    hidden = h.shape[1]
    ga = np.zeros_like(gates)  # of what enters the gates from the inputs
    gback = ga if mode != "gru" else np.zeros_like(gates)  # and from the state
    order = list(_order(steps, reverse))
    # The state that each step started from: the output before it, or where it froze.
    states = {}
    state, cell = h, c
    for t in order:
        states[t] = state, cell
        alive = _alive(lengths, t)
        state = np.where(alive, y[t], state)
        if mode == "lstm":
            cell = extra[t]
    for t in reversed(order):
        before, cell_before = states[t]
        a = gates[t]
        alive = _alive(lengths, t)
        g = np.where(alive, gh + gy[t], 0)
        kept = np.where(alive, 0, gh)
        if mode == "lstm":
            gcell, squashed = np.where(alive, gc, 0), np.tanh(extra[t])
            parts, gcell = formulas.lstm_grad(cut(a, 4), g, gcell, cell_before, squashed)
            ga[t] = joined(parts)
            gc = np.where(alive, gcell, gc)
            gh = ga[t] @ r + kept
        elif mode == "gru":
            parts, gnew, through = formulas.gru_grad(cut(a, 3), g, extra[t], before)
            ga[t] = joined(parts)
            gback[t] = joined([*parts[:2], gnew])
            gh = gback[t] @ r + through + kept
        else:
            ga[t] = g * (1 - a * a) if mode == "tanh" else g * (a > 0)
            gh = ga[t] @ r + kept
    flat, back = (v.reshape(steps * batch, len(w)) for v in (ga, gback))
    before = np.stack([states[t][0] for t in range(steps)]) if steps else y
    gw = flat.T @ x.reshape(steps * batch, inputs)
    gr = back.T @ before.reshape(steps * batch, hidden)
    grads = (ga, gw, gr, flat.sum(axis=0), back.sum(axis=0), np.array(gh))
    return (*grads, np.array(gc)) if mode == "lstm" else grads
