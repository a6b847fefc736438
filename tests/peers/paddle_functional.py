"""Snippets about layers and functions of numbers: activations, losses, convolution, norms, ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.peers.snippets import ramp, snippet


def given(paddle: Any, *shape: int, scale: float = 1.0) -> Any:
    """A tensor of fixed numbers of both signs."""
    return paddle.to_tensor(ramp(*shape, scale=scale))


def filled(paddle: Any, layer: Any) -> Any:
    """The layer with fixed numbers in its parameters."""
    for p in layer.parameters():
        p.set_value(paddle.to_tensor(ramp(*p.shape)))
    return layer


@snippet()
def activations(paddle):
    names = (
        "relu relu6 gelu sigmoid tanh elu selu celu leaky_relu softplus softsign silu mish swish "
        "hardswish hardsigmoid hardtanh hardshrink softshrink tanhshrink log_sigmoid "
        "thresholded_relu softmax log_softmax"
    )
    x = given(paddle, 2, 5, scale=4.0)
    return {name: getattr(paddle.nn.functional, name)(x) for name in names.split()}


@snippet()
def activation_texts(paddle):
    names = (
        "ReLU ReLU6 GELU Sigmoid Tanh ELU SELU CELU LeakyReLU Softplus Softsign Mish Swish "
        "Hardswish Hardsigmoid Hardtanh Hardshrink Softshrink Tanhshrink LogSigmoid "
        "ThresholdedReLU Softmax LogSoftmax PReLU RReLU GLU"
    )
    for name in names.split():
        print(getattr(paddle.nn, name)())


@snippet(differs="there is no argument inplace: no op writes to its input")
def silu_text(paddle):
    print(paddle.nn.Silu())


@snippet()
def layer_texts(paddle):
    nn = paddle.nn
    print(nn.Conv2D(3, 6, 3), nn.Conv2D(3, 6, 3, stride=2, padding=1, dilation=2))
    print(nn.Conv2D(4, 4, (3, 5), groups=2, bias_attr=False), nn.Conv1D(3, 6, 3))
    print(nn.Conv3D(3, 6, 3), nn.Conv2DTranspose(3, 6, 3), nn.Conv1DTranspose(3, 6, 3))
    print(nn.MaxPool2D(2), nn.AvgPool2D(2, 1), nn.MaxPool1D(2), nn.AvgPool1D(2))
    print(nn.AdaptiveAvgPool2D(1), nn.AdaptiveMaxPool2D((2, 3)), nn.AdaptiveAvgPool1D(2))
    print(nn.Dropout(), nn.Dropout(0.2, axis=1), nn.Dropout2D(), nn.AlphaDropout(), nn.Identity())


@snippet()
def norm_texts(paddle):
    nn = paddle.nn
    print(nn.BatchNorm1D(4), nn.BatchNorm2D(4, momentum=0.8), nn.BatchNorm3D(4))
    print(nn.LayerNorm(8), nn.LayerNorm([2, 3]), nn.GroupNorm(2, 4))
    print(nn.InstanceNorm1D(4), nn.InstanceNorm2D(4), nn.LocalResponseNorm(5))


@snippet()
def more_layer_texts(paddle):
    nn = paddle.nn
    print(
        nn.Embedding(10, 4), nn.Embedding(10, 4, padding_idx=1), nn.Flatten(), nn.Bilinear(1, 2, 3)
    )
    print(nn.Pad2D(1), nn.ZeroPad2D(1), nn.Upsample(scale_factor=2), nn.PixelShuffle(2))
    print(nn.CosineSimilarity(), nn.Unfold(2), nn.PairwiseDistance(), nn.Unflatten(1, [2, 2]))
    print(nn.PixelUnshuffle(2), nn.ChannelShuffle(2), nn.Maxout(2))


@snippet()
def loss_texts(paddle):
    for name in [
        "CrossEntropyLoss",
        "MSELoss",
        "L1Loss",
        "NLLLoss",
        "BCELoss",
        "BCEWithLogitsLoss",
    ]:
        print(getattr(paddle.nn, name)())
    for name in ["SmoothL1Loss", "KLDivLoss", "MarginRankingLoss", "HingeEmbeddingLoss"]:
        print(getattr(paddle.nn, name)())


CELLS = "a recurrent layer holds its parameters once, under one name each; no cells stand inside"


@snippet()
def cell_texts(paddle):
    nn = paddle.nn
    print(nn.LSTMCell(4, 8), nn.GRUCell(4, 8), nn.SimpleRNNCell(4, 8))


@snippet(differs=CELLS)
def recurrent_texts(paddle):
    nn = paddle.nn
    print(nn.LSTM(4, 8), nn.GRU(4, 8, num_layers=2), nn.SimpleRNN(4, 8, direction="bidirect"))


@snippet(differs=CELLS)
def recurrent_keys(paddle):
    nn = paddle.nn
    layers = [nn.LSTM(2, 3, direction="bidirect"), nn.GRU(2, 3, num_layers=2), nn.LSTMCell(2, 3)]
    return [{k: v.shape for k, v in layer.state_dict().items()} for layer in layers]


@snippet()
def transformer_text(paddle):
    print(paddle.nn.TransformerEncoderLayer(8, 2, 16))


@snippet()
def transformer_keys(paddle):
    layer = paddle.nn.TransformerEncoder(paddle.nn.TransformerEncoderLayer(8, 2, 16), 2)
    return {k: v.shape for k, v in layer.state_dict().items()}


@snippet()
def linear(paddle):
    layer = filled(paddle, paddle.nn.Linear(3, 2))
    return [layer(given(paddle, 4, 3)), layer(given(paddle, 2, 2, 3))]


@snippet()
def conv2d(paddle):
    layer = filled(paddle, paddle.nn.Conv2D(2, 4, 3, stride=2, padding=1, groups=2))
    return layer(given(paddle, 1, 2, 5, 6))


@snippet()
def conv_padding_words(paddle):
    f, x, w = paddle.nn.functional, given(paddle, 1, 1, 5, 5), given(paddle, 1, 1, 3, 3)
    return [f.conv2d(x, w, padding=p) for p in ("SAME", "VALID", [1, 2], [0, 1, 1, 2])]


@snippet()
def conv_transpose(paddle):
    layer = filled(paddle, paddle.nn.Conv2DTranspose(2, 3, 3, stride=2, output_padding=1))
    return layer(given(paddle, 1, 2, 3, 3))


@snippet()
def conv1d(paddle):
    return filled(paddle, paddle.nn.Conv1D(2, 3, 3, dilation=2))(given(paddle, 1, 2, 8))


@snippet()
def pools(paddle):
    nn, x = paddle.nn, given(paddle, 1, 2, 5, 5)
    layers = [
        nn.MaxPool2D(2),
        nn.MaxPool2D(3, 2, 1, ceil_mode=True),
        nn.AvgPool2D(3, 2, 1),
        nn.AvgPool2D(3, 2, 1, exclusive=False),
        nn.AdaptiveAvgPool2D(2),
        nn.AdaptiveMaxPool2D(3),
    ]
    return [layer(x) for layer in layers]


@snippet(differs="positions are int64, as in ONNX and PyTorch")
def max_pool_mask_dtype(paddle):
    x = given(paddle, 1, 1, 4, 4)
    return paddle.nn.functional.max_pool2d(x, 2, return_mask=True)[1]


@snippet()
def max_pool_mask(paddle):
    x = given(paddle, 1, 1, 4, 4)
    values, positions = paddle.nn.functional.max_pool2d(x, 2, return_mask=True)
    return [values, positions.astype("int64")]


@snippet()
def batch_norm_training(paddle):
    layer = paddle.nn.BatchNorm2D(2)
    out = layer(given(paddle, 3, 2, 2, 2, scale=3.0))
    return [out.numpy(), {k: v.numpy() for k, v in layer.state_dict().items()}]


@snippet()
def norms(paddle):
    nn, x = paddle.nn, given(paddle, 2, 4, 3)
    return [
        nn.LayerNorm(3)(x),
        nn.LayerNorm([4, 3])(x),
        nn.GroupNorm(2, 4)(x.reshape([2, 4, 3, 1])),
        nn.InstanceNorm1D(4)(x),
        paddle.nn.functional.normalize(x, axis=1),
    ]


@snippet()
def embedding(paddle):
    layer = filled(paddle, paddle.nn.Embedding(5, 2))
    return layer(paddle.to_tensor([[0, 4], [1, 1]]))


@snippet()
def embedding_padding(paddle):
    layer = paddle.nn.Embedding(3, 2, padding_idx=1)
    return [layer.weight[1], layer(paddle.to_tensor([1]))]


@snippet()
def dropout_modes(paddle):
    f, x = paddle.nn.functional, paddle.ones([4, 1])
    return [
        f.dropout(x, 0.5, training=False),
        f.dropout(x, 0.25, training=False, mode="downscale_in_infer"),
        f.dropout(x, 0.0),
        f.dropout(x, 1.0),
    ]


@snippet()
def lstm(paddle):
    layer = filled(paddle, paddle.nn.LSTM(2, 3))
    out, (h, c) = layer(given(paddle, 2, 4, 2))
    return [out, h, c]


@snippet()
def gru(paddle):
    layer = filled(paddle, paddle.nn.GRU(2, 3, direction="bidirect"))
    out, h = layer(given(paddle, 2, 4, 2))
    return [out, h]


@snippet()
def attention(paddle):
    layer = filled(paddle, paddle.nn.MultiHeadAttention(4, 2))
    return layer(given(paddle, 1, 3, 4))


@snippet()
def encoder_layer(paddle):
    layer = filled(paddle, paddle.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0))
    return layer(given(paddle, 1, 3, 4))


@snippet()
def losses(paddle):
    f = paddle.nn.functional
    x, y = given(paddle, 3, 2), given(paddle, 3, 2, scale=2.0)
    p, q = f.sigmoid(x), f.sigmoid(y)
    return [
        f.mse_loss(x, y),
        f.l1_loss(x, y, reduction="sum"),
        f.smooth_l1_loss(x, y),
        f.binary_cross_entropy(p, q),
        f.binary_cross_entropy_with_logits(x, q, reduction="none"),
        f.kl_div(p.log(), q),
        f.margin_ranking_loss(x, y, paddle.sign(x)),
        f.log_loss(p[:, :1], q[:, :1]),
        f.square_error_cost(x, y),
    ]


@snippet()
def cross_entropy(paddle):
    f, x = paddle.nn.functional, given(paddle, 3, 4, scale=3.0)
    label = paddle.to_tensor([2, 0, 3])
    soft = f.softmax(given(paddle, 3, 4))
    return [
        f.cross_entropy(x, label),
        f.cross_entropy(x, label, reduction="none"),
        f.cross_entropy(x, label.unsqueeze(1), reduction="none"),
        f.cross_entropy(x, soft, soft_label=True),
        f.cross_entropy(x, label, ignore_index=0),
        f.cross_entropy(x, label, weight=paddle.to_tensor([1.0, 2.0, 3.0, 4.0])),
        f.cross_entropy(f.softmax(x), label, use_softmax=False),
        f.nll_loss(f.log_softmax(x), label),
    ]


@snippet()
def padding(paddle):
    f, x = paddle.nn.functional, given(paddle, 1, 1, 2, 3)
    return [
        f.pad(x, [1, 0, 0, 1]),
        f.pad(x, [1, 1, 1, 1], mode="reflect"),
        f.pad(x, [1, 1, 1, 1], mode="replicate"),
        f.pad(x, [0, 1], value=2.0),
    ]


@snippet()
def interpolate(paddle):
    f, x = paddle.nn.functional, given(paddle, 1, 1, 3, 3)
    return [
        f.interpolate(x, size=[5, 5]),
        f.interpolate(x, scale_factor=2, mode="bilinear"),
        f.interpolate(x, size=[5, 5], mode="bilinear", align_corners=True),
    ]


@snippet()
def one_hot(paddle):
    f = paddle.nn.functional
    return [f.one_hot(paddle.to_tensor([0, 2]), 3), f.label_smooth(paddle.eye(2))]


@snippet()
def reductions(paddle):
    x = given(paddle, 3, 4)
    return [
        x.sum(),
        x.mean(axis=0),
        x.max(axis=1, keepdim=True),
        x.min(),
        x.prod(axis=-1),
        x.std(),
        x.var(axis=0, unbiased=False),
        paddle.logsumexp(x, axis=1),
        (x > 0).all(),
        (x > 0).any(axis=0),
        x.norm(),
        paddle.median(x),
        paddle.to_tensor([True, True]).sum(),
        paddle.to_tensor([1, 2], "int32").sum(),
    ]


@snippet()
def searching(paddle):
    x = given(paddle, 3, 4)
    values, indices = paddle.topk(x, 2)
    return [
        x.argmax(),
        x.argmin(axis=1),
        x.argsort(axis=0, descending=True),
        x.sort(axis=1),
        values,
        indices,
        paddle.nonzero(x > 0.5),
        paddle.where(x > 0, x, -x),
        paddle.searchsorted(paddle.to_tensor([1.0, 3.0]), paddle.to_tensor([0.5, 2.0, 3.0])),
    ]


@snippet()
def shapes(paddle):
    x = given(paddle, 2, 3, 4)
    return [
        x.reshape([0, -1]),
        x.transpose([2, 0, 1]),
        x.unsqueeze([0, -1]),
        x.unsqueeze(0).squeeze(),
        x.flatten(1),
        paddle.concat([x, x], axis=1),
        paddle.stack([x[0], x[1]], axis=-1),
        paddle.split(x, [1, -1], axis=1),
        paddle.chunk(x, 2, axis=2),
        paddle.unbind(x),
        x.tile([1, 2, 1]),
        x[:, :1].expand([2, 3, 4]),
        x.flip([0]),
        x.roll(1, 2),
    ]


@snippet()
def gathering(paddle):
    x, i = given(paddle, 3, 4), paddle.to_tensor([2, 0])
    return [
        x.gather(i),
        x.gather(i, axis=1),
        x.index_select(i, axis=1),
        x.gather_nd(paddle.to_tensor([[0, 1], [2, 3]])),
        x.take_along_axis(paddle.to_tensor([[0], [1], [2]]), 1),
        paddle.scatter(x, i, paddle.ones([2, 4])),
        paddle.masked_select(x, x > 0),
        paddle.put_along_axis(x, paddle.to_tensor([[0], [1], [2]]), 9.0, 1),
    ]


@snippet()
def linear_algebra(paddle):
    a, b = given(paddle, 2, 3), given(paddle, 3, 4)
    return [
        paddle.matmul(a, b),
        a.mm(b),
        paddle.bmm(a.unsqueeze(0), b.unsqueeze(0)),
        paddle.dot(a[0], a[1]),
        paddle.outer(a[0], a[1]),
        paddle.einsum("ij,jk->ki", a, b),
        paddle.tril(b),
        paddle.diag(a[0]),
        paddle.trace(b),
        paddle.addmm(paddle.ones([2, 4]), a, b, beta=0.5, alpha=2.0),
    ]


@snippet()
def mathematics(paddle):
    x, p = given(paddle, 5), given(paddle, 5).abs() + 0.5
    one = [
        "exp",
        "expm1",
        "sin",
        "cos",
        "atan",
        "erf",
        "ceil",
        "trunc",
        "sign",
        "square",
        "tanh",
        "asin",
    ]
    two = ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"]
    return [getattr(paddle, n)(x) for n in one] + [getattr(paddle, n)(p) for n in two]


@snippet()
def running(paddle):
    x = given(paddle, 2, 3)
    return [x.cumsum(), x.cumsum(1), x.cumprod(1), paddle.clip(x, -0.5, 0.5), paddle.diff(x)]


@snippet()
def two_operands(paddle):
    x, y = given(paddle, 4), given(paddle, 4, scale=2.0)
    names = [
        "add",
        "subtract",
        "multiply",
        "divide",
        "maximum",
        "minimum",
        "fmax",
        "fmin",
        "atan2",
        "remainder",
    ]
    return [getattr(paddle, name)(x, y + 0.1) for name in names]


@snippet()
def full_dtypes(paddle):
    return [paddle.full([1], v) for v in (7, 1.5, True)] + [paddle.full([1], 7, "int32")]


@snippet()
def unique(paddle):
    x = paddle.to_tensor([3, 1, 3, 2])
    return list(paddle.unique(x, return_index=True, return_inverse=True, return_counts=True))


@snippet()
def gradients_of_layers(paddle):
    nn = paddle.nn
    model = filled(
        paddle, nn.Sequential(nn.Conv2D(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    )
    loss = nn.functional.cross_entropy(model(given(paddle, 2, 1, 4, 4)), paddle.to_tensor([0, 1]))
    loss.backward()
    return [loss.numpy(), {n: p.grad.numpy() for n, p in model.named_parameters()}]


@snippet()
def lenet(paddle):
    model = filled(paddle, paddle.vision.models.LeNet())
    print(model)
    return [list(model.state_dict()), model(given(paddle, 1, 1, 28, 28)).shape]


@snippet()
def resnet_keys(paddle):
    return {k: v.shape for k, v in paddle.vision.models.resnet18().state_dict().items()}


@snippet()
def resnet_text(paddle):
    print(paddle.vision.models.resnet18())
    return np.int64(0)


@snippet()
def medians_of_missing_numbers(paddle):
    nan = float("nan")
    x = paddle.to_tensor([[nan, 1.0, 2.0, 0.5], [3.0, 1.0, 2.0, 0.2]])
    pairs = [paddle.median(x, axis, mode="min") for axis in (0, 1)]
    whole = [paddle.median(part, mode=mode) for part in (x, x[1]) for mode in ("avg", "min")]
    return [tuple(pair) for pair in pairs], whole, [paddle.median(x, axis) for axis in (0, 1)]


@snippet(differs="the mean is over the labels that count, whatever number the others have")
def mean_beside_negative_labels(paddle: Any) -> Any:
    x, label = given(paddle, 4, 3), paddle.to_tensor([0, -100, 2, -100])
    return paddle.nn.functional.cross_entropy(x, label)


@snippet(differs="a logarithm of a probability is not cut off at -64")
def log_of_a_small_probability(paddle: Any) -> Any:
    return paddle.nn.functional.log_softmax(paddle.to_tensor([[0.0, 100.0]]))
