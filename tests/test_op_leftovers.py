"""Every row of the op table, and its gradient: nothing is computed with what memory held before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.tensor import Tensor
from tests.kernels.leftovers import AVAILABLE, DENORMAL, leftovers, met_denormal
from tests.optable import cases
from tests.optable.case import OpCase

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="the control register of x86 is looked at")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Have everything computed by the thread that looks at its register."""
    before = dyn.get_num_threads()
    dyn.set_num_threads(1)
    yield
    dyn.set_num_threads(before)


def meets_denormals(case: OpCase, dtype: str, sizes: Any, word: int | None) -> bool:
    """Whether a row computes with a denormal number where memory held `word` before."""
    arrays = case.arrays(dtype=dtype if case.order else None, sizes=sizes)
    wrt = case.differentiable(arrays) if case.order else ()
    tensors = [None if x is None else Tensor._of(x) for x in arrays]
    for i, x in enumerate(tensors):
        if x is not None:
            x.stop_gradient = i not in wrt
    given = [x for x in tensors if x is not None and not x.stop_gradient]

    def row() -> None:
        with nullcontext() if word is None else leftovers(word):
            wanted = [y for y in case.call(*tensors) if not y.stop_gradient]
            if wanted:
                gradients = [Tensor._of(np.ones_like(y._read())) for y in wanted]
                dyn.grad(wanted, given, gradients, allow_unused=True)

    return met_denormal(row)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_leftovers_are_not_computed_with(case: OpCase, dtype: str) -> None:
    for sizes in (None, *({name: n} for name in case.names for n in (1, 3) if case.single)):
        meets_denormals(case, dtype, sizes, None)  # compiles what is needed
        if meets_denormals(case, dtype, sizes, DENORMAL):
            assert meets_denormals(case, dtype, sizes, 0), f"sizes {sizes}"


def test_denormals_are_noticed() -> None:
    assert met_denormal(lambda: np.full(1, 1e-40, np.float32) * np.float32(2))
    assert not met_denormal(lambda: np.full(1, 1e-20, np.float32) * np.float32(2))


def image_layers() -> list[Any]:
    """Convolutions of every algorithm, by name and constructor, and their input's sizes."""
    plain = [
        ((3, 6, 5), (2, 3, 32, 32)),
        ((3, 5, 3), (2, 3, 9, 9)),
        ((20, 37, 3), (2, 20, 12, 12)),
        ((33, 65, 3), (2, 33, 14, 14)),
        ((64, 64, 3), (2, 64, 12, 12)),
        ((20, 37, 3, 2), (2, 20, 12, 12)),
        ((20, 37, 5, 1, 2), (9, 20, 12, 12)),
        ((16, 32, 5), (9, 16, 14, 14)),
        ((3, 64, 7, 2, 3), (2, 3, 30, 30)),
        ((10, 30, 1), (2, 10, 10, 10)),
    ]
    grouped = [
        ((20, 20, 3, 1, 1), (3, 20, 14, 14), 20),
        ((20, 20, 3, 2, 1), (3, 20, 14, 14), 20),
        ((32, 32, 5, 1, 2), (3, 32, 14, 14), 32),
        ((12, 18, 3, 1, 1), (2, 12, 10, 10), 3),
    ]
    made = [(lambda a=a: nn.Conv2D(*a), size) for a, size in plain]
    made += [(lambda a=a, g=g: nn.Conv2D(*a, groups=g), size) for a, size, g in grouped]
    return made


LAYERS = [
    *image_layers(),
    (lambda: nn.Linear(37, 100), (50, 37)),
    (lambda: nn.Linear(100, 37), (7, 100)),
    (lambda: nn.LSTM(17, 33), (5, 6, 17)),
    (lambda: nn.GRU(17, 33), (5, 6, 17)),
    (lambda: nn.MultiHeadAttention(36, 4), (2, 33, 36)),
    (lambda: nn.MultiHeadAttention(36, 4), (1, 150, 36)),
    (lambda: nn.BatchNorm2D(13), (4, 13, 9, 9)),
    (lambda: nn.LayerNorm(13), (40, 13)),
    (lambda: nn.GroupNorm(3, 15), (4, 15, 9, 9)),
    (lambda: nn.MaxPool2D(3, 2), (4, 13, 15, 15)),
    (lambda: nn.AvgPool2D(3, 2), (4, 13, 15, 15)),
    (lambda: nn.Conv2DTranspose(13, 7, 4, 2, 1), (4, 13, 9, 9)),
    (lambda: nn.Conv1D(13, 7, 3), (4, 13, 40)),
    (lambda: nn.Softmax(), (40, 13)),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_layers_of_odd_sizes(number: int, last: bool) -> None:
    make, sizes = LAYERS[number]
    layer = make()
    numbers = np.random.default_rng(0).standard_normal(sizes).astype(np.float32)
    if last and numbers.ndim > 2:
        numbers = np.moveaxis(np.ascontiguousarray(np.moveaxis(numbers, 1, -1)), -1, 1)
    x = Tensor._of(numbers)
    x.stop_gradient = False

    def step(word: int | None) -> bool:
        def run() -> None:
            with nullcontext() if word is None else leftovers(word):
                y = layer(x)
                (y[0] if isinstance(y, tuple) else y).square().sum().backward()

        return met_denormal(run)

    step(None)
    assert not step(DENORMAL) or step(0)
