"""`F.scaled_dot_product_attention` with any number of axes before length and width."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.functional as F
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
