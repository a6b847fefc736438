"""Triangular systems with one right-hand side: what comes out solves them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dyn.kernels import factor


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("batch", "n"), [(0, 3), (1, 1), (2, 3), (3, 40), (70, 33), (1, 300)])
def test_one_right_hand_side(batch: int, n: int, dtype: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((batch, n, n)) * 0.3 / np.sqrt(n) + np.eye(n) * 2
    x, y = x.astype(dtype), rng.standard_normal((batch, n, 1)).astype(dtype)
    digits = 1e-4 if dtype == "float32" else 1e-9
    for upper, transpose, unit in itertools.product((False, True), repeat=3):
        triangle = (np.triu(x) if upper else np.tril(x)).astype(np.float64)
        if unit:
            triangle[..., range(n), range(n)] = 1
        matrix = triangle.swapaxes(-1, -2) if transpose else triangle
        found = factor.triangular_solve(x, y, upper=upper, transpose=transpose, unit=unit)
        assert found.dtype == y.dtype and found.shape == y.shape
        np.testing.assert_allclose(matrix @ found, y, rtol=digits, atol=digits)


def test_nothing_beyond_the_triangle_is_read(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((5, 5)) + 4 * np.eye(5), rng.standard_normal((5, 1))
    spoilt = np.where(np.tri(5, dtype=bool), x, np.nan)
    for transpose in (False, True):
        found = factor.triangular_solve(spoilt, y, upper=False, transpose=transpose, unit=False)
        lower = np.tril(x).T if transpose else np.tril(x)
        np.testing.assert_allclose(lower @ found, y, rtol=1e-9)
