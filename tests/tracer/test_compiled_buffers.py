"""Compiled steps of models in whose buffers' places others come, in the step and around it."""

import copy

import numpy as np
import pytest

import dyn
from dyn import nn, optimizer
from tracer import compile_training


class Recurrent(nn.Layer):
    """Keeps its state and the one before in buffers that each step replaces."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(2, 2)
        self.register_buffer("state", dyn.zeros([1, 2]))
        self.register_buffer("last", dyn.zeros([1, 2]))

    def forward(self, x):
        seen = []
        for i in range(3):
            self.last = self.state
            self.state = dyn.tanh(self.cell(x[i]) + self.state.detach())
            seen.append(self.state)
        return dyn.stack(seen).square().mean() + self.last.mean()


def pair(model):
    """The model, a copy of it whose steps are compiled, and both steps."""
    other = copy.deepcopy(model)
    opt = optimizer.SGD(0.1, model.parameters())
    compiled = compile_training(other, optimizer=optimizer.SGD(0.1, other.parameters()))

    def step(x):
        loss = model(x)
        loss.backward()
        opt.step()
        opt.clear_grad(set_to_zero=False)
        return loss

    return model, other, step, compiled


@pytest.mark.parametrize("around", ["nothing", "reset", "swap", "write"])
def test_states_that_are_replaced(around):
    dyn.seed(0)
    a, b, step, compiled = pair(Recurrent())
    rng = np.random.default_rng(0)
    for i in range(12):
        if i % 3 == 2:
            for net in (a, b):
                if around == "reset":
                    net.state = dyn.full([1, 2], 0.5)
                elif around == "swap":
                    net.state, net.last = net.last, net.state
                elif around == "write":
                    net.state.set_value(net.last * 2)
        held, kept = b.state, b.state.numpy().copy()
        x = dyn.to_tensor(rng.standard_normal((3, 1, 2)).astype(np.float32))
        np.testing.assert_allclose(compiled(x).item(), step(x).item(), rtol=1e-5)
        np.testing.assert_array_equal(held.numpy(), kept)
        for name, value in a.state_dict().items():
            np.testing.assert_allclose(b.state_dict()[name].numpy(), value.numpy(), rtol=1e-5)
    (record,) = compiled._records.values()
    assert record.program is not None and record.runs == 12


def test_a_buffer_that_a_function_goes_on_to_hold():
    """The variable keeps the old buffer, and the layer has another: the step is recorded anew."""
    net = Recurrent()
    held = net.state
    compiled = compile_training(
        lambda x: (net.cell(x) + held + net.state).sum(),
        optimizer=optimizer.SGD(0.0, net.parameters()),
    )
    x = dyn.ones([1, 2])
    first = compiled(x).item()
    net.state = dyn.ones([1, 2])
    np.testing.assert_allclose(compiled(x).item(), first + 2, rtol=1e-6)


def test_a_buffer_of_another_shape_is_recorded_anew():
    net = nn.Linear(3, 3)
    net.register_buffer("scale", dyn.ones([3]))
    step = compile_training(
        lambda x: (net(x) * net.scale).sum(), optimizer=optimizer.SGD(0.0, net.parameters())
    )
    x = dyn.randn([4, 3])
    for value in (dyn.ones([3]), dyn.full([4, 1], 2.0), dyn.ones([3]) * 3):
        net.scale = value
        np.testing.assert_allclose(step(x).item(), (net(x) * value).sum().item(), rtol=1e-5)
