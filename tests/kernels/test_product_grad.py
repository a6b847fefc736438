"""Products of all other factors, against numpy's running products in float64."""

from __future__ import annotations

import numpy as np
import pytest

from dyn.kernels.product_grad import product_grad
from dyn.kernels.runtime import threads


def others(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """For each element the product of all others over the axes."""
    kept = [a for a in range(x.ndim) if a not in axes]
    moved = x.transpose(*kept, *axes).astype(np.float64)
    rows = moved.reshape([x.shape[a] for a in kept] + [-1])
    ones = np.ones_like(rows[..., :1])
    before = np.cumprod(np.concatenate([ones, rows[..., :-1]], -1), -1)
    behind = np.cumprod(np.concatenate([ones, rows[..., :0:-1]], -1), -1)[..., ::-1]
    return (before * behind).reshape(moved.shape).transpose(np.argsort([*kept, *axes]))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5,), (0,)),
        ((3, 4), (1,)),
        ((3, 4), (0,)),
        ((3, 4), (0, 1)),
        ((2, 3, 4), (0, 2)),
        ((3, 2048), (1,)),
        ((7, 1501), (1,)),
        ((12_288,), (0,)),
        ((1000, 90), (0,)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("zeros", [0, 1, 3])
def test_products_of_the_others(shape: tuple, axes: tuple, dtype: str, zeros: int) -> None:
    rng = np.random.default_rng(0)
    x = (1 + rng.standard_normal(shape) * 0.05).astype(dtype)
    x.reshape(-1)[rng.integers(0, x.size, zeros)] = 0
    g = rng.standard_normal([1 if a in axes else n for a, n in enumerate(shape)]).astype(dtype)
    wanted = (others(x, axes) * g).astype(dtype)
    bound = {"float32": 1e-5, "float64": 1e-12, "float16": 2e-3}[dtype]
    np.testing.assert_allclose(product_grad(g, x, axes), wanted, bound, bound)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(1)
    x = (1 + rng.standard_normal((40, 3000)) * 0.02).astype(np.float32)
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            found.append(product_grad(np.ones((1, 1), np.float32), x, (0, 1)))
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
