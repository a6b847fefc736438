"""Copies between arrays of any strides, and the kernels that are made of them, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import copy, layout, roll, shape
from tests.kernels import guard

DTYPES = ("float32", "float64", "float16", "int8", "bool", "int64", "complex128")


@pytest.fixture(autouse=True, params=[0, copy.SMALL], ids=["ours", "numpy"])
def small(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All sizes take our way, in many chunks; or those of numpy's way do."""
    monkeypatch.setattr(copy, "SMALL", request.param)
    monkeypatch.setattr(shape, "SMALL", request.param)
    monkeypatch.setattr(shape, "FEW", request.param)
    monkeypatch.setattr(copy, "GRAIN", 64 if request.param == 0 else copy.GRAIN)


@st.composite
def arrays(draw: Any) -> np.ndarray:
    """An array with gaps, axes in any order, some turned round or repeated."""
    ndim = draw(st.integers(0, 5))
    longest = (80, 80, 40, 12, 6, 4)[ndim]
    sizes = [draw(st.integers(0, longest) | st.just(1)) for _ in range(ndim)]
    steps = [draw(st.sampled_from([1, 1, 2, -1])) for _ in range(ndim)]
    starts = [draw(st.integers(0, 1)) for _ in range(ndim)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    whole = rng.integers(0, 100, [2 * n + 1 for n in sizes]).astype(draw(st.sampled_from(DTYPES)))
    index = tuple(slice(start, start + n) for start, n in zip(starts, sizes, strict=True))
    x = np.asarray(np.asarray(whole)[tuple(slice(None, None, s) for s in steps)][index])
    sizes = list(x.shape)
    if draw(st.booleans()):
        x = x.copy()
    if ndim and sizes[0] and draw(st.integers(0, 4)) == 0:
        x = np.broadcast_to(x[:1], sizes)
    return x.transpose(draw(st.permutations(range(ndim))))


@settings(max_examples=150, deadline=None)
@given(arrays(), st.data())
def test_a_copy_is_equal(x: np.ndarray, data: Any) -> None:
    order = data.draw(st.permutations(range(x.ndim)))
    sizes = [x.shape[a] for a in order]
    made = np.zeros(sizes, x.dtype).transpose(np.argsort(order).astype(int))
    copy.place(made, x)
    np.testing.assert_array_equal(made, x)
    dense = copy.contiguous(x)
    assert dense.flags.c_contiguous
    np.testing.assert_array_equal(dense, x)


@settings(max_examples=150, deadline=None)
@given(arrays(), st.data())
def test_padding(x: np.ndarray, data: Any) -> None:
    pairs = [(data.draw(st.integers(-2, 3)), data.draw(st.integers(-2, 3))) for _ in x.shape]
    pairs = [
        (max(low, -n), max(high, min(0, max(low, -n)) * -1 - n))
        for n, (low, high) in zip(x.shape, pairs, strict=True)
    ]
    value = data.draw(st.integers(0, 1))
    out = shape.pad(x, tuple(pairs), "constant", float(value))
    cut = tuple(
        slice(max(0, -low), n - max(0, -high))
        for n, (low, high) in zip(x.shape, pairs, strict=True)
    )
    widths = [(max(0, low), max(0, high)) for low, high in pairs]
    wanted = np.pad(x[cut], widths, constant_values=value) if x.ndim else x
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(out, wanted)


@settings(max_examples=100, deadline=None)
@given(arrays(), st.data())
def test_joining_and_laying_flat(x: np.ndarray, data: Any) -> None:
    np.testing.assert_array_equal(shape.reshape(x, (x.size,)), x.reshape(-1))
    if x.ndim:
        axis = data.draw(st.integers(0, x.ndim - 1))
        parts = [x, x.copy(), x[(*[slice(None)] * axis, slice(0, 1))]]
        out = shape.concat(parts, axis)
        np.testing.assert_array_equal(out, np.concatenate(parts, axis))


@settings(max_examples=100, deadline=None)
@given(arrays(), st.data())
def test_a_gradient_goes_where_an_index_selected(x: np.ndarray, data: Any) -> None:
    ends = st.none() | st.integers(-6, 6)
    steps = st.sampled_from([None, 1, 1, 2, -1])
    index: list[Any] = []
    for n in x.shape[: data.draw(st.integers(0, x.ndim))]:
        kind = data.draw(st.sampled_from(["slice", "slice", "int", "new"]))
        if kind == "new":
            index.append(None)
        if kind == "int" and n:
            index.append(data.draw(st.integers(-n, n - 1)))
        else:
            index.append(slice(data.draw(ends), data.draw(ends), data.draw(steps)))
    g = x[tuple(index)] if index else x
    wanted = np.zeros(x.shape, x.dtype)
    wanted[tuple(index)] = g
    np.testing.assert_array_equal(shape.spread(np.asarray(g), tuple(index), x.shape), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_last_and_back(dtype: str) -> None:
    x = np.arange(2 * 3 * 21 * 70).reshape(2, 3, 21, 70).astype(dtype)
    last = layout.channels_last(x)
    assert layout.is_channels_last(last) and not last.flags.c_contiguous
    np.testing.assert_array_equal(last, x)
    back = layout.planes(last)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, x)
    padded = shape.pad(last, ((0, 0), (0, 0), (1, 2), (3, 0)), "constant", 1.0)
    assert layout.is_channels_last(padded)
    assert layout.is_channels_last(shape.concat([last, padded[:, :, 1:-2, 3:]], 0)) is False
    assert layout.is_channels_last(shape.concat([last, last], 1))


@pytest.mark.skipif(not guard.AVAILABLE, reason="no mprotect on this system")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("sizes", [(3, 5, 7), (9, 33, 1), (1, 31, 65), (70, 2, 3)])
def test_nothing_else_is_touched(sizes: tuple[int, ...], side: str) -> None:
    for dtype in DTYPES:
        for order in ((0, 1, 2), (0, 2, 1), (2, 1, 0)):
            x = guard.guarded(np.ones(sizes, dtype).transpose(order), side)
            with guard.guarded_results(side):
                assert copy.contiguous(x).all()
                shape.pad(x, ((1, 0), (0, 2), (1, 1)), "constant", 0.0)
                shape.spread(x, (slice(1, 1 + x.shape[0]),), (x.shape[0] + 2, *x.shape[1:]))


@given(st.integers(1, 40), st.integers(0, 2), st.lists(st.integers(0, 9), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_only_what_lies_one_after_the_other_is_joined_without_a_copy(rows, axis, cuts):
    x = np.arange(rows * 40 * 40, dtype=np.float32).reshape(rows, 40, 40)
    parts = np.split(x, sorted(min(c, x.shape[axis]) for c in cuts), axis)
    for some in (parts, parts[::-1], [*parts, parts[0]], parts[1:], [parts[0], parts[-1].copy()]):
        joined = shape.concat(some, axis)
        np.testing.assert_array_equal(joined, np.concatenate(some, axis))
    big = [p for p in parts if p.size]
    if len(big) > 1 and big[0].nbytes >= copy.SMALL:
        assert np.shares_memory(shape.concat(big, axis), x)


@settings(max_examples=100, deadline=None)
@given(arrays(), st.data())
def test_parts_of_rows_change_places(x: np.ndarray, data: Any) -> None:
    if x.ndim:
        axis = data.draw(st.integers(0, x.ndim - 1))
        cut = data.draw(st.integers(0, x.shape[axis]))
        np.testing.assert_array_equal(roll.rolled(x, cut, axis), np.roll(x, -cut, axis))


def test_long_rows_change_places() -> None:
    for sizes, axis in (
        ((300, 500), 0), ((300, 500), 1), ((150_000,), 0), ((3, 500, 40), 1), ((256, 3), 1),
        ((257, 3), 1), ((50_000, 3), 1),
    ):  # fmt: skip
        x = np.arange(np.prod(sizes), dtype=np.float32).reshape(sizes)
        for cut in (1, sizes[axis] // 2, sizes[axis] - 1):
            np.testing.assert_array_equal(roll.rolled(x, cut, axis), np.roll(x, -cut, axis))


@pytest.mark.parametrize("count", [40_000, 49_999, 60_000, 98_304])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_long_runs_are_cut(count: int, dtype: str) -> None:
    x = np.arange(2 * count).astype(dtype).reshape(2, count)
    np.testing.assert_array_equal(shape.concat([x[1], x[0]], 0), np.concatenate([x[1], x[0]]))
    np.testing.assert_array_equal(copy.copied(x[:, 1:]), x[:, 1:])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "int64"])
@pytest.mark.parametrize(
    "count", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 255, 257]
)
def test_short_rows_leave_what_is_beside_them(count: int, dtype: str) -> None:
    x = np.random.default_rng(count).integers(0, 99, (9000, count + 3)).astype(dtype)
    target = np.full((9000, count + 2), 100, dtype)
    copy.place(target[:, 1:-1], x[:, 2:-1])
    np.testing.assert_array_equal(target[:, 1:-1], x[:, 2:-1])
    assert np.all(target[:, :: count + 1] == 100)


@pytest.mark.parametrize("count", [256, 257, 300, 2047, 5000, 20000])
def test_runs_near_their_own_place_in_a_page(count: int) -> None:
    pages = np.zeros(60_000, np.uint8)
    start = -pages.ctypes.data % 4096
    source = pages[start : start + count]
    source[:] = np.random.default_rng(count).integers(0, 255, count)
    for near in (1, 4, 31, 63, 64, 4095):
        begin = start + 28672 + near
        pages[begin - 64 : begin + count + 64] = 255
        copy.place(pages[begin : begin + count], source)
        np.testing.assert_array_equal(pages[begin : begin + count], source)
        assert np.all(pages[begin - 64 : begin] == 255)
        assert np.all(pages[begin + count : begin + count + 64] == 255)
