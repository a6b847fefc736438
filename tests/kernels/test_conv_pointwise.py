"""Convolutions with a window of one pixel: layouts, requests for the same weight, gradients."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels.conv import choose
from dyn.kernels.conv import conv2d as kernels
from dyn.kernels.conv.pointwise import PointwisePlan, PointwiseWeightPlan
from tests.convolutions import (
    reference_conv,
    reference_conv_grad_w,
    reference_conv_transpose,
)

ATTRS = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
WORDS = tuple(ATTRS.values())


def image(rng, n, c, h, w, layout, dtype):
    """An image with channels last, with some of the channels of a wider one, or in planes."""
    if layout == "planes":
        return rng.standard_normal((n, c, h, w)).astype(dtype)
    wide = rng.standard_normal((n, h, w, c + (layout == "part") * 3)).astype(dtype)
    return wide[..., :c].transpose(0, 3, 1, 2)


def weight(rng, co, ci, layout, dtype):
    w = rng.standard_normal((co, ci, 1, 1)).astype(dtype)
    if layout == "turned":
        w = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    return np.repeat(w, 2, 1)[:, ::2] if layout == "strided" else w


def close(got, wanted, dtype, length):
    assert got.shape == wanted.shape and got.dtype == np.dtype(dtype)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=20 * length * np.finfo(dtype).eps)


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 3),
    ci=st.sampled_from([1, 2, 3, 7, 16, 40, 130]),
    co=st.sampled_from([1, 2, 3, 5, 17, 33, 100]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    layout=st.sampled_from(["last", "part", "planes"]),
    of_weight=st.sampled_from(["plain", "turned", "strided"]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_any_shape_and_layout(n, ci, co, size, layout, of_weight, dtype, seed):
    rng = np.random.default_rng(seed)
    x, w = image(rng, n, ci, *size, layout, dtype), weight(rng, co, ci, of_weight, dtype)
    bias = rng.standard_normal(co).astype(dtype)
    wanted = reference_conv(x, w, bias, **ATTRS)
    for _ in range(3):  # a weight that is asked for again is packed
        close(kernels.conv2d(x, w, bias, **ATTRS), wanted, dtype, ci)
        relu = kernels.conv2d(x, w, bias, activation="relu", **ATTRS)
        close(relu, np.maximum(wanted, 0), dtype, ci)
    g = image(rng, n, co, *size, layout, dtype)
    wanted = reference_conv_transpose(g, w, size, **ATTRS)
    shift = rng.standard_normal(ci).astype(dtype)
    for _ in range(3):
        close(kernels.conv2d_grad_x(g, w, size=size, **ATTRS), wanted, dtype, co)
        moved = kernels.conv2d_grad_x(g, w, shift, size=size, **ATTRS)
        close(moved, wanted + shift[:, None, None], dtype, co)
    got = kernels.conv2d_grad_w(g, x, window=(1, 1), **ATTRS)
    close(got, reference_conv_grad_w(g, x, (1, 1), **ATTRS), dtype, n * size[0] * size[1])


@pytest.mark.parametrize("ci", [64, 1024])
def test_channels_last_are_products(ci):
    rng = np.random.default_rng(1)
    x, w = image(rng, 2, ci, 7, 5, "last", "float32"), weight(rng, 70, ci, "plain", "float32")
    layouts = choose.layout_of(x), choose.layout_of(w)
    plan = choose.forward(*layouts, WORDS, False, False, False).plan
    assert isinstance(plan, PointwisePlan)
    y = kernels.conv2d(x, w, **ATTRS)
    plan = choose.weight(choose.layout_of(y), layouts[0], (1, 1), WORDS, False, False).plan
    assert isinstance(plan, PointwiseWeightPlan)
    close(y, reference_conv(x, w, None, **ATTRS), "float32", ci)


@pytest.mark.parametrize("size", [5, 40])
def test_requests_for_the_same_weight_give_the_same_numbers(size):
    rng = np.random.default_rng(2)
    x, w = image(rng, 1, 96, size, size, "last", "float32"), weight(rng, 200, 96, "plain", "f4")
    first, second, third = (kernels.conv2d(x, w, **ATTRS) for _ in range(3))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


@pytest.mark.parametrize("size", [5, 40])
def test_a_weight_ends_though_it_was_packed(size):
    rng = np.random.default_rng(3)
    x, w = image(rng, 1, 96, size, size, "last", "float32"), weight(rng, 200, 96, "plain", "f4")
    for _ in range(3):
        kernels.conv2d(x, w, **ATTRS)
    ended = weakref.ref(w)
    del w
    gc.collect()
    assert ended() is None


def test_nan_and_infinity_stay_in_their_pixels():
    rng = np.random.default_rng(4)
    x, w = image(rng, 1, 20, 6, 6, "last", "float32"), weight(rng, 30, 20, "plain", "float32")
    x[0, 3, 2, 1], x[0, 5, 4, 4] = np.nan, np.inf
    y = kernels.conv2d(x, w, **ATTRS)
    finite = np.ones((6, 6), bool)
    finite[2, 1] = finite[4, 4] = False
    np.testing.assert_array_equal(np.isfinite(y[0]).all(0), finite)
    assert np.isnan(y[0, :, 2, 1]).all() and np.isinf(y[0, :, 4, 4]).all()


@pytest.mark.parametrize("sizes", [(7, 32), (32, 7)])
@pytest.mark.parametrize("biased", [False, True])
def test_a_weight_is_asked_for_by_images_of_several_sizes(sizes, biased):
    # Panels of it are worth to be kept for the smaller one alone.
    rng = np.random.default_rng(0)
    w = weight(rng, 128, 96, "plain", "float32")
    bias = rng.standard_normal(128).astype("float32") if biased else None
    for size in (*sizes, *sizes):
        x = image(rng, 1, 96, size, size, "last", "float32")
        g = image(rng, 1, 128, size, size, "last", "float32")
        for _ in range(3):
            close(
                kernels.conv2d(x, w, bias, **ATTRS),
                reference_conv(x, w, bias, **ATTRS),
                "float32",
                96,
            )
            wanted = reference_conv_transpose(g, w, size=(size, size), **ATTRS)
            close(kernels.conv2d_grad_x(g, w, size=(size, size), **ATTRS), wanted, "float32", 128)
