"""`F.scaled_dot_product_attention` of any axes, and positions that `MultiheadAttention` adds."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.functional as F
from dyn.compat.torch import nn
from dyn.core.errors import ShapeError
from exporter import InputSpec, Predictor, export


def made(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def attended(q: Any, k: Any, v: Any, mask: Any = 0.0) -> np.ndarray:
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]) + mask
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 1, 3), (2, 1, 2, 3)])
@pytest.mark.parametrize("masked", ["none", "matrix", "all"])
def test_any_leading_axes(lead: tuple[int, ...], masked: str) -> None:
    q, k, v = made((*lead, 4, 8), (*lead, 5, 8), (*lead, 5, 6))
    (mask,) = made({"all": (*lead, 4, 5)}.get(masked, (4, 5)))
    given = {} if masked == "none" else {"attn_mask": torch.from_numpy(mask)}
    out = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), **given)
    wanted = attended(q, k, v, mask if given else 0.0)
    np.testing.assert_allclose(out.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_mask_broadcast_over_leading_axes() -> None:
    q, k, v, mask = made((2, 3, 2, 4, 8), (2, 3, 2, 5, 8), (2, 3, 2, 5, 8), (3, 1, 1, 5))
    out = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v, mask)))
    np.testing.assert_allclose(out.numpy(), attended(q, k, v, mask), rtol=1e-5, atol=1e-6)


def test_shared_heads_are_asked_for() -> None:
    q, k, v = made((2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 8))
    given = [torch.from_numpy(x) for x in (q, k, v)]
    out = F.scaled_dot_product_attention(*given, enable_gqa=True)
    wanted = attended(q, np.repeat(k, 2, 1), np.repeat(v, 2, 1))
    np.testing.assert_allclose(out.numpy(), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"query has 4 heads, key 2"):
        F.scaled_dot_product_attention(*given)


def test_axes_that_differ_are_named() -> None:
    with pytest.raises(ShapeError, match=re.escape("got [5, 4] beside a query of 3 axes")):
        F.scaled_dot_product_attention(torch.ones(2, 3, 4), torch.ones(5, 4), torch.ones(5, 4))


def test_three_axes_in_a_file(tmp_path: Any) -> None:
    def forward(q: Any, k: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, k, is_causal=True)

    q, k = made((3, 4, 8), (3, 4, 8))
    file = str(tmp_path / "attention.onnx")
    export(
        forward,
        file,
        [InputSpec(["n", "t", 8], "float32", name=x, example=torch.ones(2, 3, 8)) for x in "qk"],
    )
    hidden = np.where(np.tri(4, dtype=bool), 0.0, -np.inf)
    (out,) = Predictor(file).run(q, k)
    np.testing.assert_allclose(out, attended(q, k, k, hidden), rtol=1e-5, atol=1e-6)


def test_positions_that_are_added_are_in_files_of_any_length(tmp_path: Any) -> None:
    net = nn.MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True)
    x, padding = made((3, 5, 6))[0], np.arange(5) > np.array([[2], [4], [0]])
    given = torch.from_numpy(x), torch.from_numpy(padding)

    def forward(x: Any, padding: Any) -> Any:
        return net(x, x, x, padding, need_weights=False)[0]

    file = str(tmp_path / "attention.onnx")
    specs = [
        InputSpec(["n", "t", 6], "float32", name="x", example=torch.ones(2, 3, 6)),
        InputSpec(["n", "t"], "bool", name="padding", example=torch.zeros(2, 3).bool()),
    ]
    export(forward, file, specs)
    (out,) = Predictor(file).run(x, padding)
    np.testing.assert_allclose(out, forward(*given).detach().numpy(), rtol=1e-5, atol=1e-6)
    seen, weights = net(given[0], given[0], given[0], given[1])
    np.testing.assert_allclose(out, seen.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert weights.shape == (3, 5, 7)
    np.testing.assert_array_equal(weights[2, :, 1:5].detach().numpy(), 0)


def test_positions_that_are_added_count_to_second_gradients() -> None:
    """The penalty of slopes has the same gradient by a learned position through both ways."""
    found = []
    for need_weights in (True, False):
        torch.manual_seed(0)
        net = nn.MultiheadAttention(4, 2, add_bias_kv=True, batch_first=True).double()
        x = torch.from_numpy(made((2, 3, 4))[0]).double().requires_grad_()
        out = net(x, x, x, need_weights=need_weights)[0]
        (slope,) = torch.autograd.grad((out**2).sum(), x, create_graph=True)
        (slope**2).sum().backward()
        found.append([p.grad.numpy() for p in (net.bias_k, net.bias_v)])
    for one, other in zip(*found, strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-6)
