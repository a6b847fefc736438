"""Networks as published, with random weights; load a state_dict to have trained ones."""

from dyn.vision.models.lenet import AlexNet, LeNet, alexnet
from dyn.vision.models.mobilenet import MobileNetV2, mobilenet_v2
from dyn.vision.models.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from dyn.vision.models.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from dyn.vision.models.vgg import VGG, vgg11, vgg13, vgg16, vgg19

__all__ = [
    "VGG",
    "AlexNet",
    "LeNet",
    "MobileNetV2",
    "ResNet",
    "SqueezeNet",
    "alexnet",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
