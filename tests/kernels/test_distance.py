"""Distances of all pairs: accuracy of near pairs, equal points, infinities, threads."""

from __future__ import annotations

import numpy as np
import pytest

from dyn.kernels import distance
from dyn.kernels.runtime import threads


def exact(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    away = x[..., :, None, :].astype(np.float64) - y[..., None, :, :]
    return np.sqrt((away * away).sum(-1))


@pytest.mark.parametrize(("dtype", "tol"), [("float32", 3e-6), ("float64", 1e-14)])
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (30, 50, 3), (200, 70, 16), (40, 90, 300)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_distances_keep_their_digits(
    dtype: str, tol: float, m: int, n: int, k: int, offset: float, rng: np.random.Generator
) -> None:
    x = (rng.standard_normal((m, k)) + offset).astype(dtype)
    y = (rng.standard_normal((n, k)) + offset).astype(dtype)
    y[: min(m, n) : 2] = x[: min(m, n) : 2] + np.asarray(1e-3, dtype)
    wanted = exact(x, y)
    found = distance.distances(x, y)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=tol)
    g = rng.standard_normal((m, n)).astype(dtype)
    away = x[:, None].astype(np.float64) - y
    gradient = (g / wanted)[..., None] * away
    size = np.abs(gradient).sum((1,), keepdims=True).max()
    got = distance.distances_grad(g, x, y, found)
    np.testing.assert_allclose(got, gradient.sum(1), rtol=0, atol=10 * tol * size)


def test_equal_points_have_no_distance_and_no_gradient(rng: np.random.Generator) -> None:
    x = rng.standard_normal((60, 7)).astype(np.float32) * 1000
    found = distance.distances(x, x)
    assert not found.diagonal().any()
    g = np.eye(60, dtype=np.float32)
    assert not distance.distances_grad(g, x, x, found).any()


def test_infinities_and_nan() -> None:
    x = np.array([[np.inf, 0], [np.nan, 1], [1e30, 1e30], [3, 4]], np.float32)
    y = np.array([[0, 0], [np.inf, 1], [1e30, 1e30]], np.float32)
    with np.errstate(all="ignore"):
        away = x[:, None] - y
        wanted = np.sqrt((away * away).sum(-1))
    np.testing.assert_array_equal(distance.distances(x, y), wanted)


def test_leading_axes_and_layouts(rng: np.random.Generator) -> None:
    x = rng.standard_normal((9, 30, 4, 1)).astype(np.float32).T
    y = rng.standard_normal((5, 1, 20, 9)).astype(np.float32)[:, :, ::-1]
    wanted = exact(x, y)
    assert x.shape == (1, 4, 30, 9)
    found = distance.distances(x, y)
    np.testing.assert_allclose(found, wanted, rtol=3e-6)
    half = distance.distances(x.astype(np.float16), y.astype(np.float16))
    assert half.dtype == np.float16
    assert distance.distances(x[:, :, :0], y).shape == (5, 4, 0, 20)
    g = np.ones((5, 4, 30, 0), np.float32)
    assert not distance.distances_grad(g, x, y[:, :, :0], g).any()


def test_results_do_not_depend_on_threads(rng: np.random.Generator) -> None:
    x, y = (rng.standard_normal((n, 33)).astype(np.float32) for n in (700, 300))
    g = rng.standard_normal((700, 300)).astype(np.float32)
    before = threads.get_num_threads()
    made = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            found = distance.distances(x, y)
            made.append((found, distance.distances_grad(g, x, y, found)))
    finally:
        threads.set_num_threads(before)
    for other in made[1:]:
        for a, b in zip(made[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
