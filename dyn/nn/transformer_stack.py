"""Stacks of transformer layers: encoder, decoder, and the whole. Source: arXiv 1706.03762."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dtype import default_float
from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.nn.container import LayerList
from dyn.nn.layer import Layer
from dyn.nn.norm import LayerNorm
from dyn.nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer


def _stack(layer: Any, count: int) -> LayerList:
    """The layer itself and others of the same settings."""
    return LayerList([layer, *(layer._again() for _ in range(count - 1))])


class TransformerEncoder(Layer):
    """Encoder layers one after the other.

    Args:
        encoder_layer: the first of them; the others have its settings.
        num_layers: how many.
        norm: applied to the output, or None.
    """

    def __init__(self, encoder_layer: TransformerEncoderLayer, num_layers: int, norm: Any = None):
        super().__init__()
        self.layers = _stack(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, src: Tensor, src_mask: Tensor | None = None, cache: Any = None) -> Any:
        """(batch, length, d_model) -> the same; with caches, a pair with the new ones."""
        fresh = []
        for i, layer in enumerate(self.layers):
            if cache is None:
                src = layer(src, src_mask)
            else:
                src, grown = layer(src, src_mask, cache[i])
                fresh.append(grown)
        out = src if self.norm is None else self.norm(src)
        return out if cache is None else (out, fresh)

    def gen_cache(self, src: Tensor) -> list[Any]:
        """Empty caches for all layers."""
        return [layer.gen_cache(src) for layer in self.layers]


class TransformerDecoder(Layer):
    """Decoder layers one after the other.

    Args:
        decoder_layer: the first of them; the others have its settings.
        num_layers: how many.
        norm: applied to the output, or None.
    """

    def __init__(self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Any = None):
        super().__init__()
        self.layers = _stack(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Any = None,
    ) -> Any:
        """(batch, length, d_model) -> the same; with caches, a pair with the new ones."""
        fresh = []
        for i, layer in enumerate(self.layers):
            if cache is None:
                tgt = layer(tgt, memory, tgt_mask, memory_mask)
            else:
                tgt, grown = layer(tgt, memory, tgt_mask, memory_mask, cache[i])
                fresh.append(grown)
        out = tgt if self.norm is None else self.norm(tgt)
        return out if cache is None else (out, fresh)

    def gen_cache(self, memory: Tensor, do_zip: bool = False) -> list[Any]:
        """Caches for all layers; with `do_zip` those of each kind together."""
        caches = [layer.gen_cache(memory) for layer in self.layers]
        return list(zip(*caches, strict=True)) if do_zip else caches


class Transformer(Layer):
    """Encoder and decoder.

    Args:
        d_model: width of inputs and outputs.
        nhead: number of heads.
        num_encoder_layers, num_decoder_layers: layers of each.
        dim_feedforward: width inside the feed-forward networks.
        dropout, activation, attn_dropout, act_dropout, normalize_before, weight_attr, bias_attr:
            as in `TransformerEncoderLayer`.
        custom_encoder, custom_decoder: layers to use instead.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        attn_dropout: float | None = None,
        act_dropout: float | None = None,
        normalize_before: bool = False,
        weight_attr: Any = None,
        bias_attr: Any = None,
        custom_encoder: Layer | None = None,
        custom_decoder: Layer | None = None,
    ):
        super().__init__()
        if d_model <= 0 or nhead <= 0:
            raise AttributeValueError(f"d_model={d_model} and nhead={nhead} must be positive")
        self.d_model, self.nhead = d_model, nhead
        common = (
            d_model, nhead, dim_feedforward, dropout, activation, attn_dropout, act_dropout,
            normalize_before, weight_attr, bias_attr,
        )  # fmt: skip
        self.encoder: Any = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*common), num_encoder_layers, LayerNorm(d_model)
        )
        self.decoder: Any = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*common), num_decoder_layers, LayerNorm(d_model)
        )

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """src (batch, keys, d_model), tgt (batch, length, d_model) -> (batch, length, d_model)."""
        memory = self.encoder(src, src_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask)

    def generate_square_subsequent_mask(self, length: int) -> Tensor:
        """(length, length): 0 up to the diagonal, minus infinity above it."""
        hidden = np.triu(np.full((length, length), -np.inf, default_float()), 1)
        return Tensor._of(hidden)
