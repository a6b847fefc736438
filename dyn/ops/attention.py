"""Scaled dot-product attention: a fused op, and the same composed where dropout is wanted."""

from __future__ import annotations

import math
from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import DTypeError, ShapeError
from dyn.core.lift import shape_of
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import attention as kernels
from dyn.ops.composite import differentiate_as
from dyn.ops.dropout import dropout
from dyn.ops.infer import (
    BOOL,
    Type,
    broadcast_shapes,
    need_float,
    need_rank,
    need_same_dtype,
    same_size,
    show,
)
from dyn.ops.shape import _transpose


def _exchanged(x: Type) -> Type:
    """The type with length and heads exchanged."""
    batch, length, heads, width = x.shape
    return Type((batch, heads, length, width), x.dtype)


def _infer_attention(
    q: Type,
    k: Type,
    v: Type,
    mask: Type | None,
    *,
    scale: float,
    is_causal: bool,
    heads_first: bool = True,
) -> list[Type]:
    need_float("query", q)
    need_same_dtype(query=q, key=k, value=v)
    for name, x in (("query", q), ("key", k), ("value", v)):
        need_rank(name, x, 4)
    if not heads_first:
        q, k, v = map(_exchanged, (q, k, v))
    batch, heads, rows, width = q.shape
    if not (
        same_size(k.shape[0], batch)
        and same_size(v.shape[0], batch)
        and same_size(k.shape[3], width)
        and same_size(k.shape[1], v.shape[1])
        and same_size(k.shape[2], v.shape[2])
        and same_size(heads % k.shape[1], 0)
    ):
        raise ShapeError(
            f"query {show(q.shape)}, key {show(k.shape)} and value {show(v.shape)} do not fit; "
            "they are [batch, heads, length, width], of key and value the same heads and length"
        )
    if mask is not None:
        if mask.dtype not in (BOOL, q.dtype):
            raise DTypeError(f"the mask must be bool or {q.dtype.name}, got {mask.dtype.name}")
        scores = (batch, heads, rows, k.shape[2])
        wide = broadcast_shapes(mask.shape, scores)
        if len(wide) != 4 or not all(same_size(a, b) for a, b in zip(wide, scores, strict=True)):
            raise ShapeError(f"a mask of shape {show(mask.shape)} does not fit {show(scores)}")
    out = Type((batch, heads, rows, v.shape[3]), q.dtype)
    return [out if heads_first else _exchanged(out), Type((batch, heads, rows), q.dtype)]


@op(infer=_infer_attention, outputs=("out", "lse"))
def _attention(query, key, value, mask=None, *, scale, is_causal, heads_first=True):
    """softmax(query key^T * scale + mask) value over [batch, heads, length, width].

    Or over [batch, length, heads, width], out as well, where heads are not first.
    ONNX: Attention, or MatMul and Softmax.
    """
    if heads_first:
        return kernels.attention(query, key, value, mask, scale=scale, is_causal=is_causal)
    q, k, v = (x.swapaxes(1, 2) for x in (query, key, value))
    out, lse = kernels.attention(q, k, v, mask, scale=scale, is_causal=is_causal)
    return out.swapaxes(1, 2), lse


@_attention.vjp("query", "key", "value")
def _(g, *, query, key, value, mask, out, lse, scale, is_causal, heads_first):
    return apply(
        _attention_grad,
        (g, query, key, value, mask, out, lse),
        (scale, is_causal, heads_first),
    )


def _infer_attention_grad(g: Type, q: Type, k: Type, v: Type, *rest: Any, **attrs: Any) -> Any:
    return [q, k, v]


@op(infer=_infer_attention_grad, outputs=("gq", "gk", "gv"), public=3)
def _attention_grad(g, query, key, value, mask, out, lse, *, scale, is_causal, heads_first=True):
    """Gradients of `attention`; out and lse are taken as functions of the inputs. ONNX: MatMul."""
    how = {"scale": scale, "is_causal": is_causal}
    if heads_first:
        return kernels.attention_grad(g, query, key, value, mask, out, lse, **how)
    g, q, k, v, out = (x.swapaxes(1, 2) for x in (g, query, key, value, out))
    gq, gk, gv = kernels.attention_grad(g, q, k, v, mask, out, lse, **how)
    return gq.swapaxes(1, 2), gk.swapaxes(1, 2), gv.swapaxes(1, 2)


# ---- composed ----------------------------------------------------------------------------------


_HEADS_FIRST = (0, 2, 1, 3)
"""The transpose that exchanges length and heads."""


def _swap(x: Tensor) -> Tensor:
    return OPS["transpose"](x, perm=(0, 1, 3, 2))


def _shared(x: Tensor, heads: Any) -> Tensor:
    """Keys or values with each head repeated for the query heads that share it."""
    batch, own, length, width = x.shape
    if same_size(own, heads):
        return x
    x = OPS["reshape"](x, shape=(batch, own, 1, length, width))
    x = OPS["expand"](x, shape=(batch, own, heads // own, length, width))
    return OPS["reshape"](x, shape=(batch, heads, length, width))


def _seen(query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor | None:
    """Where a query may look at a key, as booleans; None if everywhere."""
    seen = mask if mask is not None and mask._read().dtype == BOOL else None
    if not is_causal:
        return seen
    rows, columns = query.shape[2], key.shape[2]
    at = OPS["arange"](start=0, stop=rows, step=1, dtype="int64").reshape((rows, 1))
    before = OPS["arange"](start=0, stop=columns, step=1, dtype="int64") <= at
    return before if seen is None else OPS["logical_and"](seen, before)


def _probabilities(
    query: Tensor, key: Tensor, mask: Tensor | None, scale: float, is_causal: bool
) -> Tensor:
    """What each query takes from each key; zero in rows that see nothing."""
    scores = OPS["matmul"](query * scale, _swap(key))
    if mask is not None and mask._read().dtype != BOOL:
        scores = scores + mask
    seen = _seen(query, key, mask, is_causal)
    if seen is None:
        return OPS["softmax"](scores, axis=3)
    hidden = OPS["full"](shape=(), value=-1e30, dtype=scores.dtype.name)
    none = OPS["full"](shape=(), value=0.0, dtype=scores.dtype.name)
    p = OPS["softmax"](OPS["where"](seen, scores, hidden), axis=3)
    return OPS["where"](seen, p, none)


def _attention_grad_of_ops(g, query, key, value, mask, out, lse, *, scale, is_causal, heads_first):
    if not heads_first:
        g, query, key, value = (_transpose(x, perm=_HEADS_FIRST) for x in (g, query, key, value))
        how = {"scale": scale, "is_causal": is_causal, "heads_first": True}
        made = _attention_grad_of_ops(g, query, key, value, mask, out, lse, **how)
        return tuple(_transpose(x, perm=_HEADS_FIRST) for x in made)
    heads, shared = query.shape[1], key.shape[1]
    wide_k, wide_v = _shared(key, heads), _shared(value, heads)
    p = _probabilities(query, wide_k, mask, scale, is_causal)
    inner = OPS["sum"](g * OPS["matmul"](p, wide_v), axes=(3,), keepdims=True)
    ds = p * (OPS["matmul"](g, _swap(wide_v)) - inner) * scale
    gk, gv = OPS["matmul"](_swap(ds), query), OPS["matmul"](_swap(p), g)
    if not same_size(heads, shared):
        batch, _, length, width = key.shape
        gk, gv = (
            OPS["sum"](
                x.reshape((batch, shared, heads // shared, length, n)), axes=(2,), keepdims=False
            )
            for x, n in ((gk, width), (gv, value.shape[3]))
        )
    return OPS["matmul"](ds, wide_k), gk, gv


_attention.fused_vjp("query", "key", "value")(_attention_grad.kernel)
differentiate_as(_attention_grad, _attention_grad_of_ops)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    training: bool = True,
    scale: float | None = None,
) -> Tensor:
    """softmax(query key^T * scale + mask) value.

    Args:
        query: [batch, heads, length, width], floating point.
        key: [batch, shared heads, keys, width]; every run of heads / shared heads query heads
            shares one.
        value: [batch, shared heads, keys, value width].
        mask: broadcasts to [batch, heads, length, keys]; booleans (True: may be seen) or numbers
            added to the scores.
        dropout_p: probability with which a weight is dropped in training.
        is_causal: query i sees keys 0 to i only.
        training: whether weights are dropped at all.
        scale: 1 / sqrt(width) by default.

    Returns:
        [batch, heads, length, value width]; zeros where a query sees no key.

    Source: Vaswani et al., arXiv 1706.03762; Dao et al., arXiv 2205.14135. ONNX: Attention.
    """
    dropout_p = dropout_p if training else 0.0
    return _attend(query, key, value, mask, dropout_p, is_causal, scale, heads_first=True)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    heads_first: bool,
) -> Tensor:
    """`attention` in either layout: by one op, unless weights are dropped or the mask learns."""
    if scale is None:
        scale = 1.0 / math.sqrt(max(1, int(shape_of(query)[-1])))
    if not dropout_p > 0 and (mask is None or mask.stop_gradient):
        how = freeze(float(scale)), bool(is_causal), heads_first
        return apply(_attention, (query, key, value, mask), how)
    if not heads_first:
        q, k, v = (_transpose(x, perm=_HEADS_FIRST) for x in (query, key, value))
        out = _attend(q, k, v, mask, dropout_p, is_causal, scale, heads_first=True)
        return _transpose(out, perm=_HEADS_FIRST)
    heads = query.shape[1]
    p = _probabilities(query, _shared(key, heads), mask, float(scale), is_causal)
    return OPS["matmul"](dropout(p, dropout_p), _shared(value, heads))


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    training: bool = True,
) -> Tensor:
    """`attention` in Paddle's layout: query, key and value are [batch, length, heads, width].

    Args:
        query: [batch, length, heads, width], floating point.
        key: [batch, keys, shared heads, width].
        value: [batch, keys, shared heads, value width].
        attn_mask: broadcasts to [batch, heads, length, keys]; True where a key may be seen, or
            numbers added to the scores.
        dropout_p, is_causal, training: as in `attention`.

    Returns:
        [batch, length, heads, value width].
    """
    dropout_p = dropout_p if training else 0.0
    return _attend(query, key, value, attn_mask, dropout_p, is_causal, None, heads_first=False)


__all__ = ["attention", "scaled_dot_product_attention"]
