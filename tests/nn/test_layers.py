"""Layers against numpy or their functions: values, parameters, printed forms, complaints."""

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.errors import ShapeError
from dyn.core.op import OPS
from dyn.kernels import pool as kernels
from dyn.nn import functional as F
from dyn.nn import initializer as init


def draw(rng, *shape):
    return dyn.to_tensor(rng.standard_normal(shape).astype(np.float32))


# Every layer that keeps settings for a function: layer, input shape, the same by hand.
SAME = [
    (nn.Identity(1, x=2), (2, 3), lambda x: x),
    (nn.Flatten(), (2, 3, 4), lambda x: x.reshape([2, 12])),
    (nn.Unflatten(1, [2, -1]), (2, 6), lambda x: x.reshape([2, 2, 3])),
    (nn.ReLU(), (2, 3), lambda x: F.relu(x)),
    (nn.ReLU6(), (2, 3), lambda x: F.relu6(x)),
    (nn.LeakyReLU(0.3), (2, 3), lambda x: F.leaky_relu(x, 0.3)),
    (nn.RReLU(0.2, 0.4).eval(), (2, 3), lambda x: F.leaky_relu(x, 0.3)),
    (nn.ELU(0.5), (2, 3), lambda x: F.elu(x, 0.5)),
    (nn.CELU(0.5), (2, 3), lambda x: F.celu(x, 0.5)),
    (nn.SELU(), (2, 3), lambda x: F.selu(x)),
    (nn.GELU(), (2, 3), lambda x: F.gelu(x)),
    (nn.GELU(True), (2, 3), lambda x: F.gelu(x, True)),
    (nn.Silu(), (2, 3), lambda x: x * F.sigmoid(x)),
    (nn.Swish(), (2, 3), lambda x: x * F.sigmoid(x)),
    (nn.Mish(), (2, 3), lambda x: x * dyn.tanh(F.softplus(x))),
    (nn.Sigmoid(), (2, 3), lambda x: F.sigmoid(x)),
    (nn.LogSigmoid(), (2, 3), lambda x: dyn.log(F.sigmoid(x))),
    (nn.Hardsigmoid(), (2, 3), lambda x: F.hardsigmoid(x)),
    (nn.Hardswish(), (2, 3), lambda x: x * F.hardsigmoid(x)),
    (nn.Hardtanh(-0.5, 0.25), (2, 3), lambda x: dyn.clip(x, -0.5, 0.25)),
    (nn.Hardshrink(0.3), (2, 3), lambda x: F.hardshrink(x, 0.3)),
    (nn.Softshrink(0.3), (2, 3), lambda x: F.softshrink(x, 0.3)),
    (nn.Tanh(), (2, 3), lambda x: dyn.tanh(x)),
    (nn.Tanhshrink(), (2, 3), lambda x: x - dyn.tanh(x)),
    (nn.Softplus(2.0, 5.0), (2, 3), lambda x: F.softplus(x, 2.0, 5.0)),
    (nn.Softsign(), (2, 3), lambda x: x / (1 + dyn.abs(x))),
    (nn.ThresholdedReLU(0.2, 0.1), (2, 3), lambda x: F.thresholded_relu(x, 0.2, 0.1)),
    (nn.Softmax(0), (2, 3), lambda x: F.softmax(x, 0)),
    (nn.LogSoftmax(0), (2, 3), lambda x: F.log_softmax(x, 0)),
    (nn.GLU(0), (2, 3), lambda x: x[:1] * F.sigmoid(x[1:])),
    (nn.Maxout(2), (2, 4), lambda x: x.reshape([2, 2, 2]).max(2)),
    (nn.Dropout(0.5).eval(), (2, 3), lambda x: x),
    (nn.Dropout(0.5, mode="downscale_in_infer").eval(), (2, 3), lambda x: x * 0.5),
    (nn.Dropout3D(0.5).eval(), (1, 2, 2, 2, 2), lambda x: x),
    (nn.AlphaDropout(0.5).eval(), (2, 3), lambda x: x),
    (nn.MaxPool1D(2), (1, 2, 6), lambda x: x.reshape([1, 2, 3, 2]).max(3)),
    (nn.MaxPool2D(2), (1, 2, 4, 6), lambda x: F.max_pool2d(x, 2)),
    (nn.MaxPool3D(2), (1, 2, 4, 4, 2), lambda x: F.max_pool3d(x, 2)),
    (nn.AvgPool1D(2), (1, 2, 6), lambda x: x.reshape([1, 2, 3, 2]).mean(3)),
    (nn.AvgPool2D(2, 1, 1, False, False), (1, 2, 4, 6),
     lambda x: F.avg_pool2d(x, 2, 1, 1, exclusive=False)),
    (nn.AvgPool3D(2), (1, 2, 4, 4, 2), lambda x: F.avg_pool3d(x, 2)),
    (nn.LPPool1D(2.0, 2), (1, 2, 6), lambda x: F.lp_pool1d(x, 2.0, 2)),
    (nn.LPPool2D(2.0, 2), (1, 2, 4, 6), lambda x: F.lp_pool2d(x, 2.0, 2)),
    (nn.AdaptiveAvgPool1D(1), (1, 2, 5), lambda x: x.mean(2, keepdim=True)),
    (nn.AdaptiveAvgPool2D((None, 1)), (1, 2, 4, 6), lambda x: x.mean(3, keepdim=True)),
    (nn.AdaptiveAvgPool3D(1), (1, 2, 4, 4, 2), lambda x: x.mean([2, 3, 4], keepdim=True)),
    (nn.AdaptiveMaxPool1D(1), (1, 2, 5), lambda x: x.max(2, keepdim=True)),
    (nn.AdaptiveMaxPool2D(1), (1, 2, 4, 6), lambda x: x.max([2, 3], keepdim=True)),
    (nn.AdaptiveMaxPool3D(1), (1, 2, 4, 4, 2), lambda x: x.max([2, 3, 4], keepdim=True)),
    (nn.Pad1D([1, 2]), (1, 2, 3), lambda x: F.pad(x, [1, 2], data_format="NCL")),
    (nn.Pad2D(1, "reflect"), (1, 2, 3, 3), lambda x: F.pad(x, [1] * 4, "reflect")),
    (nn.Pad3D(1, value=2.0), (1, 2, 3, 3, 3),
     lambda x: F.pad(x, [1] * 6, value=2.0, data_format="NCDHW")),
    (nn.ZeroPad1D([1, 2]), (1, 2, 3), lambda x: F.pad(x, [1, 2], data_format="NCL")),
    (nn.ZeroPad3D(1), (1, 2, 2, 3, 2), lambda x: F.pad(x, [1] * 6, data_format="NCDHW")),
    (nn.ZeroPad2D([1, 0, 2, 0]), (1, 2, 3, 3), lambda x: F.pad(x, [1, 0, 2, 0])),
    (nn.Upsample(scale_factor=2), (1, 2, 3, 3), lambda x: F.interpolate(x, scale_factor=2)),
    (nn.UpsamplingNearest2D(size=[6, 6]), (1, 2, 3, 3), lambda x: F.interpolate(x, size=[6, 6])),
    (nn.UpsamplingBilinear2D(scale_factor=2), (1, 2, 3, 3),
     lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)),
    (nn.PixelShuffle(2), (1, 4, 2, 2), lambda x: F.pixel_shuffle(x, 2)),
    (nn.PixelUnshuffle(2), (1, 1, 4, 4), lambda x: F.pixel_unshuffle(x, 2)),
    (nn.ChannelShuffle(2), (1, 4, 2, 2), lambda x: F.channel_shuffle(x, 2)),
    (nn.Unfold(2), (1, 2, 4, 4), lambda x: F.unfold(x, 2)),
    (nn.Fold([4, 4], 2), (1, 8, 9), lambda x: F.fold(x, [4, 4], 2)),
    (nn.LocalResponseNorm(3), (1, 4, 2, 2), lambda x: F.local_response_norm(x, 3)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SAME)))
def test_layers_without_parameters(number, rng):
    layer, shape, function = SAME[number]
    x = draw(rng, *shape)
    out, wanted = layer(x), function(x)
    np.testing.assert_allclose(out.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
    assert not layer.parameters()


REPRS = [
    (nn.Linear(10, 3), "Linear(in_features=10, out_features=3, dtype=float32)"),
    (
        nn.Bilinear(2, 3, 4),
        "Bilinear(in1_features=2, in2_features=3, out_features=4, dtype=float32)",
    ),
    (
        nn.Conv2D(3, 6, 5, stride=2, padding=1),
        "Conv2D(3, 6, kernel_size=[5, 5], stride=[2, 2], padding=1, data_format=NCHW)",
    ),
    (
        nn.Conv1D(4, 6, 3, dilation=2, groups=2, padding_mode="circular"),
        "Conv1D(4, 6, kernel_size=[3], padding_mode=circular, dilation=[2], groups=2, "
        "data_format=NCL)",
    ),
    (nn.Conv2DTranspose(3, 6, 3), "Conv2DTranspose(3, 6, kernel_size=[3, 3], data_format=NCHW)"),
    (
        nn.Conv2DTranspose(3, 6, 3, stride=2, output_padding=1),
        "Conv2DTranspose(3, 6, kernel_size=[3, 3], stride=[2, 2], output_padding=1, "
        "data_format=NCHW)",
    ),
    (nn.BatchNorm2D(4), "BatchNorm2D(num_features=4, momentum=0.9, epsilon=1e-05)"),
    (
        nn.BatchNorm1D(4, data_format="NC"),
        "BatchNorm1D(num_features=4, momentum=0.9, epsilon=1e-05, data_format=NC)",
    ),
    (nn.LayerNorm(8), "LayerNorm(normalized_shape=[8], epsilon=1e-05)"),
    (nn.GroupNorm(2, 4), "GroupNorm(num_groups=2, num_channels=4, epsilon=1e-05)"),
    (nn.InstanceNorm2D(4), "InstanceNorm2D(num_features=4, epsilon=1e-05)"),
    (nn.MaxPool2D(2, 2), "MaxPool2D(kernel_size=2, stride=2, padding=0)"),
    (nn.AdaptiveAvgPool2D(1), "AdaptiveAvgPool2D(output_size=1)"),
    (nn.Dropout(0.5), "Dropout(p=0.5, axis=None, mode=upscale_in_train, inplace=False)"),
    (nn.Dropout2D(0.3), "Dropout2D(p=0.3, data_format=NCHW)"),
    (nn.Embedding(10, 4), "Embedding(10, 4, sparse=False, scale_grad_by_freq=False)"),
    (
        nn.Embedding(10, 4, padding_idx=-1),
        "Embedding(10, 4, padding_idx=9, sparse=False, scale_grad_by_freq=False)",
    ),
    (nn.Softmax(), "Softmax(axis=-1)"),
    (nn.GELU(), "GELU(approximate=False)"),
    (nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)"),
    (nn.PReLU(), "PReLU(num_parameters=1, data_format=NCHW, init=0.25, dtype=float32)"),
    (nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
    (nn.Flatten(), "Flatten()"),
    (nn.ReLU(), "ReLU()"),
    (nn.Sequential(nn.ReLU()), "Sequential(\n  (0): ReLU()\n)"),
]


@pytest.mark.parametrize("number", range(len(REPRS)))
def test_printed_forms_are_paddles(number):
    layer, text = REPRS[number]
    assert repr(layer) == text


def test_linear(rng):
    layer = nn.Linear(3, 4)
    x = draw(rng, 2, 5, 3)
    wanted = x.numpy() @ layer.weight.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(layer(x).numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert layer.bias.tolist() == [0.0] * 4
    bare = nn.Linear(3, 4, weight_attr=init.Constant(1.0), bias_attr=False)
    assert bare.bias is None and bare(dyn.ones([1, 3])).tolist() == [[3.0] * 4]


def test_bilinear(rng):
    layer = nn.Bilinear(3, 4, 2)
    a, b = draw(rng, 5, 3), draw(rng, 5, 4)
    wanted = np.einsum("ni,kij,nj->nk", a.numpy(), layer.weight.numpy(), b.numpy())
    np.testing.assert_allclose(
        layer(a, b).numpy(), wanted + layer.bias.numpy(), rtol=1e-4, atol=1e-5
    )


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=-2)
    assert layer.weight.numpy()[3].tolist() == [0.0] * 3
    index = dyn.to_tensor([[0, 3], [4, 3]])
    assert np.array_equal(layer(index).numpy(), layer.weight.numpy()[index.numpy()])
    layer(index).sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    for make in (lambda: nn.Embedding(0, 3), lambda: nn.Embedding(5, 3, padding_idx=5)):
        with pytest.raises(dyn.AttributeValueError):
            make()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_embedding_shortens_rows_and_divides_gradients(dtype):
    layer = nn.Embedding(5, 3, padding_idx=1, max_norm=0.5, scale_grad_by_freq=True)
    layer.to(dtype=dtype)
    before, x = layer.weight.numpy().copy() + 1, np.array([[0, 1, 0], [3, 0, 1]], np.uint8)
    layer.weight.set_value(before)
    out = layer(dyn.to_tensor(x))
    after = before.astype(np.float64)
    for row in (0, 1, 3):
        after[row] *= min(1, 0.5 / (np.linalg.norm(after[row]) + 1e-7))
    close = {"rtol": 2e-3 if dtype == "float16" else 1e-6}
    np.testing.assert_allclose(layer.weight.numpy(), after, **close)
    np.testing.assert_allclose(out.numpy(), after[x] * (x != 1)[..., None], **close)
    (out * 6).sum().backward()
    wanted = np.zeros((5, 3))
    wanted[[0, 3]] = 6  # three of 6 / 3, and one
    np.testing.assert_allclose(layer.weight.grad.numpy(), wanted, **close)


CONVOLUTIONS = [
    (nn.Conv1D, F.conv1d, (2, 4, 9)),
    (nn.Conv2D, F.conv2d, (2, 4, 9, 8)),
    (nn.Conv3D, F.conv3d, (2, 4, 5, 6, 7)),
]
TRANSPOSED = [
    (nn.Conv1DTranspose, F.conv1d_transpose, (2, 4, 5)),
    (nn.Conv2DTranspose, F.conv2d_transpose, (2, 4, 5, 4)),
    (nn.Conv3DTranspose, F.conv3d_transpose, (2, 4, 3, 3, 4)),
]


@pytest.mark.parametrize("number", range(3))
def test_convolutions(number, rng):
    make, function, shape = CONVOLUTIONS[number]
    x = draw(rng, *shape)
    layer = make(4, 6, 3, stride=2, padding=1, groups=2)
    layer.bias.set_value(np.arange(6.0))
    wanted = function(x, layer.weight, layer.bias, stride=2, padding=1, groups=2)
    assert np.array_equal(layer(x).numpy(), wanted.numpy())
    assert layer.weight.shape == [6, 2, *[3] * (number + 1)]
    fan = 4 * 3 ** (number + 1)
    large = make(64, 64, 3).weight.numpy()
    assert large.std() == pytest.approx(np.sqrt(2 / (fan * 16)), rel=0.1)


@pytest.mark.parametrize("number", range(3))
def test_transposed_convolutions(number, rng):
    make, function, shape = TRANSPOSED[number]
    x = draw(rng, *shape)
    layer = make(4, 6, 3, stride=2, output_padding=1)
    wanted = function(x, layer.weight, layer.bias, stride=2, output_padding=1)
    assert np.array_equal(layer(x).numpy(), wanted.numpy())
    assert layer.weight.shape == [4, 6, *[3] * (number + 1)]
    size = [2 * (n - 1) + 3 + 1 for n in shape[2:]]
    assert layer(x, output_size=size).shape == [2, 6, *size]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, (2, 1), [1, 0, 2, 1]])
def test_other_padding_modes(mode, padding, rng):
    layer = nn.Conv2D(2, 3, 3, padding=padding, padding_mode=mode)
    x = draw(rng, 1, 2, 6, 7)
    sides = [1] * 4 if padding == 1 else [2, 2, 1, 1] if padding == (2, 1) else [1, 0, 2, 1]
    pairs: Any = [(0, 0), (0, 0), sides[:2], sides[2:]]
    names: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    wide = dyn.to_tensor(np.pad(x.numpy(), pairs, names[mode]))
    wanted = F.conv2d(wide, layer.weight, layer.bias)
    np.testing.assert_allclose(layer(x).numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)


PADDINGS = ["SAME", "same", "VALID", "valid", [(0, 0), (0, 0), (1, 2), (0, 1)], [1, 2]]


@pytest.mark.parametrize("padding", PADDINGS)
def test_padding_in_all_its_forms(padding, rng):
    x = draw(rng, 1, 2, 7, 8)
    conv = nn.Conv2D(2, 3, 3, stride=2, padding=padding)
    wanted = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=padding)
    assert np.array_equal(conv(x).numpy(), wanted.numpy())
    if padding != [(0, 0), (0, 0), (1, 2), (0, 1)]:
        for make, function in ((nn.MaxPool2D, F.max_pool2d), (nn.AvgPool2D, F.avg_pool2d)):
            layer = make(4, 2, padding)
            assert np.array_equal(layer(x).numpy(), function(x, 4, 2, padding).numpy())


def test_a_window_in_the_padding_alone_gives_its_gradient_to_the_image(rng):
    # Both taps lie outside: the index used to name a pixel beyond the image.
    x = draw(rng, 2, 3, 4, 4)
    x.stop_gradient = False
    window = {"kernel": (2, 2), "stride": (1, 1), "padding": (1,) * 4, "dilation": (5, 5)}
    out, index = (
        OPS["max_pool"](x, **window, ceil_mode=False),
        kernels.max_pool(x.numpy(), **window)[1],
    )
    assert np.isneginf(out.numpy()).all() and index.min() >= 0 and index.max() < 16
    out.sum().backward()
    assert x.grad.numpy().sum() == out.size


@pytest.mark.parametrize("shape", [(2, 3, 0, 4), (2, 3, 4, 0)])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(x, 2, padding=1),
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.interpolate(x, [3, 3], mode="bilinear"),
    ],
)
def test_images_without_pixels_are_refused(shape, function):
    with pytest.raises(ShapeError, match="has size 0: there is nothing to read"):
        function(dyn.zeros(shape))


def test_positions_that_int32_cannot_count_are_refused():
    # A single number in memory, repeated.
    vast = dyn.Tensor._of(np.broadcast_to(np.float32(0), (1, 1, 1 << 16, 1 << 15)))
    with pytest.raises(ShapeError, match="int32"):
        F.max_pool2d(vast, 2)
    with pytest.raises(ShapeError, match="int32"):
        F.adaptive_max_pool2d(vast, 1)


def test_settings_may_be_changed_by_hand(rng):
    x = draw(rng, 1, 2, 8, 8)
    conv = nn.Conv2D(2, 3, 3)
    pool, mean = nn.MaxPool2D(2), nn.AvgPool2D(2)
    for layer in (conv, pool, mean):
        layer(x)
    changed: Any = conv
    changed._stride, changed._padding = [2, 2], [1, 1]
    wanted = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1)
    assert np.array_equal(conv(x).numpy(), wanted.numpy())
    pool.stride = mean.stride = [1, 1]
    assert np.array_equal(pool(x).numpy(), F.max_pool2d(x, 2, 1).numpy())
    assert np.array_equal(mean(x).numpy(), F.avg_pool2d(x, 2, 1).numpy())
    mean.divisor_override = 3
    assert np.array_equal(mean(x).numpy(), F.avg_pool2d(x, 2, 1, divisor_override=3).numpy())
    with pytest.raises(TypeError, match="kernel_size must be an integer"):
        nn.MaxPool2D("two")(x)
    with pytest.raises(ValueError, match="must be smaller than the window"):
        nn.MaxPool2D(2, padding=2)(x)


def test_channels_last_images(rng):
    layer = nn.Conv2D(2, 3, 3, padding=1, data_format="NHWC")
    x = draw(rng, 1, 5, 5, 2)
    first = F.conv2d(x.transpose([0, 3, 1, 2]), layer.weight, layer.bias, padding=1)
    np.testing.assert_allclose(
        layer(x).numpy(), first.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (nn.BatchNorm, (4, 3, 2, 2)),
        (nn.BatchNorm1D, (8, 3)),
        (nn.BatchNorm1D, (4, 3, 5)),
        (nn.BatchNorm2D, (4, 3, 2, 2)),
        (nn.BatchNorm3D, (2, 3, 2, 2, 2)),
    ],
)
def test_batch_norm_notes_its_statistics(make, shape, rng):
    layer = make(3, epsilon=1e-3)
    layer.weight.set_value([1.0, 2.0, 0.5])
    layer.bias.set_value([0.0, 1.0, -1.0])
    mean, var = np.zeros(3), np.ones(3)
    axes = tuple(i for i in range(len(shape)) if i != 1)
    column = (1, 3, *[1] * (len(shape) - 2))

    def normal(x, m, v):
        z = (x - m.reshape(column)) / np.sqrt(v.reshape(column) + 1e-3)
        return z * layer.weight.numpy().reshape(column) + layer.bias.numpy().reshape(column)

    for _ in range(2):
        x = rng.standard_normal(shape).astype(np.float32) * 2 + 1
        out = layer(dyn.to_tensor(x))
        m, v = x.mean(axes), x.var(axes)
        mean, var = 0.9 * mean + 0.1 * m, 0.9 * var + 0.1 * v
        np.testing.assert_allclose(out.numpy(), normal(x, m, v), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(layer._mean.numpy(), mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(layer._variance.numpy(), var, rtol=1e-4)
    layer.eval()
    out = layer(dyn.to_tensor(x))
    np.testing.assert_allclose(out.numpy(), normal(x, mean, var), rtol=1e-3, atol=1e-4)
    assert isinstance(layer._mean, nn.Buffer) and layer._mean.stop_gradient


def test_batch_norm_settings(rng):
    x = draw(rng, 4, 3, 2, 2)
    frozen = nn.BatchNorm2D(3, use_global_stats=True)
    np.testing.assert_allclose(frozen(x).numpy(), x.numpy() / np.sqrt(1 + 1e-5), rtol=1e-5)
    assert frozen._mean.tolist() == [0.0] * 3
    bare = nn.BatchNorm2D(3, weight_attr=False, bias_attr=False)
    assert list(bare.state_dict()) == ["_mean", "_variance"]
    np.testing.assert_allclose(bare(x).numpy().mean((0, 2, 3)), 0, atol=1e-6)
    with pytest.raises(dyn.ShapeError, match=r"expected 4D input \(got 3D input\)"):
        bare(dyn.ones([1, 3, 2]))
    with pytest.raises(dyn.ShapeError, match="expected 2D or 3D input"):
        nn.BatchNorm1D(3)(x)
    with pytest.raises(dyn.AttributeValueError, match="data_format"):
        nn.BatchNorm2D(3, data_format="NLC")
    with pytest.raises(dyn.AttributeValueError, match="HWC"):
        F.batch_norm(x, frozen._mean, frozen._variance, data_format="HWC")
    turned = x.transpose([0, 2, 3, 1])
    last = F.batch_norm(turned, frozen._mean, frozen._variance, data_format="NHWC")
    first = F.batch_norm(x, frozen._mean, frozen._variance)
    np.testing.assert_array_equal(last.numpy(), first.numpy().transpose(0, 2, 3, 1))


def test_normalisation_within_a_sample(rng):
    x = draw(rng, 2, 4, 3, 3)
    v = x.numpy()

    def normal(a, axes):
        return (a - a.mean(axes, keepdims=True)) / np.sqrt(a.var(axes, keepdims=True) + 1e-5)

    close: Any = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(nn.LayerNorm([3, 3])(x).numpy(), normal(v, (2, 3)), **close)
    np.testing.assert_allclose(nn.InstanceNorm2D(4)(x).numpy(), normal(v, (2, 3)), **close)
    grouped = normal(v.reshape(2, 2, 18), (2,)).reshape(v.shape)
    np.testing.assert_allclose(nn.GroupNorm(2, 4)(x).numpy(), grouped, **close)
    rms = v / np.sqrt((v * v).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(nn.RMSNorm(3)(x).numpy(), rms, **close)
    layer = nn.GroupNorm(2, 4, weight_attr=init.Constant(2.0), bias_attr=init.Constant(1.0))
    np.testing.assert_allclose(layer(x).numpy(), grouped * 2 + 1, **close)
    assert nn.InstanceNorm1D(4)(draw(rng, 2, 4, 5)).shape == [2, 4, 5]
    assert nn.InstanceNorm3D(4)(draw(rng, 2, 4, 2, 2, 2)).shape == [2, 4, 2, 2, 2]
    with pytest.raises(dyn.ShapeError, match="expected 4D input"):
        nn.InstanceNorm2D(4)(draw(rng, 2, 4, 5))
    with pytest.raises(dyn.AttributeValueError, match="divide"):
        nn.GroupNorm(3, 4)
    assert nn.LayerNorm(3, weight_attr=False, bias_attr=False).parameters() == []


def test_prelu_learns_its_slope(rng):
    layer = nn.PReLU(4, init=0.1)
    x = draw(rng, 2, 4, 3, 3)
    v = x.numpy()
    np.testing.assert_allclose(layer(x).numpy(), np.where(v > 0, v, np.float32(0.1) * v), rtol=1e-6)
    layer(x).sum().backward()
    np.testing.assert_allclose(
        layer._weight.grad.numpy(), np.minimum(v, 0).sum((0, 2, 3)), rtol=1e-4
    )


def test_dropout_in_training():
    dyn.seed(0)
    x = dyn.ones([100, 100])
    out = nn.Dropout(0.25)(x).numpy()
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.75], rtol=1e-6)
    assert (out == 0).mean() == pytest.approx(0.25, abs=0.02)
    rows = nn.Dropout(0.5, axis=0)(x).numpy()
    assert (rows.std(axis=1) == 0).all()
    assert set(np.unique(nn.Dropout(0.5, mode="downscale_in_infer")(x).numpy())) == {0.0, 1.0}
    volumes = nn.Dropout3D(0.5)(dyn.ones([10, 10, 2, 2, 2])).numpy().reshape(100, 8)
    assert (volumes.std(axis=1) == 0).all() and (volumes == 0).any()
    spread = nn.AlphaDropout(0.2)(dyn.randn([200, 200])).numpy()
    assert abs(spread.mean()) < 0.05 and spread.std() == pytest.approx(1, abs=0.05)
    for make in (
        lambda: nn.Dropout(1.5),
        lambda: nn.Dropout2D(-1),
        lambda: nn.Dropout(0.5, mode="x"),
    ):
        with pytest.raises(dyn.AttributeValueError):
            make()


def test_unpooling_puts_maxima_back(rng):
    for pool, unpool, shape in (
        (nn.MaxPool1D(2, return_mask=True), nn.MaxUnPool1D(2), (1, 2, 6)),
        (nn.MaxPool2D(2, return_mask=True), nn.MaxUnPool2D(2), (1, 2, 4, 6)),
        (nn.MaxPool3D(2, return_mask=True), nn.MaxUnPool3D(2), (1, 2, 2, 4, 4)),
    ):
        x = draw(rng, *shape)
        out, mask = pool(x)
        back = unpool(out, mask).numpy()
        kept = back != 0
        assert np.array_equal(back[kept], x.numpy()[kept])
        assert np.array_equal(np.sort(back[kept]), np.sort(out.numpy().ravel()))


def test_losses_pass_their_settings_on(rng):
    a, b = draw(rng, 3, 4), draw(rng, 3, 4)
    p, q = F.softmax(a), F.softmax(b)
    label, sign = dyn.to_tensor([0, 3, 1]), dyn.sign(b)
    half = dyn.to_tensor(np.full(4, 0.5, np.float32))
    pairs = [
        (nn.CrossEntropyLoss(half, 3, "sum", label_smoothing=0.1)(a, label),
         F.cross_entropy(a, label, half, 3, "sum", label_smoothing=0.1)),
        (nn.CrossEntropyLoss(soft_label=True)(a, q), F.cross_entropy(a, q, soft_label=True)),
        (nn.NLLLoss(half, reduction="sum")(dyn.log(p), label),
         F.nll_loss(dyn.log(p), label, half, reduction="sum")),
        (nn.L1Loss("sum")(a, b), F.l1_loss(a, b, "sum")),
        (nn.MSELoss("none")(a, b), F.mse_loss(a, b, "none")),
        (nn.SmoothL1Loss("sum", 0.5)(a, b), F.smooth_l1_loss(a, b, "sum", 0.5)),
        (nn.HuberLoss("sum", 0.5)(a, b), F.smooth_l1_loss(a, b, "sum", 0.5)),
        (nn.BCELoss(half, "sum")(p, q), F.binary_cross_entropy(p, q, half, "sum")),
        (nn.BCEWithLogitsLoss(half, "sum", half)(a, q),
         F.binary_cross_entropy_with_logits(a, q, half, "sum", half)),
        (nn.KLDivLoss("batchmean")(dyn.log(p), q), F.kl_div(dyn.log(p), q, "batchmean")),
        (nn.PoissonNLLLoss(False, True, 1e-4, "sum")(p, q),
         F.poisson_nll_loss(p, q, False, True, 1e-4, "sum")),
        (nn.GaussianNLLLoss(True, 1e-3, "sum")(a, b, p),
         F.gaussian_nll_loss(a, b, p, True, 1e-3, "sum")),
        (nn.SoftMarginLoss("sum")(a, sign), F.soft_margin_loss(a, sign, "sum")),
        (nn.MarginRankingLoss(0.2, "sum")(a, b, sign),
         F.margin_ranking_loss(a, b, sign, 0.2, "sum")),
        (nn.HingeEmbeddingLoss(0.5, "sum")(a, sign), F.hinge_embedding_loss(a, sign, 0.5, "sum")),
        (nn.CosineEmbeddingLoss(0.2, "sum")(a, b, sign[:, 0]),
         F.cosine_embedding_loss(a, b, sign[:, 0], 0.2, "sum")),
        (nn.TripletMarginLoss(0.5, 1.0, 1e-4, True, "sum")(a, b, p),
         F.triplet_margin_loss(a, b, p, 0.5, 1.0, 1e-4, True, "sum")),
        (nn.TripletMarginWithDistanceLoss(nn.PairwiseDistance(1.0), 0.5, True, "sum")(a, b, p),
         F.triplet_margin_with_distance_loss(a, b, p, nn.PairwiseDistance(1.0), 0.5, True, "sum")),
        (nn.MultiLabelSoftMarginLoss(half, "sum")(a, dyn.round(q)),
         F.multi_label_soft_margin_loss(a, dyn.round(q), half, "sum")),
        (nn.MultiMarginLoss(2, 0.5, half, "sum")(a, label),
         F.multi_margin_loss(a, label, 2, 0.5, half, "sum")),
        (nn.CosineSimilarity(0, 1e-4)(a, b), F.cosine_similarity(a, b, 0, 1e-4)),
        (nn.PairwiseDistance(1.0, 0.0, True)(a, b), F.pairwise_distance(a, b, 1.0, 0.0, True)),
    ]  # fmt: skip
    for found, wanted in pairs:
        assert np.array_equal(found.numpy(), wanted.numpy()) and np.isfinite(found.numpy()).all()


def test_ctc_loss(rng):
    logits = draw(rng, 6, 2, 4)
    labels, lengths = dyn.to_tensor([[1, 2], [3, 3]]), dyn.to_tensor([2, 2])
    steps = dyn.to_tensor([6, 6])
    found = nn.CTCLoss(reduction="sum")(logits, labels, steps, lengths)
    wanted = F.ctc_loss(logits, labels, steps, lengths, reduction="sum")
    assert np.array_equal(found.numpy(), wanted.numpy())


@pytest.mark.parametrize("make", [nn.MSELoss, nn.L1Loss, nn.CrossEntropyLoss, nn.KLDivLoss])
def test_reductions_that_do_not_exist(make):
    with pytest.raises(ValueError, match=f"'reduction' in '{make.__name__}' should be"):
        make(reduction="avg")


def test_bad_convolutions():
    for make in (
        lambda: nn.Conv2D(3, 4, 3, groups=2),
        lambda: nn.Conv2D(3, 4, 3, padding_mode="mirror"),
        lambda: nn.Conv2D(3, 4, 3, stride=0),
        lambda: nn.Conv1D(3, 4, 3, dilation=-1),
        lambda: nn.Conv3DTranspose(3, 4, 3, stride=(1, 0, 1)),
    ):
        with pytest.raises(dyn.AttributeValueError):
            make()
    with pytest.raises(dyn.ShapeError, match="in layer Conv2D"):
        nn.Conv2D(3, 4, 3)(dyn.ones([1, 2, 8, 8]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2D(-1, 4, 3),
        lambda: nn.Conv2D(0, 4, 3),
        lambda: nn.Conv2D(3, 4, 0),
        lambda: nn.Conv2DTranspose(3, 0, 3),
        lambda: nn.Linear(3.5, 4),  # type: ignore[arg-type]
        lambda: nn.Linear(3, -4),
        lambda: nn.Embedding(-1, 3),
    ],
)
def test_sizes_that_no_parameter_can_have(make):
    with pytest.raises(dyn.AttributeValueError, match=r"at least 1|whole numbers|must be positive"):
        make()


def test_all_layers_are_documented_and_take_a_name():
    for name in nn.__all__:
        thing: Any = getattr(nn, name)
        if isinstance(thing, type):
            assert thing.__doc__, name
