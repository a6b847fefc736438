"""Weights that are computed: parametrizations and masks, with values of PyTorch 2.13 and numpy."""

import copy
import pickle

import numpy as np
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.utils.parametrizations as made
import dyn.compat.torch.nn.utils.parametrize as P
import tracer
from dyn.compat.torch import nn
from exporter import InputSpec, export

W = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")


def linear(weight=W):
    rows, columns = weight.shape
    layer = nn.Linear(columns, rows)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.zero_()
    return layer


def close(found, wanted, atol=1e-5):
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=atol)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)

    def right_inverse(self, a):
        return a.triu()


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


SYMMETRIC = np.triu(W) + np.triu(W, 1).T


def test_a_weight_is_computed_whenever_it_is_read():
    layer = P.register_parametrization(linear(), "weight", Symmetric())
    assert repr(layer) == (
        "ParametrizedLinear(\n  in_features=3, out_features=3, bias=True\n"
        "  (parametrizations): ModuleDict(\n    (weight): ParametrizationList(\n"
        "      (0): Symmetric()\n    )\n  )\n)"
    )
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    close(layer.weight, SYMMETRIC)
    P.register_parametrization(layer, "weight", Twice())
    close(layer.weight, 2 * SYMMETRIC)
    assert P.is_parametrized(layer) and not P.is_parametrized(layer, "bias")
    assert P.type_before_parametrizations(layer) is nn.Linear
    layer(torch.ones(1, 3)).sum().backward()
    close(layer.parametrizations.weight.original.grad, [[2, 4, 4], [0, 2, 4], [0, 0, 2]])
    with pytest.raises(RuntimeError, match="Twice does not implement right_inverse"):
        layer.weight = torch.tensor(W)
    with P.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight


def test_a_cached_weight_is_none_without_gradients_nor_a_constant_of_a_trace():
    net = made.weight_norm(linear())
    with P.cached():
        with torch.no_grad():
            net.weight  # noqa: B018
        net.weight.sum().backward()
        assert net.parametrizations.weight.original0.grad is not None
        found = str(tracer.trace(net, torch.ones(2, 3)))
    assert "original0" in found and "original1" in found


def test_a_copy_has_properties_of_its_own():
    net = made.weight_norm(linear())
    other = copy.deepcopy(net)
    P.register_parametrization(other, "bias", nn.Identity())
    P.remove_parametrizations(other, "weight")
    close(net.weight, W)
    close(net.bias, np.zeros(3))
    assert not P.is_parametrized(other, "weight") and P.is_parametrized(net, "weight")


def test_a_weight_is_assigned_through_the_inverse_and_left_behind():
    layer = P.register_parametrization(linear(), "weight", Symmetric())
    kept = layer.parametrizations.weight.original
    layer.weight = torch.tensor(W + W.T)
    close(layer.weight, W + W.T)
    P.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and layer.weight is kept
    close(layer.weight, W + W.T)
    P.register_parametrization(layer, "weight", Symmetric())
    P.remove_parametrizations(layer, "weight", leave_parametrized=False)
    close(layer.weight, np.triu(W + W.T))


def test_copies_are_parametrised_and_files_are_states():
    layer = P.register_parametrization(linear(), "weight", Symmetric())
    other = copy.deepcopy(layer)
    close(other.weight, SYMMETRIC)
    assert other.parametrizations.weight.original is not layer.parametrizations.weight.original
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(layer)


class Short(nn.Module):
    def forward(self, x):
        return x[:1]


class Wide(nn.Module):
    def forward(self, x):
        return x

    def right_inverse(self, x):
        return x.double()


class Untold(nn.Module):
    def forward(self, x):
        return 3


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: P.register_parametrization(m, "weight", Short()), "shape"),
        (lambda m: P.register_parametrization(m, "weight", Wide()), "dtype"),
        (lambda m: P.register_parametrization(m, "weight", Untold()), "must return a tensor"),
        (lambda m: P.register_parametrization(m, "nothing", Twice()), "does not have a parameter"),
        (lambda m: P.remove_parametrizations(m, "weight"), "does not have a parametrization"),
        (lambda m: made.orthogonal(m, "bias"), "1 dimensions"),
        (lambda m: made.orthogonal(m, "weight", "qr"), "orthogonal_map"),
        (lambda m: made.spectral_norm(m, "nothing"), "no parameter or buffer"),
        (lambda m: made.spectral_norm(m, n_power_iterations=0), "positive"),
        (
            lambda m: P.remove_parametrizations(made.weight_norm(m), "weight", False),
            "Cannot leave unparametrized",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(linear())


def test_weight_norm_takes_the_states_of_the_older_one():
    layer = made.weight_norm(linear())
    keys = ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
    assert list(layer.state_dict()) == keys
    assert layer.parametrizations.weight.original0.shape == (3, 1)
    close(layer.weight, W)
    old = {"bias": torch.zeros(3), "weight_g": torch.ones(3, 1), "weight_v": torch.tensor(2 * W)}
    layer.load_state_dict(old)
    units = W / np.linalg.norm(W, axis=1, keepdims=True)
    close(layer.weight, units)
    P.remove_parametrizations(layer, "weight")
    close(layer.weight, units)
    whole = made.weight_norm(nn.Conv1d(2, 3, 2), dim=None)
    assert whole.parametrizations.weight.original0.shape == ()


def test_spectral_norm_approaches_the_largest_singular_value():
    layer = made.spectral_norm(linear())
    state = {k: tuple(v.shape) for k, v in layer.state_dict().items()}
    assert state == {
        "bias": (3,), "parametrizations.weight.original": (3, 3),
        "parametrizations.weight.0._u": (3,), "parametrizations.weight.0._v": (3,),
    }  # fmt: skip
    for _ in range(50):
        weight = layer.weight
    close(weight, W / np.linalg.norm(W, 2), atol=1e-4)
    before = layer.state_dict()["parametrizations.weight.0._u"].numpy()
    layer.eval()(torch.ones(1, 3))
    np.testing.assert_array_equal(before, layer.parametrizations.weight[0]._u.numpy())
    turned = made.spectral_norm(nn.ConvTranspose2d(4, 2, 3))
    assert turned.parametrizations.weight[0]._u.shape == (2,)
    with pytest.raises(IndexError, match="out of range"):
        made.spectral_norm(linear(), dim=2)


SHAPES = [(3, 3), (2, 4), (4, 2)]


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("which", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_weights_stay_so(which, shape, trivial):
    draws = np.random.default_rng(1)
    start = draws.normal(size=shape).astype("float32")
    tall = start if shape[0] >= shape[1] else start.T
    q, r = np.linalg.qr(tall)
    nearest = q * np.sign(np.diagonal(r))
    layer = made.orthogonal(linear(start), "weight", which, use_trivialization=trivial)
    with torch.no_grad():
        weight = layer.weight
    tall = weight if shape[0] >= shape[1] else weight.mT
    close(tall.mT @ tall, np.eye(min(shape)))
    if trivial or which == "householder":
        close(tall, nearest)
        layer.weight = torch.tensor(nearest if shape[0] >= shape[1] else nearest.T)
        close(layer.weight, nearest if shape[0] >= shape[1] else nearest.T)
    else:
        with pytest.raises(NotImplementedError, match="use_trivialization"):
            layer.weight = weight
    optimizer = torch.optim.SGD(layer.parameters(), 0.3)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.ones(1, shape[1])).square().sum().backward()
        optimizer.step()
    tall = layer.weight if shape[0] >= shape[1] else layer.weight.mT
    close(tall.mT @ tall, np.eye(min(shape)), atol=2e-5)


EXPONENTIAL = (
    [0.74038, 0.67215, 0.00731, -0.6506, 0.71929, -0.24362, -0.169, 0.17562, 0.96984],
    [0.0, 0.0, 0.0, -0.68473, 0.0, 0.0, -0.26129, -0.21613, 0.0],
)
CAYLEY = (
    [0.7626, 0.64677, 0.01097, -0.62707, 0.74332, -0.23296, -0.15882, 0.17078, 0.97243],
    [0.0, 0.0, 0.0, -0.67523, 0.0, 0.0, -0.27112, -0.20572, 0.0],
)
REFLECTED = (
    [0.29366, 0.90627, -0.30405, -0.94753, 0.23395, -0.21785, -0.1263, 0.35207, 0.92741],
    [0.0, 0.0, 0.0, 0.61694, 0.0, 0.0, -0.0657, -0.83566, 0.0],
)
"""Weight and slope of each map for the numbers below; PyTorch 2.13."""


def test_the_maps_and_their_slopes_are_pytorchs():
    start = np.random.default_rng(1).normal(size=(3, 3)).astype("float32")
    wanted = {"matrix_exp": EXPONENTIAL, "cayley": CAYLEY, "householder": REFLECTED}
    for which, (value, slope) in wanted.items():
        layer = made.orthogonal(linear(start), "weight", which)
        kept = layer.parametrizations.weight.original
        with torch.no_grad():
            added = np.tril(np.random.default_rng(2).normal(size=(3, 3)), -1)
            kept.add_(torch.tensor(added.astype("float32") * 0.3))
            layer.parametrizations.weight[0].base = torch.eye(3)
        close(layer.weight.flatten(), value, atol=1e-4)
        (layer.weight * torch.tensor(start)).sum().backward()
        close(kept.grad.flatten(), slope, atol=1e-4)


def test_the_exponential_of_a_matrix():
    several = np.stack([W * 5, W * 0.01, W * 0])
    values, vectors = np.linalg.eig(several.astype("float64"))
    wanted = (vectors * np.exp(values)[:, None]) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(
        torch.linalg.matrix_exp(torch.tensor(several)).numpy(), wanted.real, rtol=2e-4, atol=1e-5
    )
    skew = torch.tensor((W - W.T).astype("float64") * 300)
    turned = torch.matrix_exp(skew)
    np.testing.assert_allclose(turned @ turned.mT, np.eye(3), atol=1e-9)
    assert torch.matrix_exp(torch.tensor(W * 1e5)).isnan().all()
    for wrong in (torch.ones(2, 3), torch.ones(3), torch.ones(2, 2, dtype=torch.int64)):
        with pytest.raises((ValueError, TypeError), match="matrix_exp"):
            torch.matrix_exp(wrong)


NETS = {
    "weight": lambda: made.weight_norm(nn.Linear(3, 3)),
    "spectral": lambda: made.spectral_norm(nn.Linear(3, 3)),
    "matrix_exp": lambda: made.orthogonal(nn.Linear(3, 3)),
    "cayley": lambda: made.orthogonal(nn.Linear(3, 2), orthogonal_map="cayley"),
    "householder": lambda: made.orthogonal(nn.Linear(3, 2)),
    "pruned": lambda: nn.utils.prune.l1_unstructured(nn.Linear(3, 2), "weight", 0.5),
}


@pytest.mark.parametrize("name", NETS)
def test_computed_weights_export(name, tmp_path):
    spec = InputSpec(["n", 3], "float32", name="x")
    found = export(nn.Sequential(NETS[name](), nn.Tanh()).eval(), tmp_path / "m.onnx", [spec])
    assert "verified" in str(found)


@pytest.mark.parametrize("name", NETS)
def test_computed_weights_are_trained_by_compiled_steps(name):
    def start():
        torch.manual_seed(3)
        net = NETS[name]()
        return net, torch.optim.SGD(net.parameters(), 0.1)

    x = torch.tensor(W)
    (net, opt), (other, its) = start(), start()
    step = tracer.compile_training(lambda x: net(x).square().sum(), optimizer=opt)
    for _ in range(3):
        step(x)
        its.zero_grad()
        other(x).square().sum().backward()
        its.step()
    for (key, ours), wanted in zip(
        net.state_dict().items(), other.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6, err_msg=key)
