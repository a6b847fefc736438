"""VGG: stacks of 3 x 3 convolutions. Source: Simonyan & Zisserman, arXiv 1409.1556."""

from __future__ import annotations

from typing import Any

from dyn import nn
from dyn.core.tensor import Tensor
from dyn.vision.models.lenet import no_weights

_STACKS = {
    11: [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0],
    13: [64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0],
    16: [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0],
    19: [64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, *[512] * 4, 0],
}
"""Channels of the convolutions in order; 0 is a pool."""


class VGG(nn.Layer):
    """Convolutions, then three linear layers.

    Args:
        features: the convolutional part, [N, 3, H, W] -> [N, 512, H / 32, W / 32].
        num_classes: size of the output; 0 leaves the linear layers out.
        with_pool: whether to bring the image to 7 x 7 first.
    """

    def __init__(self, features: nn.Layer, num_classes: int = 1000, with_pool: bool = True):
        super().__init__()
        self.features = features
        self.num_classes, self.with_pool = num_classes, with_pool
        if with_pool:
            self.avgpool = nn.AdaptiveAvgPool2D((7, 7))
        if num_classes > 0:
            self.classifier = nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096),
                nn.ReLU(),
                nn.Dropout(),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Dropout(),
                nn.Linear(4096, num_classes),
            )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        if self.with_pool:
            x = self.avgpool(x)
        if self.num_classes > 0:
            x = self.classifier(x.flatten(1))
        return x


def _vgg(depth: int, pretrained: bool, batch_norm: bool, kwargs: dict[str, Any]) -> VGG:
    no_weights(pretrained)
    layers: list[nn.Layer] = []
    channels = 3
    for wide in _STACKS[depth]:
        if wide == 0:
            layers.append(nn.MaxPool2D(2, 2))
            continue
        layers.append(nn.Conv2D(channels, wide, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2D(wide))
        layers.append(nn.ReLU())
        channels = wide
    return VGG(nn.Sequential(*layers), **kwargs)


def vgg11(pretrained: bool = False, batch_norm: bool = False, **kwargs: Any) -> VGG:
    """VGG of 11 layers, with batch normalisation or without."""
    return _vgg(11, pretrained, batch_norm, kwargs)


def vgg13(pretrained: bool = False, batch_norm: bool = False, **kwargs: Any) -> VGG:
    """VGG of 13 layers, with batch normalisation or without."""
    return _vgg(13, pretrained, batch_norm, kwargs)


def vgg16(pretrained: bool = False, batch_norm: bool = False, **kwargs: Any) -> VGG:
    """VGG of 16 layers, with batch normalisation or without."""
    return _vgg(16, pretrained, batch_norm, kwargs)


def vgg19(pretrained: bool = False, batch_norm: bool = False, **kwargs: Any) -> VGG:
    """VGG of 19 layers, with batch normalisation or without."""
    return _vgg(19, pretrained, batch_norm, kwargs)
