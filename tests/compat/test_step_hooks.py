"""Hooks around the steps of optimisers, as in PyTorch: their order, arguments and removal."""

from __future__ import annotations

from typing import Any

import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn


class Plain(torch.optim.Optimizer):
    """A step of one's own."""

    def __init__(self, params: Any):
        super().__init__(params, {"lr": 0.5})

    def step(self, closure: Any = None) -> Any:
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad)
        return None if closure is None else closure()


@pytest.mark.parametrize("make", [lambda ps: torch.optim.SGD(ps, lr=0.5), Plain])
def test_hooks_run_around_a_step_until_they_are_removed(make: Any) -> None:
    p = nn.Parameter(torch.ones(1))
    optimizer, seen = make([p]), []
    p.grad = torch.ones(1)
    first = optimizer.register_step_pre_hook(lambda o, args, kw: seen.append((o, args, p.item())))
    last = optimizer.register_step_post_hook(lambda o, args, kw: seen.append((o, kw, p.item())))
    optimizer.step()
    assert seen == [(optimizer, (), 1.0), (optimizer, {}, 0.5)]
    first.remove()
    optimizer.step()
    assert len(seen) == 3
    last.remove()
    optimizer.step()
    assert len(seen) == 3 and p.item() == -0.5


def test_a_hook_may_replace_the_arguments() -> None:
    p = nn.Parameter(torch.ones(1))
    p.grad = torch.zeros(1)
    optimizer = torch.optim.Adam([p])
    optimizer.register_step_pre_hook(lambda o, args, kw: ((lambda: 7.0,), kw))
    assert optimizer.step() == 7.0
    with pytest.raises(TypeError, match="a hook is a function"):
        optimizer.register_step_post_hook(3)


def test_a_step_that_fails_leaves_the_hooks_working() -> None:
    p = nn.Parameter(torch.ones(1))
    optimizer, seen = torch.optim.SGD([p], lr=0.5), []
    optimizer.register_step_pre_hook(lambda o, args, kw: seen.append(len(seen)))
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    p.grad = torch.ones(1)
    optimizer.step()
    assert seen == [0, 1] and p.item() == 0.5
