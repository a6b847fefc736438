"""Convolution kernels against sums written out with numpy, in float64, over random shapes."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dyn
from dyn.kernels import conv
from dyn.kernels.conv import choose
from dyn.kernels.conv.planes_plan import PlanesPlan
from dyn.kernels.vector.lanes import LANES
from tests.convolutions import (
    reference_conv,
    reference_conv_grad_w,
    reference_conv_transpose,
)
from tests.kernels.guard import AVAILABLE, guarded, guarded_results


def close(got, wanted, terms, bound=None):
    """Within the rounding of a sum of `terms` products of standard normal numbers."""
    assert got.shape == wanted.shape
    eps = np.finfo(got.dtype).eps
    limit = bound if bound is not None else 8 * eps * max(terms, 1)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=limit)


LAYOUTS = {
    "first": np.ascontiguousarray,
    "last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "strided": lambda a: np.repeat(np.repeat(a, 2, 1), 2, -1)[:, ::2, ..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
}


def laid_out(a, layout):
    made = LAYOUTS[layout](a)
    assert np.array_equal(made, a)
    made.flags.writeable = False
    return made


def check(rng, n, ci, co, sizes, window, stride, padding, dilation, groups, dtype, layout, bias):
    """Forward and both gradients of one shape."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x = laid_out(rng.standard_normal((n, ci * groups, *sizes)).astype(dtype), layout)
    w = laid_out(rng.standard_normal((co * groups, ci, *window)).astype(dtype), layout)
    b = rng.standard_normal(co * groups).astype(dtype) if bias else None
    wanted = reference_conv(x, w, b, **attrs)
    taps_count = int(np.prod(window))
    y = conv.conv(x, w, b, **attrs)
    close(y, wanted, ci * taps_count + 1)
    relu = conv.conv(x, w, b, activation="relu", **attrs)
    np.testing.assert_array_equal(relu, np.maximum(y, 0))
    g = laid_out(rng.standard_normal(y.shape).astype(dtype), layout)
    gx = conv.conv_transpose(g, w, size=sizes, **attrs)
    close(gx, reference_conv_transpose(g, w, sizes, **attrs), co * taps_count)
    gw = conv.conv_grad_w(g, x, window=window, **attrs)
    close(gw, reference_conv_grad_w(g, x, window, **attrs), n * int(np.prod(y.shape[2:])))
    for array in (y, gx, gw):
        assert array.dtype == dtype


@st.composite
def shapes(draw, axes=2, channels=9):
    window = tuple(draw(st.integers(1, 4)) for _ in range(axes))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    padding = tuple(draw(st.integers(0, 3)) for _ in range(2 * axes))
    sizes = tuple(
        draw(st.integers(max(1, d * (k - 1) + 1 - padding[2 * i] - padding[2 * i + 1]), 12))
        for i, (k, d) in enumerate(zip(window, dilation, strict=True))
    )
    return {
        "n": draw(st.integers(0, 3)),
        "ci": draw(st.integers(1, channels)),
        "co": draw(st.integers(1, channels)),
        "groups": draw(st.integers(1, 4)),
        "sizes": sizes,
        "window": window,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "layout": draw(st.sampled_from(sorted(LAYOUTS))),
        "dtype": draw(st.sampled_from([np.float32, np.float64])),
        "bias": draw(st.booleans()),
    }


@settings(max_examples=150, deadline=None)
@given(shapes(), st.integers(0, 99))
def test_two_axes(shape, seed):
    check(np.random.default_rng(seed), **shape)


@settings(max_examples=30, deadline=None)
@given(shapes(axes=1), st.integers(0, 99))
def test_one_axis(shape, seed):
    check(np.random.default_rng(seed), **shape)


@settings(max_examples=30, deadline=None)
@given(shapes(axes=3, channels=4), st.integers(0, 99))
def test_three_axes(shape, seed):
    check(np.random.default_rng(seed), **shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize(
    "n, ci, co, sizes, window, padding, dilation",
    [
        (3, 40, 26, (5, 20), (7, 7), (3, 3, 3, 3), (1, 1)),
        (9, 30, 17, (4, 3), (5, 5), (2, 2, 2, 2), (1, 1)),
        (1, 20, 33, (6, 9), (5, 3), (4, 3, 2, 0), (2, 1)),
    ],
)
def test_small_images_with_much_padding(n, ci, co, sizes, window, padding, dilation, layout, dtype):
    rng = np.random.default_rng(n)
    shape = (n, ci, co, sizes, window, (1, 1), padding, dilation, 1)
    check(rng, *shape, dtype, layout, True)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3),
    channels=st.sampled_from([5, 8, 12, 16, 17, 24, 31, 33]),
    window=st.tuples(st.integers(1, 7), st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 11])),
    stride=st.sampled_from([(1, 1), (2, 2), (1, 2), (3, 1)]),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 3)]),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    more=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    layout=st.sampled_from(["first", "last"]),
    seed=st.integers(0, 99),
)
def test_depthwise(n, channels, window, stride, dilation, padding, more, layout, seed):
    sizes = tuple(
        max(1, d * (k - 1) + 1 - padding[2 * i] - padding[2 * i + 1]) + more[i]
        for i, (k, d) in enumerate(zip(window, dilation, strict=True))
    )
    rng = np.random.default_rng(seed)
    shape = (n, 1, 1, sizes, window, stride, padding, dilation, channels)
    check(rng, *shape, np.float32, layout, True)


USUAL = [
    # n, ci, co, sizes, window, stride, padding, dilation, groups
    (2, 3, 6, (32, 32), (5, 5), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (2, 1, 6, (28, 28), (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 1),
    (2, 6, 16, (14, 14), (5, 5), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 3, 64, (56, 40), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 1),
    (2, 64, 96, (9, 7), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (2, 40, 64, (9, 8), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    (2, 32, 48, (13, 14), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (1, 70, 33, (14, 14), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    (3, 130, 70, (7, 7), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (2, 1, 1, (15, 17), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 40),
    (2, 1, 1, (15, 17), (5, 5), (2, 2), (2, 2, 2, 2), (1, 1), 24),
    (2, 1, 2, (10, 9), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 11),
    (2, 4, 4, (12, 12), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 16),
    (1, 16, 24, (12, 12), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 2),
    (2, 40, 2, (24, 40), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 2),
    (1, 1, 60, (20, 33), (7, 7), (1, 1), (3, 3, 3, 3), (1, 1), 3),
    (2, 3, 50, (33, 31), (5, 5), (3, 3), (2, 2, 2, 2), (1, 1), 3),
    (2, 2, 80, (64, 49), (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 2),
    (1, 20, 20, (17, 18), (3, 3), (1, 1), (4, 4, 4, 4), (4, 4), 1),
    (9, 16, 30, (5, 5), (5, 5), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 7, 3, (4, 6), (4, 6), (2, 3), (0, 0, 0, 0), (1, 1), 1),
    (3, 5, 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", USUAL, ids=lambda s: "x".join(map(str, s[:3])))
def test_usual_shapes(shape, dtype):
    n, ci, co, sizes, window, stride, padding, dilation, groups = shape
    for layout in ("first", "last"):
        check(
            np.random.default_rng(0),
            n,
            ci,
            co,
            sizes,
            window,
            stride,
            padding,
            dilation,
            groups,
            dtype,
            layout,
            True,
        )


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize(
    "groups, inner, outer, window",
    [(2, 40, 2, 3), (8, 12, 1, 1), (3, 1, 3, 5), (3, 5, 11, 2), (9, 4, 4, 3), (5, 3, 7, 3)],
)
def test_groups_of_few_channels(groups, inner, outer, window, layout):
    sides = window // 2, (window - 1) // 2
    padding = (*sides, *sides)
    attrs = (1, 1), padding, (1, 1), groups
    x, w = (
        np.empty((2, groups * inner, 9, 45), np.float32),
        np.empty((groups * outer, inner, window, window), np.float32),
    )
    found = choose.forward(choose.layout_of(x), choose.layout_of(w), attrs, False, False, False)
    assert isinstance(found.plan, PlanesPlan) or outer > LANES // 2
    check(
        np.random.default_rng(0), 2, inner, outer, (9, 45), (window, window), (1, 1), padding,
        (1, 1), groups, np.float32, layout, True,
    )  # fmt: skip


@contextmanager
def one_thread():
    """Have scratch memory end where the only thread's does."""
    before = dyn.get_num_threads()
    dyn.set_num_threads(1)
    try:
        yield
    finally:
        dyn.set_num_threads(before)


@pytest.mark.skipif(not AVAILABLE, reason="guard pages need POSIX")
@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 20),
    ci=st.integers(1, 8),
    co=st.integers(1, 33),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    more=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    stride=st.sampled_from([(1, 1), (1, 1), (2, 2), (2, 1), (1, 3)]),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)]),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    groups=st.sampled_from([1, 1, 1, 2, 3]),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
@example(3, 7, 1, (5, 1), (4, 24), (1, 2), (3, 2), (3, 2, 3, 0), 1, True, 0)  # rows far apart
def test_few_channels_inside_their_memory(
    n, ci, co, window, more, stride, dilation, padding, groups, last, seed
):
    """Pixels or windows in the vectors, scattered gradients: all keep to their arrays."""
    rng = np.random.default_rng(seed)
    sizes = tuple(d * (k - 1) + 1 + m for k, d, m in zip(window, dilation, more, strict=True))
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def made(*shape):
        a = rng.standard_normal(shape).astype(np.float32)
        return guarded(LAYOUTS["last" if last else "first"](a))

    x, w = made(n, ci * groups, *sizes), made(co * groups, ci, *window)
    b = made(co * groups, 1, 1)[:, 0, 0]
    with guarded_results(), one_thread():
        y = conv.conv(x, w, b, **attrs)
        g = made(*y.shape)
        gx = conv.conv_transpose(g, w, size=sizes, **attrs)
        shifted = conv.conv_transpose(g, w, x[0, :, 0, 0], size=sizes, **attrs)
        gw = conv.conv_grad_w(g, x, window=window, **attrs)
    taps = int(np.prod(window))
    close(y, reference_conv(x, w, b, **attrs), ci * taps + 1)
    wanted = reference_conv_transpose(g, w, sizes, **attrs)
    close(gx, wanted, co * taps)
    close(shifted, wanted + x[0, :, :1, :1], co * taps + 1)
    close(gw, reference_conv_grad_w(g, x, window, **attrs), n * int(np.prod(y.shape[2:])))


def test_nan_in_a_gradient_reaches_its_window_alone():
    g = np.zeros((9, 5, 10, 10), np.float32)
    g[4, 2, 3, 6] = np.nan
    for channels in (2, 6, 16, 20):
        w = np.ones((5, channels, 5, 5), np.float32)
        attrs = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
        gx = conv.conv_transpose(g, w, size=(14, 14), **attrs)
        reached = np.zeros(gx.shape, bool)
        reached[4, :, 3:8, 6:11] = True
        np.testing.assert_array_equal(np.isnan(gx), reached)


def test_nan_and_infinity_stay():
    x = np.zeros((1, 8, 9, 9), np.float32)
    x[0, 3, 4, 4] = np.nan
    x[0, 3, 0, 0] = np.inf
    w = np.ones((8, 8, 1, 1), np.float32)
    attrs = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    y = conv.conv(x, w, activation="relu", **attrs)
    assert np.isnan(y[0, :, 4, 4]).all()
    assert (y[0, :, 0, 0] == np.inf).all()
    assert np.isfinite(y[0, :, 1:4]).all()
