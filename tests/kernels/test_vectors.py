"""Vector products against numpy's, of any axis, dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest

from dyn.kernels import vectors


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int16"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("others", [(1, 1), (5, 7), (40, 300), (0, 2)])
def test_cross(others: tuple[int, int], axis: int, dtype: str, rng: np.random.Generator) -> None:
    shape = list(others)
    shape.insert(axis, 3)
    x, y = ((rng.standard_normal(shape) * 9).astype(dtype) for _ in range(2))
    for a, b in ((x, y), (x[::-1] if axis else x, y), (x[:1] if axis else x, y)):
        left, right = np.broadcast_arrays(a, b)
        wanted = np.cross(left, right, axis=axis)
        found = vectors.cross(a, b, axis)
        assert found.dtype == x.dtype and found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
