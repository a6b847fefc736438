"""Images: ready-made networks, and transforms of samples."""

from dyn.absent import lookup
from dyn.vision import models, transforms
from dyn.vision.models import (
    VGG,
    AlexNet,
    LeNet,
    MobileNetV2,
    ResNet,
    SqueezeNet,
    alexnet,
    mobilenet_v2,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    squeezenet1_0,
    squeezenet1_1,
    vgg11,
    vgg13,
    vgg16,
    vgg19,
    wide_resnet50_2,
    wide_resnet101_2,
)

__getattr__ = lookup("dyn.vision")

__all__ = [
    "VGG",
    "AlexNet",
    "LeNet",
    "MobileNetV2",
    "ResNet",
    "SqueezeNet",
    "alexnet",
    "mobilenet_v2",
    "models",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "squeezenet1_0",
    "squeezenet1_1",
    "transforms",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
