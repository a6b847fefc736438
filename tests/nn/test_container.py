"""Lists and dictionaries of layers and parameters."""

import copy
from typing import Any

import pytest

import dyn
from dyn import nn


def layers(n):
    return [nn.Linear(2, 2) for _ in range(n)]


def test_sequential_composes_in_order():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = dyn.ones([1, 2])
    assert model(x).item() == model[2](model[1](model[0](x))).item()
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(model) == 3 and list(model) == [model[0], model[1], model[2]]


def test_sequential_of_named_pairs():
    model = nn.Sequential(("fc", nn.Linear(2, 3)), ["act", nn.ReLU()])
    assert [name for name, _ in model.named_children()] == ["fc", "act"]
    assert model.fc is model[0] is model["fc"]


def test_sequential_refuses_what_is_no_layer():
    for wrong in ([nn.ReLU()], ("name", 3), dyn.ones([1])):
        with pytest.raises(TypeError):
            nn.Sequential(wrong)


def test_list_operations():
    a, b, c, d = layers(4)
    held = nn.LayerList([a, b])
    assert held.append(c) is held and held.extend([d]) is held
    assert list(held) == [a, b, c, d] and held[-1] is d and c in held and nn.ReLU() not in held
    held.insert(1, d)
    assert list(held) == [a, d, b, c, d]
    assert held.pop() is d and held.pop(1) is d
    del held[0]
    assert list(held) == [b, c] and [n for n, _ in held.named_children()] == ["0", "1"]
    held[0] = a
    held["1"] = d
    assert list(held) == [a, d]
    held += [b]
    longer = held + nn.LayerList([c])
    assert list(longer) == [a, d, b, c] and len(held) == 3
    held[0:2] = [c]
    assert list(held) == [c, b]
    del held[0:1]
    assert list(held) == [b]


def test_slices_are_containers_of_the_same_layers():
    model = nn.Sequential(*layers(4))
    part = model[1:3]
    assert isinstance(part, nn.Sequential) and list(part) == [model[1], model[2]]
    held = nn.LayerList(model[::2])
    assert held[1] is model[2]
    assert isinstance(copy.deepcopy(part), nn.Sequential)


def test_indices_outside_the_list():
    held: Any = nn.LayerList(layers(2))
    for wrong in (lambda: held[2], lambda: held[-3], lambda: held.insert(4, nn.ReLU())):
        with pytest.raises(IndexError, match="out of range for 2 items"):
            wrong()
    with pytest.raises(TypeError, match="should be a Layer"):
        held.append(3)
    with pytest.raises(NotImplementedError):
        held(dyn.ones([1, 2]))


def test_layer_dict():
    a, b = layers(2)
    held = nn.LayerDict({"a": a})
    held["b"] = b
    held.update([("c", nn.ReLU())])
    assert list(held) == ["a", "b", "c"] == held.keys() and len(held) == 3
    assert held["a"] is a is held.a and held.values()[1] is b and held.items()[0] == ("a", a)
    assert "a" in held and "z" not in held
    assert isinstance(held.pop("c"), nn.ReLU)
    del held["a"]
    assert list(held.state_dict()) == ["b.weight", "b.bias"]
    with pytest.raises(KeyError):
        held["a"]
    held.clear()
    assert not len(held)


def test_parameters_in_containers():
    held = nn.ParameterList([nn.Parameter([1.0]), nn.Parameter([2.0])])
    held.append(nn.Parameter([3.0]))
    assert [p.item() for p in held] == [1.0, 2.0, 3.0] and len(held.parameters()) == 3
    assert list(held.state_dict()) == ["0", "1", "2"]
    named = nn.ParameterDict({"w": nn.Parameter([1.0])})
    named["v"] = nn.Parameter([2.0])
    assert list(named.state_dict()) == ["w", "v"] and named["v"].item() == 2.0
    with pytest.raises(TypeError, match="should be a Parameter"):
        held.append(dyn.ones([1]))


def test_containers_of_a_model_count():
    class Model(nn.Layer):
        def __init__(self):
            super().__init__()
            self.list = nn.LayerList(layers(2))
            self.dict = nn.LayerDict({"x": nn.Linear(2, 2)})
            self.plain = layers(3)

    assert len(Model().parameters()) == 6
