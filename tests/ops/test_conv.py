"""The public convolution functions: Paddle's forms of padding, data formats, sizes, errors."""

import numpy as np
import pytest

import dyn
import dyn.nn.functional as F
from dyn import nn
from dyn.core.autograd import grad
from dyn.core.errors import AttributeValueError, DTypeError, DynError, ShapeError
from dyn.core.tensor import Tensor
from dyn.ops import convolutions as ops
from tests.convolutions import reference_conv, reference_conv_transpose

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 4, 9, 8))
W = RNG.standard_normal((6, 4, 3, 3))


def run(function, *arrays, **arguments):
    return function(*(Tensor(a) for a in arrays), **arguments).numpy()


@pytest.mark.parametrize(
    ("padding", "canonical"),
    [
        (1, (1, 1, 1, 1)),
        ([2, 1], (2, 2, 1, 1)),
        ([1, 2, 0, 3], (1, 2, 0, 3)),
        ([[1, 2], [0, 3]], (1, 2, 0, 3)),
        ([[0, 0], [0, 0], [1, 2], [0, 3]], (1, 2, 0, 3)),
        ("VALID", (0, 0, 0, 0)),
        ("SAME", (1, 1, 0, 1)),
    ],
)
def test_forms_of_padding(padding, canonical):
    wanted = reference_conv(X, W, None, (2, 2), canonical, (1, 1), 1)
    got = run(ops.conv2d, X, W, stride=2, padding=padding)
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    if padding == "SAME":
        assert got.shape[2:] == (5, 4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_channels_last(count):
    shape = (5, 6, 7)[:count]
    x = RNG.standard_normal((2, 4, *shape))
    w = RNG.standard_normal((4, 3, *(2,) * count))
    last = ("NLC", "NHWC", "NDHWC")[count - 1]
    for name, weight in ((f"conv{count}d", w.swapaxes(0, 1)), (f"conv{count}d_transpose", w)):
        function = getattr(ops, name)
        wanted = np.moveaxis(run(function, x, weight, stride=2, padding=1), 1, -1)
        got = run(function, np.moveaxis(x, 1, -1), weight, stride=2, padding=1, data_format=last)
        np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_transpose_sizes():
    x, w = X[:, :, :4, :5], RNG.standard_normal((4, 3, 3, 3))
    attrs = {"stride": (2, 2), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    for more in (0, 1):
        size = (7 + more, 9 + more)
        wanted = reference_conv_transpose(x, w, size, **attrs)
        for arguments in ({"output_padding": more}, {"output_size": size}):
            got = run(ops.conv2d_transpose, x, w, stride=2, padding=1, **arguments)
            np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_gradients_of_gradients_are_convolutions():
    x, w = Tensor(X, stop_gradient=False), Tensor(W, stop_gradient=False)
    gx, gw = grad(ops.conv2d(x, w, stride=2, padding=1) ** 2, [x, w], create_graph=True)
    assert gx._node.op.name == "conv_transpose"
    assert gw._node.op.name == "conv_grad_w"
    again = grad([gx * gx, gw * gw], [x, w], create_graph=True)
    assert [g.shape for g in again] == [x.shape, w.shape]


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ShapeError, "4 channels, weight .* wants 8", {"weight": np.zeros((6, 8, 3, 3))}),
        (ShapeError, "bias must have shape", {"bias": np.zeros(5)}),
        (ShapeError, "weight must have 4 axes", {"weight": np.zeros((6, 4, 3))}),
        (DTypeError, "one dtype", {"weight": W.astype(np.float32)}),
        (DTypeError, "x must be floating point", {"x": X.astype(np.int64)}),
        (AttributeValueError, "larger than the size", {"weight": np.zeros((6, 4, 10, 3))}),
        (AttributeValueError, "groups=4", {"groups": 4}),
        (AttributeValueError, "stride must be positive", {"stride": 0}),
        (AttributeValueError, "padding must be", {"padding": [1, 2, 3]}),
        (AttributeValueError, "'SAME' or 'VALID'", {"padding": "FULL"}),
        (AttributeValueError, "data_format", {"data_format": "HWCN"}),
    ],
)
def test_bad_input(error, message, arguments):
    given = {"x": X, "weight": W, **arguments}
    tensors = {k: Tensor(v) for k, v in given.items() if isinstance(v, np.ndarray)}
    rest = {k: v for k, v in given.items() if not isinstance(v, np.ndarray)}
    with pytest.raises(error, match=message):
        ops.conv2d(**tensors, **rest)


def test_impossible_output_size():
    with pytest.raises(AttributeValueError, match="it must be 17 to 18"):
        run(ops.conv2d_transpose, X, W[:4], stride=2, padding=1, output_size=[20, 15])
    with pytest.raises(AttributeValueError, match="output_padding=2 must be smaller than stride=2"):
        run(ops.conv2d_transpose, X, W[:4], stride=2, output_padding=2)
    with pytest.raises(AttributeValueError, match="not both"):
        run(ops.conv2d_transpose, X, W[:4], output_padding=1, output_size=[20, 15])


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("stride", 2.0),
        ("stride", (2.0, 2)),
        ("padding", 1.5),
        ("padding", (1.0, 1)),
        ("padding", ((0, 1), (1, 1.0))),
        ("padding", True),
        ("padding", None),
        ("dilation", "2"),
        ("groups", 1.5),
    ],
)
def test_what_is_no_integer_is_refused(name, given):
    x, w = dyn.ones([1, 2, 6, 6]), dyn.ones([3, 2, 3, 3])
    with pytest.raises(DTypeError, match=f"{name} must be an integer or a list of integers, got"):
        F.conv2d(x, w, **{name: given})


def test_the_window_of_a_layer_is_checked():
    with pytest.raises(DTypeError, match=r"kernel_size must be .* got \[3.0, 3.0\]"):
        nn.Conv2D(2, 3, [3.0, 3.0])
    with pytest.raises(DynError, match=r"kernel_size must have 1 or 2 values, got \[3, 3, 3\]"):
        nn.Conv2D(2, 3, [3, 3, 3])
    with pytest.raises(DTypeError, match=r"kernel_size must be an integer .* got 2.0"):
        nn.MaxPool2D(2.0)(dyn.ones([1, 1, 4, 4]))


def test_a_padding_mode_takes_padding_by_name():
    x = dyn.randn([1, 2, 6, 7])
    layer = nn.Conv2D(2, 3, 3, padding="same", padding_mode="reflect")
    wanted = F.conv2d(F.pad(x, [1, 1, 1, 1], mode="reflect"), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(x).numpy(), wanted.numpy())
