"""Gradients where functions have a kink, where elements tie, and where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.peers.snippets import snippet


def _slope(torch: Any, function: Callable[..., Any], *values: Any) -> Any:
    leaves = [torch.tensor(v, requires_grad=True) for v in values]
    out = function(*leaves)
    out.sum().backward()
    return out.detach(), *(leaf.grad for leaf in leaves)


EDGES = [-6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0]
TIED = [[1.0, 3.0, 3.0], [3.0, 0.0, 0.0]]


@snippet(flavour="torch")
def kinks(torch: Any) -> Any:
    f = torch.nn.functional
    functions = (
        f.relu, f.relu6, f.hardtanh, f.hardswish, f.hardsigmoid, f.elu, f.selu, f.celu,
        f.hardshrink, f.softshrink, torch.abs, torch.sign, f.leaky_relu,
        lambda x: f.hardtanh(x, -3.0, 6.0),
        lambda x: torch.clamp(x, -1, 1), lambda x: x.clamp(min=0.0), lambda x: x.clamp_max(3.0),
    )  # fmt: skip
    return [_slope(torch, function, EDGES) for function in functions]


@snippet(flavour="torch")
def ties(torch: Any) -> Any:
    functions = torch.max, torch.min, torch.amax, torch.amin, torch.median
    whole = [_slope(torch, function, TIED) for function in functions]
    along = [_slope(torch, lambda x, f=f: f(x, dim=1), TIED) for f in (torch.amax, torch.amin)]
    first = [_slope(torch, lambda x, f=f: f(x, 1)[0], TIED) for f in (torch.max, torch.min)]
    pairs = torch.maximum, torch.minimum, torch.fmax, torch.fmin, torch.max
    two = [_slope(torch, f, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) for f in pairs]
    bounds = _slope(torch, lambda x, y: torch.clamp(x, y, y + 2), [0.0, 1.0, 3.0], [0.0, 1.0, 1.0])
    return whole, along, first, two, bounds


@snippet(flavour="torch")
def no_slope(torch: Any) -> Any:
    nothing = [0.0, 0.0]
    orders = [1.0, 2.0, 3.0, 0.5, math.inf]
    norms = [_slope(torch, lambda x, p=p: torch.norm(x, p), nothing) for p in orders]
    largest = _slope(torch, lambda x: torch.linalg.vector_norm(x, math.inf), [2.0, -2.0, 1.0])
    flat = [_slope(torch, f, [2.0, 2.0, 2.0]) for f in (torch.std, torch.var)]
    return norms, largest, flat, _slope(torch, torch.atan2, nothing, [0.0, 1.0])
