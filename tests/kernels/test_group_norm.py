"""Group norm over random shapes and layouts, against the formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import group_norm
from dyn.kernels.runtime import threads
from tests.optable.norm import ref_group_norm, ref_group_norm_grad


@st.composite
def cases(draw: Any) -> Any:
    groups = draw(st.integers(1, 4))
    channels = groups * draw(st.integers(1, 5))
    spatial = draw(st.lists(st.integers(1, 30), min_size=0, max_size=2))
    shape = (draw(st.integers(0, 4)), channels, *spatial)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    x += np.asarray(draw(st.sampled_from([0, 300])), dtype)
    if len(shape) > 2 and draw(st.booleans()):
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    vectors = [
        rng.standard_normal(channels).astype(dtype) if draw(st.booleans()) else None
        for _ in range(2)
    ]
    return x, g, *vectors, groups


def wide(*arrays: Any) -> list[Any]:
    return [None if v is None else v.astype(np.float64) for v in arrays]


@settings(max_examples=150, deadline=None)
@given(cases())
def test_forward_and_gradient(case: Any) -> None:
    x, g, w, b, groups = case
    out, mean, rstd = group_norm.group_norm(x, w, b, groups=groups, epsilon=1e-2)
    assert mean.shape == rstd.shape == (len(x), groups)
    if not x.size:
        return
    tol = 1e-4 if x.dtype == np.float32 else 1e-9
    wanted = ref_group_norm(*wide(x, w, b), groups=groups, epsilon=1e-2)
    np.testing.assert_allclose(out, wanted, rtol=tol, atol=20 * tol)
    found = group_norm.group_norm_grad(g, x, w, mean, rstd, groups=groups)
    exact = ref_group_norm_grad(*wide(g, x, w, mean, rstd), groups=groups, epsilon=0)
    for a, b_ in zip(found, exact, strict=True):
        scale = 1 + np.abs(b_).max(initial=0)
        np.testing.assert_allclose(a / scale, b_ / scale, rtol=tol, atol=20 * tol)


def test_results_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((4, 12, 50, 41), dtype=np.float32) for _ in range(2))
    before, made = threads.get_num_threads(), set()
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            out, mean, rstd = group_norm.group_norm(x, None, None, groups=3, epsilon=1e-5)
            grads = group_norm.group_norm_grad(g, x, None, mean, rstd, groups=3)
            made.add(b"".join(v.tobytes() for v in (out, mean, rstd, *grads)))
    finally:
        threads.set_num_threads(before)
    assert len(made) == 1


@pytest.mark.parametrize("shape", [(2, 6, 5, 3), (2, 6, 40)])
def test_a_nan_stays_in_its_group(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    x[1, 3, 0] = np.nan
    out = group_norm.group_norm(x, None, None, groups=3, epsilon=1e-5)[0]
    assert np.isnan(out[1, 2:4]).all()
    assert np.isfinite(np.delete(out, 1, 0)).all() and np.isfinite(out[1, [0, 1, 4, 5]]).all()


def test_the_first_number_may_be_far_off() -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 30, 30), dtype=np.float32)
    x[0, 0, 0, 0] = 1000
    out = group_norm.group_norm(x + 3000, None, None, groups=2, epsilon=1e-5)[0]
    wanted = ref_group_norm(x.astype(np.float64) + 3000, None, None, groups=2, epsilon=1e-5)
    np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=3e-4)
