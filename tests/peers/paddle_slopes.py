"""Gradients where functions have a kink, and where elements tie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.peers.snippets import snippet


def _slope(paddle: Any, function: Callable[..., Any], *values: Any) -> Any:
    leaves = [paddle.to_tensor(v, stop_gradient=False) for v in values]
    out = function(*leaves)
    out.sum().backward()
    return out.numpy(), *(leaf.grad.numpy() for leaf in leaves)


EDGES = [-6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0]
TIED = [[1.0, 3.0, 3.0], [3.0, 0.0, 0.0]]


@snippet()
def kinks(paddle: Any) -> Any:
    f = paddle.nn.functional
    functions = (
        f.relu, f.relu6, f.hardtanh, f.hardswish, f.hardsigmoid, f.elu, f.selu, f.celu,
        f.softshrink, paddle.abs, paddle.sign, lambda x: f.hardtanh(x, -3.0, 6.0),
        lambda x: paddle.clip(x, -1, 1), lambda x: paddle.clip(x, min=0.0),
    )  # fmt: skip
    return [_slope(paddle, function, EDGES) for function in functions]


@snippet()
def ties(paddle: Any) -> Any:
    functions = paddle.max, paddle.min, paddle.amax, paddle.amin
    whole = [_slope(paddle, function, TIED) for function in functions]
    along = [_slope(paddle, lambda x, f=f: f(x, axis=1), TIED) for f in functions]
    pairs = paddle.maximum, paddle.minimum, paddle.fmax, paddle.fmin
    two = [_slope(paddle, f, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) for f in pairs]
    largest = _slope(paddle, lambda x: paddle.norm(x, math.inf), [2.0, -2.0, 1.0])
    return whole, along, two, largest


@snippet(
    differs="the slope of a deviation where all elements are equal is 0, as in PyTorch, not NaN"
)
def deviation_of_equals(paddle: Any) -> Any:
    return _slope(paddle, paddle.std, [2.0, 2.0, 2.0])


@snippet(differs="the slope of an angle at the origin is 0, as in PyTorch, not NaN")
def angle_of_the_origin(paddle: Any) -> Any:
    return _slope(paddle, paddle.atan2, [0.0, 1.0], [0.0, 0.0])


@snippet(differs="where several factors are 0, the slopes of a product are 0, not NaN")
def product_of_zeros(paddle: Any) -> Any:
    return _slope(paddle, paddle.prod, [0.0, 2.0, 0.0])
