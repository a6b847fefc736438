"""Weights that are computed before every call, against numpy."""

import numpy as np
import pytest

import dyn
import tracer
from dyn import nn
from exporter import InputSpec, Predictor, export, export_training


def close(found, wanted):
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm_splits_into_length_and_direction(dim, rng):
    layer = nn.Conv2D(3, 5, 3)
    w = layer.weight.numpy()
    assert nn.utils.weight_norm(layer, dim=dim) is layer
    axes = tuple(i for i in range(4) if dim is not None and i != dim % 4) or None
    lengths = np.sqrt((w**2).sum(axes))
    close(layer.weight_g, lengths)
    close(layer.weight_v, w)
    assert sorted(layer.state_dict()) == ["bias", "weight_g", "weight_v"]
    layer.weight_g.set_value(lengths * 2)
    x = dyn.to_tensor(rng.standard_normal((1, 3, 4, 4)).astype(np.float32))
    close(layer(x), nn.functional.conv2d(x, dyn.to_tensor(2 * w), layer.bias).numpy())
    nn.utils.remove_weight_norm(layer)
    close(layer.weight, 2 * w)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    assert len(layer.parameters()) == 2 and not layer._forward_pre_hooks


def test_gradients_of_weight_norm(rng):
    """Salimans & Kingma, equation 3."""
    layer = nn.utils.weight_norm(nn.Linear(4, 3), dim=1)
    x, seed = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    out = layer(dyn.to_tensor(x, "float32"))
    (out * dyn.to_tensor(seed, "float32")).sum().backward()
    g, v, gw = layer.weight_g.numpy(), layer.weight_v.numpy(), x.T @ seed
    length = np.sqrt((v**2).sum(0))
    gg = (gw * v).sum(0) / length
    np.testing.assert_allclose(layer.weight_g.grad.numpy(), gg, rtol=1e-4, atol=1e-5)
    wanted = g / length * gw - g * gg / length**2 * v
    np.testing.assert_allclose(layer.weight_v.grad.numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "axis"),
    [
        (lambda: nn.Linear(4, 3), 1),
        (lambda: nn.Conv2D(3, 4, 2), 0),
        (lambda: nn.Conv2DTranspose(4, 3, 2), 1),
    ],
)
def test_spectral_norm_approaches_the_largest_singular_value(make, axis, rng):
    layer = nn.utils.spectral_norm(make())
    w = layer.weight_orig.numpy()
    matrix = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1)
    assert layer.weight_u.shape == [matrix.shape[0]] and layer.weight_v.shape == [matrix.shape[1]]
    x = dyn.to_tensor(rng.standard_normal((2, w.shape[0 if axis else 1], 4, 4)).astype(np.float32))
    x = x[:, :, 0, 0] if isinstance(layer, nn.Linear) else x
    u = layer.weight_u.numpy()
    layer(x)
    v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
    u = matrix @ v / np.linalg.norm(matrix @ v)
    close(layer.weight, w / (u @ matrix @ v))
    for _ in range(200):
        layer(x)
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    np.testing.assert_allclose(layer.weight.numpy(), w / largest, rtol=1e-3, atol=1e-4)
    kept = layer.eval().weight_u.numpy()
    layer(x)
    close(layer.weight_u, kept)


def test_spectral_norm_of_a_given_weight(rng):
    layer = nn.SpectralNorm([2, 3, 4], dim=1, power_iters=50)
    w = rng.standard_normal((2, 3, 4)).astype(np.float32)
    largest = np.linalg.svd(w.transpose(1, 0, 2).reshape(3, 8), compute_uv=False)[0]
    close(layer(dyn.to_tensor(w)), w / largest)
    with pytest.raises(dyn.ShapeError, match=r"\[2, 3, 4\]"):
        layer(dyn.ones([3, 2, 4]))
    with pytest.raises(dyn.AttributeValueError, match="dim 3"):
        nn.SpectralNorm([2, 3, 4], dim=3)


def test_what_cannot_be_normalised_stays_as_it_is():
    layer = nn.Linear(4, 3)
    with pytest.raises(dyn.StateError, match=r"no parameter 'kernel'(?s:.*)weight, bias"):
        nn.utils.weight_norm(layer, "kernel")
    with pytest.raises(dyn.AttributeValueError, match="from -2 to 1, got 2"):
        nn.utils.spectral_norm(layer, dim=2)
    with pytest.raises(dyn.AttributeValueError, match="at least 1"):
        nn.utils.spectral_norm(layer, n_power_iterations=0)
    with pytest.raises(dyn.AttributeValueError, match="not normalised"):
        nn.utils.remove_weight_norm(layer)
    assert list(layer.state_dict()) == ["weight", "bias"]
    nn.utils.weight_norm(layer)
    with pytest.raises(dyn.StateError, match="two hooks"):
        nn.utils.weight_norm(layer)


def test_normalised_networks_are_compiled_and_exported(tmp_path, rng):
    def network():
        dyn.seed(0)
        first = nn.utils.spectral_norm(nn.Linear(4, 8))
        net = nn.Sequential(first, nn.ReLU(), nn.utils.weight_norm(nn.Linear(8, 1)))
        return net, dyn.optimizer.Momentum(learning_rate=0.1, parameters=net.parameters())

    x = rng.standard_normal((6, 4)).astype(np.float32)
    eager, momentum = network()
    wanted = []
    for _ in range(4):
        loss = eager(dyn.to_tensor(x)).square().mean()
        loss.backward()
        momentum.step()
        momentum.clear_grad()
        wanted.append(float(loss))
    net, momentum = network()
    step = tracer.compile_training(lambda x: net(x).square().mean(), optimizer=momentum)
    np.testing.assert_allclose([float(step(x)) for _ in range(4)], wanted, rtol=1e-5)
    close(net[0].weight_u, eager[0].weight_u.numpy())
    net, momentum = network()
    spec = InputSpec(["n", 4], name="x")
    report = export_training(
        lambda x: net(x).square().mean(), tmp_path / "step.onnx", spec, optimizer=momentum
    )
    assert {"0.weight_u", "0.weight_v", "0.weight_orig", "2.weight_g"} <= set(report.states)
    trainer = Predictor(tmp_path / "step.onnx")
    np.testing.assert_allclose([trainer.run(x)[0] for _ in range(4)], wanted, rtol=1e-4)
    export(eager.eval(), tmp_path / "net.onnx", spec)
    (given,) = Predictor(tmp_path / "net.onnx").run(x[:2])
    np.testing.assert_allclose(given, eager(dyn.to_tensor(x[:2])).numpy(), rtol=1e-5, atol=1e-6)
