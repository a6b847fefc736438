"""Networks: parameter counts as published, output shapes, names; and the transforms."""

import numpy as np
import pytest

import dyn
from dyn import nn, vision
from dyn.vision import transforms as T
from dyn.vision.models.resnet import BasicBlock, BottleneckBlock

# Numbers of trained elements in torchvision 0.28, whose networks are the same.
COUNTS = {
    "alexnet": 61_100_840,
    "mobilenet_v2": 3_504_872,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnext50_32x4d": 25_028_904,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "vgg11": 132_863_336,
    "wide_resnet50_2": 68_883_240,
}


@pytest.fixture
def quick(monkeypatch):
    """Parameters of zeros: counting them needs no random numbers."""
    monkeypatch.setattr(
        nn.initializer.Initializer,
        "compute",
        lambda self, shape, dtype=None: np.broadcast_to(np.float32(0), shape),
    )
    monkeypatch.setattr("dyn.nn.conv.in_order", lambda array, axes: array)


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name, quick):
    model = getattr(vision, name)()
    assert sum(p._array.size for p in model.parameters()) == COUNTS[name]


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: vision.resnet18(num_classes=7), 33),
        (lambda: vision.ResNet(BottleneckBlock, 50, 8, 7, groups=2), 32),
        (lambda: vision.mobilenet_v2(scale=0.25, num_classes=7), 40),
        (lambda: vision.squeezenet1_1(num_classes=7), 40),
    ],
)
def test_output_shapes(make, size):
    model = make().eval()
    assert model(dyn.rand([2, 3, size, size])).shape == [2, 7]


def test_parts_may_be_left_out():
    x = dyn.rand([1, 3, 32, 32])
    assert vision.resnet18(num_classes=0, with_pool=False).eval()(x).shape == [1, 512, 1, 1]
    assert vision.mobilenet_v2(scale=0.25, num_classes=0).eval()(x).shape == [1, 1280, 1, 1]
    assert vision.LeNet(0)(dyn.rand([1, 1, 28, 28])).shape == [1, 16, 5, 5]
    assert vision.LeNet()(dyn.rand([2, 1, 28, 28])).shape == [2, 10]
    vgg = vision.VGG(nn.Sequential(nn.Conv2D(3, 512, 1)), num_classes=0)
    assert vgg(x).shape == [1, 512, 7, 7]


def test_requests_that_cannot_be_met():
    with pytest.raises(ValueError, match="no trained weights to download"):
        vision.resnet18(pretrained=True)
    with pytest.raises(ValueError, match="depth must be one of"):
        vision.ResNet(BasicBlock, 20)
    with pytest.raises(ValueError, match="groups=1"):
        BasicBlock(4, 4, groups=2)
    with pytest.raises(ValueError, match="versions"):
        vision.SqueezeNet("2.0")


def image(rng):
    return rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)


def test_to_tensor_and_normalize(rng):
    source = image(rng)
    tensor = T.Compose([T.ToTensor(), T.Normalize([0.5, 0.25, 0.0], [0.5, 1.0, 2.0])])(source)
    wanted = (source.transpose(2, 0, 1) / 255 - np.reshape([0.5, 0.25, 0.0], (3, 1, 1))) / (
        np.reshape([0.5, 1.0, 2.0], (3, 1, 1))
    )
    np.testing.assert_allclose(tensor.numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert T.ToTensor()(source[:, :, 0]).shape == [1, 6, 8]
    out = T.Normalize(1.0, 2.0, data_format="HWC")(source)
    assert out.dtype == np.float32 and out.shape == source.shape
    assert T.Transpose()(source).shape == (3, 6, 8)


def test_cropping_and_flipping(rng):
    source = image(rng)
    assert np.array_equal(T.CenterCrop((2, 4))(source), source[2:4, 2:6])
    dyn.seed(0)
    crops = [T.RandomCrop(4)(source) for _ in range(40)]
    views = {(i, j): source[i : i + 4, j : j + 4] for i in range(3) for j in range(5)}
    found = {key for crop in crops for key, view in views.items() if np.array_equal(crop, view)}
    assert len(found) > 5
    assert T.RandomCrop(10, padding=2)(source).shape == (10, 10, 3)
    assert np.array_equal(T.RandomHorizontalFlip(1.0)(source), source[:, ::-1])
    assert np.array_equal(T.RandomVerticalFlip(1.0)(source), source[::-1])
    assert np.array_equal(T.RandomVerticalFlip(0.0)(source), source)
    with pytest.raises(dyn.ShapeError, match="does not fit"):
        T.CenterCrop(9)(source)


def test_resizing(rng):
    source = image(rng)
    assert T.Resize(3)(source).shape == (3, 4, 3) and T.Resize((5, 7))(source).shape == (5, 7, 3)
    doubled = T.Resize((12, 16), "nearest")(source)
    assert np.array_equal(doubled, source.repeat(2, 0).repeat(2, 1))
    ramp = np.arange(4.0)[None, :, None].repeat(2, 0)
    wanted = [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
    np.testing.assert_allclose(T.Resize((2, 8))(ramp)[0, :, 0], wanted)
    assert T.Resize((3, 3))(source).dtype == np.uint8
    with pytest.raises(ValueError, match="bilinear"):
        T.Resize(3, "cubic")
    with pytest.raises(ValueError, match="CHW"):
        T.Normalize(data_format="WHC")
    with pytest.raises(dyn.ShapeError, match="an image has 2 or 3 axes"):
        T.ToTensor()(np.zeros(3))
