"""Groups of arrays in one launch: layouts, dtypes, threads, results written past the cache."""

from __future__ import annotations

import numpy as np
import pytest

import dyn
from dyn import nn, optimizer
from dyn.kernels import groups, update
from dyn.kernels.runtime import threads

RNG = np.random.default_rng(0)
SHAPES = ((0,), (), (1,), (15,), (16,), (17, 3), (300, 401), (5,), (200_001,))


def arrays(dtype="float32"):
    return [np.asarray(RNG.standard_normal(shape), dtype) for shape in SHAPES]


def adam(tensors, runs):
    scalars = [np.asarray(x) for x in (0.1, 0.9, 0.99)]
    settings = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "amsgrad": False}
    given = [x for run in runs for x in run]
    return update.update("adam_update", scalars, (*tensors, *given), **settings)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_shapes_and_dtypes(dtype):
    x = arrays(dtype)
    tol = {"float32": 1e-6, "float64": 1e-14, "float16": 1e-3}[dtype]
    for found, given in zip(groups.scale(x, np.arange(9.0)), range(9), strict=True):
        assert found.dtype == dtype and found.shape == SHAPES[given]
        np.testing.assert_allclose(found, x[given] * x[given].dtype.type(given), rtol=tol)
    sums = [np.sum(np.square(a, dtype=np.float64)) for a in x]
    np.testing.assert_allclose(groups.square_sums(x), sums, rtol=max(tol, 1e-6))
    for found, given in zip(groups.clip(x, -0.5, 0.25), x, strict=True):
        np.testing.assert_array_equal(found, np.clip(given, -0.5, 0.25))


def test_nan_and_infinity_stay():
    (found,) = groups.clip([np.array([np.nan, np.inf, -np.inf], np.float32)], -1.0, 2.0)
    np.testing.assert_array_equal(found, [np.nan, 2, -1])
    assert np.isnan(groups.square_sums([np.array([1, np.nan])])[0])


def test_nothing():
    assert groups.scale([], np.ones(())) == [] and groups.square_sums([]).shape == (0,)


def test_layouts_that_differ():
    p = RNG.standard_normal((4, 3, 3, 5)).astype(np.float32).transpose(0, 3, 1, 2)
    g = np.ascontiguousarray(RNG.standard_normal(p.shape).astype(np.float32))
    wide = RNG.standard_normal((8, 5, 3, 6)).astype(np.float32)[::2, :, :, ::2]
    zeros = np.zeros_like(p)
    for gradient in (g, wide):
        found = adam([p], [[gradient], [zeros], [zeros]])
        plain = adam(
            [np.ascontiguousarray(p)],
            [[np.ascontiguousarray(x)] for x in (gradient, zeros, zeros)],
        )
        assert found[0].strides == p.strides
        for a, b in zip(found, plain, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(groups.square_sums([wide]), [np.sum(wide**2)], rtol=1e-6)


def test_results_are_the_same_for_any_number_of_threads_and_past_the_cache(monkeypatch):
    before, runs = threads.get_num_threads(), [arrays(), [np.asarray(abs(x)) for x in arrays()]]
    runs = [arrays(), *runs]
    wanted = None
    try:
        for count, limit in ((1, 1 << 60), (2, 1 << 60), (4, 0)):
            threads.set_num_threads(count)
            monkeypatch.setattr(groups, "STREAM", limit)
            found = [*adam(runs[0], [runs[1], *runs[1:]]), groups.square_sums(runs[0])]
            for a, b in zip(found, wanted or found, strict=True):
                np.testing.assert_array_equal(a, b)
            wanted = wanted or found
    finally:
        threads.set_num_threads(before)


def test_a_gradient_that_does_not_fit_is_told():
    p = nn.Parameter([1.0, 2.0])
    p.grad = dyn.ones([2], dtype="float64")
    with pytest.raises(dyn.ShapeError, match="its gradient or slot is float64"):
        optimizer.Adam(0.1, parameters=[p]).step()
    assert p.tolist() == [1.0, 2.0]


def test_values_that_users_hold_stay():
    p = nn.Parameter([1.0, 2.0])
    opt = optimizer.Adam(0.1, parameters=[p])
    p.grad = dyn.ones([2])
    held = p.detach().numpy()
    opt.step()
    slot = opt.state_dict()[f"{p.name}_moment1_0"]
    first = slot.numpy()
    opt.step()
    assert held.tolist() == [1.0, 2.0] and slot.tolist() != first.tolist()


@pytest.mark.parametrize("name", ["SGD", "Lamb"])
def test_parameters_of_several_dtypes(name):
    def trained(dtypes):
        params = [nn.Parameter([1.0, 2.0]) for _ in dtypes]
        opt = getattr(optimizer, name)(0.1, parameters=params)
        for p, dtype in zip(params, dtypes, strict=True):
            # As a layer's `to` does after the optimiser was made.
            p._array = p._array.astype(dtype)
            p.grad = dyn.to_tensor([0.5, -1.0], dtype=dtype)
        opt.step()
        return params

    mixed = trained(["float32", "float64"])
    assert [p.numpy().dtype.name for p in mixed] == ["float32", "float64"]
    assert mixed[0].tolist() == trained(["float32"])[0].tolist()
    assert mixed[1].tolist() == trained(["float64"])[0].tolist()
