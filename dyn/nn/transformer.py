"""Attention layers, and the encoder and decoder built of them. Source: arXiv 1706.03762."""

from __future__ import annotations

from typing import Any, NamedTuple

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.common import Linear
from dyn.nn.dropout import Dropout
from dyn.nn.layer import Layer
from dyn.nn.norm import LayerNorm
from dyn.ops.creation import zeros
from dyn.ops.infer import need_whole
from dyn.ops.join import concat
from dyn.ops.linalg import matmul
from dyn.ops.shape import reshape, transpose


class Cache(NamedTuple):
    """Keys and values of earlier steps, [batch, length, heads, width]; grows with every call."""

    k: Tensor
    v: Tensor


class StaticCache(NamedTuple):
    """Keys and values of a memory, computed once."""

    k: Tensor
    v: Tensor


class MultiHeadAttention(Layer):
    """Attention of several heads side by side.

    Args:
        embed_dim: width of queries and outputs, divisible by `num_heads`.
        num_heads: number of heads.
        dropout: probability with which a weight is dropped in training.
        kdim, vdim: widths of keys and values; `embed_dim` by default.
        need_weights: also return the weights [batch, heads, length, keys].
        weight_attr, bias_attr: wishes for the parameters of the four projections.
    """

    Cache = Cache
    StaticCache = StaticCache

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        kdim: int | None = None,
        vdim: int | None = None,
        need_weights: bool = False,
        weight_attr: Any = None,
        bias_attr: Any = None,
    ):
        super().__init__()
        need_whole(embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise AttributeValueError(
                f"embed_dim={embed_dim} must be positive and divisible by num_heads={num_heads}"
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.dropout, self.need_weights = dropout, need_weights
        self.q_proj = Linear(embed_dim, embed_dim, weight_attr, bias_attr)
        self.k_proj = Linear(kdim or embed_dim, embed_dim, weight_attr, bias_attr)
        self.v_proj = Linear(vdim or embed_dim, embed_dim, weight_attr, bias_attr)
        self.out_proj = Linear(embed_dim, embed_dim, weight_attr, bias_attr)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attn_mask: Tensor | None = None,
        cache: Any = None,
    ) -> Any:
        """Attend from queries to keys.

        Args:
            query: (batch, length, embed_dim).
            key, value: (batch, keys, width); the query and the key by default.
            attn_mask: broadcasts to (batch, heads, length, keys); booleans or integers (true: may
                be seen), or numbers added to the scores.
            cache: a `Cache` to continue, or a `StaticCache` to use instead of key and value.

        Returns:
            (batch, length, embed_dim); a tuple of it with the weights if `need_weights`, and with
            the new `Cache` if one was given.
        """
        key = query if key is None else key
        value = key if value is None else value
        q = self._heads(self.q_proj(query))
        if isinstance(cache, StaticCache):
            k, v = cache
        else:
            k, v = self._heads(self.k_proj(key)), self._heads(self.v_proj(value))
            if isinstance(cache, Cache):
                cache = Cache(concat([cache.k, k], axis=1), concat([cache.v, v], axis=1))
                k, v = cache
        mask = None if attn_mask is None else _as_mask(attn_mask, query)
        weights = None
        if self.need_weights:
            out, weights = self._attend(q, k, v, mask)
        else:
            out = F.scaled_dot_product_attention(
                q, k, v, mask, self.dropout, training=self.training
            )
        out = self.out_proj(reshape(out, [*out.shape[:2], self.embed_dim]))
        extra: list[Any] = [weights] if self.need_weights else []
        if isinstance(cache, Cache):
            extra.append(cache)
        return (out, *extra) if extra else out

    def _heads(self, x: Tensor) -> Tensor:
        batch, length = x.shape[:2]
        return reshape(x, [batch, length, self.num_heads, self.head_dim])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Any) -> tuple[Tensor, Tensor]:
        """The same as the fused op, with the weights kept."""
        q, k, v = (transpose(x, [0, 2, 1, 3]) for x in (q, k, v))
        scores = matmul(q * self.head_dim**-0.5, k, transpose_y=True)
        if mask is not None:
            scores = scores + mask if mask.dtype != "bool" else _hide(scores, mask)
        weights = F.softmax(scores)
        kept = F.dropout(weights, self.dropout, training=self.training)
        return transpose(matmul(kept, v), [0, 2, 1, 3]), weights

    def gen_cache(self, key: Tensor, value: Tensor | None = None, type: Any = Cache) -> Any:
        """A cache to pass to `forward`.

        Args:
            key: for a `StaticCache` the memory (batch, keys, width); for a `Cache` any tensor whose
                first size is the batch, or the keys to start from if `value` is given.
            value: values that belong to the keys.
            type: `Cache` or `StaticCache`.
        """
        if type is StaticCache:
            memory = key if value is None else value
            return StaticCache(self._heads(self.k_proj(key)), self._heads(self.v_proj(memory)))
        if value is not None:
            return Cache(key, value)
        sizes = [key.shape[0], 0, self.num_heads, self.head_dim]
        return Cache(zeros(sizes, key.dtype), zeros(sizes, key.dtype))


def _as_mask(mask: Tensor, like: Tensor) -> Tensor:
    """Booleans, or numbers in the dtype of the queries."""
    if mask.dtype == "bool" or not mask.dtype.is_floating_point:
        return mask.astype("bool")
    return mask if mask.dtype == like.dtype else mask.astype(like.dtype)


def _hide(scores: Tensor, mask: Tensor) -> Tensor:
    from_mask = (mask.astype(scores.dtype) - 1.0) * 1e9
    return scores + from_mask


def _activation(name: str) -> Any:
    function = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": F.tanh}.get(name)
    if function is None:
        raise AttributeValueError(f"activation {name!r} is not one of relu, gelu, silu, tanh")
    return function


class _Block(Layer):
    """What encoder and decoder layers share: the feed-forward part, and how they are repeated."""

    _settings: dict[str, Any]

    def _feed_forward(
        self, d_model: int, inner: int, dropout: float, activation: str, attrs: tuple[Any, Any]
    ) -> None:
        self.linear1 = Linear(d_model, inner, *attrs)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(inner, d_model, *attrs)
        self.activation = _activation(activation)

    def _fed(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _again(self) -> _Block:
        """A layer of the same settings with parameters of its own."""
        return type(self)(**self._settings)


class TransformerEncoderLayer(_Block):
    """Self-attention and a feed-forward network, each with dropout, shortcut and layer norm.

    Args:
        d_model: width of inputs and outputs.
        nhead: number of heads.
        dim_feedforward: width inside the feed-forward network.
        dropout: probability of dropout after both parts.
        activation: "relu", "gelu", "silu" or "tanh".
        attn_dropout, act_dropout: dropout of the weights and inside the network; `dropout` by
            default.
        normalize_before: normalise the inputs of both parts instead of their outputs.
        weight_attr, bias_attr: wishes for the parameters.
        layer_norm_eps: epsilon of the normalisations.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float = 0.1,
        activation: str = "relu",
        attn_dropout: float | None = None,
        act_dropout: float | None = None,
        normalize_before: bool = False,
        weight_attr: Any = None,
        bias_attr: Any = None,
        layer_norm_eps: float = 1e-5,
    ):
        settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self._settings = settings
        self.normalize_before = normalize_before
        attrs = (weight_attr, bias_attr)
        weights = dropout if attn_dropout is None else attn_dropout
        self.self_attn = MultiHeadAttention(
            d_model, nhead, weights, weight_attr=weight_attr, bias_attr=bias_attr
        )
        inner = dropout if act_dropout is None else act_dropout
        self._feed_forward(d_model, dim_feedforward, inner, activation, attrs)
        self.norm1 = LayerNorm(d_model, layer_norm_eps)
        self.norm2 = LayerNorm(d_model, layer_norm_eps)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)

    def forward(self, src: Tensor, src_mask: Tensor | None = None, cache: Any = None) -> Any:
        """(batch, length, d_model) -> the same; with a cache, a pair with the new one."""
        x = self.norm1(src) if self.normalize_before else src
        found = self.self_attn(x, x, x, src_mask, cache)
        attended, cache = found if cache is not None else (found, None)
        x = src + self.dropout1(attended)
        x = x if self.normalize_before else self.norm1(x)
        y = x + self.dropout2(self._fed(self.norm2(x) if self.normalize_before else x))
        y = y if self.normalize_before else self.norm2(y)
        return y if cache is None else (y, cache)

    def gen_cache(self, src: Tensor) -> Cache:
        """An empty cache for a batch as large as that of `src`."""
        return self.self_attn.gen_cache(src)


class TransformerDecoderLayer(_Block):
    """`TransformerEncoderLayer` with attention to a memory in its middle; the same arguments."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float = 0.1,
        activation: str = "relu",
        attn_dropout: float | None = None,
        act_dropout: float | None = None,
        normalize_before: bool = False,
        weight_attr: Any = None,
        bias_attr: Any = None,
        layer_norm_eps: float = 1e-5,
    ):
        settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self._settings = settings
        self.normalize_before = normalize_before
        attrs = (weight_attr, bias_attr)
        weights = dropout if attn_dropout is None else attn_dropout
        self.self_attn, self.cross_attn = (
            MultiHeadAttention(
                d_model, nhead, weights, weight_attr=weight_attr, bias_attr=bias_attr
            )
            for _ in range(2)
        )
        inner = dropout if act_dropout is None else act_dropout
        self._feed_forward(d_model, dim_feedforward, inner, activation, attrs)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(d_model, layer_norm_eps) for _ in range(3))
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout) for _ in range(3))

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Any = None,
    ) -> Any:
        """(batch, length, d_model) -> the same; with caches, a pair with the new ones.

        Args:
            tgt: the sequence decoded so far.
            memory: what the encoder returned, (batch, keys, d_model).
            tgt_mask, memory_mask: as in `MultiHeadAttention`.
            cache: a pair from `gen_cache`.
        """
        before = self.normalize_before
        growing, static = cache if cache is not None else (None, None)
        x = self.norm1(tgt) if before else tgt
        found = self.self_attn(x, x, x, tgt_mask, growing)
        attended, growing = found if growing is not None else (found, None)
        x = tgt + self.dropout1(attended)
        x = x if before else self.norm1(x)
        y = self.norm2(x) if before else x
        y = x + self.dropout2(self.cross_attn(y, memory, memory, memory_mask, static))
        y = y if before else self.norm2(y)
        z = y + self.dropout3(self._fed(self.norm3(y) if before else y))
        z = z if before else self.norm3(z)
        return z if cache is None else (z, (growing, static))

    def gen_cache(self, memory: Tensor) -> tuple[Cache, StaticCache]:
        """An empty cache for the sequence, and the keys and values of the memory."""
        return (
            self.self_attn.gen_cache(memory),
            self.cross_attn.gen_cache(memory, memory, type=StaticCache),
        )
