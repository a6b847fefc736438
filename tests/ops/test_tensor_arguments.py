"""Sizes and axes that are given as tensors, as Paddle has them; axes that are inserted in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dyn
from dyn.core.errors import DTypeError, IndexRangeError
from dyn.nn import functional as F

X = dyn.to_tensor(np.arange(48, dtype=np.float32).reshape(2, 1, 4, 6))
SIZES = dyn.shape(X)
ONE, TWO = dyn.to_tensor(1), dyn.to_tensor(2)

PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "interpolate": (lambda: F.interpolate(X, SIZES[2:] * 2), lambda: F.interpolate(X, [8, 12])),
    "by scales": (
        lambda: F.interpolate(X, scale_factor=dyn.to_tensor([2.0, 0.5])),
        lambda: F.interpolate(X, scale_factor=[2.0, 0.5]),
    ),
    "by one scale": (
        lambda: F.interpolate(X, scale_factor=dyn.to_tensor(2.0)),
        lambda: F.interpolate(X, scale_factor=2.0),
    ),
    "adaptive pool": (
        lambda: F.adaptive_avg_pool2d(X, SIZES[2:] // 2),
        lambda: F.adaptive_avg_pool2d(X, [2, 3]),
    ),
    "transposed convolution": (
        lambda: F.conv2d_transpose(
            X, dyn.ones([1, 2, 3, 3]), stride=2, output_size=SIZES[2:] * 2 + TWO
        ),
        lambda: F.conv2d_transpose(X, dyn.ones([1, 2, 3, 3]), stride=2, output_size=[10, 14]),
    ),
    "topk": (lambda: dyn.topk(X, TWO), lambda: dyn.topk(X, 2)),
    "linspace": (lambda: dyn.linspace(0, 1, SIZES[3]), lambda: dyn.linspace(0, 1, 6)),
    "crop": (
        lambda: dyn.crop(X, dyn.to_tensor([1, -1, 2, 2]), dyn.to_tensor([1, 0, 1, 1])),
        lambda: X[1:, :, 1:3, 1:3],
    ),
    "slice": (lambda: X[:, :, : SIZES[2] // 2, -TWO:], lambda: X[:, :, :2, -2:]),
    "sum": (lambda: dyn.sum(X, TWO), lambda: dyn.sum(X, 2)),
    "max": (lambda: dyn.max(X, dyn.to_tensor([1, -1])), lambda: dyn.max(X, [1, -1])),
    "concat": (lambda: dyn.concat([X, X], ONE), lambda: dyn.concat([X, X], 1)),
    "split": (lambda: dyn.split(X, 2, TWO), lambda: dyn.split(X, 2, 2)),
    "cumsum": (lambda: dyn.cumsum(X, TWO), lambda: dyn.cumsum(X, 2)),
    "gather": (lambda: dyn.gather(X, ONE, TWO), lambda: dyn.gather(X, ONE, 2)),
    "argmax": (lambda: dyn.argmax(X, TWO), lambda: dyn.argmax(X, 2)),
    "roll": (lambda: dyn.roll(X, ONE, TWO), lambda: dyn.roll(X, 1, 2)),
    "squeeze": (lambda: dyn.squeeze(X, ONE), lambda: dyn.squeeze(X, 1)),
    "unsqueeze": (lambda: dyn.unsqueeze(X, TWO), lambda: dyn.unsqueeze(X, 2)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_tensors_say_what_numbers_say(name: str) -> None:
    given, wanted = (make() for make in PAIRS[name])
    pairs = [(given, wanted)] if isinstance(given, dyn.Tensor) else zip(given, wanted, strict=True)
    for a, b in pairs:
        assert a.shape == b.shape and np.array_equal(a.numpy(), b.numpy())


def test_an_axis_is_whole() -> None:
    with pytest.raises(DTypeError, match="an axis is an integer, got"):
        dyn.sum(X, dyn.to_tensor(1.0))
    with pytest.raises(IndexRangeError, match="axis 4 is out of range"):
        dyn.concat([X, X], dyn.to_tensor(4))


# Shapes of Paddle 3.3.1.
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ([2, 0], [1, 4, 6, 1]),
        ([0, 2], [1, 4, 1, 6]),
        ([-1, -2], [4, 6, 1, 1]),
        ([-2, -1], [4, 1, 6, 1]),
        ([2, 1], [4, 1, 6, 1]),
        ([0, 0], [1, 1, 4, 6]),
        (dyn.to_tensor([-1, 1]), [4, 1, 6, 1]),
    ],
)
def test_axes_are_inserted_one_after_the_other(axes: Any, shape: list[int]) -> None:
    x = dyn.zeros([4, 6])
    x.stop_gradient = False
    out = dyn.unsqueeze(x, axes)
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == [4, 6]


def test_an_axis_that_is_not_there_yet_cannot_be_inserted() -> None:
    with pytest.raises(IndexRangeError):
        dyn.unsqueeze(dyn.zeros([4, 6]), [3, 0])
