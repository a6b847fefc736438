"""Sorting and selecting along rows: ties, NaN, infinities, any dtype and layout, threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import order, search
from dyn.kernels.runtime import threads


def wanted(x: np.ndarray, k: int, axis: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """By sorting pairs of value and place; NaN is largest."""

    def places_of(row: np.ndarray) -> list[int]:
        def rank(i: int) -> tuple[bool, float, int]:
            v = float(row[i])
            sign = -1 if largest else 1
            nan = math.isnan(v)
            return (nan != largest), (0 if nan else sign * v), i

        return sorted(range(len(row)), key=rank)[:k]

    moved = np.moveaxis(x, axis, -1)
    places = np.array([places_of(r) for r in moved.reshape(-1, moved.shape[-1])], np.int64)
    places = np.moveaxis(places.reshape(*moved.shape[:-1], k), -1, axis)
    return np.take_along_axis(x, places, axis), places


def check(x: np.ndarray, k: int, axis: int, largest: bool) -> None:
    before = x.copy()
    values, indices = search.topk(x, k, axis, largest)
    expected, places = wanted(x, k, axis, largest)
    assert values.dtype == x.dtype and indices.dtype == np.int64
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(x, before)
    run = order.ordered_of(x.shape, x.dtype, k, largest=largest) if axis == x.ndim - 1 else None
    if run is not None:
        for found, listed in zip(run(x), (expected, places), strict=True):
            np.testing.assert_array_equal(found, listed)


SPECIAL = [0.0, -0.0, 1.0, -1.0, math.nan, -math.nan, math.inf, -math.inf, 1e-40, -1e-40, 3e38]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_rows(data: st.DataObject) -> None:
    n = data.draw(st.sampled_from([1, 2, 7, 33, 63, 64, 65, 127, 128, 129, 200, 513]))
    k = data.draw(st.sampled_from([1, 2, min(5, n), n // 2 or 1, n]))
    k = min(k, n)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kind = data.draw(st.sampled_from(["numbers", "ties", "special"]))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    shape = (data.draw(st.integers(1, 4)), n)
    if kind == "numbers":
        x = rng.standard_normal(shape).astype(dtype)
    elif kind == "ties":
        x = rng.integers(-3, 4, shape).astype(dtype)
    else:
        x = rng.choice(np.array(SPECIAL, dtype), shape)
    axis = data.draw(st.integers(0, 1))
    if axis == 0:
        x = x.T
    if data.draw(st.booleans()):
        x = np.repeat(x, 2, axis=1)[:, ::2]
    check(x, k, axis, data.draw(st.booleans()))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 31, 33, 64, 65, 100, 128, 129])
def test_integers_from_the_lowest_to_the_highest(
    n: int, largest: bool, dtype: str, rng: np.random.Generator
) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = rng.choice(np.array([low, low + 1, -1, 0, 1, high - 1, high], dtype), (5, n))
    x[0] = high
    values, indices = search.topk(x, n, 1, largest)
    places = np.argsort(~x if largest else x, axis=1, kind="stable")
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(values, np.take_along_axis(x, places, 1))


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("n", [4095, 4096, 20000])
def test_long_rows(n: int, largest: bool, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, n)).astype(np.float32)
    x[0, ::97] = x[1, 3]
    x[1, n // 2] = math.nan
    for k in (1, 50, 129, n):
        check(x, k, 1, largest)


@pytest.mark.parametrize("n", [60, 300, 9000])
@pytest.mark.parametrize("largest", [False, True])
def test_elements_that_differ_in_their_lower_halves(
    n: int, largest: bool, rng: np.random.Generator
) -> None:
    near = 1 + rng.integers(-40, 40, (2, n)) * 2.0**-52
    near[1, : n // 3] = -rng.integers(1, 9, n // 3) * 1e-320
    far = rng.integers(-3, 4, (2, n)) * 2**33 + rng.integers(0, 99, (2, n))
    for x in (near, far):
        for k in (1, n // 4, n):
            check(x, k, 1, largest)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int32", "uint8"])
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_other_dtypes(dtype: str, largest: bool, k: int, rng: np.random.Generator) -> None:
    x = rng.integers(0, 50, (6, 40)).astype(dtype)
    if x.dtype.kind == "f":
        x[2, 3:6], x[4, 1], x[5, 7] = math.nan, math.inf, -math.inf
    check(x, k, 1, largest)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [1, 30, 200])
def test_rows_with_more_places_than_fit_beside_a_key(
    k: int, largest: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "LONGEST", 200)
    x = rng.standard_normal((3, 200)).astype(np.float32)
    x[1, ::7], x[2, 5:9] = -0.0, math.nan
    check(x, k, 1, largest)


@pytest.mark.parametrize(("shape", "k"), [((0, 5), 2), ((3, 0), 0), ((3, 4), 0), ((1,), 1)])
def test_few_or_no_elements(shape: tuple[int, ...], k: int) -> None:
    x = np.zeros(shape, np.float32)
    values, indices = search.topk(x, k, len(shape) - 1, True)
    assert values.shape == indices.shape == (*shape[:-1], k)


def test_sorted_rows_and_rows_of_one_number() -> None:
    rising = np.arange(3000, dtype=np.float32)
    for x in (rising, -rising, np.full(3000, 2.5, np.float32)):
        check(x, 3000, 0, True)
        check(x, 20, 0, True)
        check(x, 3000, 0, False)


def test_results_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, (40, 1000)).astype(np.float32)
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            found.append([search.topk(x, k, 1, True)[1] for k in (5, 1000)])
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("largest", [False, True])
def test_integers_of_a_narrow_and_a_wide_range(dtype: str, largest: bool) -> None:
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    for low, high in ((0, 5), (info.min, info.min + 90), (info.max - 9, info.max)):
        if info.bits == 64 and low:
            continue  # more digits than the oracle has
        check(rng.integers(low, high, (3, 70), dtype, endpoint=True), 70, 1, largest)
    wide = rng.integers(info.min, info.max, (3, 70), dtype, endpoint=True)
    wide[:, 0], wide[:, 1] = info.min, info.max
    values, places = search.topk(wide, 70, 1, largest)
    np.testing.assert_array_equal(values, np.sort(wide)[:, ::-1] if largest else np.sort(wide))
    np.testing.assert_array_equal(np.take_along_axis(wide, places, 1), values)
