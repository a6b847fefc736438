"""Interpolation and its transpose over random sizes, layouts and modes, against dense matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import resample
from dyn.kernels.runtime import threads
from tests.kernels import guard
from tests.optable.resample import along_axes, matrix

MODES = [
    ("nearest", "asymmetric"),
    ("linear", "half_pixel"),
    ("linear", "align_corners"),
    ("linear", "asymmetric"),
    ("cubic", "half_pixel"),
    ("cubic", "align_corners"),
    ("smooth-linear", "half_pixel"),
    ("smooth-linear", "align_corners"),
    ("smooth-cubic", "half_pixel"),
    ("smooth-cubic", "align_corners"),
]


def weights(size: int, count: int, mode: str, transform: str) -> np.ndarray:
    """[count, size]; nearest in whole numbers, as a rounded position may miss its element."""
    if mode == "nearest":
        return np.eye(size)[[i * size // count for i in range(count)]]
    return matrix(size, count, None, mode, transform)


def laid(x: np.ndarray, layout: str) -> np.ndarray:
    """x lying plane by plane, channels last, or with gaps."""
    if layout == "last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "gaps":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x


@st.composite
def cases(draw: Any) -> Any:
    spatial = draw(st.lists(st.integers(1, 40), min_size=1, max_size=2))
    if draw(st.booleans()) and len(spatial) == 1:
        spatial = draw(st.lists(st.integers(1, 7), min_size=3, max_size=3))
    sizes = [draw(st.integers(1, 2 * n + 9)) for n in spatial]
    images = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 3, 8, 9, 33]))
    layout = draw(st.sampled_from(["planes", "last", "gaps"]))
    dtype = draw(st.sampled_from(["float32", "float64", "float16"]))
    return (*images, *spatial), sizes, draw(st.sampled_from(MODES)), layout, dtype


TOLERANCE = {"float16": 2e-2, "float32": 2e-5, "float64": 1e-12}


@settings(max_examples=120, deadline=None)
@given(cases(), st.integers(0, 2**32))
def test_forward_and_gradient(case: Any, seed: int) -> None:
    shape, sizes, (mode, transform), layout, dtype = case
    rng = np.random.default_rng(seed)
    x = laid(rng.standard_normal(shape).astype(dtype), layout)
    g = laid(rng.standard_normal((*shape[:2], *sizes)).astype(dtype), layout)
    attrs: dict[str, Any] = {"scales": [None] * len(sizes), "mode": mode, "transform": transform}
    along = [weights(n, o, mode, transform) for n, o in zip(shape[2:], sizes, strict=True)]
    for out, given_, matrices in (
        (resample.interpolate(x, sizes=sizes, **attrs), x, along),
        (resample.interpolate_grad(g, x_shape=shape, **attrs), g, [m.T for m in along]),
    ):
        wanted = along_axes(given_.astype(np.float64), matrices)
        assert out.dtype == dtype and out.shape == wanted.shape
        scale = 1 + np.abs(along_axes(np.abs(given_).astype(np.float64), map(np.abs, matrices)))
        assert np.max(np.abs(out - wanted) / scale, initial=0) < TOLERANCE[dtype]


@pytest.mark.skipif(not guard.AVAILABLE, reason="guard pages need POSIX")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("layout", ["planes", "last"])
@pytest.mark.parametrize("mode", MODES)
def test_rows_that_nothing_is_given_to(mode: Any, layout: str, side: str) -> None:
    """What their sum reads, though it is of nothing, lies inside the arrays."""
    g = laid(np.random.default_rng(0).standard_normal((2, 9, 12, 40), dtype=np.float32), layout)
    attrs: dict[str, Any] = {"scales": (None, None), "mode": mode[0], "transform": mode[1]}
    with guard.guarded_results(side):
        made = resample.interpolate_grad(guard.guarded(g, side), x_shape=(2, 9, 99, 99), **attrs)
    back = [weights(99, n, *mode).T for n in g.shape[2:]]
    np.testing.assert_allclose(made, along_axes(g.astype(np.float64), back), atol=1e-4)


@pytest.mark.parametrize("layout", ["planes", "last"])
@pytest.mark.parametrize("mode", MODES)
def test_results_do_not_depend_on_threads(mode: Any, layout: str) -> None:
    x = laid(np.random.default_rng(0).standard_normal((2, 9, 70, 50), dtype=np.float32), layout)
    attrs: dict[str, Any] = {"scales": (None, None), "mode": mode[0], "transform": mode[1]}
    before, made = threads.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            made.append(resample.interpolate(x, sizes=(140, 90), **attrs).tobytes())
    finally:
        threads.set_num_threads(before)
    assert len(set(made)) == 1


@pytest.mark.parametrize("layout", ["planes", "last"])
def test_nearest_copies_bits_and_keeps_layout(layout: str) -> None:
    x = np.array([-0.0, 1.0, np.nan, np.inf], np.float32).reshape(1, 1, 2, 2).repeat(3, axis=1)
    x = laid(x, layout)
    attrs: dict[str, Any] = {
        "scales": (None, None), "mode": "nearest", "transform": "asymmetric"
    }  # fmt: skip
    out = resample.interpolate(x, sizes=(4, 6), **attrs)
    wanted = x.repeat(2, axis=2).repeat(3, axis=3)
    np.testing.assert_array_equal(out.view(np.int32), wanted.view(np.int32))
    assert out.flags.c_contiguous == x.flags.c_contiguous
    # A NaN in the gradient reaches its own element and no other.
    g = np.zeros((1, 3, 5, 5), np.float32)
    g[0, :, 0, 0] = np.nan
    gx = resample.interpolate_grad(laid(g, layout), x_shape=(1, 3, 3, 3), **attrs)
    assert np.isnan(gx[0, :, 0, 0]).all() and np.isnan(gx).sum() == 3


@pytest.mark.parametrize("mode", ["smooth-linear", "smooth-cubic"])
def test_smoothing_reads_nothing_beyond_its_reach(mode: str) -> None:
    """A pixel that is infinite stays out of the outputs that it does not count in."""
    x = np.zeros((1, 1, 1, 40), np.float32)
    x[..., 20] = np.inf
    attrs: dict[str, Any] = {"scales": (None, None), "mode": mode, "transform": "half_pixel"}
    out = resample.interpolate(x, sizes=(1, 10), **attrs)[0, 0, 0]
    counted = matrix(40, 10, None, mode, "half_pixel")[:, 20] != 0
    assert (out[~counted] == 0).all() and not np.isfinite(out[counted]).any()
