"""Rates and decays that parameters have of their own, set after the optimiser was made."""

import copy

import numpy as np
import pytest

import dyn
import dyn.compat.torch as torch
from dyn import nn, optimizer
from tracer import compile_training

RNG = np.random.default_rng(0)
START = RNG.standard_normal((3, 4)).astype(np.float32)
GRADS = RNG.standard_normal((5, 3, 4)).astype(np.float32)


def made() -> list[nn.Parameter]:
    return [nn.Parameter(row.copy()) for row in START]


def stepped(opt: optimizer.Optimizer, parameters: list[nn.Parameter], grads: np.ndarray) -> None:
    loss = sum((p * dyn.to_tensor(g)).sum() for p, g in zip(parameters, grads, strict=True))
    loss.backward()
    opt.step()
    opt.clear_grad()


def test_rates_and_decays_change_between_steps():
    """Against momentum by hand; velocities go on through every change."""
    ps = made()
    opt = optimizer.Momentum(0.1, 0.9, ps, weight_decay=0.01)
    rates, decays = np.ones(3), np.full(3, 0.01)
    values, velocity = START.astype(np.float64), np.zeros((3, 4))
    for i, grads in enumerate(GRADS):
        if i == 1:
            ps[1].optimize_attr["learning_rate"] *= 0.5
            rates[1] = 0.5
        if i == 2:
            ps[0].regularizer, decays[0] = dyn.regularizer.L2Decay(0.3), 0.3
        if i == 3:
            for p in ps:
                p.optimize_attr = {"learning_rate": 0.25}
            rates[:] = 0.25
        stepped(opt, ps, grads)
        velocity = 0.9 * velocity + grads + decays[:, None] * values
        values = values - 0.1 * rates[:, None] * velocity
        for p, wanted in zip(ps, values, strict=True):
            np.testing.assert_allclose(p.numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSProp", "Lamb"])
def test_a_change_is_as_if_the_optimiser_had_been_made_with_it(name):
    def run(when: int) -> tuple[list[np.ndarray], list[str]]:
        ps = made()
        settings = {"learning_rate": 0.1, "parameters": ps}
        if when == 0:
            ps[2].learning_rate = 0.0
        opt = getattr(optimizer, name)(**settings)
        if when == 1:
            ps[2].learning_rate = 0.0
        for grads in GRADS:
            stepped(opt, ps, grads)
        names = [key.split("_", 1)[1] for key in opt.state_dict()]
        return [p.numpy() for p in ps], [n.split("_", 2)[-1] for n in names]

    (before, keys), (after, others) = run(0), run(1)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(after[2], START[2])
    assert keys == others


def test_a_compiled_step_is_recorded_anew():
    net = nn.Linear(2, 1)
    opt = optimizer.SGD(1.0, parameters=net.parameters())
    step = compile_training(lambda x: net(x).sum(), optimizer=opt)
    x = dyn.ones([1, 2])
    step(x)
    step(x)
    before, bias = net.weight.numpy().copy(), net.bias.numpy().copy()
    net.weight.learning_rate = 0.0
    step(x)
    np.testing.assert_array_equal(net.weight.numpy(), before)
    np.testing.assert_array_equal(net.bias.numpy(), bias - 1)
    net.weight.optimize_attr["learning_rate"] = 0.5
    step(x)
    np.testing.assert_array_equal(net.weight.numpy(), before - 0.5)


def test_paddles_name_of_the_rate():
    p = nn.Parameter(START)
    assert dict(p.optimize_attr) == {"learning_rate": 1.0}
    p.optimize_attr["learning_rate"] = 2
    assert p.learning_rate == 2.0 and repr(p.optimize_attr) == "{'learning_rate': 2.0}"
    with pytest.raises(dyn.AttributeValueError, match="'learning_rate' alone, not 'lr'"):
        p.optimize_attr["lr"] = 1.0
    with pytest.raises(dyn.AttributeValueError, match="cannot be removed"):
        del p.optimize_attr["learning_rate"]


def test_a_copy_of_an_optimiser_takes_changes_and_further_parameters():
    def grown(copied: bool) -> list[np.ndarray]:
        ps = [torch.nn.Parameter(torch.tensor(row)) for row in START]
        opt = torch.optim.SGD(ps[:2], lr=0.1, momentum=0.9)
        stepped(opt, ps[:2], GRADS[0, :2])
        if copied:
            ps, opt = copy.deepcopy((ps, opt))
        opt.add_param_group({"params": ps[2:], "lr": 0.5})
        stepped(opt, ps, GRADS[1])
        return [p.detach().numpy() for p in ps]

    for one, other in zip(grown(False), grown(True), strict=True):
        np.testing.assert_array_equal(one, other)

    ps = made()
    ps, opt = copy.deepcopy((ps, optimizer.SGD(0.1, ps)))
    ps[1].learning_rate = 0.5
    stepped(opt, ps, GRADS[0])
    wanted = START - 0.1 * np.array([[1.0], [0.5], [1.0]]) * GRADS[0]
    np.testing.assert_allclose([p.numpy() for p in ps], wanted, rtol=1e-6)
