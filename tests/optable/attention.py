"""Rows of `dyn/ops/attention.py` and `rnn.py`. References go row by row and step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.autograd import grad
from dyn.core.op import OPS
from tests.optable.case import OpCase, Spec, array, bools

# ---- attention ---------------------------------------------------------------------------------


def weights(q, k, mask, scale, is_causal):
    """What each query takes from each key, [batch, heads, queries, keys]."""
    batch, heads, rows, _ = q.shape
    keys = k.shape[2]
    p = np.zeros((batch, heads, rows, keys))
    full = None if mask is None else np.broadcast_to(mask, p.shape)
    for n, h, i in np.ndindex(batch, heads, rows):
        scores = k[n, h * k.shape[1] // heads] @ q[n, h, i] * scale
        seen = np.arange(keys) <= i if is_causal else np.ones(keys, bool)
        if full is not None and full.dtype == bool:
            seen = seen & full[n, h, i]
        elif full is not None:
            scores = scores + full[n, h, i]
        if seen.any():
            e = np.where(seen, np.exp(scores - scores[seen].max()), 0)
            p[n, h, i] = e / e.sum()
    return p


def shared(x, heads):
    return np.repeat(x, heads // x.shape[1], axis=1)


def ref_attention(q, k, v, mask=None, *, scale, is_causal):
    return weights(q, k, mask, scale, is_causal) @ shared(v, q.shape[1])


def ref_attention_grad(g, q, k, v, mask, out, lse, *, scale, is_causal):
    """From the definition; `out` and `lse` are not needed."""
    p = weights(q, k, mask, scale, is_causal)
    heads, own = q.shape[1], k.shape[1]
    dp = g @ np.swapaxes(shared(v, heads), 2, 3)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale

    def gathered(x):
        return x.reshape(x.shape[0], own, heads // own, *x.shape[2:]).sum(2)

    gk, gv = np.swapaxes(ds, 2, 3) @ q, np.swapaxes(p, 2, 3) @ g
    return ds @ shared(k, heads), gathered(gk), gathered(gv)


def heads(own: int, batch: Any = "n", rows: Any = "t", keys: Any = "s") -> list[Spec]:
    """Query, key and value with `own` heads of keys for four of queries."""
    return [array(batch, 4, rows, 6), array(batch, own, keys, 6), array(batch, own, keys, 5)]


SCALE = {"scale": 0.4, "is_causal": False}
CAUSAL = {"scale": 0.4, "is_causal": True}
LENGTHS = {"t": (4, 6), "s": (4, 6)}


def kept(position: int, attrs: Any) -> Any:
    """`out` (0) or `lse` (1) that belong to query, key and value drawn by `heads`."""

    def draw(rng: np.random.Generator, dtype: str, sizes: Any) -> np.ndarray:
        again = np.random.default_rng(7)
        _, q, k, v = (s.draw(again, dtype, sizes).astype(float) for s in GRADIENT)
        if position == 0:
            return ref_attention(q, k, v, **attrs).astype(dtype)
        s = np.einsum("bhid,bhjd->bhij", q, shared(k, 4)) * attrs["scale"]
        if attrs["is_causal"]:
            s = np.where(np.tril(np.ones(s.shape[2:], bool)), s, -np.inf)
        return np.log(np.exp(s).sum(-1)).astype(dtype)

    return draw


GRADIENT = [array(2, 4, 3, 5), *heads(2, 2, 3, 4)]

ATTENTION = [
    OpCase("attention", heads(4), SCALE, ref_attention, onnx="Attention", sizes=LENGTHS,
           empty=False),
    OpCase("attention", heads(4), CAUSAL, ref_attention, sizes=LENGTHS, empty=False,
           note="causal"),
    OpCase("attention", heads(2), CAUSAL, ref_attention, sizes=LENGTHS, empty=False,
           note="grouped"),
    OpCase("attention", [*heads(4, rows=3, keys=5), bools("n", 1, 3, 5)], SCALE, ref_attention,
           note="masked"),
    OpCase("attention", [*heads(1, rows=3, keys=5), bools("n", 4, 3, 5)], CAUSAL, ref_attention,
           note="grouped-masked"),
    OpCase("attention", [*heads(4, rows=3, keys=5), array(3, 5)], SCALE, ref_attention,
           note="biased", wrt=(0, 1, 2)),
    *(
        OpCase(
            "attention_grad",
            [*GRADIENT, None, kept(0, attrs), kept(1, attrs)],
            attrs,
            ref_attention_grad,
            note=note,
            order=0,
            wrt=(),
        )
        for note, attrs in (("full", SCALE), ("causal", CAUSAL))
    ),
]  # fmt: skip


# ---- recurrent layers --------------------------------------------------------------------------


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
        end = steps if lengths is None else lengths[n]
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
    lengths = [lambda rng, dtype, sizes: rng.integers(1, sizes["t"] + 1, sizes["n"])]
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
    RECURRENT.append(
        OpCase(
            f"{op}_grad",
            recurrent(gates, False, True, True, False),
            run=gradients(op, {"reverse": False, **extra}),
            sizes=SEQUENCE,
            empty=False,
            order=0,
            wrt=(),
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

ROWS = [*ATTENTION, *RECURRENT]
