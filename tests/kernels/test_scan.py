"""Running sums forwards and backwards along any axis; logsumexp of rows and its infinities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import index, reduce, scan
from dyn.kernels.runtime import threads

INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_cumsum(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=3)))
    axis = data.draw(st.integers(0, len(shape) - 1))
    reverse = data.draw(st.booleans())
    dtype = data.draw(st.sampled_from(["float32", "float64", "float16", "bool", *INTEGERS]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = rng.standard_normal((*shape[:-1], 2 * shape[-1])) * 3
    x = (np.abs(x) if dtype == "uint8" else x).astype(dtype)
    x = x[..., ::2] if data.draw(st.booleans()) else np.ascontiguousarray(x[..., : shape[-1]])
    before = x.copy()
    out = scan.cumsum(x, axis, reverse)
    kind = np.int64 if x.dtype.kind in "uib" else np.float64
    wanted = np.flip(x, axis) if reverse else x
    wanted = np.cumsum(wanted, axis=axis, dtype=kind)
    wanted = np.flip(wanted, axis) if reverse else wanted
    tol = {"float32": 1e-5, "float64": 1e-13, "float16": 5e-2}.get(dtype, 0)
    assert out.dtype == (np.int64 if x.dtype.kind in "uib" else x.dtype)
    np.testing.assert_allclose(out.astype(kind), wanted, rtol=tol, atol=10 * tol)
    np.testing.assert_array_equal(x, before)


def test_cumsum_carries_special_values(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 100)).astype(np.float32)
    x[0, 50], x[1, 3], x[2, 20], x[2, 60] = math.nan, math.inf, -math.inf, math.inf
    for reverse in (False, True):
        with np.errstate(invalid="ignore"):
            wanted = x[:, ::-1] if reverse else x
            wanted = np.cumsum(wanted.astype(np.float64), axis=1)
        out = scan.cumsum(x, 1, reverse)
        np.testing.assert_allclose(out[:, ::-1] if reverse else out, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 5, 8, 33, 1000])
def test_logsumexp_of_infinities(n: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, n)).astype(np.float32)
    x[0], x[1, n // 2], x[2, 0] = -math.inf, math.inf, math.nan
    x[3, -1], x[3, 0] = math.inf, math.nan
    x[4] += 1000
    x[5] -= 1000
    if n > 1:
        x[6, 0] = -math.inf
    out = reduce.logsumexp(x, (1,), keepdims=False)
    with np.errstate(all="ignore"):
        wanted = np.logaddexp.reduce(x.astype(np.float64), axis=1)
    np.testing.assert_allclose(out, wanted, rtol=2e-6, atol=1e-6)
    assert reduce.logsumexp(x, (1,), keepdims=True).shape == (7, 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "float16"])
def test_adding_along_an_axis(axis: int, dtype: str, rng: np.random.Generator) -> None:
    x = rng.integers(0, 9, (4, 5, 6)).astype(dtype)
    shape = [4, 5, 6]
    shape[axis] = 3
    at = rng.integers(-shape[axis], shape[axis], shape)
    value = rng.integers(0, 9, shape).astype(dtype)
    wanted = x.copy()
    for place in np.ndindex(*shape):
        to = list(place)
        to[axis] = at[place]
        wanted[tuple(to)] += value[place]
    np.testing.assert_array_equal(index.put_along_axis(x, at, value, axis, "add"), wanted)


def _drawn(data: st.DataObject, dtypes: list[str]) -> tuple[np.ndarray, int]:
    """An array that may be strided, and an axis of it."""
    shape = tuple(data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=3)))
    axis = data.draw(st.integers(0, len(shape) - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = (rng.standard_normal((*shape[:-1], 2 * shape[-1])) * 2).astype(
        data.draw(st.sampled_from(dtypes))
    )
    x[rng.random(x.shape) < 0.02] = math.nan if x.dtype.kind == "f" else 7
    x = x[..., ::2] if data.draw(st.booleans()) else np.ascontiguousarray(x[..., : shape[-1]])
    return x, axis


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_cumprod(data: st.DataObject) -> None:
    x, axis = _drawn(data, ["float32", "float64", "int64", "int32", "int8", "bool"])
    tol = {"float32": 1e-5, "float64": 1e-12}.get(x.dtype.name, 0)
    with np.errstate(all="ignore"):
        kind, out = (np.float64, x.dtype) if x.dtype.kind == "f" else (np.int64, np.dtype("i8"))
        wanted = np.cumprod(x.astype(kind), axis=axis)
        found = scan.cumprod(x, axis, False)
        assert found.dtype == out
        np.testing.assert_allclose(found, wanted.astype(out), tol)
        moved = np.moveaxis(wanted, axis, 0)
        moved[1:] = moved[:-1].copy()
        moved[:1] = 1
        np.testing.assert_allclose(scan.cumprod(x, axis, True), wanted.astype(out), tol)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_recurrence(data: st.DataObject) -> None:
    x, axis = _drawn(data, ["float32", "float64"])
    reverse = data.draw(st.booleans())
    a = np.tanh(np.nan_to_num(x)) if data.draw(st.booleans()) else np.full((), 0.5, x.dtype)
    out = scan.recurrence(a, x, axis, reverse)
    full = np.broadcast_to(a, x.shape)
    pairs = [np.moveaxis(np.flip(t, axis) if reverse else t, axis, 0) for t in (full, x)]
    state, wanted = np.zeros(pairs[1].shape[1:]), np.zeros(pairs[1].shape)
    for k, (one, more) in enumerate(zip(*pairs, strict=True)):
        state = one.astype(np.float64) * state + more
        wanted[k] = state
    wanted = np.moveaxis(wanted, 0, axis)
    wanted = np.flip(wanted, axis) if reverse else wanted
    tol = 1e-5 if x.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(out, wanted, rtol=tol, atol=tol)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_running_extremes(data: st.DataObject) -> None:
    x, axis = _drawn(data, ["float32", "float64", "float16", "int32", "int64", "int8"])
    x = np.round(x) if x.dtype.kind == "f" else x
    for largest, accumulate in ((True, np.maximum.accumulate), (False, np.minimum.accumulate)):
        values, at = scan.cummax(x, axis, largest)
        np.testing.assert_array_equal(values, accumulate(x, axis=axis))
        np.testing.assert_array_equal(np.take_along_axis(x, at, axis), values)
        places = np.moveaxis(at, axis, 0)
        lines = np.moveaxis(x, axis, 0)
        best = np.moveaxis(accumulate(x, axis=axis), axis, 0)
        for i, line in enumerate(lines):
            # The last of equal ones counts.
            same = (line == best[i]) | (line != line)
            assert np.all(places[i][same] == i)


def test_long_running_products_do_not_depend_on_chunks(rng: np.random.Generator) -> None:
    x = (1 + 0.01 * rng.standard_normal((200, 300))).astype(np.float32)
    for axis in (0, 1):
        wanted = np.cumprod(x.astype(np.float64), axis=axis)
        np.testing.assert_allclose(scan.cumprod(x, axis, False), wanted, rtol=1e-5)
        values, at = scan.cummax(x, axis, True)
        np.testing.assert_array_equal(np.take_along_axis(x, at, axis), values)
        np.testing.assert_array_equal(
            np.take_along_axis(x, at, axis), np.maximum.accumulate(x, axis=axis)
        )


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((300, 206), 1), ((300, 206), 0), ((20000, 7), 1), ((20000, 7), 0), ((9, 70, 97), 1)],
)
def test_running_sums_do_not_depend_on_threads(
    dtype: str, shape: tuple[int, ...], axis: int, rng: np.random.Generator
) -> None:
    x = rng.integers(0, 9, shape).astype(dtype)
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            # Sums of a few whole numbers are exact in any dtype.
            for reverse in (False, True):
                wanted = np.flip(np.cumsum(np.flip(x, axis) if reverse else x, axis), axis)
                wanted = wanted if reverse else np.flip(wanted, axis)
                np.testing.assert_array_equal(scan.cumsum(x, axis, reverse), wanted)
            # These factors leave products small.
            sign = np.where(x == 0, -1, 1).astype(np.int8 if dtype == "bool" else dtype)
            np.testing.assert_array_equal(scan.cumprod(sign, axis, False), np.cumprod(sign, axis))
    finally:
        threads.set_num_threads(before)


def test_running_integers_wrap_like_numpy() -> None:
    x = np.full((3, 70), 2**62 - 3)
    for axis in (0, 1):
        np.testing.assert_array_equal(scan.cumsum(x, axis, False), np.cumsum(x, axis))
        np.testing.assert_array_equal(scan.cumprod(x, axis, False), np.cumprod(x, axis))


def test_float_sums_down_columns_are_carried_in_float64() -> None:
    x = np.full((3000, 40), 0.1, np.float32)
    wanted = np.cumsum(x.astype(np.float64), 0).astype(np.float32)
    np.testing.assert_array_equal(scan.cumsum(x, 0, False), wanted)
    x[100, 3], x[200, 4] = math.nan, math.inf
    wanted = np.cumsum(x.astype(np.float64), 0).astype(np.float32)
    np.testing.assert_array_equal(scan.cumsum(x, 0, False), wanted)
