"""LeNet-5 and AlexNet."""

from __future__ import annotations

from typing import Any

from dyn import nn
from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor


def no_weights(pretrained: bool) -> None:
    """Raise if trained weights are asked for: nothing is downloaded."""
    if pretrained:
        raise AttributeValueError(
            "there are no trained weights to download; load your own with "
            "model.set_state_dict(dyn.load(path))"
        )


class LeNet(nn.Layer):
    """Two convolutions and three linear layers for 28 x 28 grey images.

    Args:
        num_classes: size of the output; 0 leaves the linear layers out.

    Shapes: [N, 1, 28, 28] -> [N, num_classes]. Source: LeCun et al., Proc. IEEE 1998.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential(
            nn.Conv2D(1, 6, 3, stride=1, padding=1),
            nn.ReLU(),
            nn.MaxPool2D(2, 2),
            nn.Conv2D(6, 16, 5, stride=1, padding=0),
            nn.ReLU(),
            nn.MaxPool2D(2, 2),
        )
        if num_classes > 0:
            self.fc = nn.Sequential(
                nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, num_classes)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.features(inputs)
        if self.num_classes > 0:
            x = self.fc(x.flatten(1))
        return x


class AlexNet(nn.Layer):
    """Five convolutions and three linear layers.

    Args:
        num_classes: size of the output; 0 leaves the linear layers out.

    Shapes: [N, 3, 224, 224] -> [N, num_classes]. Source: Krizhevsky et al., NIPS 2012, in the
    form of arXiv 1404.5997.
    """

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential(
            nn.Conv2D(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2D(3, 2),
            nn.Conv2D(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2D(3, 2),
            nn.Conv2D(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2D(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2D(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2D(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2D((6, 6))
        if num_classes > 0:
            self.classifier = nn.Sequential(
                nn.Dropout(0.5),
                nn.Linear(256 * 6 * 6, 4096),
                nn.ReLU(),
                nn.Dropout(0.5),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Linear(4096, num_classes),
            )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        if self.num_classes > 0:
            x = self.classifier(x.flatten(1))
        return x


def alexnet(pretrained: bool = False, **kwargs: Any) -> AlexNet:
    """AlexNet; keyword arguments as in the class."""
    no_weights(pretrained)
    return AlexNet(**kwargs)
