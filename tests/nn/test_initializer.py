"""Initializers: distributions, special matrices, defaults."""

import math

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.nn import initializer as init


@pytest.fixture(autouse=True)
def seeded():
    dyn.seed(11)


# Initializer, shape, mean, standard deviation, bound.
DISTRIBUTIONS = [
    (init.Normal(1.0, 0.5), (300, 200), 1.0, 0.5, None),
    (init.Uniform(-2.0, 4.0), (300, 200), 1.0, math.sqrt(3.0), 4.0),
    (init.XavierNormal(), (300, 200), 0.0, math.sqrt(2 / 500), None),
    (init.XavierUniform(), (300, 200), 0.0, math.sqrt(2 / 500), math.sqrt(6 / 500)),
    (init.XavierUniform(10, 20, 2.0), (300, 200), 0.0, 2 * math.sqrt(2 / 30), None),
    (init.XavierNormal(), (40, 30, 5, 5), 0.0, math.sqrt(2 / (25 * 70)), None),
    (init.KaimingNormal(), (300, 200), 0.0, math.sqrt(2 / 300), None),
    (init.KaimingUniform(), (40, 30, 5, 5), 0.0, math.sqrt(2 / 750), math.sqrt(6 / 750)),
    (init.KaimingUniform(nonlinearity="leaky_relu", negative_slope=math.sqrt(5)), (300, 200), 0.0,
     math.sqrt(2 / 6 / 300), math.sqrt(1 / 300)),
    (init.KaimingNormal(50, 0.0, "tanh"), (300, 200), 0.0, 5 / 3 / math.sqrt(50), None),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(DISTRIBUTIONS)))
def test_distributions(number):
    start, shape, mean, std, bound = DISTRIBUTIONS[number]
    drawn = start.compute(shape)
    assert drawn.dtype == np.float32 and drawn.shape == shape
    assert drawn.mean() == pytest.approx(mean, abs=5 * std / math.sqrt(drawn.size))
    assert drawn.std() == pytest.approx(std, rel=0.03)
    if bound is not None:
        assert np.abs(drawn).max() <= np.float32(bound) * (1 + 1e-6)


def test_truncated_normal_stays_within_its_bounds():
    drawn = init.TruncatedNormal(1.0, 2.0, -1.0, 0.5).compute((500, 100))
    z = (drawn - 1.0) / 2.0
    assert z.min() >= -1.001 and z.max() <= 0.501 and z.min() < -0.99 and z.max() > 0.49
    with pytest.raises(ValueError, match="ascending"):
        init.TruncatedNormal(a=1.0, b=-1.0)


def test_seed_decides_the_numbers():
    a = init.Normal().compute((3, 3))
    dyn.seed(11)
    assert np.array_equal(init.Normal().compute((3, 3)), a)


def test_given_values():
    assert init.Constant(2.5).compute((2,), "float64").tolist() == [2.5, 2.5]
    assert init.Assign([[1, 2], [3, 4]]).compute((2, 2)).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(dyn.ShapeError, match=r"Assign gives shape \[2\], the parameter has \[3\]"):
        init.Assign([1, 2]).compute((3,))


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (4, 2, 3, 3)])
def test_orthogonal(shape):
    w = init.Orthogonal(gain=2.0).compute(shape, "float64").reshape(shape[0], -1)
    small = min(w.shape)
    product = w @ w.T if w.shape[0] == small else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(small), atol=1e-9)
    with pytest.raises(dyn.ShapeError):
        init.Orthogonal().compute((3,))


def test_dirac_passes_channels_through(rng):
    x = dyn.to_tensor(rng.standard_normal((1, 3, 5, 5)).astype(np.float32))
    conv = nn.Conv2D(3, 4, 3, padding=1, weight_attr=init.Dirac())
    out = conv(x).numpy()
    assert np.array_equal(out[:, :3], x.numpy()) and not out[:, 3].any()
    w = init.Dirac(groups=2).compute((4, 2, 3))
    assert w[:, :, 1].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    with pytest.raises(dyn.ShapeError):
        init.Dirac(groups=3).compute((4, 2, 3))


def test_bilinear_enlarges_images_linearly():
    w = init.Bilinear().compute((2, 1, 4, 4))
    assert w[0, 0, 0].tolist() == [0.0625, 0.1875, 0.1875, 0.0625]
    assert np.array_equal(w[0], w[1])
    with pytest.raises(dyn.ShapeError):
        init.Bilinear().compute((2, 4, 3))


def test_gains():
    assert init.calculate_gain("relu") == pytest.approx(math.sqrt(2))
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0
    assert init.calculate_gain("tanh") == pytest.approx(5 / 3)
    with pytest.raises(ValueError, match="no gain for 'square'"):
        init.calculate_gain("square")


def test_applying_to_a_tensor():
    p = nn.Parameter(np.zeros((2, 2), np.float32))
    assert init.Constant(3.0)(p) is p and p.tolist() == [[3.0, 3.0]] * 2


def test_global_initializer():
    try:
        init.set_global_initializer(init.Constant(2.0), init.Constant(1.0))
        layer = nn.Linear(2, 2)
        assert layer.weight.tolist() == [[2.0, 2.0]] * 2 and layer.bias.tolist() == [1.0, 1.0]
        own = nn.Linear(2, 2, weight_attr=init.Constant(5.0))
        assert own.weight.tolist() == [[5.0, 5.0]] * 2
    finally:
        init.set_global_initializer(None)
    assert nn.Linear(2, 2).bias.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="Initializer or None"):
        init.set_global_initializer(3)


def test_default_dtype():
    try:
        dyn.set_default_dtype("float64")
        assert nn.Linear(2, 2).weight.dtype == dyn.float64
        assert nn.BatchNorm1D(2)._mean.dtype == dyn.float64
    finally:
        dyn.set_default_dtype("float32")
