"""Attention and the encoder layer, with PyTorch's parameters: one projection for q, k and v."""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch.nn.activation import Dropout
from dyn.compat.torch.nn.linear import Linear, finish
from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.nn.norm import LayerNorm
from dyn.nn import functional as F
from dyn.nn import initializer as init
from dyn.ops.attention import attention
from dyn.ops.index import slice as cut
from dyn.ops.index import where
from dyn.ops.join import concat, expand, unbind
from dyn.ops.linalg import matmul
from dyn.ops.pad import pad
from dyn.ops.reduce import mean
from dyn.ops.shape import reshape, squeeze, transpose, unsqueeze

ACTIVATIONS: Any = {"relu": F.relu, "gelu": F.gelu}
"""Activations by the words for them."""


class NonDynamicallyQuantizableLinear(Linear):
    """`Linear` under the name that PyTorch prints for the projection of attention's output."""


class MultiheadAttention(Module):
    """Attention of several heads side by side.

    Args:
        embed_dim: width of queries, keys, values and outputs, divisible by `num_heads`.
        num_heads: number of heads.
        dropout: probability with which a weight is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: add a learned position to the projected keys and values, the parameters
            `bias_k` and `bias_v` [1, 1, embed_dim].
        add_zero_attn: add a position of zeros to the keys and values of every head.
        kdim, vdim: widths of keys and values, if they are not `embed_dim`; each of the three has
            a weight of its own then.
        batch_first: whether the batch is the first axis instead of the second.

    Positions that are added follow all others and are seen by every query. They are columns of
    the weights, too.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.batch_first, self.head_dim = batch_first, embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        alike = self.kdim == self.vdim == embed_dim
        self.in_proj_weight = _projection(self, 3 * embed_dim, embed_dim) if alike else None
        for name, width in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            weight = None if alike else _projection(self, embed_dim, width)
            setattr(self, f"{name}_proj_weight", weight)
        self.in_proj_bias = self.create_parameter(
            [3 * embed_dim], None if bias else False, is_bias=True
        )
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias)
        if bias:
            self.out_proj.bias.set_value([0.0] * embed_dim)
        for name in ("bias_k", "bias_v"):
            shape, start = [1, 1, embed_dim], init.XavierNormal()
            setattr(self, name, self.create_parameter(shape, start) if add_bias_kv else None)
        self.add_zero_attn = add_zero_attn
        finish(self, device, dtype)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """Attend from queries to keys.

        Args:
            query, key, value: (length, batch, width), or with `batch_first`
                (batch, length, width), or without a batch (length, width).
            key_padding_mask: (batch, keys): true or -inf where a key must not be seen.
            need_weights: also return the weights, averaged over the heads unless
                `average_attn_weights` is False.
            attn_mask: (length, keys) or (batch * heads, length, keys): true where a key must not
                be seen, or numbers added to the scores.
            is_causal: says that the mask is a causal one, which must be given.

        Returns:
            The output, and the weights (batch, length, keys) or None. Positions that are added to
            the keys are no part of the masks, but of the weights.

        Raises:
            RuntimeError: `is_causal` without a mask.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        if query.ndim == 2:
            at = 0 if self.batch_first else 1
            padding = None if key_padding_mask is None else unsqueeze(key_padding_mask, 0)
            q, k, v = (unsqueeze(x, at) for x in (query, key, value))
            out, weights = self.forward(
                q, k, v, padding, need_weights, attn_mask, average_attn_weights
            )
            return squeeze(out, at), None if weights is None else squeeze(weights, 0)
        q, k, v = self._projected(query, key, value)
        mask = self._mask(attn_mask, key_padding_mask, query)
        k, v, mask = self._lengthened(k, v, mask)
        weights = None
        if need_weights:
            scores = matmul(q * self.head_dim**-0.5, k, transpose_y=True)
            weights = F.softmax(scores if mask is None else scores + mask)
            kept = F.dropout(weights, self.dropout, training=self.training)
            out = matmul(kept, v)
            weights = mean(weights, 1) if average_attn_weights else weights
        else:
            out = attention(q, k, v, mask, self.dropout, training=self.training)
        out = transpose(out, [0, 2, 1, 3])
        out = self.out_proj(reshape(out, [*out.shape[:2], self.embed_dim]))
        return (out if self.batch_first else transpose(out, [1, 0, 2])), weights

    def _projected(self, query: Any, key: Any, value: Any) -> list[Any]:
        """Query, key and value projected, each as (batch, heads, length, width).

        What several of them are made of is projected for them together.
        """
        made: list[Any] = []
        given = [query, key, value]
        while len(made) < 3:
            x, first = given[len(made)], len(made)
            last = first + 1
            weight = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[first]
            if self.in_proj_weight is not None:
                while last < 3 and given[last] is x:
                    last += 1
                weight = self._part(self.in_proj_weight, first, last)
            bias = self._part(self.in_proj_bias, first, last)
            x = x if self.batch_first else transpose(x, [1, 0, 2])
            out = F.linear(x, weight, bias, transpose_weight=True)
            sizes = [*out.shape[:2], last - first, self.num_heads, self.head_dim]
            made += [transpose(part, [0, 2, 1, 3]) for part in unbind(reshape(out, sizes), 2)]
        return made

    def _part(self, parameter: Any, first: int, last: int) -> Any:
        """Thirds `first` to `last` of a parameter of the projection."""
        if parameter is None or (first, last) == (0, 3):
            return parameter
        return cut(parameter, [0], [first * self.embed_dim], [last * self.embed_dim])

    def _lengthened(self, k: Any, v: Any, mask: Any) -> tuple[Any, Any, Any]:
        """Keys, values and mask with the positions that are added to them."""
        if self.bias_k is not None:
            heads = [1, self.num_heads, 1, self.head_dim]
            k, v = (
                concat([x, expand(reshape(bias, heads), [x.shape[0], *heads[1:]])], axis=2)
                for x, bias in ((k, self.bias_k), (v, self.bias_v))
            )
        if self.add_zero_attn:
            k, v = (pad(x, [0, 0, 0, 0, 0, 1, 0, 0]) for x in (k, v))
        added = int(self.bias_k is not None) + int(self.add_zero_attn)
        if mask is not None and added:
            mask = pad(mask, [0, 0] * (mask.ndim - 1) + [0, added])
        return k, v, mask

    def _mask(self, mask: Any, padding: Any, query: Any) -> Any:
        """What is added to the scores: both masks, -inf where a key must not be seen."""
        if mask is not None:
            mask = _added(mask, query)
            if mask.ndim == 3:
                heads, length, keys = mask.shape
                mask = reshape(mask, [heads // self.num_heads, self.num_heads, length, keys])
        if padding is not None:
            padding = unsqueeze(_added(padding, query), [1, 2])
            mask = padding if mask is None else mask + padding
        return mask


def _projection(module: Module, rows: int, columns: int) -> Any:
    """A weight of uniform numbers, Xavier's bound."""
    bound = math.sqrt(6.0 / (rows + columns))
    return module.create_parameter([rows, columns], init.Uniform(-bound, bound))


def _added(mask: Any, like: Any) -> Any:
    if mask.dtype != "bool":
        return mask
    return where(mask, float("-inf"), 0.0).astype(like.dtype)


class TransformerEncoderLayer(Module):
    """Self-attention and a feed-forward network, each with dropout, shortcut and layer norm."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation = ACTIVATIONS.get(activation, activation)
        finish(self, device, dtype)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        """The shape of `src`; masks as in `MultiheadAttention`."""
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = src + self._attended(self.norm1(src), *masks)
            return x + self._fed(self.norm2(x))
        x = self.norm1(src + self._attended(src, *masks))
        return self.norm2(x + self._fed(x))

    def _attended(self, x: Any, mask: Any, padding: Any, causal: bool) -> Any:
        found = self.self_attn(
            x, x, x, padding, need_weights=False, attn_mask=mask, is_causal=causal
        )
        return self.dropout1(found[0])

    def _fed(self, x: Any) -> Any:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))
