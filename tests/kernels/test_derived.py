"""What is kept of a weight: from the second request on, for all views of it, while it lives."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.kernels.conv import conv2d
from dyn.kernels.runtime import derived as module
from dyn.kernels.runtime.derived import derived, share
from dyn.ops.sole import rebind
from tracer import InputSpec, trace


def counted() -> tuple[list[int], Callable[[], list[int]]]:
    """A list of what was made, and a maker that adds to it."""
    made: list[int] = []

    def make() -> list[int]:
        made.append(len(made))
        return made

    return made, make


def test_it_is_kept_from_the_second_request_on() -> None:
    made, make = counted()
    weight = np.ones(3)
    for _ in range(4):
        derived(weight, "packed", make)
    assert len(made) == 2
    derived(weight, "otherwise", make)
    derived(np.ones(3), "packed", make)
    assert len(made) == 4


def test_the_first_answer_may_be_another_one() -> None:
    made, make = counted()
    weight = np.ones(3)
    found = [derived(weight, "packed", make, lambda: "none") for _ in range(3)]
    assert found[0] == "none" and found[1] is found[2] is made and made == [0]


def test_a_view_has_what_its_owner_has() -> None:
    made, make = counted()
    weight = np.ones(3)
    for _ in range(3):
        view = weight.view()
        share(view, weight)
        derived(view, "packed", make)
        del view
    derived(weight, "packed", make)
    assert len(made) == 2


def test_it_is_forgotten_with_the_weight() -> None:
    gc.collect()
    before = len(module._SEEN)
    weight = np.ones(3)
    view = weight.view()
    share(view, weight)
    derived(view, "packed", list)
    assert len(module._SEEN) == before + 2
    del weight, view
    gc.collect()
    assert len(module._SEEN) == before


@pytest.mark.parametrize(
    ("layer", "size"),
    [(lambda: nn.Conv2D(32, 32, 3, groups=32), 8), (lambda: nn.Conv2D(4, 2, 5), 5)],
)
def test_training_keeps_no_old_weights(layer: Callable[[], nn.Layer], size: int) -> None:
    # These weights are read where they lie, forwards and backwards.
    net = layer()
    optimizer = dyn.optimizer.SGD(0.1, parameters=net.parameters())
    kept = []
    for _ in range(4):
        x = dyn.ones([2, net.weight.shape[1] * net._groups, size, size])
        x.stop_gradient = False
        net(x).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
        gc.collect()
        kept.append(len(module._SEEN))
    assert len(set(kept[1:])) == 1


def test_it_is_forgotten_after_an_update_in_place() -> None:
    made, make = counted()
    weight = dyn.ones([3])
    for _ in range(3):
        derived(weight._array, "packed", make)  # by another thread, while it is written to
    rebind([weight], [weight._array])
    derived(weight._array, "packed", make)
    assert len(made) == 3


def test_a_trace_packs_no_weight_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def watched(owner: np.ndarray, key: Any, make: Callable[[], Any], once: Any) -> Any:
        return derived(owner, key, lambda: made.append("packed") or make(), once)

    monkeypatch.setattr(conv2d, "derived", watched)
    layer = nn.Conv2D(16, 16, 3)
    for _ in range(2):
        layer(dyn.ones([1, 16, 12, 12]))
    assert len(made) == 2
    trace(layer, InputSpec([1, 16, 12, 12]))
    assert len(made) == 2
