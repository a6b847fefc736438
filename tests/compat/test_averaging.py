"""ASGD and Adafactor: values of PyTorch 2.13, states, compiled and exported steps."""

import numpy as np
import pytest

import dyn.compat.torch as torch
import exporter
import tracer
from dyn.compat.torch import nn

MAKE = {
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.1, lambd=0.1, t0=1, weight_decay=0.01),
    "asgd_up": lambda p: torch.optim.ASGD(p, maximize=True),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.05),
    "adafactor_up": lambda p: torch.optim.Adafactor(
        p, lr=0.5, beta2_decay=-0.5, eps=(1e-3, 0.1), d=1.5, weight_decay=0.1, maximize=True
    ),
}
TORCH = {
    "asgd": [0.07851, -0.42388, 0.35033, -0.0383, -0.5785, 0.31289],
    "asgd_up": [0.13001, -0.10163, 0.66749, 0.11915, -0.52889, 0.36501],
    "adafactor": [0.11302, -0.16679, 0.59293, 0.09066, -0.53996, 0.36503],
    "adafactor_up": [0.33904, 0.25043, 1.01584, 0.21343, -0.39672, 0.32555],
}
STATES = {
    "asgd": {"ax": [0.04164, -0.34268, 0.33803, 0.03932, -0.60304, 0.27824], "eta": [0.04926],
             "mu": [0.33333], "step": [4]},
    "adafactor": {"col_var": [0.87128, 1.78121], "row_var": [1.22209, 1.89428, 0.86237],
                  "step": [4]},
}  # fmt: skip
"""The first parameter, of 3 x 2, and what is kept for it after four steps."""


@pytest.mark.parametrize("name", MAKE)
def test_steps_and_states_are_pytorchs(name):
    draws = np.random.default_rng(0)

    def drawn(*shape):
        return torch.tensor(draws.normal(size=shape).astype("float32"))

    params = [nn.Parameter(drawn(3, 2)), nn.Parameter(drawn(4)), nn.Parameter(drawn(2, 2, 3))]
    optimizer = MAKE[name](params)
    for i in range(4):
        for p in params:
            p.grad = drawn(*p.shape)
        optimizer.step()
        if i == 2:
            optimizer.param_groups[0]["lr"] *= 0.5
        if i == 1:
            state = optimizer.state_dict()
            optimizer = MAKE[name](params)
            optimizer.load_state_dict(state)
    np.testing.assert_allclose(params[0].detach().numpy().ravel(), TORCH[name], atol=2e-5)
    state = optimizer.state_dict()["state"]
    for key, wanted in STATES.get(name, {}).items():
        np.testing.assert_allclose(state[0][key].numpy().ravel(), wanted, atol=2e-5)
    if name == "adafactor":
        assert set(state[1]) == {"step", "variance"} and state[1]["variance"].shape == (4,)


@pytest.mark.parametrize("name", MAKE)
def test_compiled_steps_are_the_steps_as_written(name):
    def start():
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        return net, MAKE[name](net.parameters())

    x = torch.tensor(np.random.default_rng(1).normal(size=(5, 3)).astype("float32"))
    (net, opt), (other, its) = start(), start()
    step = tracer.compile_training(lambda x: net(x).square().mean(), optimizer=opt)
    for i in range(4):
        step(x)
        its.zero_grad()
        other(x).square().mean().backward()
        its.step()
        for optimizer in (opt, its):
            optimizer.param_groups[0]["lr"] *= 0.9
            optimizer.param_groups[0]["weight_decay"] = 0.02 * i
    for ours, wanted in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), wanted.detach(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["asgd", "adafactor"])
def test_steps_export(name, tmp_path):
    net = nn.Linear(3, 2)
    optimizer = MAKE[name](net.parameters())
    spec = exporter.InputSpec(["n", 3], "float32", name="x")
    found = exporter.export_training(
        lambda x: net(x).square().mean(), tmp_path / "m.onnx", [spec], optimizer=optimizer
    )
    assert "verified" in str(found)


@pytest.mark.parametrize(
    "settings", [{"lr": -1.0}, {"beta2_decay": 0.5}, {"eps": (-1.0, 1.0)}, {"d": 0.5}]
)
def test_numbers_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"out of its range|Invalid"):
        torch.optim.Adafactor([nn.Parameter(torch.ones(2))], **settings)
