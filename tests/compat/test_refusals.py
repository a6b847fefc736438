"""Calls that PyTorch refuses, too: no value must come of them, and one line says what was wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.functional as F
from dyn.compat.torch import nn

CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "too few repeats": (
        lambda: torch.repeat_interleave(torch.ones(3), torch.tensor([1, 2])),
        r"repeats \[2\] must be one number for each element of axis 0 of \[3\]",
    ),
    "negative repeats": (
        lambda: torch.repeat_interleave(torch.ones(3), torch.tensor([1, -2, 1])),
        r"repeated -2 times",
    ),
    "a negative repeat": (lambda: torch.repeat_interleave(torch.ones(3), -1), r"repeated -1 times"),
    "more shifts than axes": (
        lambda: torch.roll(torch.ones(3), (1, 2), 0),
        r"\(1, 2\) must be a number of places for each of 0",
    ),
    "windows longer than the axis": (
        lambda: torch.ones(3).unfold(0, 4, 1),
        r"windows of 4 elements, 1 apart, do not fit axis 0 of \[3\]",
    ),
    "windows that stand still": (lambda: torch.ones(3).unfold(0, 2, 0), r"0 apart"),
    "negative windows": (lambda: torch.ones(3).unfold(0, -1, 1), r"windows of -1 elements"),
    "no chunks": (lambda: torch.ones(5).chunk(0), r"a piece or more, got 0"),
    "no pieces": (lambda: torch.tensor_split(torch.ones(5), 0), r"a piece or more, got 0"),
    "pieces of nothing": (lambda: torch.ones(5).split(0), r"pieces of 0 cannot make up size 5"),
    "no axis of three": (
        lambda: torch.cross(torch.ones(2), torch.ones(2)),
        r"no axis of \[2\] has size 3",
    ),
    "labels for other pairs": (
        lambda: F.cosine_embedding_loss(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([1])),
        r"labels of \[1\] for pairs of \[2\]",
    ),
    "bins of nothing": (
        lambda: F.adaptive_max_pool2d(torch.ones(2, 3, 4, 0), 2),
        r"axis 3 of \[2, 3, 4, 0\] has size 0",
    ),
    "smoothing before nearest pixels": (
        lambda: F.interpolate(torch.ones(1, 1, 4, 4), size=2, antialias=True),
        r"antialias is for bilinear and bicubic with align_mode 0, got mode 'nearest'",
    ),
    "images without pixels' axes": (
        lambda: F.interpolate(torch.ones(2, 3), scale_factor=2),
        r"x must have axes for images and channels, and spatial ones behind .* shape \[2, 3\]",
    ),
    "statistics of one pixel": (
        lambda: nn.InstanceNorm2d(3)(torch.ones(2, 3, 1, 1)),
        r"Expected more than 1 spatial element when training, got input size torch.Size\(\[2, 3, 1",
    ),
    "a mean without a variance": (
        lambda: F.instance_norm(torch.ones(2, 3, 4), torch.zeros(3)),
        r"must either both be None or neither be None",
    ),
    "no statistics to use": (
        lambda: F.instance_norm(torch.ones(2, 3, 4), use_input_stats=False),
        r"to be defined when use_input_stats is false: give both",
    ),
    "statistics of other channels": (
        lambda: nn.InstanceNorm1d(4, track_running_stats=True)(torch.ones(2, 3, 4)),
        r"statistics \[4\] are not those of \[3\]",
    ),
    "rows of a computed weight to shorten": (
        lambda: F.embedding(torch.tensor([0]), nn.Linear(3, 4).weight * 2, max_norm=1.0),
        r"this weight was computed, and its history would be lost: pass a parameter",
    ),
    "frequencies of maxima": (
        lambda: nn.EmbeddingBag(4, 3, mode="max", scale_grad_by_freq=True)(torch.ones(1, 1).int()),
        r"max mode does not support scaling the gradient by the frequency",
    ),
    "no way to combine": (
        lambda: torch.zeros(3).scatter_reduce(0, torch.tensor([0]), torch.ones(1), "product"),
        r"reduce must be one of sum, prod, mean, amax, amin, got 'product'",
    ),
    "sums of slices": (
        lambda: torch.zeros(3).index_reduce(0, torch.tensor([0]), torch.ones(1), "sum"),
        r"index_reduce: reduce must be one of prod, mean, amax, amin, got 'sum'",
    ),
    "an index for two slices": (
        lambda: torch.zeros(3).index_reduce(0, torch.tensor([0]), torch.ones(2), "mean"),
        r"source \[2\] must be \[1\]: a slice of \[3\] along axis 0 for each index of \[1\]",
    ),
    "slices that are too short": (
        lambda: torch.zeros(3, 4).index_reduce(0, torch.tensor([0]), torch.ones(1, 2), "mean"),
        r"source \[1, 2\] must be \[1, 4\]",
    ),
    "probabilities above 1": (
        lambda: F.binary_cross_entropy(torch.tensor([2.0]), torch.ones(1)),
        r"all elements of input should be between 0 and 1",
    ),
    "no probabilities": (
        lambda: F.binary_cross_entropy(torch.tensor([math.nan]), torch.ones(1)),
        r"all elements of input",
    ),
    "probabilities below 0": (
        lambda: torch.nn.BCELoss()(torch.tensor([0.5, -0.5]), torch.ones(2)),
        r"all elements of input should be between 0 and 1",
    ),
    "floats as classes": (
        lambda: F.cross_entropy(torch.ones(2, 3), torch.ones(2)),
        r"to be Long or Byte, but got torch.float32; class numbers are integers",
    ),
    "floats as likely classes": (
        lambda: F.nll_loss(torch.ones(2, 3), torch.ones(2)),
        r"to be Long or Byte",
    ),
    "steps away from the end": (lambda: torch.arange(0, 3, -1), r"inconsistent with step sign"),
    "an end before the start": (lambda: torch.arange(3, 0), r"inconsistent with step sign"),
    "pixels without channels": (
        lambda: F.pixel_shuffle(torch.ones(4, 4), 2),
        r"pixel_shuffle: 2 axes are too few",
    ),
    "half of the names": (
        lambda: torch.optim.SGD([("w", torch.nn.Parameter(torch.ones(1))), torch.ones(1)]),
        r"Some param names are missing",
    ),
    "means of nothing": (
        lambda: F.adaptive_avg_pool1d(torch.ones(2, 3, 0), 2),
        r"axis 2 of \[2, 3, 0\] has size 0",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_refused(name: str) -> None:
    call, words = CALLS[name]
    with pytest.raises((ValueError, IndexError, RuntimeError), match=words):
        call()


def test_what_is_just_allowed() -> None:
    assert torch.ones(3).unfold(0, 3, 1).shape == (1, 3)
    assert [len(x) for x in torch.ones(0).split(0)] == [0]
    assert torch.repeat_interleave(torch.ones(3), 0).shape == (0,)
    assert torch.roll(torch.arange(3), (1,), (0,)).tolist() == [2, 0, 1]


def test_parameters_may_come_with_names() -> None:
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(layer.named_parameters(), lr=0.1)
    (group,) = optimizer.param_groups
    assert group["param_names"] == ["weight", "bias"] and group["params"][1] is layer.bias
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.bias.item()
    optimizer.step()
    assert layer.bias.item() == pytest.approx(before - 0.1, abs=1e-6)
    with pytest.raises(ValueError, match="cannot add param group without names"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    with pytest.raises(TypeError, match=r"RMSprop.__init__\(\) got an unexpected .* 'rate'"):
        torch.optim.RMSprop(layer.parameters(), rate=1)
