"""Reductions of float64, integers and truth values: every fold over any axes and layout, the error
of long sums, threads, special values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import reduce
from dyn.kernels.reduce import plain
from dyn.kernels.runtime import threads

FOLDS = ("sum", "prod", "max", "min", "any", "all")
STATISTICS = ("mean", "norm", "var")
DTYPES = ("float64", "int64", "int32", "uint8", "bool")


@pytest.fixture
def thread_counts() -> Iterator[tuple[int, ...]]:
    """Numbers of threads to try; the number from before comes back."""
    before = threads.get_num_threads()
    yield 1, 2, 4
    threads.set_num_threads(before)


def call(name: str, x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    more = (1,) if name == "var" else ()
    return getattr(reduce, name)(x, axes, keepdims, *more)


def by_numpy(name: str, x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    with np.errstate(all="ignore"):
        if name == "norm":
            return np.sqrt((x * x).sum(axes, keepdims=keepdims))
        if name == "var":
            return x.var(axes, keepdims=keepdims, ddof=1)
        more = {"dtype": np.int64} if name in ("sum", "prod") and x.dtype.kind in "biu" else {}
        return getattr(np, name)(x, axis=axes, keepdims=keepdims, **more)


def names_of(dtype: str) -> tuple[str, ...]:
    return FOLDS + STATISTICS if dtype == "float64" else FOLDS


def drawn(name: str, dtype: str, shape: Any, rng: np.random.Generator) -> np.ndarray:
    """Numbers of which neither a product vanishes nor a truth is plain."""
    if dtype == "float64":
        x = rng.standard_normal(shape)
        return np.exp(x / 100) if name == "prod" else x
    low, high = (0, 2) if dtype == "bool" else (0, 200) if dtype == "uint8" else (-9, 10)
    if name in ("any", "all"):
        return (rng.random(shape) < (0.05 if name == "any" else 0.95)).astype(dtype)
    return rng.integers(low, high, shape).astype(dtype)


def same(found: np.ndarray, wanted: Any) -> None:
    assert found.dtype == wanted.dtype and found.shape == np.shape(wanted)
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    else:
        np.testing.assert_array_equal(found, wanted)


SHAPES = [
    ((100001,), (0,)),
    ((400, 206), (1,)),
    ((400, 206), (0,)),
    ((9000, 7), (1,)),
    ((9001, 7), (0,)),
    ((5, 40000), (1,)),
    ((5, 40000), (0,)),
    ((3, 1200), (0, 1)),
    ((64, 30, 50), (1,)),
    ((64, 30, 50), (0, 2)),
    ((4, 5, 6, 7, 8), (1, 3)),
    ((4, 5, 6, 7, 8), (0, 2, 4)),
    ((1, 5000, 1, 4), (0, 1)),
    ((1200, 1), (1,)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
def test_large_arrays(
    dtype: str, shape: tuple[int, ...], axes: tuple[int, ...], rng: np.random.Generator
) -> None:
    for name in names_of(dtype):
        x = drawn(name, dtype, shape, rng)
        before = x.copy()
        if name != "var":
            assert plain.reduced(name, x, axes) is not None
        if name == "var" and by_numpy("mean", np.ones(shape), axes).size == x.size:
            continue  # of one number there is no variance
        for keepdims in (False, True):
            same(call(name, x, axes, keepdims), by_numpy(name, x, axes, keepdims))
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_axes_of_any_layout(dtype: str, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1)))))
    order = data.draw(st.permutations(range(len(shape))))
    step = data.draw(st.sampled_from([1, 1, 2, -1]))
    name = data.draw(st.sampled_from(FOLDS))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    wide = [shape[a] for a in order]
    wide[-1] *= abs(step)
    wide[0] *= 4
    x = drawn(name, dtype, wide, rng)[..., ::step].transpose([int(i) for i in np.argsort(order)])
    same(call(name, x, axes), by_numpy(name, x, axes))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 15, 16, 17, 127, 128, 129, 1000, 8193])
def test_rows_of_any_length(count: int, rng: np.random.Generator) -> None:
    rows = 2 * plain.MANY // max(count, 1) + 1
    for dtype in DTYPES:
        for name in ("sum", "prod", "any", "all") if count == 0 else FOLDS:
            x = drawn(name, dtype, (rows, count), rng)
            same(call(name, x, (1,)), by_numpy(name, x, (1,)))
            same(call(name, x.T, (0,)), by_numpy(name, x.T, (0,)))
            turned = np.ascontiguousarray(x.T)
            same(call(name, turned, (0,)), by_numpy(name, turned, (0,)))


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
def test_results_do_not_depend_on_the_number_of_threads(
    dtype: str, thread_counts: tuple[int, ...], rng: np.random.Generator
) -> None:
    for name in names_of(dtype):
        x = drawn(name, dtype, (37, 11, 800), rng)
        for axes in ((0,), (1,), (2,), (0, 2), (0, 1, 2)):
            found = []
            for count in thread_counts:
                threads.set_num_threads(count)
                found.append(call(name, x, axes))
            for other in found[1:]:
                np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize(
    ("shape", "axes"), [((1 << 20,), (0,)), ((4, 1 << 17), (1,)), ((1 << 17, 4), (0,))]
)
def test_long_sums_are_no_worse_than_those_of_numpy(shape: Any, axes: Any) -> None:
    # Tenths lose something at every addition: one after the other the 10th digit.
    x = np.full(shape, 0.1)
    wanted = math.fsum([0.1] * shape[axes[0]])
    ours = np.abs(call("sum", x, axes) - wanted).max()
    rows = np.moveaxis(x, axes[0], -1).copy()
    assert ours <= max(np.abs(rows.sum(-1) - wanted).max(), 4 * np.spacing(wanted))
    np.testing.assert_allclose(call("mean", x, axes), 0.1, rtol=1e-15)


def test_random_sums_are_no_worse_than_those_of_numpy(rng: np.random.Generator) -> None:
    ours, theirs = 0.0, 0.0
    for _ in range(20):
        x = rng.standard_normal((40, 5000)) * 10.0 ** rng.integers(-6, 6, (40, 5000))
        for row, found, other in zip(x, call("sum", x, (1,)), x.sum(1), strict=True):
            wanted = math.fsum(row)
            ours, theirs = ours + abs(found - wanted), theirs + abs(other - wanted)
    assert ours < 1.1 * theirs


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_special_values(axes: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.standard_normal((120, 130))
    x[3, 7], x[100, 9], x[50, 70], x[60, 70] = math.nan, math.inf, -math.inf, math.inf
    x[7, 11] = np.copysign(math.nan, -1)
    x[:, 128], x[119] = -math.inf, math.inf
    for name in ("sum", "max", "min", "mean", "prod", "any", "all"):
        with np.errstate(all="ignore"):
            found = call(name, x, axes)
        np.testing.assert_allclose(found, by_numpy(name, x, axes), rtol=1e-11, atol=1e-12)


def test_integers_wrap_like_numpy() -> None:
    x = np.full((50, 60), 2**62 - 3)
    for axes in ((0,), (1,), (0, 1)):
        for name in ("sum", "prod"):
            same(call(name, x, axes), by_numpy(name, x, axes))
    # int32 is summed as int64.
    assert call("sum", np.full(5000, 2**31 - 1, np.int32), (0,)) == 5000 * (2**31 - 1)


@pytest.mark.parametrize("dtype", [*DTYPES, "float32"])
def test_truth_is_found_anywhere(dtype: str) -> None:
    for at in (0, 8191, 8192, 50000, 99999):
        x = np.zeros(100000, dtype)
        x[at] = 1
        assert call("any", x, (0,)) and not call("all", x, (0,))
        assert call("all", x == 0, (0,)) == np.False_ and call("any", x == 0, (0,))
        x[at] = 0
        assert not call("any", x, (0,)) and call("all", x == 0, (0,))


@pytest.mark.parametrize("rows", [4093, 4094, 4095, 4096])
def test_special_values_stay_in_their_short_row(rows: int, rng: np.random.Generator) -> None:
    x = rng.choice(
        [0.0, -0.0, 1.0, np.nan, np.inf, -np.inf], (rows, 5), p=[0.3, 0.3, 0.1, 0.1, 0.1, 0.1]
    )
    for name in ("any", "all", "max", "min"):
        same(call(name, x, (1,)), by_numpy(name, x, (1,)))
