"""Plain functions over modules of PyTorch's names get PyTorch's tensors, wherever they run."""

import numpy as np
import pytest

import dyn
import dyn.compat.torch as torch
from dyn.compat.torch import nn
from exporter import InputSpec, Predictor, export, export_training
from tracer import TraceError, compile_training, trace

SPECS = [InputSpec(["n", 3], name="x"), InputSpec(["n"], "int64", name="y")]
X = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
Y = np.array([0, 1, 1, 0])


def step_of():
    """A loss that speaks PyTorch's words of its arguments, and the optimiser of its module."""
    torch.manual_seed(0)
    net = nn.Linear(3, 2)

    def loss(x, y):
        assert type(x) is type(y) is torch.Tensor
        x = x.view(x.size(0), -1).requires_grad_(True)
        return nn.functional.cross_entropy(net(x), y.long())

    return loss, torch.optim.SGD(net.parameters(), lr=0.1)


def test_a_step_gets_them_from_arrays_and_specs(tmp_path):
    loss, optimizer = step_of()
    wanted = []
    for _ in range(3):
        optimizer.zero_grad()
        wanted.append(loss(torch.from_numpy(X), torch.from_numpy(Y)))
        wanted[-1].backward()
        optimizer.step()
    loss, optimizer = step_of()
    export_training(loss, tmp_path / "step.onnx", SPECS, optimizer=optimizer)
    predictor = Predictor(tmp_path / "step.onnx")
    step = compile_training(loss, optimizer=optimizer)
    for value in wanted:
        compiled = step(X, Y)
        assert type(compiled) is torch.Tensor
        np.testing.assert_allclose(compiled.item(), value.item(), rtol=1e-6)
        np.testing.assert_allclose(predictor.run(X, Y)[0], value.item(), rtol=1e-6)


def test_functions_over_other_parameters_get_dyns_tensors():
    theirs, ours = nn.Linear(3, 3), dyn.nn.Linear(3, 3)
    kinds = []
    for function in (
        lambda x: (kinds.append(type(x)), theirs(x))[1],
        lambda x: (kinds.append(type(x)), ours(x))[1],
        lambda x: (kinds.append(type(x)), ours(theirs(x)))[1],
        lambda x: (kinds.append(type(x)), x + 1)[1],
    ):
        trace(function, SPECS[0])
    assert kinds == [torch.Tensor, dyn.Tensor, dyn.Tensor, dyn.Tensor]


def test_layers_without_names_are_refused(tmp_path):
    net = nn.Linear(3, 2)
    with pytest.raises(TraceError, match=r"as a dict such as .*not as list"):
        export(lambda x: net(x), tmp_path / "m.onnx", SPECS[0], layers=[net])
