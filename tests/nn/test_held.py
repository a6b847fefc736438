"""Variables that hold a buffer when it is bound to a new value, and are read afterwards."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import pytest

import dyn
from dyn import nn
from dyn.compat import torch


class State(nn.Layer):
    """A buffer, and what `step` does with it."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.register_buffer("total", dyn.zeros([2, 3]))
        self.step = step

    def forward(self, x: Any) -> Any:
        return self.step(self, x)


def _read_directly(layer: Any, x: Any) -> Any:
    old = layer.total
    layer.total = layer.total + x
    return layer.total - old


def _read_as_a_view(layer: Any, x: Any) -> Any:
    last = layer.total[:, 1:][0]
    layer.total = layer.total + x
    return last


def _read_on_one_side(layer: Any, x: Any) -> Any:
    old = layer.total
    if x.shape[0] == 2:
        layer.total = layer.total + x
    else:
        return x
    return old


def _read_by_a_function(layer: Any, x: Any) -> Any:
    old = layer.total
    layer.total = layer.total + x
    return (lambda: old + 1)()


def _not_read(layer: Any, x: Any) -> Any:
    total = layer.total
    fresh = total + x
    layer.total = fresh
    return fresh


def _bound_anew(layer: Any, x: Any) -> Any:
    total = layer.total
    layer.total = total + x
    total = layer.total
    return total


def _read_elsewhere(layer: Any, x: Any) -> Any:
    old = layer.total
    if x.shape[0] == 2:
        layer.total = layer.total + x
        return x
    return old


def _copied(layer: Any, x: Any) -> Any:
    old, seen = layer.total.clone(), layer.total.detach()
    layer.total = layer.total + x
    return layer.total - old - seen


def _written(layer: Any, x: Any) -> Any:
    total = layer.total
    layer.total += x
    layer.total[0] = 1.0
    return total


READ = (_read_directly, _read_as_a_view, _read_on_one_side, _read_by_a_function)
QUIET = (_not_read, _bound_anew, _read_elsewhere, _copied, _written)


@pytest.mark.parametrize("step", READ)
def test_a_variable_that_is_read_later_is_told(step: Any) -> None:
    match = r"the buffer 'total' is bound to a new value, and '(old|last)', which is (that|a view)"
    with pytest.warns(UserWarning, match=match) as caught:
        State(step)(dyn.ones([2, 3]))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("step", QUIET)
def test_other_variables_are_not(step: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        State(step)(dyn.ones([2, 3]))


def test_in_the_flavour_of_pytorch_and_outside_of_layers() -> None:
    module = torch.nn.Module()
    module.register_buffer("h", torch.zeros(2))
    h = module.h
    with pytest.warns(UserWarning, match="'h', which is that buffer"):
        module.h = torch.ones(2)
    assert h.tolist() == [1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functools.partial(setattr, module, "h")(torch.zeros(2))
        module.h = None
