"""Batch norm of small images in one task, against that of large ones."""

from __future__ import annotations

import numpy as np
import pytest

from dyn.kernels import batch_norm, batch_norm_small


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 3), (1, 3, 5), (5, 1, 2, 2), (2, 3, 4, 5), (2, 2, 3, 2, 4)])
@pytest.mark.parametrize("affine", [True, False])
def test_against_large_images(
    shape: tuple[int, ...], dtype: str, affine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    x += 100  # digits are lost where squares are summed
    vectors = [rng.standard_normal(shape[1]).astype(dtype) for _ in range(4)]
    w, b = vectors[:2] if affine else (None, None)

    def run() -> list[np.ndarray]:
        out, mean, var = batch_norm.batch_norm(x, w, b, epsilon=1e-3)
        given = g, x, w, b, None, mean, var, *vectors[2:]
        return [out, mean, var, *batch_norm.batch_norm_grad(*given, epsilon=1e-3)]

    assert batch_norm_small.is_small(x)
    found = run()
    monkeypatch.setattr(batch_norm_small, "is_small", lambda x: False)
    for ours, theirs in zip(found, run(), strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        digits = 2e-4 if dtype == "float32" else 1e-11
        np.testing.assert_allclose(ours, theirs, rtol=digits, atol=digits)


def test_what_is_small() -> None:
    assert batch_norm_small.is_small(np.zeros((4, 16, 16, 16), np.float32))
    assert not batch_norm_small.is_small(np.zeros((4, 17, 16, 16), np.float32))
    assert not batch_norm_small.is_small(np.zeros((128, 17), np.float32))
    assert not batch_norm_small.is_small(np.zeros((0, 3), np.float32))
    assert not batch_norm_small.is_small(np.zeros((2, 8, 8, 3), np.float32).transpose(0, 3, 1, 2))
