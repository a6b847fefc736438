"""Positions of extremes against numpy's, NaN included, in every memory order."""

import itertools

import numpy as np
import pytest

from dyn.kernels.extremum import argmax, argmin, extreme
from dyn.kernels.runtime import threads


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("shape", [(3, 37, 5, 41), (2, 64, 70, 3), (1, 300, 1, 77)])
@pytest.mark.parametrize("seed", range(3))
def test_against_numpy(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    # Few values, so that there are ties: the first one counts.
    dense = rng.integers(-4, 5, shape).astype(dtype)
    if dtype != "i4" and seed:
        dense[rng.random(shape) < 0.01] = np.nan
        dense[rng.random(shape) < 0.01] = np.inf
    for order in itertools.permutations(range(4)):
        x = dense.transpose(order)
        for axis, keepdims in itertools.product(range(4), (False, True)):
            for ours, theirs in ((argmax, np.argmax), (argmin, np.argmin)):
                got = ours(x, axis, keepdims=keepdims)
                assert got.dtype == np.int64
                np.testing.assert_array_equal(got, theirs(x, axis, keepdims=keepdims))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1", "?", "f2"])
@pytest.mark.parametrize("shape", [(3, 1), (3, 7), (2, 127), (2, 128), (3, 10000), (1000, 300)])
@pytest.mark.parametrize("seed", range(3))
def test_values_and_places(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 1 + 30 * seed, shape).astype(dtype)
    if seed and x.dtype.kind == "f":
        x[rng.random(shape) < 0.02] = np.nan
    if x.dtype.kind == "i":
        x[rng.random(shape) < 0.1] = np.iinfo(dtype).min
    for a, axis, keep in itertools.product((x, x.T, x[::2, ::-1]), (0, 1), (False, True)):
        for largest, value, place in ((True, np.max, np.argmax), (False, np.min, np.argmin)):
            values, places = extreme(a, axis, keepdims=keep, largest=largest)
            assert values.dtype == x.dtype and places.dtype == np.int64
            np.testing.assert_array_equal(values, value(a, axis=axis, keepdims=keep))
            np.testing.assert_array_equal(places, place(a, axis=axis, keepdims=keep))


def test_an_order_with_gaps():
    x = np.random.default_rng(0).standard_normal((40, 50, 60), np.float32)[:, ::2, ::-1]
    np.testing.assert_array_equal(argmax(x, 1, keepdims=False), x.argmax(1))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?"])
def test_a_long_axis_is_cut_the_same_way_for_any_number_of_threads(dtype):
    rng = np.random.default_rng(0)
    before = threads.get_num_threads()
    try:
        for shape in ((20001, 7), (2, 20001, 3), (40000, 2)):
            axis = len(shape) - 2
            x = rng.integers(0, 100, shape).astype(dtype)
            if x.dtype.kind == "f":
                x[..., 15000:, 0] = x[..., 19000, 1] = np.nan
            for count in (1, 2, 4):
                threads.set_num_threads(count)
                for ours, theirs in ((argmax, np.argmax), (argmin, np.argmin)):
                    found = ours(x, axis, keepdims=False)
                    np.testing.assert_array_equal(found, theirs(x, axis))
                values, _ = extreme(x, axis, keepdims=True, largest=True)
                np.testing.assert_array_equal(values, x.max(axis, keepdims=True))
    finally:
        threads.set_num_threads(before)
