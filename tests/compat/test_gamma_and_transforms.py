"""Gamma and its relatives, transforms and mixtures, against numbers that PyTorch 2.13 gave."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import dyn.compat.torch as torch
import tracer
from dyn.compat.torch import distributions as D
from dyn.compat.torch import nn
from dyn.compat.torch.distributions import transforms as T
from dyn.compat.torch.distributions.gamma_draws import log_standard_gamma, slope_of_log
from exporter import InputSpec, export
from tests.compat.distribution_cases import divergences, made

RECORDED = json.loads((Path(__file__).parent / "distributions.json").read_text())
A, B, CASES = made(torch)


def close(found, wanted, rtol=2e-5):
    np.testing.assert_allclose(found.detach().numpy().ravel(), wanted, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_densities_slopes_and_moments_are_pytorchs(name):
    make, value = CASES[name]
    wanted = RECORDED[name]
    a, b = (x.clone().requires_grad_() for x in (A, B))
    law = make(a, b)
    assert [list(law.batch_shape), list(law.event_shape)] == wanted["shapes"]
    density = law.log_prob(value)
    close(density, wanted["log_prob"])
    density.sum().backward()
    for x, slopes in zip((a, b), wanted["slopes"], strict=True):
        close(x.grad, slopes, 1e-4)
    for what in ("mean", "mode", "variance", "entropy"):
        if what in wanted:
            got = getattr(law, what)
            close(got() if what == "entropy" else got, wanted[what], 1e-4)
    for what, at in (("cdf", value), ("icdf", torch.tensor([0.2, 0.5, 0.9, 0.01]))):
        if what in wanted:
            close(getattr(law, what)(at), wanted[what], 1e-4)
    drawn = law.sample((3, 2))
    assert drawn.shape == (3, 2, *law.batch_shape, *law.event_shape)
    assert torch.isfinite(law.log_prob(drawn)).all()
    wider = law.expand((2, *law.batch_shape))
    assert wider.sample().shape == (2, *law.batch_shape, *law.event_shape)


@pytest.mark.parametrize("name", RECORDED["divergences"])
def test_divergences_are_pytorchs(name):
    close(D.kl_divergence(*divergences(torch)[name]), RECORDED["divergences"][name], 1e-4)


def test_transforms_that_differ_have_no_divergence():
    laws = [
        D.TransformedDistribution(D.Normal(0.0, 1.0), [T.AffineTransform(0.0, s)])
        for s in (1.0, 2.0)
    ]
    with pytest.raises(NotImplementedError, match="same transforms"):
        D.kl_divergence(*laws)


def probability(a, z, points=400_000):
    """P(a, z) by the trapezoid rule over powers of the number, which take the pole away."""
    power = min(a, 1.0)
    t = np.linspace(0.0, z**power, points)
    x = t ** (1 / power)
    values = np.exp(-x) * (x ** (a - 1) if power == 1.0 else 1.0)
    return np.trapezoid(values, t) / (power * math.gamma(a))


@pytest.mark.parametrize("a", [0.1, 0.7, 3.0, 15.0, 19.9, 20.1, 60.0])
@pytest.mark.parametrize("q", [-2.0, 0.0, 2.5])
def test_the_slope_of_a_draw_leaves_its_probability(a, q):
    z = a * max(1 - 1 / (9 * a) + q / (3 * math.sqrt(a)), 0.05) ** 3
    step = 1e-3 * a
    by_a = (probability(a + step, z) - probability(a - step, z)) / (2 * step)
    density = math.exp((a - 1) * math.log(z) - z - math.lgamma(a))
    found = slope_of_log(*(torch.tensor(x, dtype=torch.float64) for x in (a, math.log(z))))
    assert found.item() == pytest.approx(-by_a / density / z, rel=2e-4)


@pytest.mark.parametrize("a", [0.05, 0.5, 1.0, 4.0, 50.0])
def test_gamma_draws_have_the_moments_of_the_law(a):
    torch.manual_seed(int(a * 100))
    drawn = log_standard_gamma(torch.full((200_000,), a)).numpy().astype("float64")
    z, rows = np.exp(drawn), 200_000**0.5
    assert abs(z.mean() - a) < 5 * math.sqrt(a) / rows
    assert abs((z**2).mean() / (a * (a + 1)) - 1) < 0.03 + 0.1 * (a < 0.1)
    euler = 0.5772156649015329
    if a == 1.0:
        assert abs(drawn.mean() + euler) < 5 * math.pi / math.sqrt(6) / rows


def test_small_shapes_give_shares_though_their_draws_vanish():
    drawn = D.Dirichlet(torch.full((1000, 3), 0.001)).sample()
    np.testing.assert_allclose(drawn.sum(-1), 1, rtol=1e-5)
    assert abs((drawn.argmax(-1) == 0).float().mean() - 1 / 3) < 0.06


DRAWN = {
    "gamma": (lambda a, b: D.Gamma(a, b), lambda a, b: (1 / b, -a / b**2)),
    "beta": (lambda a, b: D.Beta(a, b), lambda a, b: (b / (a + b) ** 2, -a / (a + b) ** 2)),
    "student": (lambda a, b: D.StudentT(a + 5, b, a), lambda a, b: (0.0, 1.0)),
    "tanh": (
        lambda a, b: D.TransformedDistribution(
            D.Normal(a, b * 0 + 0.1), [T.AffineTransform(0.0, b)]
        ),
        lambda a, b: (b, a),
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_have_the_slopes_of_their_mean(name):
    make, slopes = DRAWN[name]
    torch.manual_seed(1)
    a, b = (torch.tensor(x, requires_grad=True) for x in (1.7, 2.4))
    make(a, b).rsample((100_000,)).mean().backward()
    for x, wanted in zip((a, b), slopes(1.7, 2.4), strict=True):
        assert x.grad.item() == pytest.approx(wanted, abs=0.02)


def test_a_cache_makes_inverses_exact():
    z = torch.tensor([20.0])
    kept, plain = T.TanhTransform(cache_size=1), T.TanhTransform()
    assert kept.inv(kept(z)) is z and plain.inv(plain(z)).isinf().all()
    policy = D.TransformedDistribution(D.Normal(torch.zeros(3), 9.0), [kept])
    assert policy.log_prob(policy.rsample()).isfinite().all()
    with pytest.raises(ValueError, match="cache_size"):
        T.TanhTransform(cache_size=2)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: D.Gamma(-1.0, 1.0), ValueError, "concentration"),
        (lambda: D.Dirichlet(torch.tensor(1.0)), ValueError, "at least one-dimensional"),
        (lambda: D.Beta(1.0, 1.0).log_prob(torch.tensor(2.0)), ValueError, "support"),
        (lambda: D.Gamma(1.0, 1.0).cdf(torch.tensor(2.0)), NotImplementedError, "cdf"),
        (
            lambda: D.MixtureSameFamily(D.Normal(A, B), D.Normal(A, B)),
            ValueError,
            "Categorical",
        ),
        (
            lambda: D.MixtureSameFamily(D.Categorical(A), D.Normal(A[:3], B[:3])),
            ValueError,
            "does not equal",
        ),
        (
            lambda: D.MixtureSameFamily(D.Categorical(A), D.Normal(A, B)).rsample(),
            NotImplementedError,
            "no gradient",
        ),
        (lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), 3), ValueError, "Transform or list"),
        (
            lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), T.StickBreakingTransform()),
            ValueError,
            "at least",
        ),
    ],
)
def test_what_is_no_distribution_is_refused(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


DENSITIES = {
    "gamma": lambda x: D.Gamma(x, x + 1).log_prob(x + 0.5),
    "beta": lambda x: D.Beta(x, x + 1).log_prob(torch.tensor(0.3)) + D.Beta(x, x).entropy(),
    "dirichlet": lambda x: D.kl_divergence(D.Dirichlet(x), D.Dirichlet(x + 1)),
    "student": lambda x: D.StudentT(x, 0.0, x).log_prob(x * 3),
    "squashed": lambda x: D.TransformedDistribution(
        D.Normal(x, 1.0), [T.AffineTransform(0.5, 2.0), T.TanhTransform()]
    ).log_prob(torch.tensor(0.3)),
    "mixture": lambda x: D.MixtureSameFamily(D.Categorical(x), D.Normal(x, 1.0)).log_prob(x[:, 0]),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_export(name, tmp_path):
    x = torch.tensor(np.random.default_rng(0).uniform(0.5, 3, (4, 3)).astype("float32"))
    spec = InputSpec(["n", 3], "float32", name="x", example=x)
    assert "verified" in str(export(Model(DENSITIES[name]), tmp_path / "m.onnx", [spec]))


DRAWS = {
    "gamma": (lambda x: D.Gamma(x, 2.0).sample(), 0.75, 0.375),
    "beta": (lambda x: D.Beta(x, 0.5).sample(), 0.75, 0.0625),
    "dirichlet": (
        lambda x: D.Dirichlet(torch.stack([x, x * 2], -1)).sample()[..., 0],
        1 / 3,
        0.0404,
    ),
    "student": (lambda x: D.StudentT(x * 6, 1.0).sample(), 1.0, 9 / 7),
    "mixture": (
        lambda x: D.MixtureSameFamily(
            D.Categorical(torch.stack([x, x], -1)),
            D.Normal(torch.stack([x, x * 3], -1), 0.5),
        ).sample(),
        3.0,
        2.5,
    ),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_draws_of_the_file(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    function, mean, variance = DRAWS[name]
    path = tmp_path / "m.onnx"
    example = torch.full((3,), 1.5)
    export(Model(function), path, [InputSpec(["n"], "float32", name="x", example=example)])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full(40_000, 1.5, "float32")})
    assert abs(found.mean() - mean) < 0.03 * max(1.0, math.sqrt(variance))
    assert abs(found.var() / variance - 1) < 0.1


def test_a_compiled_step_draws_anew_and_keeps_the_slopes():
    torch.manual_seed(0)
    a = nn.Parameter(torch.full((2000,), 2.0))
    optimizer = torch.optim.SGD([a], 0.1)
    step = tracer.compile_training(lambda: D.Gamma(a, 1.0).rsample().sum(), optimizer=optimizer)
    first, second = step(), step()
    assert first.item() != second.item()
    # The slope of a draw by its shape has the mean 1.
    assert a.detach().mean().item() == pytest.approx(1.8, abs=0.02)
