"""Attention and transformer layers against their formulas in numpy."""

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def project(layer, x):
    return x @ layer.weight.numpy() + layer.bias.numpy()


def attend(layer, q, k, v, mask: Any = 0.0):
    """Multi-head attention: outputs and weights."""
    n, heads = layer.head_dim, layer.num_heads

    def cut(x):
        return x.reshape(*x.shape[:2], heads, n).transpose(0, 2, 1, 3)

    q, k, v = (
        cut(project(layer.q_proj, q)),
        cut(project(layer.k_proj, k)),
        cut(project(layer.v_proj, v)),
    )
    p = softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(n) + mask)
    out = (p @ v).transpose(0, 2, 1, 3)
    return project(layer.out_proj, out.reshape(*out.shape[:2], -1)), p


def norm(layer, x):
    z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return z * layer.weight.numpy() + layer.bias.numpy()


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def close(a, b):
    np.testing.assert_allclose(a.numpy(), b, rtol=3e-4, atol=3e-5)


def test_multi_head_attention(rng):
    layer = nn.MultiHeadAttention(8, 2, kdim=6, vdim=5, need_weights=True)
    q, k, v = draw(rng, 2, 3, 8), draw(rng, 2, 4, 6), draw(rng, 2, 4, 5)
    out, weights = layer(dyn.to_tensor(q), dyn.to_tensor(k), dyn.to_tensor(v))
    wanted = attend(layer, q, k, v)
    close(out, wanted[0])
    close(weights, wanted[1])
    layer.need_weights = False
    close(layer(dyn.to_tensor(q), dyn.to_tensor(k), dyn.to_tensor(v)), wanted[0])
    assert list(layer.state_dict())[:2] == ["q_proj.weight", "q_proj.bias"]


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("kind", ["bool", "int64", "float32"])
def test_masks(kind, weights, rng):
    layer = nn.MultiHeadAttention(8, 2, need_weights=weights)
    x = draw(rng, 1, 4, 8)
    seen = np.tril(np.ones((4, 4), bool))
    mask = seen.astype(kind) if kind != "float32" else np.where(seen, 0, -np.inf).astype(kind)
    out = layer(dyn.to_tensor(x), attn_mask=dyn.to_tensor(mask))
    out = out[0] if weights else out
    close(out, attend(layer, x, x, x, np.where(seen, 0, -1e9))[0])


def test_caches_continue_where_they_stopped(rng):
    layer = nn.MultiHeadAttention(8, 2)
    x = draw(rng, 2, 3, 8)
    cache = layer.gen_cache(dyn.to_tensor(x))
    for t in range(3):
        out, cache = layer(dyn.to_tensor(x[:, t : t + 1]), cache=cache)
        close(out, attend(layer, x[:, t : t + 1], x[:, : t + 1], x[:, : t + 1])[0])
    assert cache.k.shape == [2, 3, 2, 4]
    memory = draw(rng, 2, 5, 8)
    static = layer.gen_cache(dyn.to_tensor(memory), type=layer.StaticCache)
    close(layer(dyn.to_tensor(x), cache=static), attend(layer, x, memory, memory)[0])
    given = layer.gen_cache(cache.k, cache.v)
    assert given.k is cache.k


@pytest.mark.parametrize("before", [False, True])
def test_encoder_layer(before, rng):
    layer = nn.TransformerEncoderLayer(8, 2, 16, normalize_before=before).eval()
    x = draw(rng, 2, 3, 8)

    def fed(y):
        return project(layer.linear2, np.maximum(project(layer.linear1, y), 0))

    if before:
        n = norm(layer.norm1, x)
        y = x + attend(layer.self_attn, n, n, n)[0]
        wanted = y + fed(norm(layer.norm2, y))
    else:
        y = norm(layer.norm1, x + attend(layer.self_attn, x, x, x)[0])
        wanted = norm(layer.norm2, y + fed(y))
    close(layer(dyn.to_tensor(x)), wanted)


@pytest.mark.parametrize("before", [False, True])
def test_decoder_layer(before, rng):
    layer = nn.TransformerDecoderLayer(8, 2, 16, activation="gelu", normalize_before=before).eval()
    x, m = draw(rng, 2, 3, 8), draw(rng, 2, 4, 8)

    def fed(y):
        inner = dyn.nn.functional.gelu(dyn.to_tensor(project(layer.linear1, y))).numpy()
        return project(layer.linear2, inner)

    if before:
        n = norm(layer.norm1, x)
        y = x + attend(layer.self_attn, n, n, n)[0]
        y = y + attend(layer.cross_attn, norm(layer.norm2, y), m, m)[0]
        wanted = y + fed(norm(layer.norm3, y))
    else:
        y = norm(layer.norm1, x + attend(layer.self_attn, x, x, x)[0])
        y = norm(layer.norm2, y + attend(layer.cross_attn, y, m, m)[0])
        wanted = norm(layer.norm3, y + fed(y))
    close(layer(dyn.to_tensor(x), dyn.to_tensor(m)), wanted)


def test_whole_transformer_step_by_step(rng):
    model = nn.Transformer(8, 2, 2, 2, 16).eval()
    src, tgt = dyn.to_tensor(draw(rng, 2, 5, 8)), dyn.to_tensor(draw(rng, 2, 3, 8))
    mask = model.generate_square_subsequent_mask(3)
    assert mask.tolist()[0] == [0.0, -np.inf, -np.inf]
    whole = model(src, tgt, tgt_mask=mask)
    assert whole.shape == [2, 3, 8]
    memory = model.encoder(src)
    caches = model.decoder.gen_cache(memory)
    for t in range(3):
        out, caches = model.decoder(tgt[:, t : t + 1], memory, cache=caches)
        close(out, whole.numpy()[:, t : t + 1])
    assert len(model.decoder.gen_cache(memory, do_zip=True)) == 2


def test_encoders_grow_their_caches(rng):
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8)).eval()
    x = draw(rng, 2, 3, 8)
    caches = encoder.gen_cache(dyn.to_tensor(x))
    causal = dyn.to_tensor(np.tril(np.ones((3, 3), bool)))
    whole = encoder(dyn.to_tensor(x), causal)
    for t in range(3):
        out, caches = encoder(dyn.to_tensor(x[:, t : t + 1]), cache=caches)
        close(out, whole.numpy()[:, t : t + 1])


def test_repeated_layers_have_parameters_of_their_own():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    a, b = (layer.linear1.weight.numpy() for layer in encoder.layers)
    assert not np.array_equal(a, b)
    assert "layers.1.self_attn.q_proj.weight" in encoder.state_dict()
    encoder(dyn.ones([1, 3, 8])).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_dropout_acts_in_training_only():
    dyn.seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5)
    x = dyn.ones([1, 3, 8])
    assert not np.array_equal(layer(x).numpy(), layer(x).numpy())
    layer.eval()
    assert np.array_equal(layer(x).numpy(), layer(x).numpy())


def test_bad_settings():
    for make in (
        lambda: nn.MultiHeadAttention(8, 3),
        lambda: nn.TransformerEncoderLayer(8, 2, 16, activation="square"),
        lambda: nn.Transformer(0, 2),
    ):
        with pytest.raises(dyn.AttributeValueError):
            make()


def test_work_of_attention_in_either_layout():
    class Attend(nn.Layer):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert dyn.flops(Attend(), (2, 5, 3, 4)) == 2 * 3 * 5 * 5 * (4 + 4)
