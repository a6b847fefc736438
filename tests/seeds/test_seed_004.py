"""Seed 004, "extending nn.Module": rows S4.01 to S4.16, by number in the names of the tests.

The document's printed values were random; what is compared with was printed by PyTorch 2.13.
"""

import gc
import weakref
from typing import Any

import numpy as np
import onnx
import pytest

import dyn.compat.torch as t
from dyn.compat.torch import nn
from dyn.compat.torch.autograd import Variable as V
from exporter import export
from tracer import trace
from tracer.spec import InputSpec

LINEAR = """
import torch as t
from torch import nn
from torch.autograd import Variable as V

class Linear(nn.Module):
    def __init__(self, in_features, out_features):
        # nn.Module.__init__(self)
        super(Linear, self).__init__()
        self.w = nn.Parameter(t.randn(in_features, out_features)) # nn.Parameter是特殊Variable
        self.b = nn.Parameter(t.randn(out_features))

    def forward(self, x):
        x = x.mm(self.w)
        return x + self.b
"""
USE = (
    LINEAR
    + """
layer = Linear(4, 3)
input = V(t.randn(2, 4))
output = layer(input)
print(output)

for name, Parameter in layer.named_parameters():
    print(name, Parameter)
"""
)
PERCEPTRON = (
    LINEAR
    + """
class Perceptron (nn.Module):
    def __init__(self, in_features, hidden_features, out_features):
        nn.Module.__init__(self)
        self.layer1 = Linear(in_features, hidden_features)
        self.layer2 = Linear(hidden_features, out_features)

    def forward(self, x):
        x = self.layer1(x)
        x = t.sigmoid(x)
        return self.layer2(x)

per = Perceptron(3, 4, 1)
for name, param in per.named_parameters():
    print(name, param.size())
"""
)


@pytest.fixture
def linear(verbatim) -> Any:
    return verbatim(LINEAR)["Linear"]


@pytest.fixture
def perceptron(verbatim) -> Any:
    return verbatim(PERCEPTRON)["Perceptron"]


def numbers(*sizes):
    return np.random.default_rng(0).standard_normal(sizes).astype(np.float32)


def test_s4_01_modules_nest(perceptron):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(perceptron(3, 4, 2))

        def forward(self, x):
            return self.inner(x)

    net = Outer()
    assert net(t.ones(5, 3)).shape == (5, 2)
    names = [name for name, _ in net.named_modules()]
    assert names == ["", "inner", "inner.0", "inner.0.layer1", "inner.0.layer2"]


def test_s4_02_parameters_want_gradients_and_keep_their_order(linear):
    layer = linear(4, 3)
    assert [name for name, _ in layer.named_parameters()] == ["w", "b"]
    assert isinstance(layer.w, nn.Parameter) and isinstance(layer.w, t.Tensor)
    assert layer.w.requires_grad and not t.randn(1).requires_grad
    assert not nn.Parameter(t.ones(1), requires_grad=False).requires_grad


def test_s4_03_mm_and_a_broadcast_sum(linear):
    layer, x = linear(4, 3), numbers(2, 4)
    wanted = x @ layer.w.detach().numpy() + layer.b.detach().numpy()
    np.testing.assert_allclose(layer(t.from_numpy(x)).detach().numpy(), wanted, atol=1e-6)
    with pytest.raises(RuntimeError) as caught:
        t.ones(2, 3).mm(t.ones(2, 3))
    assert str(caught.value) == "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"


def test_s4_04_variable_is_the_tensor():
    x = t.ones(2)
    assert V(x) is x and not x.requires_grad
    assert V(t.ones(2), requires_grad=True).requires_grad


def test_s4_05_printing_an_output(verbatim, linear):
    # The document's "Variable containing:" is PyTorch of before 0.4; this is that of today.
    printed = verbatim(USE)["printed"]
    assert printed.startswith("tensor([[") and "grad_fn=<AddBackward0>)\n" in printed
    layer = linear(2, 3)
    layer.w.set_value([[1.0, -2, 0.5], [0, 3, 4]])
    layer.b.set_value([0.25, 0, -1])
    assert repr(layer(t.tensor([[1.0, 2.0], [-10, 0.125]]))) == (
        "tensor([[ 1.2500,  4.0000,  7.5000],\n"
        "        [-9.7500, 20.3750, -5.5000]], grad_fn=<AddBackward0>)"
    )


def test_s4_06_printing_parameters(verbatim, linear):
    printed = verbatim(USE)["printed"]
    assert "\nw Parameter containing:\ntensor([[" in printed
    assert "\nb Parameter containing:\ntensor([" in printed
    layer = linear(1, 2)
    layer.b.set_value([1.9577, 0.5249])
    assert repr(layer.b) == ("Parameter containing:\ntensor([1.9577, 0.5249], requires_grad=True)")


def test_s4_07_gradients_follow_from_the_forward(linear):
    layer = linear(4, 3).double()
    x, weights = t.randn(2, 4, dtype=t.float64), t.randn(2, 3, dtype=t.float64)

    def loss():
        return (t.sigmoid(layer(x)) * weights).sum()

    loss().backward()
    for p in layer.parameters():
        step = t.randn_like(p)
        value, gradient = p.detach().clone(), p.grad
        with t.no_grad():
            p.copy_(value + 1e-6 * step)
            above = loss().item()
            p.copy_(value - 1e-6 * step)
            below = loss().item()
            p.copy_(value)
        slope = (above - below) / 2e-6
        np.testing.assert_allclose((gradient * step).sum().item(), slope, rtol=1e-6)


def test_s4_08_calling_a_layer_is_dunder_call_with_hooks(linear):
    layer, calls = linear(4, 3), []
    layer.register_forward_hook(lambda *event: calls.append(1))
    x = t.ones(2, 4)
    assert t.equal(layer(x), layer.__call__(x)) and len(calls) == 2
    assert t.equal(layer.forward(x), layer(x)) and len(calls) == 3


def test_s4_09_the_base_class_may_be_initialised_by_name(perceptron):
    # `Perceptron` calls `nn.Module.__init__(self)`.
    assert list(perceptron(3, 4, 1)._modules) == ["layer1", "layer2"]


def test_s4_10_parameters_come_as_iterators(linear):
    layer = linear(4, 3)
    for found in (layer.parameters(), layer.named_parameters()):
        assert iter(found) is found
    assert [p.shape for p in layer.parameters()] == [(4, 3), (3,)]


def test_s4_11_parameters_of_modules_below_count(perceptron):
    net = perceptron(3, 4, 1)
    assert len(list(net.parameters())) == 4
    assert sum(p.numel() for p in net.parameters()) == 12 + 4 + 4 + 1


def test_s4_12_names_are_the_path_and_go_into_the_file(perceptron, tmp_path):
    net = perceptron(3, 4, 1)
    names = [name for name, _ in net.named_parameters()]
    assert names == ["layer1.w", "layer1.b", "layer2.w", "layer2.b"]
    export(net, tmp_path / "m.onnx", [InputSpec(["batch", 3], "float32")])
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert {i.name for i in graph.initializer} >= set(names)


def test_s4_13_printed_sizes(verbatim):
    printed = verbatim(PERCEPTRON)["printed"]
    assert printed == (
        "layer1.w torch.Size([3, 4])\nlayer1.b torch.Size([4])\n"
        "layer2.w torch.Size([4, 1])\nlayer2.b torch.Size([1])\n"
    )
    size = t.ones(3, 4).size()
    assert isinstance(size, tuple) and size == (3, 4) and size.numel() == 12
    tail = [7]
    assert repr(size[:1] + tail) == "torch.Size([3, 7])"


def test_s4_14_sigmoid_between_layers(perceptron, tmp_path):
    net, x = perceptron(3, 4, 1), numbers(2, 3)
    w1, b1, w2, b2 = (p.detach().numpy() for p in net.parameters())
    wanted = 1 / (1 + np.exp(-(x @ w1 + b1))) @ w2 + b2
    np.testing.assert_allclose(net(t.from_numpy(x)).detach().numpy(), wanted, atol=1e-6)
    export(net, tmp_path / "m.onnx", [InputSpec(["batch", 3], "float32")])
    assert "Sigmoid" in {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}


def test_s4_15_results_that_nothing_needs_are_freed():
    x = t.ones(1000, requires_grad=True)
    y = x + 1  # its value is not needed in the backward pass
    gone = weakref.ref(y._array)
    y = t.sigmoid(y)  # this one is
    kept = weakref.ref(y._array)
    y = y * 2
    gc.collect()
    assert gone() is None and kept() is not None
    y.sum().backward()
    gc.collect()
    assert kept() is None and x.grad is not None


def test_s4_16_a_forward_may_take_several_inputs():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x, y):
            return self.fc(x.view(-1, 3)) + y.t()

    net = Both()
    assert net(t.ones(4, 3), t.ones(2, 4)).shape == (4, 2)
    graph = trace(net, InputSpec([4, 3], "float32"), InputSpec([2, 4], "float32"))
    assert len(graph.inputs) == 2
