"""Reductions: every fold over any axes and layout, long sums, threads, special values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import reduce
from dyn.kernels.reduce import short
from dyn.kernels.runtime import threads
from dyn.kernels.vector.lanes import LANES

NAMES = ("sum", "mean", "max", "min", "prod", "var", "norm", "logsumexp")


def call(name: str, x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    more = (1,) if name == "var" else ()
    return getattr(reduce, name)(x, axes, keepdims, *more)


def exact(name: str, x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """The same in float64."""
    x = x.astype(np.float64)
    if name == "var":
        return x.var(axis=axes, keepdims=keepdims, ddof=1)
    if name == "norm":
        return np.sqrt((x * x).sum(axis=axes, keepdims=keepdims))
    if name == "logsumexp":
        top = x.max(axis=axes, keepdims=True)
        out = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
        return out if keepdims else np.squeeze(out, axes)
    return getattr(np, name)(x, axis=axes, keepdims=keepdims)


def close(out: np.ndarray, wanted: Any, x: np.ndarray, tol: float = 1e-6) -> None:
    """float32 of the right value: a few numbers at a time are added in float32, then in float64.

    So only the last digit is open, beside the roundings of those groups, which partly cancel.
    """
    assert out.dtype == x.dtype and out.shape == np.shape(wanted)
    groups = x.size / max(out.size, 1) / 8
    scale = np.abs(wanted) + 0.3 * np.abs(x).max() * np.sqrt(1 + groups)
    assert np.max(np.abs(out - wanted) / scale, initial=0) < tol


SHAPES = [
    ((70000,), (0,)),
    ((200001,), (0,)),
    ((300, 500), (1,)),
    ((300, 500), (0,)),
    ((3, 100000), (1,)),
    ((100000, 3), (0,)),
    ((70001, 10), (0,)),
    ((5000, 2), (1,)),
    ((2, 50000), (0,)),
    ((40, 30, 50), (1,)),
    ((40, 30, 50), (0, 2)),
    ((40, 30, 50), (0, 1, 2)),
    ((8, 16, 20, 30), (0, 2, 3)),
    ((8, 16, 20, 30), (1,)),
    ((4, 5, 6, 7, 8, 9), (1, 3, 5)),
    ((1, 5000, 1, 4), (0, 1)),
    ((6000, 130), (0,)),
    ((100, 8), (0,)),
    ((2000, 3, 8), (1,)),
    ((700, 2, 2), (1,)),
    ((600, 5, 9), (1,)),
    ((90, 16, 31), (1,)),
    ((90, 70, 32), (1,)),
    ((3, 900, 4, 6), (0, 2)),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
def test_large_arrays(
    name: str, shape: tuple[int, ...], axes: tuple[int, ...], rng: np.random.Generator
) -> None:
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    if name == "prod":
        x = np.exp(x / 100).astype(np.float32)
    before = x.copy()
    for keepdims in (False, True):
        close(call(name, x, axes, keepdims), exact(name, x, axes, keepdims), x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    ("laid", "axes"),
    [
        (lambda x: x.reshape(-1, 4)[:, ::2], (0,)),
        (lambda x: x.reshape(4, -1)[::2, ::-1], (1,)),
        (lambda x: np.broadcast_to(x[:1], (200_000, 3)), (0,)),
        (lambda x: x.reshape(2, -1, 2, 2), (1, 3)),
        (lambda x: x.reshape(2, 2, -1, 4)[:, :, 1:, :3], (0, 2)),
    ],
)
def test_what_is_not_dense(name: str, keepdims: bool, laid: Any, axes: tuple[int, ...]) -> None:
    # Added one after the other, equal numbers lose more and more: 0.1 would be off in the third
    # digit of their mean.
    equal = 1.00001 if name == "prod" else 0.1
    x = laid(np.full(400_000, equal, np.float32))
    found, wanted = call(name, x, axes, keepdims), exact(name, x, axes, keepdims)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=4e-6, atol=1e-9)


@pytest.mark.parametrize("name", ("sum", "max", "var"))
@pytest.mark.parametrize("axes", [(1,), (0, 2, 3), (3,), (0, 1, 2, 3)], ids=str)
def test_channels_last(name: str, axes: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 30, 20, 7)).astype(np.float32).transpose(0, 3, 1, 2)
    close(call(name, x, axes), exact(name, x, axes), x)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_axes_of_any_layout(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1)))))
    order = data.draw(st.permutations(range(len(shape))))
    step = data.draw(st.sampled_from([1, 1, 2, -1]))
    name = data.draw(st.sampled_from(NAMES[:4]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    back = [int(i) for i in np.argsort(order)]
    wide = [shape[a] for a in order]
    wide[-1] *= abs(step)
    x = rng.standard_normal(wide).astype(np.float32)[..., ::step].transpose(back)
    # numpy, which does what is not dense, sums in float32.
    close(call(name, x, axes), exact(name, x, axes), x, 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_short_rows_are_folded_side_by_side(name: str, rng: np.random.Generator) -> None:
    for count in (*range(2, 20), 31, 64, 95, short.SHORT, short.SHORT + 1):
        for rows in (LANES - 1, LANES, 2 * LANES + 3, 40 * LANES + 1):
            x = rng.uniform(0.9, 1.1, (rows, count)).astype(np.float32)
            close(call(name, x, (1,)), exact(name, x, (1,)), x)
            twice = x.reshape(1, rows, count).repeat(2, 0)
            close(call(name, twice, (0, 2)), exact(name, twice, (0, 2)), twice)


@pytest.mark.parametrize("name", ("sum", "mean", "max", "min", "prod"))
def test_nan_and_infinity_stay_in_their_short_row(name: str) -> None:
    x = np.ones((3 * LANES, 11), np.float32)
    x[1, 10], x[5, 0], x[LANES + 2, 8] = np.nan, np.inf, -np.inf
    out = call(name, x, (1,))
    np.testing.assert_array_equal(out, exact(name, x, (1,)).astype(np.float32))


def test_a_long_sum_keeps_its_digits() -> None:
    x = np.full(1 << 22, 0.1, np.float32)
    wanted = float(np.float32(0.1)) * len(x)
    assert reduce.sum(x, (0,), keepdims=False) == np.float32(wanted)
    assert reduce.mean(x.reshape(2, -1), (0, 1), keepdims=False) == np.float32(0.1)
    away = np.tile(np.array([1e4, 1e4 + 1], np.float32), 1 << 17)
    assert abs(reduce.var(away, (0,), keepdims=False, correction=0) - 0.25) < 1e-6


def test_results_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    x = rng.standard_normal((37, 11, 800)).astype(np.float32)
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            found.append(
                [call(name, x, axes) for name in NAMES for axes in ((0,), (2,), (0, 2), (0, 1, 2))]
            )
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_special_values(axes: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.standard_normal((120, 130)).astype(np.float32)
    x[3, 7], x[100, 9], x[50, 70] = math.nan, math.inf, -math.inf
    for name in ("sum", "max", "min", "mean"):
        with np.errstate(all="ignore"):
            out, wanted = call(name, x, axes), exact(name, x, axes)
        np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=1e-5)
    infinite = np.full((100, 100), -math.inf, np.float32)
    with np.errstate(all="ignore"):
        assert np.all(call("logsumexp", infinite, axes) == -math.inf)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "bool"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_other_dtypes(dtype: str, axes: tuple[int, ...], rng: np.random.Generator) -> None:
    x = (rng.standard_normal((90, 80)) * 3).astype(dtype)
    out = reduce.sum(x, axes, keepdims=False)
    if x.dtype.kind in "biu":
        assert out.dtype == np.int64
        np.testing.assert_array_equal(out, x.sum(axis=axes, dtype=np.int64))
    else:
        assert out.dtype == x.dtype
        tol = 1e-12 if dtype == "float64" else 1e-2
        np.testing.assert_allclose(out, x.astype(np.float64).sum(axis=axes), rtol=tol, atol=tol)
    np.testing.assert_array_equal(reduce.max(x, axes, keepdims=False), x.max(axis=axes))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_no_elements(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    axes = tuple(range(len(shape)))
    assert reduce.sum(x, axes, keepdims=False) == 0
    assert reduce.prod(x, axes, keepdims=False) == 1
    assert reduce.all(x, axes, keepdims=False) and not reduce.any(x, axes, keepdims=False)
    with pytest.raises(ValueError, match="zero-size"):
        reduce.max(x, axes, keepdims=False)


@pytest.mark.parametrize(
    ("shape", "target"),
    [((64, 300), (300,)), ((64, 300), (64, 1)), ((8, 6, 50, 9), (6, 1, 1)), ((500, 20), ())],
)
def test_sum_to(shape: tuple[int, ...], target: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    out = reduce.sum_to(x, target)
    wide = np.broadcast_to(np.zeros(target), shape)
    # The sum against any test vector of the target's shape must be that of the spread vector.
    probe = rng.standard_normal(target)
    assert out.shape == target and wide.shape == shape
    np.testing.assert_allclose((out * probe).sum(), (x * probe).sum(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape, axis", [((2, 5000), 0), ((40, 2, 90), 1), ((9, 2, 8, 70), 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_two_rows_are_added_as_they_are_folded(
    shape: Any, axis: int, keepdims: bool, rng: np.random.Generator
) -> None:
    x = (rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 9, shape)).astype(np.float32)
    x.flat[:4] = np.nan, np.inf, -np.inf, -0.0
    with np.errstate(invalid="ignore"):
        wanted = x.astype(np.float64).sum(axis, keepdims=keepdims).astype(np.float32)
        for laid in (x, np.asfortranarray(x)):
            np.testing.assert_array_equal(call("sum", laid, (axis,), keepdims), wanted)
