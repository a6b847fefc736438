"""Recurrent layers over a whole sequence: LSTM, GRU, simple RNN, and their gradients.

x is [steps, batch, inputs]; weights are [gates * hidden, inputs] and [gates * hidden, hidden].
What the inputs contribute is one product for all steps, and so is each gradient of a weight; only
the product with the state is done step by step (`walk.py`, `step.py`), in float32. Other
dtypes and empty arrays go the way of `general.py`.

Source: Appleyard, Kocisky & Blunsom, Optimizing Performance of Recurrent Neural Networks on GPUs,
2016, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.gemm.bound import bound
from dyn.kernels.gemm.matmul import matmul
from dyn.kernels.reduce import reductions
from dyn.kernels.rnn import general, step, walk
from dyn.kernels.rnn.walk import Product
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector.sums import ACCUMULATE

_F32 = np.dtype(np.float32)
Shape = tuple[int, ...]
Weights = tuple[Any, Any, Any, Any]
"""w, r, b and rb of one direction; arrays or None."""


def _state(given: np.ndarray | None, x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Initial state of one direction, a copy; zeros where none is given."""
    if given is None:
        return np.zeros((x.shape[1], r.shape[1]), x.dtype)
    return np.array(given, order="C")


def _is_general(x: np.ndarray, r: np.ndarray) -> bool:
    return x.dtype != np.float32 or not x.size or not r.size


def _rows(x: np.ndarray) -> np.ndarray:
    """[steps, batch, hidden] as it is if its rows are contiguous and lie evenly, else a copy."""
    steps, batch, hidden = x.shape
    whole = hidden == 1 or x.strides[2] == x.itemsize
    even = steps == 1 or batch == 1 or x.strides[0] == batch * x.strides[1]
    return x if whole and even else contiguous(x)


def _row_step(x: np.ndarray) -> int:
    """Bytes between rows of [steps, batch, n]; the stride of an axis of size 1 says nothing."""
    return x.strides[0] if x.shape[1] == 1 else x.strides[1]


def _flat(x: np.ndarray) -> np.ndarray:
    """[steps, batch, n] with even rows as a matrix [steps * batch, n]."""
    return x.reshape(-1, x.shape[2])


def _steps_of(lengths: np.ndarray | None, steps: int, batch: int) -> np.ndarray:
    if lengths is None:
        return np.full(batch, steps, np.int64)
    return np.ascontiguousarray(lengths, np.int64)


def _sum_of_biases(
    mode: str, b: np.ndarray | None, rb: np.ndarray | None, hidden: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What is added to the product with the inputs, and to that with the state.

    Only n of the GRU has a use for the latter.
    """
    if rb is None:
        return b, None
    whole = rb.copy()
    if mode == "gru":
        whole[2 * hidden :] = 0
    return whole if b is None else whole + b, rb[2 * hidden :].copy() if mode == "gru" else None


def _times_turned(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    return matmul(a, b.T, bias=bias)


@lru_cache(1024)
def _product(a: Shape, b: Shape, biased: bool) -> Callable[..., np.ndarray]:
    """What multiplies a float32 matrix by the transpose of another, and adds a bias."""
    run = bound(a, b, _F32, _times_turned, transpose_b=True, biased=biased)
    return run or _times_turned


def _forward(
    mode: str,
    x: np.ndarray,
    weights: Weights,
    h: np.ndarray,
    c: np.ndarray,
    lengths: np.ndarray | None,
    reverse: bool,
    y: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Run one direction into y; h and c become the last state. Returns what is kept of it."""
    w, r, b, rb = weights
    steps, batch, _ = x.shape
    hidden = r.shape[1]
    r = contiguous(r)
    bias, n_bias = _sum_of_biases(mode, b, rb, hidden)
    flat, made = _flat(contiguous(x)), 0
    gates = _product(flat.shape, w.shape, bias is not None)(flat, w, bias)
    gates = gates.reshape(steps, batch, len(w))
    extra = empty((steps, batch, hidden), x.dtype) if mode in ("lstm", "gru") else None
    if steps == 1:
        # All of the state's share in one product, as no weight is worth packing.
        found, own = _product(h.shape, r.shape, False)(h, r), gates[0]
        if extra is not None and mode == "gru":
            two = 2 * hidden
            own, found, rest = own[:, :two], found[:, :two], found[:, two:]
            extra[0] = rest if n_bias is None else rest + n_bias
        own += found
        products, made = [], r.size
    elif mode == "gru":
        assert extra is not None
        two = 2 * hidden
        products = [
            Product(h, r[:two].T, gates[:, :, :two], None, ACCUMULATE),
            Product(h, r[two:].T, extra, n_bias, 0),
        ]
    else:
        products = [Product(h, r.T, gates, None, ACCUMULATE)]
    alive = _steps_of(lengths, steps, batch)
    arrays = {
        step.BATCH: batch,
        step.HIDDEN: hidden,
        step.LENGTHS: id(alive),
        step.GATES: id(gates),
        step.GATES_ROW: _row_step(gates),
        step.EXTRA: 0 if extra is None else id(extra),
        step.H: id(h),
        step.C: id(c),
        step.Y: id(y),
        step.Y_ROW: _row_step(y),
    }
    walk.walk(
        step.FORWARD[mode],
        arrays,
        products,
        steps,
        rising=not reverse,
        gates_first=False,
        made=made,
    )
    return (gates,) if extra is None else (gates, extra)


def run(
    mode: str,
    x: np.ndarray,
    ahead: Weights,
    back: Weights,
    h: np.ndarray | None,
    c: np.ndarray | None,
    lengths: np.ndarray | None,
    reverse: bool,
) -> tuple[np.ndarray, ...]:
    """Run one direction, or both where `back` has weights.

    Args:
        mode: "lstm" (gates i, f, g, o), "gru" (r, z, n), "tanh" or "relu".
        x: [steps, batch, inputs].
        ahead, back: w, r, b and rb of either direction; w of `back` is None if there is none.
        h, c: [directions, batch, hidden] initial states, or None.
        lengths: [batch] steps of each sample, or None.

    Returns:
        y [steps, batch, directions * hidden]; then with the direction as a first axis last h, last
        c (LSTM only) and what the gradient needs: gate values [steps, batch, gates * hidden], for
        LSTM cells [steps, batch, hidden], for GRU the recurrent part of n.
    """
    ways = [ahead] if back[0] is None else [ahead, back]
    hidden = ahead[1].shape[1]
    plain = _is_general(x, ahead[1])
    y = empty((*x.shape[:2], len(ways) * hidden), x.dtype)
    made = []
    for d, (w, r, b, rb) in enumerate(ways):
        turned = reverse or d == 1
        start = _state(None if h is None else h[d], x, r)
        cell = _state(None if c is None or mode != "lstm" else c[d], x, r)
        part = y[:, :, d * hidden : (d + 1) * hidden]
        if plain:
            part[...], *found = general.forward(mode, x, w, r, b, rb, start, cell, lengths, turned)
        else:
            kept = _forward(mode, x, (w, r, b, rb), start, cell, lengths, turned, part)
            found = [start, cell, *kept] if mode == "lstm" else [start, *kept]
        made.append(found)
    if len(made) == 1:
        return (y, *(kept[None] for kept in made[0]))
    return (y, *(np.stack(parts) for parts in zip(*made, strict=True)))


def _weight_of_state(
    gback: np.ndarray,
    y: np.ndarray,
    h: np.ndarray | None,
    lengths: np.ndarray,
    reverse: bool,
) -> np.ndarray:
    """Gradient of the recurrent weight: each step's gradients by the state it started from.

    That is the output of the step before; a sample's first step started from h.
    """
    steps, batch, width = gback.shape
    if reverse:
        later, earlier = gback[:-1], y[1:]
    else:
        later, earlier = gback[1:], y[:-1]
    if steps == 1:
        total = np.zeros((width, y.shape[2]), y.dtype)
    else:
        total = matmul(_flat(later).T, _flat(earlier))
    if h is None:
        return total
    # Where a sample has no steps its gradients are zero at any.
    start = np.clip(lengths, 1, steps) - 1 if reverse else np.zeros(batch, np.int64)
    return total + matmul(gback[start, np.arange(batch)].T, h)


def run_grad(
    mode: str,
    gy: np.ndarray,
    gh: np.ndarray,
    gc: np.ndarray | None,
    x: np.ndarray,
    w: np.ndarray,
    r: np.ndarray,
    h: np.ndarray | None,
    c: np.ndarray | None,
    lengths: np.ndarray | None,
    y: np.ndarray,
    gates: np.ndarray,
    extra: np.ndarray | None,
    direction: int,
    reverse: bool,
) -> tuple[np.ndarray, ...]:
    """Gradients of one direction: (ga, gw, gr, gb, grb, gh) and, for LSTM, gc.

    Args:
        gy, gh, gc: gradients of the results of `run`; x, h, c, lengths: its inputs.
        w, r: weights of the direction.
        y, gates, extra: results of `run`.
        direction: 0 or 1; the part of this direction is read of all that has several.
        reverse: this direction runs from the last step to the first.

    Returns:
        ga [steps, batch, gates * hidden] is that of what enters the gates from x: ga @ w is that of
        x. gh and gc are [1, batch, hidden].
    """
    own = slice(direction * r.shape[1], (direction + 1) * r.shape[1])
    gy, y = gy[:, :, own], y[:, :, own]
    gh, gc, h, c, gates, extra = (
        None if v is None else v[direction] for v in (gh, gc, h, c, gates, extra)
    )
    given = (gy, gh, gc, x, w, r, h, c, lengths, y, gates, extra, reverse)
    made = _direction_grad(mode, *given)
    return (*made[:5], *(state[None] for state in made[5:]))


def _direction_grad(
    mode: str,
    gy: np.ndarray,
    gh: np.ndarray,
    gc: np.ndarray | None,
    x: np.ndarray,
    w: np.ndarray,
    r: np.ndarray,
    h: np.ndarray | None,
    c: np.ndarray | None,
    lengths: np.ndarray | None,
    y: np.ndarray,
    gates: np.ndarray,
    extra: np.ndarray | None,
    reverse: bool,
) -> tuple[np.ndarray, ...]:
    """`run_grad` of arrays of one direction."""
    before = _state(h, x, r)
    cells = _state(c, x, r)
    if _is_general(x, r):
        return general.backward(
            mode, gy, gh, gc, x, w, r, before, cells, lengths, y, gates, extra, reverse
        )
    steps, batch, _ = x.shape
    hidden = r.shape[1]
    r, x, gy, y, gates = contiguous(r), contiguous(x), _rows(gy), _rows(y), contiguous(gates)
    extra = None if extra is None else contiguous(extra)
    gh = np.array(gh, order="C")
    gc = np.array(gh if gc is None else gc, order="C")
    alive = _steps_of(lengths, steps, batch)
    ga = empty(gates.shape, x.dtype)
    gback = empty((steps, batch, hidden), x.dtype) if mode == "gru" else None
    if gback is not None:
        two = 2 * hidden
        products = [
            Product(ga[:, :, :two], r[:two], gh, None, ACCUMULATE),
            Product(gback, r[two:], gh, None, ACCUMULATE),
        ]
    else:
        products = [Product(ga, r, gh, None, ACCUMULATE)]
    arrays = {
        step.BATCH: batch,
        step.HIDDEN: hidden,
        step.LENGTHS: id(alive),
        step.START: steps - 1 if reverse else 0,
        step.BEFORE: 1 if reverse else -1,
        step.GATES: id(gates),
        step.GATES_ROW: _row_step(gates),
        step.EXTRA: 0 if extra is None else id(extra),
        step.Y: id(y),
        step.Y_ROW: _row_step(y),
        step.GY: id(gy),
        step.GY_ROW: _row_step(gy),
        step.GA: id(ga),
        step.GBACK: 0 if gback is None else id(gback),
        step.GH: id(gh),
        step.GC: id(gc),
        step.H0: id(before),
        step.C0: id(cells),
    }
    walk.walk(step.BACKWARD[mode], arrays, products, steps, rising=reverse, gates_first=True)
    start = None if h is None else before
    grads = (ga, *_weight_grads(ga, gback, x, y, start, alive, reverse), gh)
    return (*grads, gc) if mode == "lstm" else grads


def _weight_grads(
    ga: np.ndarray,
    gback: np.ndarray | None,
    x: np.ndarray,
    y: np.ndarray,
    h: np.ndarray | None,
    lengths: np.ndarray,
    reverse: bool,
) -> tuple[np.ndarray, ...]:
    """(gw, gr, gb, grb) from the gradients of what enters the gates, over all steps at once.

    Args:
        ga: by what the inputs contribute, [steps, batch, gates * hidden].
        gback: by what the state contributes to n, for the GRU; None where that is part of `ga`.
        x, y: inputs and outputs. h: the initial state, or None. lengths: steps of each sample.
    """
    flat = _flat(ga)
    gw = matmul(flat.T, _flat(x))
    gb = np.asarray(reductions.sum(flat, (0,), keepdims=False))
    if gback is None:
        return gw, _weight_of_state(ga, y, h, lengths, reverse), gb, gb.copy()
    two = 2 * gback.shape[2]
    parts = (ga[:, :, :two], gback)
    gr = np.concatenate([_weight_of_state(g, y, h, lengths, reverse) for g in parts])
    grb = np.concatenate([gb[:two], reductions.sum(_flat(gback), (0,), keepdims=False)])
    return gw, gr, gb, grb
