"""Scaled dot-product attention and its gradient. Arrays are [batch, heads, length, width].

Keys and values may have fewer heads, each shared by a run of query heads. A row that sees nothing
gives zeros.
"""

from __future__ import annotations

import numpy as np


def _scores(
    q: np.ndarray, k: np.ndarray, mask: np.ndarray | None, scale: float, is_causal: bool
) -> np.ndarray:
    """q k^T * scale, -inf where nothing may be seen."""
    s = np.matmul(q, np.swapaxes(k, -1, -2)) * q.dtype.type(scale)
    if is_causal:
        seen = np.tril(np.ones(s.shape[-2:], bool))
        s = np.where(seen, s, s.dtype.type(-np.inf))
    if mask is not None:
        s = np.where(mask, s, s.dtype.type(-np.inf)) if mask.dtype == bool else s + mask
    return s


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
    heads = q.shape[1]
    s = _scores(q, _shared(k, heads), mask, scale, is_causal)
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    p = np.exp(s - np.where(top == -np.inf, 0, top))
    total = p.sum(axis=-1, keepdims=True)
    out = np.matmul(p, _shared(v, heads)) / np.where(total == 0, 1, total)
    return out.astype(q.dtype), (np.log(total) + top)[..., 0].astype(q.dtype)


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
    heads, shared = q.shape[1], k.shape[1]
    wide_k, wide_v = _shared(k, heads), _shared(v, heads)
    s = _scores(q, wide_k, mask, scale, is_causal)
    p = np.exp(s - np.where(lse == -np.inf, 0, lse)[..., None])
    inner = (g * out).sum(axis=-1, keepdims=True)
    ds = p * (np.matmul(g, np.swapaxes(wide_v, -1, -2)) - inner) * q.dtype.type(scale)
    gq = np.matmul(ds, wide_k)
    gk = np.matmul(np.swapaxes(ds, -1, -2), q)
    gv = np.matmul(np.swapaxes(p, -1, -2), g)
    return gq, _gathered(gk, shared), _gathered(gv, shared)
