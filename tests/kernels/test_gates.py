"""Gated linear units against numpy: axes, lengths that are no whole vectors, few and many runs."""

from __future__ import annotations

import numpy as np
import pytest

from dyn.kernels import gates

CASES = [
    ((4, 10), 1), ((64, 1000), 1), ((2, 100_000), 1), ((6, 5, 3), 0), ((3, 8, 5, 7), 1),
    ((1, 2), 1), ((0, 4), 1), ((4, 6, 0), 1), ((8, 2, 16), 1), ((3, 4, 6), 2),
    ((256, 6), 1), ((257, 6), 1),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("layout", ["dense", "reversed", "float64"])
def test_glu(shape: tuple[int, ...], axis: int, layout: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape).astype("float64" if layout == "float64" else "float32")
    x = x[::-1] if layout == "reversed" else x
    a, b = np.split(x.astype(np.float64), 2, axis)
    g = rng.standard_normal(a.shape).astype(x.dtype)
    s = 1 / (1 + np.exp(-b))
    np.testing.assert_allclose(gates.glu(x, axis), a * s, rtol=2e-6, atol=1e-6)
    wanted = np.concatenate([g * s, g * a * s * (1 - s)], axis)
    np.testing.assert_allclose(gates.glu_grad(g, x, axis), wanted, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("layout", ["dense", "reversed"])
def test_a_gradient_is_finite_where_its_parts_would_overflow(layout: str) -> None:
    """PyTorch 2.13 gives the same numbers."""
    x = np.array([[3e38, 0.0], [1e38, 3.0], [3e38, -50.0], [3e38, 200.0]], np.float32)
    g = np.array([[2.0], [30.0], [4.0], [2.0]], np.float32)
    if layout == "reversed":
        x, g = x[::-1], g[::-1]
    wanted = np.array([1.5e38, 1.3552996e38, 2.3144998e17, 0.0])
    found = gates.glu_grad(g, x, 1)[:, 1]
    np.testing.assert_allclose(found, wanted[::-1] if layout == "reversed" else wanted, rtol=2e-5)
