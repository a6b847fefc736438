"""Layer norm of rows that are hard to normalise: far from zero, with outliers, constant, short."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import layer_norm as kernels
from dyn.kernels.runtime.memory import FAR


def exact(x: np.ndarray, epsilon: float) -> np.ndarray:
    wide = x.astype(np.float64)
    away = wide - wide.mean(axis=-1, keepdims=True)
    return away / np.sqrt((away * away).mean(axis=-1, keepdims=True) + epsilon)


def check(x: np.ndarray, tol: float) -> None:
    out, mean, rstd = kernels.layer_norm(x, None, None, axes_count=1, epsilon=1e-5)
    np.testing.assert_allclose(out, exact(x, 1e-5), rtol=tol, atol=tol)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean[..., 0], wide.mean(axis=-1), rtol=tol, atol=tol)
    spread = 1 / np.sqrt(wide.var(axis=-1) + 1e-5)
    np.testing.assert_allclose(rstd[..., 0], spread, rtol=10 * tol)


@pytest.mark.parametrize("length", [1000, 1024])
def test_rows_that_no_cache_keeps(length: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((FAR // 4000 + 1, length), dtype=np.float32)
    out, mean, rstd = kernels.layer_norm(x, None, None, axes_count=1, epsilon=1e-5)
    few = kernels.layer_norm(x[:9], None, None, axes_count=1, epsilon=1e-5)[0]
    np.testing.assert_array_equal(out[:9], few)
    np.testing.assert_allclose(out, (x - mean) * rstd, rtol=1e-5, atol=1e-6)
    gx, *_ = kernels.layer_norm_grad(out, x, None, mean, rstd, axes_count=1)
    few = kernels.layer_norm_grad(out[:9], x[:9], None, mean[:9], rstd[:9], axes_count=1)[0]
    np.testing.assert_array_equal(gx[:9], few)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 7, 64, 1000])
@pytest.mark.parametrize("first", [0.0, 3.0, -300.0, 3e4])
def test_rows_whose_first_number_is_an_outlier(
    dtype: str, n: int, first: float, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((5, n)).astype(dtype)
    x[1:4, 0] = first
    check(x, 2e-5 if dtype == "float32" else 1e-12)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 70),
    st.floats(-100, 100, width=32),
    st.floats(0.125, 8, width=32),
    st.integers(0, 2**32 - 1),
)
def test_rows_far_from_zero(n: int, middle: float, spread: float, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((3, n)) * spread + middle
    x = x.astype(np.float32)
    out, _, _ = kernels.layer_norm(x, None, None, axes_count=1, epsilon=1e-5)
    # A mean is known to half a digit of the middle, and so is everything divided by the spread.
    noise = 4e-7 * (1 + abs(middle)) / np.sqrt(x.astype(np.float64).var(axis=1) + 1e-5).min()
    np.testing.assert_allclose(out, exact(x, 1e-5), rtol=1e-5, atol=1e-5 + 4 * noise)


def test_constant_and_undefined_rows() -> None:
    x = np.full((3, 20), 1234.5, np.float32)
    x[1, 4] = math.nan
    x[2, 0] = math.inf
    out, _, _ = kernels.layer_norm(x, None, None, axes_count=1, epsilon=1e-5)
    assert np.all(out[0] == 0)
    assert np.all(np.isnan(out[1])) and np.isnan(out[2, 0])
