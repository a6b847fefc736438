"""Calls, modes, hooks, state dictionaries, printing, and the layer path in errors."""

import warnings

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core import observe


class Double(nn.Layer):
    def forward(self, x):
        return x * 2


def test_calling_runs_forward_between_hooks_in_order():
    layer, log = Double(), []
    layer.register_forward_pre_hook(lambda layer, i: log.append("pre"))
    layer.register_forward_post_hook(lambda layer, i, o: log.append("post 1"))
    layer.register_forward_post_hook(lambda layer, i, o: log.append("post 2"))
    layer.register_forward_post_hook(lambda layer, i, o: log.append("post 0"), prepend=True)
    assert layer(dyn.ones([1])).item() == 2.0
    assert log == ["pre", "post 0", "post 1", "post 2"]


def test_pre_hooks_see_a_tuple_and_may_replace_it():
    layer, seen = Double(), []
    first = layer.register_forward_pre_hook(lambda layer, i: seen.append(i))
    layer(dyn.ones([1]))
    assert isinstance(seen[0], tuple) and len(seen[0]) == 1
    first.remove()
    layer.register_forward_pre_hook(lambda layer, i: i[0] + 1)
    assert layer(dyn.ones([1])).item() == 4.0
    layer.register_forward_pre_hook(lambda layer, i: (i[0] * 10,))
    assert layer(dyn.ones([1])).item() == 40.0


def test_post_hooks_chain_and_none_keeps_the_output():
    layer = Double()
    layer.register_forward_post_hook(lambda layer, i, o: o * 2)
    layer.register_forward_post_hook(lambda layer, i, o: o + 1)
    layer.register_forward_post_hook(lambda layer, i, o: None)
    assert layer(dyn.ones([1])).item() == 5.0
    assert layer.forward(dyn.ones([1])).item() == 2.0


def test_a_hook_is_a_function():
    layer = nn.Identity()
    for register in (layer.register_forward_pre_hook, layer.register_forward_post_hook):
        with pytest.raises(TypeError, match="a hook is a function, not int"):
            register(3)


def test_removing_a_hook_while_hooks_run():
    layer, log = Double(), []
    handles = []
    handles.append(layer.register_forward_post_hook(lambda layer, i, o: handles[1].remove()))
    handles.append(layer.register_forward_post_hook(lambda layer, i, o: log.append("never")))
    layer(dyn.ones([1]))
    handles[1].remove()
    assert log == []
    with layer.register_forward_post_hook(lambda layer, i, o: o * 0):
        assert layer(dyn.ones([1])).item() == 0.0
    assert layer(dyn.ones([1])).item() == 2.0


def test_a_hook_added_while_hooks_run_waits_for_the_next_call():
    layer, log = Double(), []

    def add(_, i, o):
        layer.register_forward_post_hook(lambda layer, i, o: log.append("late"))

    layer.register_forward_post_hook(add)
    layer(dyn.ones([1]))
    assert log == []
    layer(dyn.ones([1]))
    assert log == ["late"]


def test_observers_hear_of_layers_also_when_they_raise():
    class Listener(observe.Observer):
        def __init__(self):
            self.heard = []

        def on_layer(self, layer, phase):
            self.heard.append((type(layer).__name__, phase))

    listener = Listener()
    model = nn.Sequential(Double())
    with observe.observing(listener):
        model(dyn.ones([1]))
        with pytest.raises(ValueError, match="nothing"):
            nn.Sequential(_Failing())(dyn.ones([1]))
    assert listener.heard == [
        ("Sequential", "enter"),
        ("Double", "enter"),
        ("Double", "exit"),
        ("Sequential", "exit"),
        ("Sequential", "enter"),
        ("_Failing", "enter"),
        ("_Failing", "exit"),
        ("Sequential", "exit"),
    ]


class _Failing(nn.Layer):
    def forward(self, x):
        raise ValueError("nothing")


def test_errors_name_the_path_of_the_layer():
    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 4))
            self.loose = [nn.Linear(3, 3)]

        def forward(self, x):
            return self.features(x)

    net = Net()
    with pytest.raises(dyn.ShapeError) as caught:
        net(dyn.ones([2, 4]))
    assert caught.value.layers == ["Net", "features", "1 (Linear)"]
    assert "in layer Net > features > 1 (Linear)" in str(caught.value)
    assert "test_layer.py" in str(caught.value)
    with pytest.raises(dyn.ShapeError) as caught:
        net.features[1](dyn.ones([2, 4]))
    assert caught.value.layers == ["Linear"]
    net.forward = lambda x: net.loose[0](x)
    with pytest.raises(dyn.ShapeError) as caught:
        net(dyn.ones([2, 4]))
    assert caught.value.layers == ["Net", "Linear"]


def test_a_layer_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r'\[Layer\] is missing the required "forward"'):
        nn.Layer()(dyn.ones([1]))


def test_train_and_eval_reach_every_sublayer_and_return_the_layer():
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5)))
    assert model.eval() is model
    assert [layer.training for layer in model.sublayers(include_self=True)] == [False] * 3
    assert model.train() is model
    assert [layer.training for layer in model.sublayers(include_self=True)] == [True] * 3


def test_apply_goes_from_the_inside_out_once():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Sequential(shared), shared)
    seen = []
    assert model.apply(lambda layer: seen.append(type(layer).__name__)) is model
    assert seen == ["ReLU", "Sequential", "Sequential"]


def test_printing():
    class Extra(nn.Layer):
        def __init__(self, text, *children):
            super().__init__()
            self.text = text
            for i, child in enumerate(children):
                self.add_sublayer(f"c{i}", child)

        def extra_repr(self):
            return self.text

    assert repr(Extra("a=1")) == "Extra(a=1)"
    assert repr(Extra("")) == "Extra()"
    assert repr(Extra("a=1\nb=2")) == "Extra(\n  a=1\n  b=2\n)"
    inner = nn.Sequential(nn.ReLU())
    assert repr(Extra("a=1", inner)) == ("Extra(a=1\n  (c0): Sequential(\n    (0): ReLU()\n  )\n)")


def test_state_dict_holds_the_tensors_themselves_in_order():
    layer = nn.BatchNorm2D(3)
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "_mean", "_variance"]
    assert state["weight"] is layer.weight
    assert list(layer.state_dict(structured_name_prefix="bn.")) == [f"bn.{k}" for k in state]
    filled: dict = {"first": 1}
    assert layer.state_dict(destination=filled) is filled and next(iter(filled)) == "first"


def test_set_state_dict_reports_what_does_not_fit():
    layer = nn.Linear(2, 3)
    with pytest.warns(UserWarning) as caught:
        missing, unexpected = layer.set_state_dict(
            {"weight": np.ones([3, 3], np.float32), "zzz": np.ones(1)}
        )
    assert [str(w.message) for w in caught] == [
        "Skip loading for weight. weight receives a shape [3, 3], but the expected shape is "
        "[2, 3].",
        "Skip loading for bias. bias is not found in the provided dict.",
    ]
    assert missing == ["weight", "bias"] and unexpected == ["zzz"]


def test_strict_loading_raises_before_anything_is_loaded():
    layer = nn.Linear(2, 3)
    before = layer.weight.numpy()
    with pytest.raises(dyn.StateError) as caught:
        layer.set_state_dict({"weight": np.ones([2, 3]), "zzz": np.ones(1)}, strict=True)
    assert "bias is not found" in str(caught.value) and "zzz" in str(caught.value)
    assert np.array_equal(layer.weight.numpy(), before)


def test_loading_casts_and_keeps_identity_and_layout():
    conv = nn.Conv2D(2, 4, 3)
    held, strides = conv.weight, conv.weight._array.strides
    value = np.random.default_rng(0).standard_normal([4, 2, 3, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conv.set_state_dict({"weight": value})
    assert conv.weight is held and held._array.strides == strides
    assert held.dtype == dyn.float32
    assert np.array_equal(held.numpy(), value.astype(np.float32))


def test_loading_by_parameter_name():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    state = {
        b.weight.name: a.weight,
        b.bias.name: a.bias,
    }
    assert b.set_state_dict(state, use_structured_name=False) == ([], [])
    assert np.array_equal(a.weight.numpy(), b.weight.numpy())


def test_an_uninitialized_buffer_is_saved_and_loaded_as_such():
    layer = nn.Layer()
    layer.register_buffer("state", layer.create_tensor("later"))
    assert repr(layer.state) == "Tensor(Not initialized)"
    assert layer.set_state_dict(layer.state_dict()) == ([], [])
    assert layer.set_state_dict({"state": np.ones([2, 2], np.float32)}) == ([], [])
    assert layer.state.shape == [2, 2]


def test_to_converts_floating_point_state_only():
    layer = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1D(2))
    layer[0].register_buffer("steps", dyn.to_tensor([1]))
    layer(dyn.ones([3, 2])).sum().backward()
    assert layer.to("float64") is layer
    kinds = {name: tensor.dtype.name for name, tensor in layer.state_dict().items()}
    assert kinds.pop("0.steps") == "int64" and set(kinds.values()) == {"float64"}
    assert layer[0].weight.grad.dtype == dyn.float64
    assert layer[0].create_parameter([1]).dtype == dyn.float64
    assert layer.to(device="cpu").to(dtype="float32")[0].weight.dtype == dyn.float32
    with pytest.raises(dyn.AttributeValueError, match="CPU"):
        layer.to(device="cuda:0")


def test_create_parameter_obeys_its_wishes():
    layer = nn.Layer()
    assert layer.create_parameter([2], attr=False) is None
    attr = dyn.ParamAttr(
        name="mine", initializer=nn.initializer.Constant(3.0), learning_rate=0.5, trainable=False
    )
    p = layer.create_parameter([2, 2], attr)
    assert p.name == "mine" and p.tolist() == [[3.0, 3.0]] * 2
    assert p.learning_rate == 0.5 and p.stop_gradient and not p.trainable
    p.trainable = True
    assert not p.stop_gradient
    assert layer.create_parameter([3], is_bias=True).tolist() == [0.0] * 3
    assert layer.create_parameter([2], "named").name == "named"
    assert layer.create_parameter([2], nn.initializer.Constant(1.0)).tolist() == [1.0, 1.0]
    assert layer.create_parameter([2], dtype="float64").dtype == dyn.float64
    with pytest.raises(TypeError, match="ParamAttr"):
        layer.create_parameter([2], 3)


def test_clear_gradients():
    layer = nn.Linear(2, 2)
    layer(dyn.ones([1, 2])).sum().backward()
    layer.clear_gradients()
    assert layer.weight.grad.sum().item() == 0.0
    layer.clear_gradients(set_to_zero=False)
    assert layer.weight.grad is None
