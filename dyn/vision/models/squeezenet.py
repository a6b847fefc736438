"""SqueezeNet: fire modules that squeeze to few channels and expand again. arXiv 1602.07360."""

from __future__ import annotations

from typing import Any

from dyn import nn
from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.ops.join import concat
from dyn.vision.models.lenet import no_weights


class Fire(nn.Layer):
    """A 1 x 1 convolution to few channels, then 1 x 1 and 3 x 3 ones side by side.

    Args:
        in_channels: channels of the input.
        squeeze: channels in the middle.
        expand: channels of each of the two branches.
    """

    def __init__(self, in_channels: int, squeeze: int, expand: int):
        super().__init__()
        self._conv = nn.Conv2D(in_channels, squeeze, 1)
        self._conv_path1 = nn.Conv2D(squeeze, expand, 1)
        self._conv_path2 = nn.Conv2D(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self._conv(x))
        return concat([F.relu(self._conv_path1(x)), F.relu(self._conv_path2(x))], axis=1)


class SqueezeNet(nn.Layer):
    """SqueezeNet.

    Args:
        version: "1.0" or "1.1".
        num_classes: size of the output; 0 leaves the classifier out.
        with_pool: whether to take the mean over the image.

    Shapes: [N, 3, H, W] -> [N, num_classes].
    """

    def __init__(self, version: str, num_classes: int = 1000, with_pool: bool = True):
        super().__init__()
        self.version, self.num_classes, self.with_pool = version, num_classes, with_pool
        if version not in ("1.0", "1.1"):
            raise AttributeValueError(f"supported versions are '1.0' and '1.1', not {version!r}")
        pool = nn.MaxPool2D
        sizes = [
            (16, 64),
            (16, 64),
            (32, 128),
            (32, 128),
            (48, 192),
            (48, 192),
            (64, 256),
            (64, 256),
        ]
        pools_after = (2, 6) if version == "1.0" else (1, 3)
        first = nn.Conv2D(3, 96, 7, stride=2) if version == "1.0" else nn.Conv2D(3, 64, 3, 2, 1)
        channels = 96 if version == "1.0" else 64
        layers: list[nn.Layer] = [first, nn.ReLU(), pool(3, 2)]
        for i, (squeeze, expand) in enumerate(sizes):
            layers.append(Fire(channels, squeeze, expand))
            channels = 2 * expand
            if i in pools_after:
                layers.append(pool(3, 2))
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.5)
        self.conv9 = nn.Conv2D(512, num_classes, 1) if num_classes > 0 else None
        self.avgpool = nn.AdaptiveAvgPool2D(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        if self.conv9 is not None:
            x = F.relu(self.conv9(self.dropout(x)))
        if self.with_pool:
            x = self.avgpool(x).flatten(1)
        return x


def squeezenet1_0(pretrained: bool = False, **kwargs: Any) -> SqueezeNet:
    """SqueezeNet 1.0; keyword arguments as in the class."""
    no_weights(pretrained)
    return SqueezeNet("1.0", **kwargs)


def squeezenet1_1(pretrained: bool = False, **kwargs: Any) -> SqueezeNet:
    """SqueezeNet 1.1, with 2.4 times less work than 1.0."""
    no_weights(pretrained)
    return SqueezeNet("1.1", **kwargs)
