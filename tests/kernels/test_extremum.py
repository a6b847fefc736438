"""Positions of extremes against numpy's, NaN included, in every memory order."""

import itertools

import numpy as np
import pytest

from dyn.kernels.extremum import argmax, argmin


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
                got = ours(x, axis, keepdims)
                assert got.dtype == np.int64
                np.testing.assert_array_equal(got, theirs(x, axis, keepdims=keepdims))


def test_an_order_with_gaps():
    x = np.random.default_rng(0).standard_normal((40, 50, 60), np.float32)[:, ::2, ::-1]
    np.testing.assert_array_equal(argmax(x, 1, False), x.argmax(1))
