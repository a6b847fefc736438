"""Residual networks: ResNet, ResNeXt and Wide ResNet. Keys of `state_dict` are Paddle's."""

from __future__ import annotations

from typing import Any

from dyn import nn
from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.vision.models.lenet import no_weights


class BasicBlock(nn.Layer):
    """Two 3 x 3 convolutions and a shortcut.

    Args:
        inplanes: channels of the input.
        planes: channels of the output.
        stride: step of the first convolution, in pixels.
        downsample: what brings the input to the shape of the output, or None.
        groups, base_width: must be 1 and 64; for the other block.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Any = None,
        groups: int = 1,
        base_width: int = 64,
    ):
        super().__init__()
        if groups != 1 or base_width != 64:
            raise AttributeValueError("BasicBlock only supports groups=1 and base_width=64")
        self.conv1 = nn.Conv2D(inplanes, planes, 3, padding=1, stride=stride, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(planes)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2D(planes, planes, 3, padding=1, bias_attr=False)
        self.bn2 = nn.BatchNorm2D(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(out + shortcut)


class BottleneckBlock(nn.Layer):
    """A 3 x 3 convolution between two 1 x 1 ones, and a shortcut; arguments as in `BasicBlock`.

    Args:
        groups: groups of the 3 x 3 convolution (ResNeXt).
        base_width: channels of the 3 x 3 convolution per 64 planes and group.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Any = None,
        groups: int = 1,
        base_width: int = 64,
    ):
        super().__init__()
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = nn.Conv2D(inplanes, width, 1, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(width)
        self.conv2 = nn.Conv2D(
            width, width, 3, padding=1, stride=stride, groups=groups, bias_attr=False
        )
        self.bn2 = nn.BatchNorm2D(width)
        self.conv3 = nn.Conv2D(width, planes * self.expansion, 1, bias_attr=False)
        self.bn3 = nn.BatchNorm2D(planes * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(out + shortcut)


class ResNet(nn.Layer):
    """A residual network.

    Args:
        block: `BasicBlock` or `BottleneckBlock`.
        depth: 18, 34, 50, 101 or 152 layers.
        width: channels of the 3 x 3 convolutions per group.
        num_classes: size of the output; 0 leaves the last linear layer out.
        with_pool: whether to take the mean over the image.
        groups: groups of the 3 x 3 convolutions.

    Shapes: [N, 3, H, W] -> [N, num_classes]. Source: He et al., arXiv 1512.03385; Xie et al.,
    arXiv 1611.05431; Zagoruyko & Komodakis, arXiv 1605.07146.
    """

    _blocks = {  # noqa: RUF012
        18: [2, 2, 2, 2],
        34: [3, 4, 6, 3],
        50: [3, 4, 6, 3],
        101: [3, 4, 23, 3],
        152: [3, 8, 36, 3],
    }

    def __init__(
        self,
        block: Any,
        depth: int = 50,
        width: int = 64,
        num_classes: int = 1000,
        with_pool: bool = True,
        groups: int = 1,
    ):
        super().__init__()
        if depth not in self._blocks:
            raise AttributeValueError(f"depth must be one of {sorted(self._blocks)}, got {depth}")
        self.num_classes, self.with_pool = num_classes, with_pool
        self.groups, self.base_width = groups, width
        self.inplanes = 64
        self.conv1 = nn.Conv2D(3, 64, kernel_size=7, stride=2, padding=3, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2D(kernel_size=3, stride=2, padding=1)
        counts = self._blocks[depth]
        self.layer1 = self._stage(block, 64, counts[0], 1)
        self.layer2 = self._stage(block, 128, counts[1], 2)
        self.layer3 = self._stage(block, 256, counts[2], 2)
        self.layer4 = self._stage(block, 512, counts[3], 2)
        if with_pool:
            self.avgpool = nn.AdaptiveAvgPool2D((1, 1))
        if num_classes > 0:
            self.fc = nn.Linear(512 * block.expansion, num_classes)

    def _stage(self, block: Any, planes: int, count: int, stride: int) -> nn.Sequential:
        """Blocks of one resolution; the first may halve it and widen the shortcut."""
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                nn.Conv2D(
                    self.inplanes, planes * block.expansion, 1, stride=stride, bias_attr=False
                ),
                nn.BatchNorm2D(planes * block.expansion),
            )
        layers = [block(self.inplanes, planes, stride, downsample, self.groups, self.base_width)]
        self.inplanes = planes * block.expansion
        for _ in range(1, count):
            layers.append(
                block(self.inplanes, planes, groups=self.groups, base_width=self.base_width)
            )
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        if self.with_pool:
            x = self.avgpool(x)
        if self.num_classes > 0:
            x = self.fc(x.flatten(1))
        return x


def _resnet(block: Any, depth: int, pretrained: bool, kwargs: dict[str, Any]) -> ResNet:
    no_weights(pretrained)
    return ResNet(block, depth, **kwargs)


def resnet18(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet of 18 layers; keyword arguments as in `ResNet`."""
    return _resnet(BasicBlock, 18, pretrained, kwargs)


def resnet34(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet of 34 layers; keyword arguments as in `ResNet`."""
    return _resnet(BasicBlock, 34, pretrained, kwargs)


def resnet50(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet of 50 layers; keyword arguments as in `ResNet`."""
    return _resnet(BottleneckBlock, 50, pretrained, kwargs)


def resnet101(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet of 101 layers; keyword arguments as in `ResNet`."""
    return _resnet(BottleneckBlock, 101, pretrained, kwargs)


def resnet152(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet of 152 layers; keyword arguments as in `ResNet`."""
    return _resnet(BottleneckBlock, 152, pretrained, kwargs)


def resnext50_32x4d(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNeXt of 50 layers, 32 groups 4 channels wide."""
    return _resnet(BottleneckBlock, 50, pretrained, {"groups": 32, "width": 4, **kwargs})


def wide_resnet50_2(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet of 50 layers, twice as wide inside its blocks."""
    return _resnet(BottleneckBlock, 50, pretrained, {"width": 128, **kwargs})


def wide_resnet101_2(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet of 101 layers, twice as wide inside its blocks."""
    return _resnet(BottleneckBlock, 101, pretrained, {"width": 128, **kwargs})
