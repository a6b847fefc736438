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
