"""Layers and functions of images and sequences that are given one without a batch."""

from __future__ import annotations

import numpy as np
import pytest

import dyn.compat.torch as torch
import exporter
from dyn.compat.torch import nn
from tracer import InputSpec

F = nn.functional
SIZES = (6, 8, 4)
MODULES = {
    **{f"Conv{i}d": (i, (4, 5, 3)) for i in (1, 2, 3)},
    **{f"ConvTranspose{i}d": (i, (4, 5, 3)) for i in (1, 2, 3)},
    **{f"{kind}{i}d": (i, (2,)) for kind in ("MaxPool", "AvgPool") for i in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{i}d": (i, (2,)) for kind in ("Max", "Avg") for i in (1, 2, 3)},
    **{f"LPPool{i}d": (i, (2.0, 2)) for i in (1, 2, 3)},
    **{f"InstanceNorm{i}d": (i, (4, 1e-5, 0.1, True)) for i in (1, 2, 3)},
    "PixelShuffle": (2, (2,)),
    "PixelUnshuffle": (2, (2,)),
    "Unfold": (2, (2,)),
}


def given(axes: int) -> torch.Tensor:
    return torch.randn(4, *SIZES[:axes], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_without_a_batch(name: str) -> None:
    axes, arguments = MODULES[name]
    module, x = getattr(nn, name)(*arguments), given(axes)
    alone = module(x)
    assert type(alone) is torch.Tensor
    np.testing.assert_array_equal(alone.detach().numpy(), module(x[None])[0].detach().numpy())


def test_functions_without_a_batch() -> None:
    x, kernel = given(2), torch.ones(5, 4, 2, 2)
    for function in (
        lambda x: F.conv2d(x, kernel),
        lambda x: F.conv_transpose2d(x, kernel.transpose(0, 1)),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.lp_pool2d(x, 2.0, 2),
        lambda x: F.adaptive_avg_pool2d(x, 3),
        lambda x: F.adaptive_max_pool2d(x, 3),
        lambda x: F.pixel_shuffle(x, 2),
        lambda x: F.pixel_unshuffle(x, 2),
        lambda x: F.fold(F.unfold(x, 2), SIZES[:2], 2),
    ):
        assert torch.equal(function(x), function(x[None])[0])


def test_positions_of_maxima_without_a_batch() -> None:
    x = given(2)
    values, places = F.max_pool2d(x, 2, return_indices=True)
    assert values.shape == places.shape == (4, 3, 4)
    back = nn.MaxUnpool2d(2)(values, places)
    assert torch.equal(back, F.max_unpool2d(values[None], places[None], 2)[0])


def test_channels_of_one_image_are_normalised_over_its_pixels() -> None:
    x = given(2)
    out = nn.InstanceNorm2d(4)(x)
    assert torch.allclose(out.mean((1, 2)), torch.zeros(4), atol=1e-6)
    assert torch.allclose(out.var((1, 2), unbiased=False), torch.ones(4), atol=1e-4)
    for shape in ((3, 3), (1, 1, 3, 3, 3)):
        with pytest.raises(ValueError, match=r"expected 3D or 4D input \(got \dD input\)"):
            nn.InstanceNorm2d(3)(torch.zeros(*shape))


def test_other_numbers_of_axes_are_refused() -> None:
    for shape in ((8, 8), (1, 2, 3, 8, 8)):
        with pytest.raises(ValueError, match="x must have 4 axes, got shape"):
            nn.Conv2d(3, 4, 3)(torch.zeros(*shape))


def test_they_export(tmp_path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    path = tmp_path / "alone.onnx"
    exporter.export(net.eval(), path, InputSpec([3, "h", "w"], name="image"))
    x = np.random.default_rng(0).normal(size=(3, 9, 12)).astype(np.float32)
    expected = net(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(exporter.Predictor(path).run(x)[0], expected, atol=1e-5)
