"""Registration by assignment, names, walks, and the errors of all three."""

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.nn.state import snake_case


class Block(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.scale = self.create_parameter([3])
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        return self.fc(x) * self.scale


class Model(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first = Block()
        self.list = nn.LayerList([Block(), nn.ReLU()])
        self.register_buffer("hidden", dyn.ones([2]), persistable=False)

    def forward(self, x):
        return self.list[0](self.first(x))


def names(pairs):
    return [name for name, _ in pairs]


def test_assignment_registers_by_type():
    block = Block()
    assert list(block._parameters) == ["scale"]
    assert list(block._buffers) == ["count"]
    assert list(block._sub_layers) == ["fc"]
    assert block._sub_layers["fc"] is block.fc
    assert "scale" in block._parameters and "fc" not in block._parameters
    assert block._parameters == {"scale": block.scale}


def test_names_are_dotted_and_in_order():
    model = Model()
    assert names(model.named_parameters()) == [
        "first.scale",
        "first.fc.weight",
        "first.fc.bias",
        "list.0.scale",
        "list.0.fc.weight",
        "list.0.fc.bias",
    ]
    assert names(model.named_buffers()) == ["hidden", "first.count", "list.0.count"]
    assert names(model.named_sublayers()) == [
        "first",
        "first.fc",
        "list",
        "list.0",
        "list.0.fc",
        "list.1",
    ]
    assert names(model.named_sublayers(prefix="m", include_self=True))[:2] == ["m", "m.first"]
    assert names(model.named_parameters(prefix="m"))[0] == "m.first.scale"
    assert names(model.named_parameters(include_sublayers=False)) == []
    assert names(model.named_children()) == ["first", "list"]
    assert len(model.parameters()) == 6 and isinstance(model.parameters(), list)


def test_shared_layers_and_parameters_count_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model.again = model[0]
    assert len(model.parameters()) == 3
    assert len(model.sublayers()) == 2
    # A file needs every name under which somebody may look.
    assert set(model.state_dict()) >= {"0.weight", "1.weight", "again.weight"}


def test_a_layer_that_holds_its_owner_does_not_loop():
    child = nn.Linear(2, 2)
    model = nn.Sequential(child)
    child.owner = model
    assert names(model.named_sublayers()) == ["0"]
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


def test_reassigning_a_name_changes_its_kind():
    layer = nn.Layer()
    layer.x = nn.Linear(2, 2)
    layer.x = layer.create_parameter([2])
    assert list(layer._parameters) == ["x"] and not layer._sub_layers
    layer.x = nn.Buffer([1.0])
    assert list(layer._buffers) == ["x"] and not layer._parameters
    del layer.x
    assert not layer._buffers and not hasattr(layer, "x")
    layer.x = "text"
    assert layer.x == "text" and not layer.state_dict()


def test_a_registered_name_keeps_its_kind():
    layer: Any = Block()
    with pytest.raises(TypeError, match="parameter 'scale' should be of type Parameter or None"):
        layer.scale = dyn.ones([3])
    with pytest.raises(TypeError, match="sublayer 'fc' should be of type Layer or None"):
        layer.fc = 3
    layer.scale = None
    assert names(layer.named_parameters()) == ["fc.weight", "fc.bias"] and layer.scale is None
    layer.scale = layer.create_parameter([3])
    assert "scale" in layer.state_dict()


def test_a_plain_tensor_is_a_temporary():
    layer = nn.Layer()
    layer.kept = dyn.ones([2])
    assert not layer.buffers() and not layer.state_dict()


@pytest.mark.parametrize("how", ["assign", "augment", "set_value", "method"])
def test_a_buffer_stays_the_same_object_however_it_is_written(how):
    layer = nn.Layer()
    layer.register_buffer("count", dyn.to_tensor([1.0, 2.0]))
    held = layer.count
    if how == "assign":
        dyn.assign(layer.count + 1, layer.count)
    elif how == "augment":
        layer.count += 1
    elif how == "set_value":
        layer.count.set_value([2.0, 3.0])
    else:
        layer.count.add_(dyn.to_tensor([1.0, 1.0]))
    assert layer.count is held and isinstance(held, nn.Buffer)
    assert held.tolist() == [2.0, 3.0] and list(layer.state_dict()) == ["count"]


def test_assignment_puts_another_buffer_in_the_place_of_one():
    layer: Any = nn.Layer()
    layer.register_buffer("state", dyn.to_tensor([1.0, 2.0]), persistable=False)
    held, view, seen, value = layer.state, layer.state[:1], [], layer.state * 10.0
    for _ in range(2):
        layer.state = layer.state + 1
        seen.append(layer.state)
    layer.state = value
    assert [t.tolist() for t in (held, view, *seen)] == [[1, 2], [1], [2, 3], [3, 4]]
    assert layer.state.tolist() == [10, 20] and type(value) is dyn.Tensor
    assert isinstance(layer.state, nn.Buffer) and not layer.state.persistable


def test_a_buffer_that_takes_the_place_of_another_is_both():
    layer: Any = nn.Layer()
    layer.register_buffer("last", dyn.zeros([2]))
    layer.register_buffer("state", dyn.zeros([2]))
    for i in range(3):
        layer.last = layer.state
        layer.state = layer.state + 1
        assert (layer.last.tolist(), layer.state.tolist()) == ([i, i], [i + 1, i + 1])
    layer.last = layer.state
    layer.state.add_(dyn.ones([2]))
    assert layer.last.tolist() == [4, 4]


@pytest.mark.parametrize("recording", [True, False])
def test_a_buffer_has_the_history_of_what_is_assigned(recording):
    layer: Any = nn.Layer()
    layer.register_buffer("state", dyn.ones([2]))
    leaf = dyn.to_tensor([2.0, 3.0], stop_gradient=False)
    for value, slope in ((leaf, [2, 2]), (leaf * 3, [6, 6])):
        with dyn.set_grad_enabled(recording):
            layer.state = value
        (layer.state * 2).sum().backward()
        assert leaf.grad is not None and leaf.grad.tolist() == slope
        leaf.clear_grad(set_to_zero=False)


def test_what_was_detached_from_a_buffer_keeps_its_value_when_it_is_assigned():
    layer = nn.Layer()
    layer.register_buffer("state", dyn.zeros([2]))
    before = layer.state.detach()
    layer.state.add_(dyn.ones([2]))
    layer.state = layer.state + before
    assert (before.tolist(), layer.state.tolist()) == ([1, 1], [2, 2])


def test_a_buffer_may_grow_by_assignment():
    layer = nn.Layer()
    layer.register_buffer("cache", dyn.ones([1, 2]))
    layer.cache = dyn.concat([layer.cache, dyn.zeros([1, 2])])
    assert layer.cache.shape == [2, 2] and isinstance(layer.cache, nn.Buffer)


def test_registering_a_buffer_keeps_whoever_holds_it():
    tensor = dyn.zeros([2])
    layer = nn.Layer()
    layer.register_buffer("state", tensor)
    dyn.assign(dyn.ones([2]), tensor)
    assert layer.state is tensor and layer.state.tolist() == [1.0, 1.0]


def test_a_view_becomes_a_buffer_of_its_own():
    base = dyn.zeros([2, 2])
    layer = nn.Layer()
    layer.register_buffer("row", base[0])
    base[0] = 5.0
    assert layer.row.tolist() == [0.0, 0.0]


def test_a_buffer_may_be_absent():
    layer = nn.Layer()
    layer.register_buffer("mask", None)
    assert layer.mask is None and not layer.buffers()
    layer.mask = dyn.ones([2])
    assert isinstance(layer.mask, nn.Buffer) and list(layer.state_dict()) == ["mask"]


class Early(nn.Layer):
    def __init__(self, value):
        self.value = value
        super().__init__()


@pytest.mark.parametrize("make", [lambda: nn.Linear(1, 1), lambda: nn.Parameter([1.0])])
def test_registering_before_init_is_an_error(make):
    with pytest.raises(ValueError, match=r"super\(\).__init__\(\) should be called first"):
        Early(make())


class Forgetful(nn.Layer):
    """Does something with itself instead of calling `super().__init__()`."""

    def __init__(self, action=lambda layer: None):
        action(self)

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    "action",
    [
        lambda layer: layer(1),
        lambda layer: layer.parameters(),
        lambda layer: layer.state_dict(),
        lambda layer: layer.train(),
        lambda layer: layer.full_name(),
        lambda layer: repr(layer),
        lambda layer: layer.create_parameter([1]),
        lambda layer: layer.add_parameter("w", nn.Parameter([1.0])),
        lambda layer: layer.add_sublayer("fc", nn.Linear(1, 1)),
        lambda layer: layer.register_buffer("b", dyn.ones([1])),
        lambda layer: layer.register_forward_pre_hook(print),
        lambda layer: layer.register_forward_post_hook(print),
    ],
)
def test_whatever_is_done_before_init_says_what_is_missing(action):
    for make in (lambda: Forgetful(action), lambda: action(Forgetful())):
        with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) should be called first"):
            make()


def test_a_missing_attribute_is_missing_before_init_too():
    with pytest.raises(AttributeError, match=r"^'Forgetful' object has no attribute 'fc'$"):
        Forgetful(lambda layer: layer.fc)
    assert not hasattr(nn.Layer(), "fc") and getattr(nn.Layer(), "fc", 3) == 3


def test_plain_attributes_before_init_stay():
    assert Early(3).value == 3


def test_missing_attribute_names_the_class():
    with pytest.raises(AttributeError, match="'Block' object has no attribute 'Flatten'"):
        Block().Flatten  # noqa: B018


@pytest.mark.parametrize(
    ("name", "tensor", "kind", "text"),
    [
        ("a.b", [1.0], KeyError, "The name of buffer can not contain `.`"),
        ("", [1.0], KeyError, "The name of buffer can not be empty."),
        ("fc", [1.0], KeyError, "attribute 'fc' already exists."),
        ("train", [1.0], KeyError, "attribute 'train' already exists."),
        (5, [1.0], TypeError, "The name of buffer should be a string, but received int."),
    ],
)
def test_buffer_names(name, tensor, kind, text):
    with pytest.raises(kind) as caught:
        Block().register_buffer(name, dyn.to_tensor(tensor))
    assert text in str(caught.value)


def test_only_tensors_are_buffers_and_only_parameters_parameters():
    block: Any = Block()
    with pytest.raises(TypeError, match="Tensor, but received int"):
        block.register_buffer("b", 3)
    with pytest.raises(TypeError, match="Parameter cannot be registered as a buffer"):
        block.register_buffer("b", nn.Parameter([1.0]))
    with pytest.raises(TypeError, match="should be a Parameter, but received int"):
        block.add_parameter("p", 3)
    with pytest.raises(KeyError):
        block.add_parameter("a.b", nn.Parameter([1.0]))
    with pytest.raises(TypeError, match="should be a Layer, but received int"):
        block.add_sublayer("s", 3)
    with pytest.raises(TypeError, match="needs a value"):
        nn.Parameter(None)


def test_views_of_the_registry_write_through():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model._sub_layers["1"] = nn.Tanh()
    assert isinstance(model[1], nn.Tanh)
    del model._sub_layers["1"]
    assert len(model) == 1
    with pytest.raises(KeyError):
        model._parameters["0"]
    assert repr(nn.Linear(1, 1, bias_attr=False)._buffers) == "{}"


def test_full_names_count_up_by_class():
    a, b = nn.BatchNorm2D(2), nn.BatchNorm2D(2)
    head, number = a.full_name().rsplit("_", 1)
    assert head == "batch_norm2d"
    assert b.full_name() == f"batch_norm2d_{int(number) + 1}"
    assert a.weight.name == f"{a.full_name()}.w_0" and a.bias.name == f"{a.full_name()}.b_0"
    assert nn.Layer(name_scope="mine").full_name().startswith("mine_")
    assert snake_case("MyModel") == "my_model"


def test_copies_share_and_deep_copies_do_not():
    model = Model()
    shallow, deep = copy.copy(model), copy.deepcopy(model)
    assert shallow.first is model.first
    shallow.extra = nn.ReLU()
    assert "extra" not in model._sub_layers
    assert deep.first.scale is not model.first.scale
    assert deep.first.scale.name != model.first.scale.name
    before = model.first.scale.numpy()
    deep.first.scale.set_value(before + 1)
    assert np.array_equal(model.first.scale.numpy(), before)
    assert isinstance(deep.hidden, nn.Buffer) and not deep.hidden.persistable
    assert names(deep.named_parameters()) == names(model.named_parameters())


def test_pickled_layers_come_back_with_their_layout():
    conv = nn.Conv2D(2, 3, 3)
    conv.weight.learning_rate = 0.5
    back = pickle.loads(pickle.dumps(conv))
    assert np.array_equal(back.weight.numpy(), conv.weight.numpy())
    assert back.weight._array.strides == conv.weight._array.strides
    assert back.weight.learning_rate == 0.5 and not back.weight.stop_gradient


def test_a_thousand_nested_layers():
    model = inner = Block()
    for _ in range(1000):
        inner.inner = Block()
        inner = inner.inner
    assert len(model.state_dict()) == 4 * 1001
    assert len(model.sublayers()) == 2001
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.set_state_dict(model.state_dict()) == ([], [])
    assert all(not layer.training for layer in model.eval().sublayers(include_self=True))
    seen = []
    model.apply(seen.append)
    assert len(seen) == 2002 and seen[-1] is model
