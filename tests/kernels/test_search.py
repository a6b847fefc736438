"""Places in sorted sequences, counts and ranges, against numpy, for every number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dyn.kernels import ranges, search
from dyn.kernels.runtime import threads


@pytest.fixture(autouse=True, params=[1, 2, 4])
def count(request: pytest.FixtureRequest) -> Iterator[None]:
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "float16"])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("edges", [0, 1, 2, 7, 64, 1000])
def test_searchsorted(dtype: str, right: bool, edges: int, rng: np.random.Generator) -> None:
    table = np.sort(rng.integers(-50, 50, edges)).astype(dtype)
    x = rng.integers(-60, 60, (30, 400)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x[:3, 0] = np.nan, np.inf, -np.inf
        table[edges - edges // 4 :] = np.nan
    wanted = np.searchsorted(table, x, "right" if right else "left")
    np.testing.assert_array_equal(search.searchsorted(table, x, right), wanted)
    np.testing.assert_array_equal(search.searchsorted(table, x.T, right), wanted.T)


def test_searchsorted_of_several_sequences(rng: np.random.Generator) -> None:
    table = np.sort(rng.standard_normal((3, 5, 40)), -1).astype(np.float32)
    x = rng.standard_normal((3, 5, 70)).astype(np.float32)
    found = search.searchsorted(table, x, False)
    for i, j in np.ndindex(3, 5):
        np.testing.assert_array_equal(found[i, j], np.searchsorted(table[i, j], x[i, j]))


@pytest.mark.parametrize("high", [3, 1000, 100_000])
def test_bincount(high: int, rng: np.random.Generator) -> None:
    x = rng.integers(0, high, 200_001)
    np.testing.assert_array_equal(search.bincount(x, None, 0), np.bincount(x))
    np.testing.assert_array_equal(
        search.bincount(x[::2], None, 2 * high), np.bincount(x[::2], None, 2 * high)
    )
    with pytest.raises(ValueError, match="from 0 on"):
        search.bincount(x - 1, None, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 50, 100_001])
def test_ranges(size: int) -> None:
    np.testing.assert_array_equal(ranges.arange(size, 5, -3), 5 - 3 * np.arange(size))
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        found = ranges.linspace(size, -1.0, 0.3, dtype)
        assert found.dtype == dtype and found[0] == -1
        assert size == 1 or found[-1] == dtype.type(0.3)
        np.testing.assert_allclose(found, np.linspace(-1, 0.3, size), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("size", [1, 2, 50, 5000])
def test_unique(dtype: str, size: int, rng: np.random.Generator) -> None:
    x = (rng.standard_normal(size) * (3 if size < 5000 else 300)).astype("int64").astype(dtype)
    if np.dtype(dtype).kind == "f":
        x[::7], x[::11] = np.nan, -0.0
    shaped = x.reshape(2, -1).T if size % 2 == 0 else x
    expected = np.unique(shaped, True, True, True)
    for ours, theirs in zip(search.unique(shaped, None), expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs.reshape(-1))
