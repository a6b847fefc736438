"""Gradients by the input that are scattered, also where another algorithm is faster."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import conv
from dyn.kernels.conv import choose
from dyn.kernels.conv.choose import channels_of
from dyn.kernels.conv.grouped import GroupsPlan
from dyn.kernels.conv.scatter_plan import ScatterPlan
from dyn.kernels.conv.shapes import View
from dyn.kernels.runtime.memory import empty
from tests.convolutions import reference_conv_transpose


def view(a):
    return View.of(a.shape, a.strides, a.dtype)


@settings(max_examples=150, deadline=None)
@given(
    n=st.sampled_from([1, 2, 9, 17]),
    co=st.integers(1, 5),
    ci=st.integers(1, 9),
    g_size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.sampled_from([(1, 1), (2, 2), (1, 3), (2, 1)]),
    dilation=st.sampled_from([(1, 1), (1, 2), (2, 3), (3, 2), (1, 5)]),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_any_window(n, co, ci, g_size, window, stride, dilation, padding, dtype, seed):
    rng = np.random.default_rng(seed)
    size = tuple(
        max(1, (m - 1) * s + (k - 1) * d + 1 - padding[2 * i] - padding[2 * i + 1])
        for i, (m, s, k, d) in enumerate(zip(g_size, stride, window, dilation, strict=True))
    )
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 1}
    g_size = choose.output_sizes(size, window, stride, padding, dilation)
    g = rng.standard_normal((n, co, *g_size)).astype(dtype)
    w = rng.standard_normal((co, ci, *window)).astype(dtype)
    bias = rng.standard_normal(ci).astype(dtype)
    wanted = reference_conv_transpose(g, w, size, **attrs)
    channels = channels_of(view(w), 1, transposed=True)
    for shift, relu in ((None, False), (bias, False), (bias, True)):
        gx = empty((n, ci, *size), np.dtype(dtype), order="channels_last")
        gx[...] = np.nan
        plan = ScatterPlan(
            view(g), view(gx), window, stride, padding, dilation, channels, relu=relu
        )
        plan.run(g, plan.pack(w), shift, gx)
        expected = wanted if shift is None else wanted + shift[:, None, None]
        expected = np.maximum(expected, 0) if relu else expected
        np.testing.assert_allclose(gx, expected, atol=2e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(
    ("shape", "window", "stride", "padding", "dilation", "groups"),
    [
        ((8, 64, 16, 16), (27, 7, 7), (2, 2), (3, 3, 3, 3), (2, 2), 8),
        ((1, 20, 15, 15), (33, 11, 11), (1, 1), (5, 5, 5, 5), (2, 2), 4),
        ((1, 66, 18, 18), (30, 9, 9), (1, 1), (0, 0, 0, 0), (1, 1), 2),
    ],
)
def test_groups_that_are_scattered_one_by_one(shape, window, stride, padding, dilation, groups):
    rng = np.random.default_rng(0)
    outer, *taps = window
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    size = shape[2:]
    sizes = choose.output_sizes(size, taps, stride, padding, dilation)
    g = rng.standard_normal((shape[0], outer * groups, *sizes), np.float32)
    w = rng.standard_normal((outer * groups, shape[1] // groups, *taps), np.float32)
    given = (stride, padding, dilation, groups)
    layouts = (choose.layout_of(g), choose.layout_of(w))
    plan = choose.transposed(*layouts, size, given, precise=False, direct=False).plan
    assert isinstance(plan, GroupsPlan) and isinstance(plan.plan, ScatterPlan)
    gx = conv.conv_transpose(g, w, size=size, **attrs)
    wanted = reference_conv_transpose(g, w, size, **attrs)
    np.testing.assert_allclose(gx, wanted, atol=1e-3)
