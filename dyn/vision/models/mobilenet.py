"""MobileNetV2: inverted residuals over depthwise convolutions. Source: arXiv 1801.04381."""

from __future__ import annotations

from typing import Any

from dyn import nn
from dyn.core.tensor import Tensor
from dyn.vision.models.lenet import no_weights

_STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
"""Expansion, channels, number of blocks, stride of the first."""


def _divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of the divisor that does not lose more than a tenth."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class _ConvNorm(nn.Sequential):
    """Convolution, batch normalisation, ReLU6."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1, groups: int = 1):
        super().__init__(
            nn.Conv2D(
                cin,
                cout,
                kernel,
                stride=stride,
                padding=(kernel - 1) // 2,
                groups=groups,
                bias_attr=False,
            ),
            nn.BatchNorm2D(cout),
            nn.ReLU6(),
        )

    def _like(self, items: list[Any]) -> nn.Sequential:
        return nn.Sequential(*items)


class InvertedResidual(nn.Layer):
    """Widen, filter each channel, narrow; added to the input where the shapes agree.

    Args:
        inp, oup: channels of input and output.
        stride: step of the depthwise convolution, in pixels.
        expand_ratio: how much wider it is inside.
    """

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int):
        super().__init__()
        hidden = round(inp * expand_ratio)
        self.use_res_connect = stride == 1 and inp == oup
        layers: list[nn.Layer] = []
        if expand_ratio != 1:
            layers.append(_ConvNorm(inp, hidden, 1))
        layers += [
            _ConvNorm(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2D(hidden, oup, 1, bias_attr=False),
            nn.BatchNorm2D(oup),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Layer):
    """MobileNetV2.

    Args:
        scale: factor on the number of channels.
        num_classes: size of the output; 0 leaves the linear layer out.
        with_pool: whether to take the mean over the image.

    Shapes: [N, 3, H, W] -> [N, num_classes].
    """

    def __init__(self, scale: float = 1.0, num_classes: int = 1000, with_pool: bool = True):
        super().__init__()
        self.num_classes, self.with_pool = num_classes, with_pool
        channels = _divisible(32 * scale)
        last = _divisible(1280 * max(1.0, scale))
        features: list[nn.Layer] = [_ConvNorm(3, channels, stride=2)]
        for expand, wide, count, stride in _STAGES:
            out = _divisible(wide * scale)
            for i in range(count):
                features.append(InvertedResidual(channels, out, stride if i == 0 else 1, expand))
                channels = out
        features.append(_ConvNorm(channels, last, 1))
        self.features = nn.Sequential(*features)
        if with_pool:
            self.pool2d_avg = nn.AdaptiveAvgPool2D(1)
        if num_classes > 0:
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        if self.with_pool:
            x = self.pool2d_avg(x)
        if self.num_classes > 0:
            x = self.classifier(x.flatten(1))
        return x


def mobilenet_v2(pretrained: bool = False, scale: float = 1.0, **kwargs: Any) -> MobileNetV2:
    """MobileNetV2; keyword arguments as in the class."""
    no_weights(pretrained)
    return MobileNetV2(scale=scale, **kwargs)
