"""Steps of optimisers, and clipping, over a number of parameters of one size, in dyn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import dyn
from dyn import nn, optimizer

RNG = np.random.default_rng(0)


def parameters(count: int, size: int) -> list[Any]:
    """Parameters with gradients."""
    made = [nn.Parameter(RNG.standard_normal(size, dtype=np.float32)) for _ in range(count)]
    for p in made:
        p.grad = dyn.to_tensor(RNG.standard_normal(size, dtype=np.float32))
    return made


def stepping(make: Callable[[Any], Any]) -> Callable[..., Any]:
    """A case that steps; its result, the first gradient, wants none itself."""

    def case(count: int, size: int) -> Any:
        params = parameters(count, size)
        step = make(params).step
        return lambda: step() or params[0].grad, []

    return case


def clipping(clip: Callable[..., Any]) -> Callable[..., Any]:
    """A case that clips by 1."""

    def case(count: int, size: int) -> Any:
        params = parameters(count, size)
        return lambda: (clip(params, 1.0), params[0].grad)[1], []

    return case


OPS = {
    "sgd": stepping(lambda p: optimizer.SGD(1e-3, p)),
    "momentum": stepping(lambda p: optimizer.Momentum(1e-3, 0.9, p)),
    "adam": stepping(lambda p: optimizer.Adam(1e-3, parameters=p)),
    "adam_amsgrad": stepping(lambda p: optimizer.Adam(1e-3, parameters=p, amsgrad=True)),
    "adamw": stepping(lambda p: optimizer.AdamW(1e-3, parameters=p)),
    "adagrad": stepping(lambda p: optimizer.Adagrad(1e-3, parameters=p)),
    "adadelta": stepping(lambda p: optimizer.Adadelta(1e-3, parameters=p)),
    "rmsprop": stepping(lambda p: optimizer.RMSProp(1e-3, momentum=0.9, parameters=p)),
    "rprop": stepping(lambda p: optimizer.Rprop(1e-3, parameters=p)),
    "adamax": stepping(lambda p: optimizer.Adamax(1e-3, parameters=p)),
    "nadam": stepping(lambda p: optimizer.NAdam(1e-3, parameters=p)),
    "radam": stepping(lambda p: optimizer.RAdam(1e-3, parameters=p)),
    "clip_norm": clipping(nn.utils.clip_grad_norm_),
    "clip_value": clipping(nn.utils.clip_grad_value_),
}
