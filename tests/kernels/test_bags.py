"""Sums of rows over bags: widths beside whole vectors, dtypes, empty bags, what is refused."""

import numpy as np
import pytest

import dyn
from dyn.kernels.bags import sum_bags, sum_bags_grad
from dyn.ops import bags as ops

RNG = np.random.default_rng(0)
ROWS = 11


def factors(index, offsets, shares, mean):
    """What each index counts, and its bag."""
    each = np.repeat(np.arange(len(index)), index.shape[1]) if offsets is None else None
    if offsets is not None:
        each = np.searchsorted(offsets, np.arange(index.size), side="right") - 1
    counts = np.bincount(each, minlength=1)
    factor = 1 / counts[each] if mean else np.ones(index.size)
    return (factor if shares is None else factor * shares.reshape(-1)), each


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("width", [1, 7, 16, 65, 150])
@pytest.mark.parametrize("how", ["sum", "mean", "shares"])
@pytest.mark.parametrize("offsets", [None, [0], [0, 0, 3, 3, 9, 12], [0, 12]])
def test_sums_and_their_gradient(dtype, width, how, offsets):
    shape = (4, 3) if offsets is None else (12,)
    index = RNG.integers(0, ROWS, shape).astype(np.int32 if width == 7 else np.int64)
    starts = None if offsets is None else np.array(offsets)
    table = RNG.standard_normal((width, ROWS)).astype(dtype).T  # columns lie together
    shares = RNG.standard_normal(shape).astype(dtype) if how == "shares" else None
    factor, bag = factors(index, starts, shares, how == "mean")
    count = 4 if offsets is None else len(offsets)
    g = RNG.standard_normal((count, width)).astype(dtype)
    wanted, back = np.zeros((count, width)), np.zeros((ROWS, width))
    np.add.at(wanted, bag, table[index.reshape(-1)] * factor[:, None])
    np.add.at(back, index.reshape(-1), g[bag] * factor[:, None])
    error = 64 * float(np.finfo(dtype).eps)
    found = sum_bags(index, table, starts, shares, how == "mean")
    assert found.dtype == table.dtype
    np.testing.assert_allclose(found, wanted, rtol=error, atol=error)
    found = sum_bags_grad(g, index, starts, shares, ROWS, how == "mean")
    np.testing.assert_allclose(found, back, rtol=error, atol=error)


@pytest.mark.parametrize("bad", [-1, ROWS, 1 << 40])
def test_an_index_that_is_no_row_is_refused(bad):
    index = np.array([0, 1, bad, 2])
    with pytest.raises(IndexError, match=f"index {bad} is not a row of a table of {ROWS} rows"):
        sum_bags(index, np.ones((ROWS, 5), np.float32), np.array([0, 2]), None, False)


@pytest.mark.parametrize("offsets", [[1, 3], [0, 3, 2], [0, 6], [-1, 2], [5]])
def test_offsets_that_leave_indices_out_are_refused(offsets):
    with pytest.raises(IndexError, match="must begin with 0"):
        sum_bags(np.zeros(5, int), np.ones((2, 3), np.float32), np.array(offsets), None, False)


def test_shares_have_the_gradient_of_the_bag_that_they_count_in():
    table = dyn.to_tensor(np.arange(12, dtype=np.float32).reshape(4, 3))
    shares = dyn.to_tensor(np.ones(5, np.float32))
    shares.stop_gradient = False
    index, offsets = dyn.to_tensor(np.array([0, 1, 2, 3, 1])), dyn.to_tensor(np.array([0, 2, 2]))
    found = ops.sum_bags(index, table, offsets, shares)
    (found * dyn.to_tensor(np.array([[1.0], [5.0], [2.0]], np.float32))).sum().backward()
    np.testing.assert_array_equal(shares.grad.numpy(), [3.0, 12.0, 42.0, 60.0, 24.0])
