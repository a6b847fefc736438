"""Attention and its gradient in numpy, for float64. Arrays are [batch, heads, length, width].

Queries are taken a block at a time, so that the scores of long sequences are never all in memory.
What `scaled_dot_product.py` says of masks, shared heads and rows that see nothing holds here too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SCORES = 1 << 20
"""Scores in memory at a time, if a block has more than one query."""


def _blocks(q: np.ndarray, keys: int) -> Iterator[slice]:
    """The queries in blocks."""
    batch, heads, length = q.shape[:3]
    rows = max(1, min(length, SCORES // max(1, batch * heads * keys)))
    for start in range(0, length, rows):
        yield slice(start, min(start + rows, length))


def _scores(
    q: np.ndarray,
    k: np.ndarray,
    mask: np.ndarray | None,
    at: slice,
    *,
    scale: float,
    is_causal: bool,
) -> np.ndarray:
    """q k^T * scale for a block of queries, -inf where nothing may be seen."""
    s = np.matmul(q[:, :, at], np.swapaxes(k, -1, -2)) * scale
    if is_causal:
        s = np.where(np.tri(*s.shape[-2:], at.start, dtype=bool), s, -np.inf)
    if mask is None:
        return s
    if mask.ndim > 1 and mask.shape[-2] != 1:
        mask = mask[..., at, :]
    return np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask


def _shared(x: np.ndarray, heads: int) -> np.ndarray:
    """Keys or values with each head repeated for the query heads that share it."""
    return x if x.shape[1] == heads else np.repeat(x, heads // x.shape[1], axis=1)


def _gathered(g: np.ndarray, heads: int) -> np.ndarray:
    """The gradient of `_shared`."""
    if g.shape[1] == heads:
        return g
    b, h, n, d = g.shape
    return g.reshape(b, heads, h // heads, n, d).sum(axis=2)


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    *,
    scale: float,
    is_causal: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """(out, lse): softmax(scores) v, and the logarithm of each row's sum of exponentials."""
    k, v = _shared(k, q.shape[1]), _shared(v, q.shape[1])
    out, lse = np.empty((*q.shape[:3], v.shape[3]), q.dtype), np.empty(q.shape[:3], q.dtype)
    for at in _blocks(q, k.shape[2]):
        s = _scores(q, k, mask, at, scale=scale, is_causal=is_causal)
        top = s.max(axis=-1, keepdims=True, initial=-np.inf)
        p = np.exp(s - np.where(top == -np.inf, 0, top))
        total = p.sum(axis=-1, keepdims=True)
        out[:, :, at] = np.matmul(p, v) / np.where(total == 0, 1, total)
        with np.errstate(divide="ignore"):
            lse[:, :, at] = (np.log(total) + top)[..., 0]
    return out, lse


def attention_grad(
    g: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    out: np.ndarray,
    lse: np.ndarray,
    *,
    scale: float,
    is_causal: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gq, gk, gv)."""
    shared, k, v = k.shape[1], _shared(k, q.shape[1]), _shared(v, q.shape[1])
    gq, gk, gv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
    for at in _blocks(q, k.shape[2]):
        s = _scores(q, k, mask, at, scale=scale, is_causal=is_causal)
        weight = lse[:, :, at, None]
        p = np.exp(s - np.where(weight == -np.inf, 0, weight))
        inner = (g[:, :, at] * out[:, :, at]).sum(axis=-1, keepdims=True)
        ds = p * (np.matmul(g[:, :, at], np.swapaxes(v, -1, -2)) - inner) * scale
        gq[:, :, at] = np.matmul(ds, k)
        gk += np.matmul(np.swapaxes(ds, -1, -2), q[:, :, at])
        gv += np.matmul(np.swapaxes(p, -1, -2), g[:, :, at])
    return gq, _gathered(gk, shared), _gathered(gv, shared)
