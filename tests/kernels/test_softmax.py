"""Softmax, its logarithm and log-sum-exp against numpy in float64: axes, layouts, narrow rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyn
from dyn.kernels import softmax as kernels
from dyn.kernels.reduce import logsumexp
from tests.kernels.leftovers import AVAILABLE, DENORMAL, leftovers, met_denormal


def reference(x, axis):
    """(softmax, its logarithm, log-sum-exp) in float64."""
    x = x.astype(np.float64)
    top = x.max(axis, keepdims=True)
    total = np.exp(x - top).sum(axis, keepdims=True)
    return np.exp(x - top) / total, x - top - np.log(total), (top + np.log(total)).squeeze(axis)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([1, 63, 64, 65, 255, 1024, 4659]),
    count=st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 100]),
    order=st.sampled_from(["C", "F", "gaps"]),
    seed=st.integers(0, 99),
)
def test_many_narrow_rows(rows, count, order, seed):
    x = np.random.default_rng(seed).standard_normal((rows, 2 * count)).astype(np.float32) * 8
    x = x[:, ::2] if order == "gaps" else np.array(x[:, :count], order=order)
    share, logarithm, total = reference(x, 1)
    np.testing.assert_allclose(kernels.softmax(x, 1), share, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(kernels.log_softmax(x, 1), logarithm, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logsumexp(x, (1,), keepdims=False), total, rtol=1e-5, atol=1e-5)


def test_the_last_rows_that_are_turned_do_not_change_their_neighbours():
    x = np.random.default_rng(0).standard_normal((77, 5)).astype(np.float32)
    for function in (kernels.softmax, kernels.log_softmax):
        room = function(np.vstack([x, x]), 1)
        np.testing.assert_array_equal(function(x, 1), room[:77])


@pytest.mark.parametrize("shape", [(3, 2, 40, 41), (9, 5, 16, 16), (2, 21, 33, 8)])
@pytest.mark.parametrize("last", [False, True])
def test_channels_of_images(shape, last):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    share, logarithm, _ = reference(x, 1)
    for got, wanted in ((kernels.softmax(x, 1), share), (kernels.log_softmax(x, 1), logarithm)):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        assert got.strides == x.strides


@pytest.mark.parametrize("rows", [4, 3000])
def test_infinities_and_nan(rows):
    x = np.zeros((rows, 3), np.float32)
    x[0], x[1], x[2], x[3] = (
        (np.inf, 0, 1), (-np.inf, 0, 0), (-np.inf,) * 3, (np.nan, 0, 0),
    )  # fmt: skip
    found = logsumexp(x, (1,), keepdims=False)
    np.testing.assert_allclose(found[:3], [np.inf, np.log(2), -np.inf], rtol=1e-6)
    assert np.isnan(found[3])
    share = kernels.softmax(x, 1)
    assert np.isnan(share[[0, 2, 3]]).any(1).all()
    np.testing.assert_allclose(share[1], [0, 0.5, 0.5], rtol=1e-6)
    logs = kernels.log_softmax(x, 1)
    np.testing.assert_allclose(logs[1], [-np.inf, -np.log(2), -np.log(2)], rtol=1e-6)
    assert np.isnan(logs[3]).all()


@pytest.mark.skipif(not AVAILABLE, reason="the control register of x86 is looked at")
def test_what_buffers_of_turned_rows_held_before_is_not_computed_with():
    x = np.ones((2500, 3), np.float32)

    def call():
        with leftovers(DENORMAL):
            kernels.softmax(x, 1)
            kernels.log_softmax(x, 1)
            logsumexp(x, (1,), keepdims=False)

    before = dyn.get_num_threads()
    dyn.set_num_threads(1)
    try:
        call()  # compiles what is needed
        assert not met_denormal(call)
    finally:
        dyn.set_num_threads(before)
