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


def _by_hand(g: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """The product of the others, factor for factor, in numpy's float64."""
    out = np.empty(x.shape, np.float64)
    with np.errstate(all="ignore"):
        for i in range(x.shape[axis]):
            others = np.delete(x.astype(np.float64), i, axis).prod(axis, keepdims=True)
            place = tuple(slice(i, i + 1) if a == axis else slice(None) for a in range(x.ndim))
            out[place] = others * g
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 40), (3, 40, 21)])
def test_special_factors(dtype: str, shape: tuple) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal(shape).astype(dtype)
    x[0, 3] = 0
    x[0, 30] = -0.0
    x[1, 7] = -np.inf
    x[2, 7] = np.nan
    if len(x) > 3:
        x[3, 5], x[3, 39] = -np.inf, np.inf
        x[4, 5], x[4, 39] = 0, np.inf
        x[5, 0] = -0.0
    g = rng.standard_normal((len(x), 1, *shape[2:])).astype(dtype)
    wanted = _by_hand(g, x, 1)
    found = product_grad(g, x, (1,))
    bound = {"float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(found, wanted, bound)
    zero = wanted == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]))


@pytest.mark.parametrize("g", [0.0, np.inf, np.nan, -2.5])
def test_any_gradient_that_comes_in(g: float) -> None:
    x = np.array([[1.5, -2.0, 4.0], [0.0, 3.0, 2.0]])
    found = product_grad(np.full((2, 1), g), x, (1,))
    np.testing.assert_array_equal(found, _by_hand(np.full((2, 1), g), x, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_that_leave_the_range_on_the_way(dtype: str) -> None:
    # All numbers are powers of two: every result is exact.
    tiny, huge = (2.0**-140, 2.0**120) if dtype == "float32" else (2.0**-1068, 2.0**1000)
    row = [tiny] * 6 + [1 / 2.0**60] * 2
    x = np.array(row + [2.0 ** (-np.log2(row).sum() / 8)] * 8, dtype)[None]
    with np.errstate(over="ignore"):
        wanted = 1 / x
    np.testing.assert_array_equal(product_grad(np.ones((1, 1), dtype), x, (1,)), wanted)
    x = np.array([[huge] * 9 + [1 / huge] * 9], dtype)
    np.testing.assert_array_equal(product_grad(np.ones((1, 1), dtype), x, (1,)), 1 / x)
    x = np.full((1, 700), tiny, dtype)
    np.testing.assert_array_equal(product_grad(np.ones((1, 1), dtype), x, (1,)), 0)


def test_long_columns_of_large_factors_keep_their_digits() -> None:
    x = np.full((1, 40_000, 3), 1.999, np.float32)
    x[:, ::2] = np.float32(1) / np.float32(1.999)
    wanted = (x.astype(np.float64).prod(1, keepdims=True) / x).astype(np.float32)
    np.testing.assert_allclose(product_grad(np.ones((1, 1, 3), np.float32), x, (1,)), wanted, 1e-6)
    flat = np.ascontiguousarray(x.transpose(0, 2, 1))
    found = product_grad(np.ones((1, 3, 1), np.float32), flat, (2,))
    np.testing.assert_allclose(found, wanted.transpose(0, 2, 1), 1e-6)


@pytest.mark.parametrize(("shape", "axes"), [((0, 3), (0,)), ((0, 3), (1,)), ((2, 0), (0, 1))])
def test_nothing_to_multiply(shape: tuple, axes: tuple) -> None:
    g = np.ones([1 if a in axes else n for a, n in enumerate(shape)], np.float32)
    assert product_grad(g, np.ones(shape, np.float32), axes).shape == shape


def test_views_of_any_strides() -> None:
    rng = np.random.default_rng(3)
    whole = 1 + rng.standard_normal((8, 30, 6)) * 0.1
    x, g = whole[::-2, :, 1:4].transpose(2, 1, 0), np.broadcast_to(2.0, (3, 1, 4))
    for view, from_above in ((x, g), (x[:, ::-1], g)):
        found = product_grad(from_above, view, (1,))
        np.testing.assert_allclose(found, _by_hand(from_above, view, 1), 1e-12)
