"""Winograd's filtering against the sum over the window in float64: error, borders, odd numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyn
from dyn.kernels.conv import choose
from dyn.kernels.conv import conv2d as kernels
from dyn.kernels.conv.shapes import View
from dyn.kernels.conv.winograd import cost as winograd_cost
from dyn.kernels.conv.winograd import large, transform
from dyn.kernels.conv.winograd.large import LargeWinogradPlan
from dyn.kernels.conv.winograd.plan import WinogradPlan
from dyn.kernels.conv.winograd.product import ROWS, rows_of
from dyn.kernels.conv.winograd.weight import WinogradWeightPlan
from dyn.kernels.runtime import threads
from dyn.kernels.runtime.memory import empty
from tests.convolutions import (
    reference_conv,
    reference_conv_grad_w,
    reference_conv_transpose,
)
from tests.kernels import leftovers

PLAIN = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
ERROR = {4: 4e-5, 2: 1e-5}
"""Largest error as a part of the standard deviation of the result, for normal numbers."""


def view(x):
    return View.of(x.shape, x.strides, x.dtype)


def normal(rng, n, c, h, w):
    return rng.standard_normal((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def weight(rng, co, ci, last):
    w = rng.standard_normal((3, 3, ci, co)).astype(np.float32).transpose(3, 2, 0, 1)
    return w if last else np.ascontiguousarray(w)


def computed(plan, x, w, bias, shape):
    """What a plan makes; the same with weights transformed before and, if it can, meanwhile."""
    y = empty(shape, np.float32, order="channels_last")
    assert plan.run(x, plan.pack(w), bias, y)
    if getattr(plan, "as_is", False):
        again = empty(shape, np.float32, order="channels_last")
        assert plan.run(x, w, bias, again)
        np.testing.assert_array_equal(again, y)
    return y


def result(shape):
    return view(empty(shape, np.float32, order="channels_last"))


def forward(x, w, padding, side, bias=None, relu=False, gaps=(1, 1), plan=WinogradPlan):
    shape = x.shape[0], w.shape[0], *choose.output_sizes(x.shape[2:], (3, 3), (1, 1), padding, gaps)
    channels = choose.channels_of(view(w), 1)
    made = plan(view(x), result(shape), padding[::2], gaps, channels, side, relu=relu)
    return computed(made, x, w, bias, shape)


def backward(g, w, size, padding, side, gaps=(1, 1), plan=WinogradPlan):
    shape = g.shape[0], w.shape[1], *size
    low = (2 * gaps[0] - padding[0], 2 * gaps[1] - padding[2])
    channels = choose.channels_of(view(w), 1, transposed=True)
    made = plan(view(g), result(shape), low, gaps, channels, side, reverse=True)
    return computed(made, g, w, None, shape)


def weight_gradient(g, x, padding, side, gaps=(1, 1)):
    w = empty((3, 3, x.shape[1], g.shape[1]), np.float32)
    plan = WinogradWeightPlan(view(x), view(g), padding[::2], gaps, side)
    assert plan.run(x, g, w.reshape(-1))
    return w.transpose(3, 2, 0, 1)


def close(got, wanted, side):
    assert got.shape == wanted.shape
    scale = wanted.std() if wanted.size > 30 else np.abs(wanted).max() + 1
    assert np.abs(got - wanted).max() <= ERROR[side] * scale


@pytest.mark.parametrize("side", [2, 4])
def test_matrices_filter_exactly(side):
    a, g, b = (np.array(m, float) for m in transform.matrices(side))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(side + 2), rng.standard_normal(3)
    np.testing.assert_allclose(a @ ((g @ w) * (b @ x)), np.correlate(x, w, "valid"), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3),
    ci=st.integers(1, 40),
    co=st.integers(1, 40),
    size=st.tuples(st.integers(7, 15), st.integers(7, 15)),
    gaps=st.sampled_from([(1, 1), (1, 1), (1, 2), (3, 2)]),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    side=st.sampled_from([2, 4]),
    last=st.booleans(),
    plan=st.sampled_from([WinogradPlan, LargeWinogradPlan]),
    seed=st.integers(0, 99),
)
def test_any_shape(n, ci, co, size, gaps, padding, side, last, plan, seed):
    attrs = {"stride": (1, 1), "padding": padding, "dilation": gaps, "groups": 1}
    rng = np.random.default_rng(seed)
    x, w = normal(rng, n, ci, *size), weight(rng, co, ci, last)
    bias = rng.standard_normal(co).astype(np.float32)
    y = forward(x, w, padding, side, bias, gaps=gaps, plan=plan)
    close(y, reference_conv(x, w, bias, **attrs), side)
    relu = forward(x, w, padding, side, bias, relu=True, gaps=gaps, plan=plan)
    np.testing.assert_array_equal(relu, np.maximum(y, 0))
    g = normal(rng, *y.shape)
    wanted = reference_conv_transpose(g, w, size, **attrs)
    close(backward(g, w, size, padding, side, gaps, plan), wanted, side)
    wanted = reference_conv_grad_w(g, x, (3, 3), **attrs)
    close(weight_gradient(g, x, padding, side, gaps), wanted, side)


@pytest.mark.parametrize("plan", [WinogradPlan, LargeWinogradPlan])
@pytest.mark.parametrize("count", [*range(1, 2 * ROWS + 4), 4 * ROWS + 1, 4 * ROWS + 2])
def test_every_number_of_tiles(count, plan):
    """However the products are cut into tall and low tiles, and whatever is computed beside."""
    rng = np.random.default_rng(count)
    x, w = normal(rng, 1, 70, 2, 2 * count), weight(rng, 33, 70, True)
    y = forward(x, w, (1, 1, 1, 1), 2, plan=plan)
    close(y, reference_conv(x, w, None, padding=(1, 1, 1, 1), **PLAIN), 2)
    assert count <= rows_of.py_func(count) <= -(-count // ROWS) * ROWS


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize(("n", "ci", "co", "size"), [(4, 64, 48, 40), (1, 256, 160, 7)])
def test_many_tiles_and_large_weights(n, ci, co, size, side):
    rng = np.random.default_rng(1)
    padding = (1, 1, 1, 1)
    x, w = normal(rng, n, ci, size, size), weight(rng, co, ci, True)
    y = forward(x, w, padding, side)
    close(y, reference_conv(x, w, None, padding=padding, **PLAIN), side)
    g = normal(rng, *y.shape)
    wanted = reference_conv_grad_w(g, x, (3, 3), padding=padding, **PLAIN)
    close(weight_gradient(g, x, padding, side), wanted, side)


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize(
    ("n", "ci", "co", "size"), [(9, 7, 12, 30), (12, 20, 33, 26), (40, 5, 3, 9)]
)
def test_gradients_of_small_weights_are_summed_in_shares(n, ci, co, size, side):
    rng = np.random.default_rng(8)
    padding = (1, 0, 1, 2)
    x, w = normal(rng, n, ci, size, size), weight(rng, co, ci, True)
    g = normal(rng, *reference_conv(x, w, None, padding=padding, **PLAIN).shape)
    assert WinogradWeightPlan(view(x), view(g), padding[::2], (1, 1), side).shares > 1
    wanted = reference_conv_grad_w(g, x, (3, 3), padding=padding, **PLAIN)
    close(weight_gradient(g, x, padding, side), wanted, side)


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize(("n", "ci", "co", "size"), [(2, 256, 161, 7), (1, 129, 240, 11)])
def test_gradients_of_large_weights_are_summed_by_channels(n, ci, co, size, side):
    rng = np.random.default_rng(9)
    padding = (1, 0, 2, 1)
    x, w = normal(rng, n, ci, size, size), weight(rng, co, ci, True)
    g = normal(rng, *reference_conv(x, w, None, padding=padding, **PLAIN).shape)
    assert WinogradWeightPlan(view(x), view(g), padding[::2], (1, 1), side).by_channels
    wanted = reference_conv_grad_w(g, x, (3, 3), padding=padding, **PLAIN)
    close(weight_gradient(g, x, padding, side), wanted, side)
    x[-1, -1, 0, 0] = np.nan
    w = empty((3, 3, ci, co), np.float32)
    plan = WinogradWeightPlan(view(x), view(g), padding[::2], (1, 1), side)
    assert not plan.run(x, g, w.reshape(-1))


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 4),
    ci=st.sampled_from([1, 63, 64, 65, 130]),
    co=st.sampled_from([1, 15, 33, 64, 129]),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    side=st.sampled_from([2, 4]),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_pieces_of_large_weights(n, ci, co, size, side, last, seed):
    """Channels that end a piece early, one piece, several; few tiles and several blocks of them."""
    rng = np.random.default_rng(seed)
    padding = (1, 1, 1, 1)
    x, w = normal(rng, n, ci, *size), weight(rng, co, ci, last)
    bias = rng.standard_normal(co).astype(np.float32)
    y = forward(x, w, padding, side, bias, plan=LargeWinogradPlan)
    close(y, reference_conv(x, w, bias, padding=padding, **PLAIN), side)
    g = normal(rng, *y.shape)
    wanted = reference_conv_transpose(g, w, size, padding=padding, **PLAIN)
    close(backward(g, w, size, padding, side, plan=LargeWinogradPlan), wanted, side)


@pytest.mark.parametrize("last", [True, False])
def test_a_large_weight_gives_the_same_every_time_it_is_asked_for(last):
    """The first time it is read as it is, later its transforms are kept."""
    rng = np.random.default_rng(6)
    x, w = normal(rng, 2, 320, 10, 10), weight(rng, 192, 320, last)
    attrs = {"padding": (1, 1, 1, 1), **PLAIN}
    assert large.fits(320, 192, winograd_cost.best_side(2, (10, 10), (1, 1), 320, 192, False))
    first, *others = (kernels.conv2d(x, w, **attrs) for _ in range(3))
    close(first, reference_conv(x, w, None, **attrs), 4)
    back, *others_back = (kernels.conv2d_grad_x(first, w, size=(10, 10), **attrs) for _ in range(3))
    close(back, reference_conv_transpose(first, w, (10, 10), **attrs), 4)
    for y, gx in zip(others, others_back, strict=True):
        np.testing.assert_array_equal(y, first)
        np.testing.assert_array_equal(gx, back)


@pytest.mark.skipif(not leftovers.AVAILABLE, reason="asks an x86 processor")
@pytest.mark.parametrize(("n", "size", "ci", "co"), [(1, 10, 256, 250), (3, 9, 40, 33)])
@pytest.mark.parametrize("plan", [WinogradPlan, LargeWinogradPlan])
def test_nothing_left_over_in_memory_is_multiplied(n, size, ci, co, plan):
    """Tiles that fill no product, channels that fill no panel."""
    rng = np.random.default_rng(7)
    x, w = normal(rng, n, ci, size, size), weight(rng, co, ci, True)
    forward(x, w, (1, 1, 1, 1), 4, plan=plan)
    with leftovers.leftovers(leftovers.DENORMAL):
        assert not leftovers.met_denormal(lambda: forward(x, w, (1, 1, 1, 1), 4, plan=plan))


INPUTS = {
    "normal": lambda x: x,
    "positive": np.abs,
    "offset": lambda x: x + 10,
    "scaled": lambda x: x * np.float32(10) ** np.linspace(-3, 3, x.shape[1])[:, None, None],
}


@pytest.mark.parametrize("kind", INPUTS)
def test_error_is_bounded_by_the_size_of_what_is_summed(kind):
    """F(4 x 4) stays within 1e-5, F(2 x 2) within 3e-6 of the local sum of |x| |w|."""
    rng = np.random.default_rng(2)
    x = INPUTS[kind](normal(rng, 2, 64, 20, 20)).astype(np.float32)
    w = weight(rng, 64, 64, True)
    padding = (1, 1, 1, 1)
    wanted = reference_conv(x, w, None, padding=padding, **PLAIN)
    size = reference_conv(np.abs(x), np.abs(w), None, padding=padding, **PLAIN)
    for side, bound in ((4, 1e-5), (2, 3e-6)):
        assert (np.abs(forward(x, w, padding, side) - wanted) / size).max() < bound


def test_precise_is_more_exact_and_never_takes_the_large_tile():
    rng = np.random.default_rng(3)
    x, w = normal(rng, 2, 64, 24, 24), weight(rng, 64, 64, True)
    x[:, :, ::7, ::7] *= 1000
    attrs = {"padding": (1, 1, 1, 1), **PLAIN}
    wanted = reference_conv(x, w, None, **attrs)
    size = reference_conv(np.abs(x), np.abs(w), None, **attrs)
    error = {
        precise: (np.abs(kernels.conv2d(x, w, precise=precise, **attrs) - wanted) / size).max()
        for precise in (False, True)
    }
    assert error[True] < 2e-5 < error[False] < 1e-3
    dyn.set_precise(True)
    try:
        assert dyn.is_precise()
        got = dyn.nn.functional.conv2d(dyn.to_tensor(x), dyn.to_tensor(w), padding=1).numpy()
    finally:
        dyn.set_precise(False)
    np.testing.assert_array_equal(got, kernels.conv2d(x, w, precise=True, **attrs))
    assert winograd_cost.best_side(10, (56, 56), (1, 1), 64, 64, precise=True) == 2
    assert winograd_cost.best_side(10, (56, 56), (1, 1), 64, 64, precise=False) == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_number_that_is_not_finite_stays_in_its_place(value):
    rng = np.random.default_rng(4)
    x, w = normal(rng, 1, 32, 16, 16), weight(rng, 32, 32, True)
    x[0, 5, 7, 8] = value
    attrs = {"padding": (1, 1, 1, 1), **PLAIN}
    assert winograd_cost.best_side(1, (16, 16), (1, 1), 32, 32, precise=False)
    with np.errstate(all="ignore"):
        wanted = reference_conv(x, w, None, **attrs).astype(np.float32)
        y = kernels.conv2d(x, w, **attrs)
        assert np.array_equal(np.isfinite(y), np.isfinite(wanted))
        assert np.array_equal(np.isnan(y), np.isnan(wanted))
        gx = kernels.conv2d_grad_x(x, w, size=(16, 16), **attrs)
        wanted = reference_conv_transpose(x, w, (16, 16), **attrs).astype(np.float32)
        assert np.array_equal(np.isfinite(gx), np.isfinite(wanted))
        if not np.isfinite(value):
            g = normal(rng, *y.shape)
            gw = kernels.conv2d_grad_w(g, x, window=(3, 3), **attrs)
            wanted = reference_conv_grad_w(g, x, (3, 3), **attrs)
            assert np.array_equal(np.isnan(gw), np.isnan(wanted))
            assert np.array_equal(np.isfinite(gw), np.isfinite(wanted))


def test_results_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(5)
    shapes = [(3, 24, 40, 20, 3, 1, 1), (1, 256, 128, 8, 3, 1, 1), (2, 3, 24, 40, 7, 2, 1)]
    shapes += [(2, 48, 48, 12, 3, 1, 48), (2, 32, 32, 12, 3, 2, 4), (5, 24, 40, 28, 3, 1, 1)]
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            results = []
            for n, ci, co, size, k, stride, groups in shapes:
                rng = np.random.default_rng(n)
                x = normal(rng, n, ci, size, size)
                w = rng.standard_normal((co, ci // groups, k, k)).astype(np.float32)
                attrs = {
                    "stride": (stride, stride),
                    "padding": (k // 2,) * 4,
                    "dilation": (1, 1),
                    "groups": groups,
                }
                y = kernels.conv2d(x, w, **attrs)
                results.append(y)
                results.append(kernels.conv2d_grad_x(y, w, size=(size, size), **attrs))
                results.append(kernels.conv2d_grad_w(y, x, window=(k, k), **attrs))
            found.append(results)
    finally:
        threads.set_num_threads(before)
    for results in found[1:]:
        for a, b in zip(found[0], results, strict=True):
            np.testing.assert_array_equal(a, b)
