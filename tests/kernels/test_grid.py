"""Sampling at the places of a grid, its gradients, and grids of affine maps, over random sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import affine_grid as affine
from dyn.kernels import grid as kernels
from dyn.kernels.runtime import threads
from tests.kernels import guard
from tests.kernels.test_resample import laid
from tests.optable.resample import ref_base, ref_grid_sample, ref_grid_sample_grad

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
TOLERANCE = {"float16": 5e-2, "float32": 1e-4, "float64": 1e-11}


def attributes(mode: str, padding: str, align_corners: bool = False) -> dict[str, Any]:
    return {"mode": mode, "padding": padding, "align_corners": align_corners}


def results(x: np.ndarray, g: np.ndarray, grid: np.ndarray, attrs: Any) -> list[np.ndarray]:
    """What is sampled, and both gradients."""
    return [
        kernels.grid_sample(x, grid, **attrs),
        kernels.grid_sample_grad_x(g, grid, x_shape=x.shape, **attrs),
        kernels.grid_sample_grad_grid(g, x, grid, **attrs),
    ]


@st.composite
def cases(draw: Any) -> Any:
    n, c = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 3, 8, 9, 33]))
    h, w = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    places = draw(st.sampled_from([(0, 3), (1, 1), (3, 5), (2, 70), (12, 11)]))
    layouts = draw(st.lists(st.sampled_from(["planes", "last", "gaps"]), min_size=2, max_size=2))
    attrs = attributes(
        draw(st.sampled_from(MODES)), draw(st.sampled_from(PADDINGS)), draw(st.booleans())
    )
    return (n, c, h, w), places, layouts, attrs, draw(st.sampled_from(sorted(TOLERANCE)))


@settings(max_examples=120, deadline=None)
@given(cases(), st.integers(0, 2**32))
def test_forward_and_gradients(case: Any, seed: int) -> None:
    shape, places, layouts, attrs, dtype = case
    rng = np.random.default_rng(seed)
    # Of numbers that float16 holds, and not between two pixels, which rounding decides.
    grid = (2 * rng.integers(-850, 850, (shape[0], *places, 2)) + 1) / 1024
    if attrs["padding"] == "reflection" and attrs["align_corners"] and 1 in shape[2:]:
        return  # there is nothing between the centres of one pixel
    x = rng.standard_normal(shape).astype(dtype)
    g = rng.standard_normal((*shape[:2], *places)).astype(dtype)
    made = results(
        laid(x, layouts[0]), laid(g, layouts[1]), laid(grid.astype(dtype), "gaps"), attrs
    )
    exact = [v.astype(np.float64) for v in (g, x, grid.astype(dtype))]
    wanted = [ref_grid_sample(*exact[1:], **attrs), *ref_grid_sample_grad(*exact, **attrs)]
    for got, expected in zip(made, wanted, strict=True):
        assert got.dtype == dtype and got.shape == expected.shape
        scale = 1 + np.max(np.abs(expected), initial=0)
        assert np.max(np.abs(got - expected), initial=0) < TOLERANCE[dtype] * scale


@pytest.mark.parametrize("layout", ["planes", "last"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 40, 30, 40), (3, 2, 70, 50)])
def test_results_do_not_depend_on_threads(shape: Any, mode: str, layout: str) -> None:
    rng = np.random.default_rng(0)
    x = laid(rng.standard_normal(shape, dtype=np.float32), layout)
    g = laid(rng.standard_normal((*shape[:2], 60, 70), dtype=np.float32), layout)
    grid = rng.uniform(-1.2, 1.2, (shape[0], 60, 70, 2)).astype(np.float32)
    before, made = threads.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            made.append([v.tobytes() for v in results(x, g, grid, attributes(mode, "zeros"))])
    finally:
        threads.set_num_threads(before)
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_affine_grids_of_many_chunks(align_corners: bool, dtype: str) -> None:
    rng = np.random.default_rng(2)
    theta = rng.standard_normal((3, 2, 3)).astype(dtype)
    g = rng.standard_normal((3, 211, 190, 2)).astype(dtype)
    base = ref_base(211, 190, align_corners)
    before, made = threads.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            places = affine.affine_grid(theta, sizes=g.shape[:3], align_corners=align_corners)
            made.append((places, affine.affine_grid_grad(g, align_corners=align_corners)))
    finally:
        threads.set_num_threads(before)
    wanted = np.einsum("hwk,nik->nhwi", base, theta), np.einsum("hwk,nhwi->nik", base, g)
    for found in zip(*made, strict=True):
        assert len({v.tobytes() for v in found}) == 1
    for got, expected in zip(made[0], wanted, strict=True):
        tol = {"float32": 2e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(got, expected, rtol=tol, atol=tol)


@pytest.mark.parametrize("layout", ["planes", "last"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_places_that_are_no_numbers(mode: str, padding: str, layout: str) -> None:
    x = laid(np.arange(1, 181, dtype=np.float32).reshape(1, 9, 4, 5), layout)
    inf, nan = np.inf, np.nan
    pairs = [(nan, 0), (0, nan), (inf, 0), (0, -inf), (1e30, 0), (0.25, -1e30), (0.1, 0.2)]
    grid = np.array(pairs, np.float32).reshape(1, 1, -1, 2)
    attrs = attributes(mode, padding)
    out, gx, ggrid = results(x, laid(np.ones((1, 9, 1, 7), np.float32), layout), grid, attrs)
    values = out[0, 0, 0]
    assert np.isfinite(out[..., -1]).all() and np.isfinite(gx).all()
    assert np.isfinite(ggrid[..., -1, :]).all()
    if mode == "nearest":
        # A place that is no number is nowhere; one beyond everything is outside, or at the border.
        assert (values[:2] == 0).all()
        wanted = {"zeros": [0, 0, 0, 0], "border": [15, 3, 15, 4]}
    elif mode == "bicubic":
        assert np.isnan(values[:2]).all()
        beyond = np.clip(grid.astype(np.float64), -9, 9)[:, :, 2:6]
        wanted = {padding: ref_grid_sample(x.astype(np.float64), beyond, **attrs)[0, 0, 0]}
    else:
        assert np.isnan(values[:2]).all()
        wanted = {"zeros": [nan, nan, 0, 0], "border": [12.5, 3, 12.5, 3.625]}
    if padding != "reflection":
        np.testing.assert_allclose(values[2:6], wanted[padding], rtol=1e-6)


@pytest.mark.parametrize("layout", ["planes", "last"])
def test_pixels_that_are_not_read_may_hold_anything(layout: str) -> None:
    x = np.full((1, 9, 3, 4), np.nan, np.float32)
    x[:, :, 0, 0] = 2
    # Outside but for the first pixel: three of the four pixels between which it lies are none.
    grid = np.array([[-1.1, -1.1], [-1, -1.2], [-7, 0], [0.1, 9]], np.float32).reshape(1, 2, 2, 2)
    g = laid(np.full((1, 9, 2, 2), 3, np.float32), layout)
    attrs = attributes("bilinear", "zeros")
    x = laid(x, layout)
    out, gx, ggrid = results(x, g, grid, attrs)
    wanted = ref_grid_sample(np.nan_to_num(x), grid, **attrs)
    np.testing.assert_allclose(out, wanted, rtol=1e-5)
    assert np.isfinite(ggrid).all() and np.count_nonzero(gx) == 9
    # Gradients that are infinite reach the pixels that were read and no others.
    g[...] = np.inf
    gx = kernels.grid_sample_grad_x(g, grid, x_shape=x.shape, **attrs)
    assert np.isinf(gx[:, :, 0, 0]).all() and np.count_nonzero(gx) == 9


def test_nearest_copies_bits_and_layouts_are_kept() -> None:
    x = np.array([-0.0, 1.0, np.nan, np.inf], np.float32).reshape(1, 1, 2, 2).repeat(9, axis=1)
    ends = np.array([-0.5, 0.5], np.float32)
    grid = np.stack(np.broadcast_arrays(ends[None], ends[:, None]), -1)[None]
    for layout in ("planes", "last"):
        lying = laid(x, layout)
        out = kernels.grid_sample(lying, grid, **attributes("nearest", "zeros"))
        np.testing.assert_array_equal(out.view(np.int32), x.view(np.int32))
        assert out.flags.c_contiguous == lying.flags.c_contiguous


@pytest.mark.skipif(not guard.AVAILABLE, reason="no mprotect on this system")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("layout", ["planes", "last"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_but_its_own_memory_is_touched(mode: str, layout: str, side: str) -> None:
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        for channels, h, w in ((1, 1, 1), (3, 1, 2), (9, 2, 1), (17, 3, 5)):
            x = laid(rng.standard_normal((2, channels, h, w)).astype(dtype), layout)
            g = laid(rng.standard_normal((2, channels, 3, 7)).astype(dtype), layout)
            grid = rng.uniform(-1.8, 1.8, (2, 3, 7, 2)).astype(dtype)
            with guard.guarded_results(side):
                for padding in PADDINGS:
                    given_ = [guard.guarded(v, side) for v in (x, g, grid)]
                    results(*given_, attributes(mode, padding))  # type: ignore[arg-type]
