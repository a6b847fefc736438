"""Writing to places under PyTorch's names: extremes, sums, and what does not fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn.core.errors import IndexRangeError, ShapeError


@pytest.mark.parametrize(
    ("reduce", "kept", "wanted", "gx", "gv"),
    [
        # Two values equal to what stood there share with it: a third each.
        ("amax", True, [2, 5, 9], [1 / 3, 1, 0], [1 / 3, 1 / 3, 0, 1, 0]),
        ("amin", True, [-1, 5, 3], [0, 1, 0.5], [0, 0, 0.5, 0, 1]),
        ("amax", False, [2, 5, 9], [0, 1, 0], [0.5, 0.5, 0, 1, 0]),
        ("amin", False, [-1, 5, 3], [0, 1, 0], [0, 0, 1, 0, 1]),
    ],
)
def test_extremes_of_what_comes_to_a_place(
    reduce: str, kept: bool, wanted: Any, gx: Any, gv: Any
) -> None:
    x = torch.tensor([2.0, 5.0, 3.0], requires_grad=True)
    src = torch.tensor([2.0, 2.0, 3.0, 9.0, -1.0], requires_grad=True)
    out = x.scatter_reduce(0, torch.tensor([0, 0, 2, 2, 0]), src, reduce, include_self=kept)
    out.sum().backward()
    assert out.tolist() == wanted
    np.testing.assert_allclose(x.grad.numpy(), gx, rtol=1e-6)
    np.testing.assert_allclose(src.grad.numpy(), gv, rtol=1e-6)


def test_extremes_where_the_index_is_shorter() -> None:
    x = torch.zeros(2, 3)
    out = x.scatter_reduce(0, torch.tensor([[1, 0]]), torch.tensor([[4.0, math.nan]]), "amax")
    np.testing.assert_array_equal(out.numpy(), [[0, math.nan, 0], [4, 0, 0]])


def test_extremes_of_many_need_no_table_of_pairs() -> None:
    rng = np.random.default_rng(0)
    at, values = rng.integers(0, 50_000, 400_000), rng.random(400_000, np.float32)
    out = torch.zeros(50_000).scatter_reduce(
        0, torch.from_numpy(at), torch.from_numpy(values), "amax"
    )
    wanted = np.zeros(50_000, np.float32)
    np.maximum.at(wanted, at, values)
    np.testing.assert_array_equal(out.numpy(), wanted)


def test_extremes_outside_are_refused() -> None:
    with pytest.raises(IndexRangeError, match=r"index 5 is out of range for an axis of size 3"):
        torch.zeros(3, 3).scatter_reduce(1, torch.tensor([[5]]), torch.ones(1, 1), "amax")
    with pytest.raises(ShapeError, match=r"index \[4, 1\] must have the sizes of the tensor"):
        torch.zeros(3, 3).scatter_reduce(1, torch.zeros(4, 1).long(), torch.ones(4, 1), "amax")


@pytest.mark.parametrize(
    ("dim", "shape", "wanted"),
    [(0, [5, 4], "[2, 4]"), (0, [2, 3], "[2, 4]"), (1, [3, 1], "[3, 2]")],
)
def test_slices_to_add_must_fit_the_index(dim: int, shape: Any, wanted: str) -> None:
    with pytest.raises(ShapeError) as error:
        torch.zeros(3, 4).index_add(dim, torch.tensor([0, 2]), torch.ones(*shape))
    assert f"wants {wanted}" in str(error.value)


def test_slices_are_added_times_alpha() -> None:
    out = torch.zeros(3).index_add(0, torch.tensor([0, 2, 0]), torch.tensor([1.0, 2, 3]), alpha=2)
    assert out.tolist() == [8, 0, 4]


def test_one_value_is_scattered() -> None:
    out = torch.zeros(2, 3).scatter(1, torch.tensor([[0, 2]]), value=7)
    assert out.tolist() == [[7, 0, 7], [0, 0, 0]]


@pytest.mark.parametrize("write", ["scatter", "scatter_add", "scatter_reduce"])
def test_an_index_takes_the_front_of_a_larger_source(write: str) -> None:
    x, src = torch.zeros(2, 3), torch.arange(1.0, 13.0).view(3, 4).requires_grad_()
    more = ("sum",) if write == "scatter_reduce" else ()
    out = getattr(x, write)(1, torch.tensor([[0, 2], [1, 0]]), src, *more)
    assert out.tolist() == [[1, 0, 2], [6, 5, 0]]
    out.sum().backward()
    assert src.grad.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    with pytest.raises(ShapeError, match=r"index \[2, 2\] takes more than src \[1, 2\] has"):
        getattr(x, write)(1, torch.tensor([[0, 2], [1, 0]]), torch.ones(1, 2), *more)
