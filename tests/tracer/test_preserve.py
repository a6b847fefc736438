"""Tracing leaves no trace: state, temporaries, attributes, modes, gradients and random numbers."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from tracer import InputSpec, Interpreter, trace

S = InputSpec


class Everything(nn.Layer):
    """Has everything that a forward can change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1D(3)
        self.frozen = nn.BatchNorm1D(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", dyn.zeros([1]))
        self.saved = self.create_tensor()
        self.history: list[Any] = []
        self.last: Any = None
        self.fail = False

    def forward(self, x: Any) -> Any:
        y = self.drop(self.frozen(self.norm(x)))
        self.count += 1
        dyn.assign(y, self.saved)
        self.history.append(y)
        self.last = x.shape
        loss = (y * self.norm.weight).sum()
        loss.backward()
        self.norm.weight.set_value(self.norm.weight.detach() * 2)
        if self.fail:
            raise RuntimeError("on purpose")
        return y


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fail", [False, True])
def test_the_model_is_left_as_it_was(training: bool, fail: bool) -> None:
    dyn.seed(5)
    model = Everything()
    model.train()
    model.frozen.eval()
    model.drop.training = False
    model.fail = fail
    before = {name: t._array for name, t in model.state_dict().items()}
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    state = dyn.get_rng_state()
    if fail:
        with pytest.raises(RuntimeError, match="on purpose"):
            trace(model, S(["n", 3]), training=training)
    else:
        trace(model, S(["n", 3]), training=training)
    for name, tensor in model.state_dict().items():
        assert tensor._array is before[name], name
        assert tensor.grad is None
    assert modes == [layer.training for layer in model.sublayers(include_self=True)]
    assert model.saved._array is None and model.history == [] and model.last is None
    np.testing.assert_equal(dyn.get_rng_state(), state)


def test_modes() -> None:
    model = Everything()
    model.frozen.eval()
    ops = {n.layer: n.op for n in trace(model, S(["n", 3]), training=True).nodes if n.layer}
    assert ops["norm"] != "batch_norm_infer" and ops["frozen"] == "batch_norm_infer"
    assert any(n.op == "dropout" for n in trace(model, S(["n", 3]), training=True).nodes)
    model.eval()
    graph = trace(model, S(["n", 3]), training=True)
    assert graph.training and not any(n.op == "batch_norm_infer" for n in graph.nodes)
    graph = trace(model.train(), S(["n", 3]))
    assert not any(n.op in ("dropout", "batch_norm") for n in graph.nodes)


def test_training_keeps_running_statistics_as_state() -> None:
    model = nn.Sequential(nn.BatchNorm1D(3), nn.Dropout(0.5))
    graph = trace(model, S(["n", 3]), training=True)
    assert [s.name for s in graph.states] == ["0._mean", "0._variance"]
    run = Interpreter(graph)
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    model.train()
    for _ in range(2):
        run.run(x)
        model(dyn.to_tensor(x))
    for name in ("0._mean", "0._variance"):
        np.testing.assert_array_equal(run.state[name], model.state_dict()[name].numpy())


def test_a_graph_does_not_hold_the_model() -> None:
    model: Any = Everything()
    graph = trace(model, S(["n", 3]))
    seen = weakref.ref(model)
    del model
    gc.collect()
    assert seen() is None and graph.params
