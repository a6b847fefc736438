"""Gather, scatter, coordinates and padding by its own elements, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import index, nonzero, pads, places
from dyn.kernels.runtime import threads
from tests.kernels import guard

DTYPES = ("float32", "float64", "float16", "int8", "int32", "int64", "bool", "complex128")


@pytest.fixture(autouse=True, params=[64, 65536], ids=["chunks", "whole"])
def grain(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays are cut into many chunks, or are done in one; plans are made anew."""
    for module in (index, nonzero, pads, places):
        monkeypatch.setattr(module, "GRAIN", request.param)
        for function in vars(module).values():
            getattr(function, "cache_clear", int)()


def numbers(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    """Small whole numbers, so that sums are exact in every order."""
    return rng.integers(-9, 9, shape).astype(dtype)


@st.composite
def cases(draw: Any) -> tuple[Any, ...]:
    """(generator, array of any layout, axis, number of indices)."""
    ndim = draw(st.integers(1, 4))
    sizes = [draw(st.integers(1, (90, 40, 12, 6)[ndim - 1])) for _ in range(ndim)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = numbers(rng, sizes, draw(st.sampled_from(DTYPES)))
    x = x.transpose(draw(st.permutations(range(ndim))))
    return rng, x, draw(st.integers(0, ndim - 1)), draw(st.integers(0, 50))


@settings(max_examples=80, deadline=None)
@given(cases())
def test_slices_along_an_axis(case: Any) -> None:
    rng, x, axis, count = case
    at = rng.integers(-x.shape[axis], x.shape[axis], (count, 2))
    np.testing.assert_array_equal(index.gather(x, at, axis), np.take(x, at, axis))
    g = numbers(rng, (*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
    wanted = np.zeros(x.shape, x.dtype)
    np.add.at(np.moveaxis(wanted, axis, 0), at[:, 0], np.moveaxis(g, axis, 0))
    np.testing.assert_array_equal(index.gather_grad(g, at[:, 0], axis, x.shape), wanted)


@settings(max_examples=80, deadline=None)
@given(cases())
def test_elements_along_an_axis(case: Any) -> None:
    rng, x, axis, count = case
    sizes = [count if a == axis else n for a, n in enumerate(x.shape)]
    at = rng.integers(-x.shape[axis], x.shape[axis], sizes)
    taken = index.take_along_axis(x, at, axis)
    np.testing.assert_array_equal(taken, np.take_along_axis(x, at, axis))
    value = numbers(rng, sizes, x.dtype)
    where = [*np.ogrid[tuple(map(slice, sizes))]]
    where[axis] = at
    combined = {"none": None, "add": np.add, "max": np.maximum, "min": np.minimum}
    for reduction, combine in combined.items():
        wanted = x.copy()
        if combine is None:
            wanted[tuple(where)] = value
        else:
            combine.at(wanted, tuple(where), value)
        found = index.put_along_axis(x, at, value, axis, reduction)
        np.testing.assert_array_equal(found, wanted)


@settings(max_examples=80, deadline=None)
@given(cases())
def test_coordinates(case: Any) -> None:
    rng, x, axis, count = case
    columns = [rng.integers(-n, n, count) for n in x.shape[: axis + 1]]
    at = np.stack(columns, -1)
    np.testing.assert_array_equal(index.gather_nd(x, at), x[tuple(columns)])
    narrow = [c.astype(np.int32) if i % 2 else c for i, c in enumerate(columns)]
    np.testing.assert_array_equal(places.take(x, *narrow), x[tuple(columns)])
    value = numbers(rng, (count, *x.shape[axis + 1 :]), x.dtype)
    for reduction in ("none", "add"):
        wanted = x.copy()
        if reduction == "add":
            np.add.at(wanted, tuple(columns), value)
        else:
            wanted[tuple(columns)] = value
        np.testing.assert_array_equal(index.scatter_nd(x, at, value, reduction), wanted)
        found = places.put(x, value, *narrow, reduction=reduction)
        np.testing.assert_array_equal(found, wanted)
    wanted = np.zeros(x.shape, x.dtype)
    np.add.at(wanted, tuple(columns), value)
    np.testing.assert_array_equal(places.take_grad(value, narrow, x.shape), wanted)


@pytest.mark.parametrize(
    "shape", [(70_000,), (300, 301), (40, 50, 61), (2, 3, 70, 80), (20_000, 1)]
)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_coordinates_of_what_holds(shape: Any, share: float) -> None:
    x = np.random.default_rng(1).random(shape) < share
    for given_ in (x, x.astype(np.float32), np.asfortranarray(x)):
        np.testing.assert_array_equal(nonzero.nonzero(given_), np.argwhere(x))


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from(sorted(pads.NAMES)), st.data())
def test_padding_by_its_own_elements(case: Any, mode: str, data: Any) -> None:
    rng, x, _, _ = case
    amounts = []
    for n in x.shape:
        most = min(n - 1, 5)
        pair = st.tuples(*[st.integers(-1 if n > 6 else 0, most)] * 2)
        amounts.append(data.draw(st.just((0, 0)) | pair))
    kept = tuple(
        slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(x.shape, amounts, strict=True)
    )
    added = [(max(0, a), max(0, b)) for a, b in amounts]
    if any(max(pair) > x[kept].shape[axis] - 1 for axis, pair in enumerate(added)):
        return
    word = pads.NAMES[mode]
    wanted = np.pad(x[kept], added, mode=word)  # type: ignore[call-overload]
    np.testing.assert_array_equal(pads.pad(x, tuple(amounts), mode), wanted)
    numbered = np.arange(x.size).reshape(x.shape)[kept]
    places = np.pad(numbered, added, mode=word)  # type: ignore[call-overload]
    g = numbers(rng, wanted.shape, np.float32)
    total = np.bincount(places.reshape(-1), g.reshape(-1), x.size).reshape(x.shape)
    np.testing.assert_array_equal(pads.pad_grad(g, tuple(amounts), mode, x.shape), total)


@pytest.mark.parametrize("rows", [1, 170, 171, 513, 5000])
@pytest.mark.parametrize("count", [1, 3, 600])
def test_many_short_rows_of_places(rows: int, count: int) -> None:
    rng = np.random.default_rng(rows)
    x, value = numbers(rng, (rows, 7), np.float32), numbers(rng, (rows, count), np.float32)
    at = rng.integers(-7, 7, (rows, count))
    np.testing.assert_array_equal(index.take_along_axis(x, at, 1), np.take_along_axis(x, at, 1))
    wanted = x.astype(np.float64)
    np.add.at(wanted, (np.arange(rows)[:, None], at), value)
    found = index.put_along_axis(x, at, value, 1, "add")
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)
    at[rows // 2, count // 2] = 7
    for call in (
        lambda: index.take_along_axis(x, at, 1),
        lambda: index.put_along_axis(x, at, value, 1, "none"),
    ):
        with pytest.raises(IndexError):
            call()


@pytest.mark.parametrize("bad", [5, -6, 2**62, -(2**63)])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, at: index.gather(x, at, 1),
        lambda x, at: index.take_along_axis(x, at[None].repeat(4, 0), 1),
        lambda x, at: index.put_along_axis(x, at[None].repeat(4, 0), x[:, :2], 1, "none"),
        lambda x, at: index.put_along_axis(x, at[None].repeat(4, 0), x[:, :2], 1, "add"),
        lambda x, at: index.gather_grad(x[:, :2], at, 1, (4, 5)),
        lambda x, at: index.gather_nd(x.T, at[:, None]),
        lambda x, at: index.scatter_nd(x.T, at[:, None], x.T[:2], "none"),
        lambda x, at: places.take(x, at * 0, at),
        lambda x, at: places.take(x.T, at),
        lambda x, at: places.put(x, x[0, :2], at * 0, at, reduction="add"),
        lambda x, at: places.put(x.T, x.T[:2], at, reduction="none"),
        lambda x, at: places.take(x[:0], at[:0], at[:0]) + places.take(x, at[1:] * 0, at[1:]),
    ],
)
def test_an_index_outside_is_named(call: Callable[..., Any], bad: int) -> None:
    with pytest.raises(IndexError, match=rf"{bad} is out of range for an axis of size 5"):
        call(np.ones((4, 5), np.float32), np.array([0, bad]))


def test_an_index_for_each_of_many_axes() -> None:
    shape, rng = (1,) * 38 + (3, 4), np.random.default_rng(0)
    x = rng.standard_normal(shape)
    at = [np.zeros(5, np.int64)] * 38 + [rng.integers(-n, n, 5) for n in shape[38:]]
    np.testing.assert_array_equal(places.take(x, *at), x[tuple(at)])
    wanted = x.copy()
    np.add.at(wanted, tuple(at), 1.0)
    np.testing.assert_allclose(places.put(x, np.ones(5), *at, reduction="add"), wanted)
    with pytest.raises(IndexError, match="axis 39: 4 is out of range"):
        places.take(x, *at[:-1], np.full(5, 4))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 300), np.float32)
    at = rng.integers(0, 200, 500)
    g = rng.standard_normal((500, 300), np.float32)
    along = rng.integers(0, 300, x.shape)
    image = rng.standard_normal((4, 8, 40, 44), np.float32)
    amounts = ((0, 0), (0, 0), (2, 3), (4, 1))

    def results() -> list[np.ndarray]:
        return [
            index.gather_grad(g, at, 0, x.shape),
            index.put_along_axis(x, along, x, 1, "add"),
            index.put_along_axis(x, along, x, 1, "none"),
            index.put_along_axis(x, along % 200, x, 0, "add"),
            index.scatter_nd(x, at[:, None], g, "add"),
            index.scatter_nd(x, at[:, None], g, "none"),
            places.take(x, along % 200, along),
            places.put(x, x, along % 200, along, reduction="add"),
            pads.pad_grad(pads.pad(image, amounts, "reflect"), amounts, "reflect", image.shape),
        ]

    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            found.append(results())
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not guard.AVAILABLE, reason="needs pages that may not be touched")
@pytest.mark.parametrize("side", ["start", "end"])
def test_nothing_outside_is_touched(side: str) -> None:
    rng = np.random.default_rng(3)
    x = guard.guarded(rng.standard_normal((7, 9, 11), np.float32), side)
    at = guard.guarded(rng.integers(-9, 9, 13), side)
    along = guard.guarded(rng.integers(-9, 9, (7, 4, 11)), side)
    amounts = ((0, 0), (2, 3), (4, 1))
    with guard.guarded_results(side):
        index.gather(x, at, 1)
        index.gather_grad(index.gather(x, at, 1), at, 1, x.shape)
        places.put(x, places.take(x, at % 7, at), at % 7, at, reduction="none")
        index.put_along_axis(x, along, index.take_along_axis(x, along, 1), 1, "add")
        pads.pad_grad(pads.pad(x, amounts, "reflect"), amounts, "reflect", x.shape)
        nonzero.nonzero(guard.guarded(rng.random((150, 150)) < 0.5, side))
