"""Rows of `dyn/ops/attention.py`. References go row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.op import OPS
from tests.optable.case import OpCase, Spec, array, bools


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


def exchanged(x: Spec) -> Spec:
    """The input with heads and length exchanged."""
    batch, own, rows, width = x.shape
    return array(batch, rows, own, width)


def ref_exchanged(q, k, v, mask=None, *, heads_first, **attrs):
    q, k, v = (np.swapaxes(x, 1, 2) for x in (q, k, v))
    return np.swapaxes(ref_attention(q, k, v, mask, **attrs), 1, 2)


def grad_exchanged(g, q, k, v, mask, out, lse):
    g, q, k, v, out = (OPS["transpose"](x, perm=(0, 2, 1, 3)) for x in (g, q, k, v, out))
    made = OPS["attention_grad"](g, q, k, v, mask, out, lse, **CAUSAL, heads_first=False)
    return tuple(OPS["transpose"](x, perm=(0, 2, 1, 3)) for x in made)


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

ROWS = [
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
            "attention",
            [exchanged(x) for x in heads(own)],
            {**attrs, "heads_first": False},
            ref_exchanged,
            sizes=LENGTHS,
            empty=False,
            note=f"length first {note}",
        )
        for own, attrs, note in ((4, SCALE, "full"), (2, CAUSAL, "grouped"))
    ),
    OpCase("attention", [*map(exchanged, heads(2, rows=3, keys=5)), bools("n", 1, 3, 5)],
           {**SCALE, "heads_first": False}, ref_exchanged, note="length first masked"),
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
    OpCase(
        "attention_grad",
        [*GRADIENT, None, kept(0, CAUSAL), kept(1, CAUSAL)],
        reference=lambda *arrays: ref_attention_grad(*arrays, **CAUSAL),
        note="length first",
        order=0,
        wrt=(),
        run=grad_exchanged,
    ),
]  # fmt: skip
