"""The cases of the sweep in dyn: name -> (function of tensors, tensors that want a gradient)."""

import numpy as np

import dyn
import dyn.nn.functional as F
from dyn import nn
from dyn.ops.bags import sum_bags

RNG = np.random.default_rng(0)
NO_GRADIENT = dyn.no_grad


def t(*shape, positive=False):
    data = RNG.standard_normal(shape, dtype=np.float32)
    return dyn.to_tensor(np.abs(data) + 0.1 if positive else data, stop_gradient=False)


def ids(high, *shape):
    return dyn.to_tensor(RNG.integers(0, high, shape))


def starts(bags, each):
    return dyn.arange(0, bags * each, each)


def has_gradient(out):
    return not out.stop_gradient


def backward(out, gradient):
    out.backward(gradient)


def like(out):
    return dyn.ones_like(out)


def clear(tensors):
    for x in tensors:
        x.grad = None


def conv(function, transposed):
    def make(n, ci, h, w, co, k, s, p, d, g):
        weight = t(ci, co // g, k, k) if transposed else t(co, ci // g, k, k)
        return (
            lambda x, w, b: function(x, w, b, stride=s, padding=p, dilation=d, groups=g),
            [t(n, ci, h, w), weight, t(co)],
        )

    return make


def conv1d(n, ci, length, co, k, s, p):
    weight = t(co, ci, k)
    return lambda x, w, b: F.conv1d(x, w, b, stride=s, padding=p), [t(n, ci, length), weight, t(co)]


def rnn(layer):
    def make(steps, n, size, hidden):
        net = layer(size, hidden)
        return lambda x: net(x)[0], [t(n, steps, size)]

    return make


def unary(function, **options):
    return lambda *shape: (function, [t(*shape, **options)])


def binary(function, **options):
    return lambda *shape: (function, [t(*shape), t(*shape, **options)])


def given(function, *fixed):
    """The function with its last arguments fixed."""
    return lambda *tensors: function(*tensors, *fixed)


def normed(make):
    def build(n, c, h, w):
        return make(c), [t(n, c, h, w)]

    return build


def sampled(mode):
    """Sampling at the places of a grid that is turned a little."""

    def make(n, c, h, w):
        theta = dyn.to_tensor(np.tile(np.float32([[0.9, -0.4, 0.0], [0.4, 0.9, 0.1]]), (n, 1, 1)))
        grid = F.affine_grid(theta, [n, c, h, w], align_corners=False)
        grid.stop_gradient = False
        return (
            lambda x, grid: F.grid_sample(x, grid, mode=mode, align_corners=False),
            [t(n, c, h, w), grid],
        )

    return make


def batch_norm(training):
    def make(c):
        net = nn.BatchNorm2D(c)
        return net if training else net.eval()

    return make


OPS = {
    "conv2d": conv(F.conv2d, False),
    "conv_transpose2d": conv(F.conv2d_transpose, True),
    "conv1d": conv1d,
    "linear": lambda m, k, n: (F.linear, [t(m, k), t(k, n), t(n)]),
    "matmul": lambda b, m, k, n: (dyn.matmul, [t(b, m, k), t(b, k, n)]),
    "matmul_turned": lambda b, m, k, n: (
        lambda x, y: dyn.matmul(x, y, transpose_y=True), [t(b, m, k), t(b, n, k)]
    ),
    "softmax": unary(F.softmax),
    "log_softmax": unary(F.log_softmax),
    "layer_norm": lambda r, c: (
        lambda x, w, b: F.layer_norm(x, [c], w, b), [t(r, c), t(c), t(c)]
    ),
    "cross_entropy": lambda r, c: (given(F.cross_entropy, ids(c, r)), [t(r, c)]),
    "cross_entropy_image": lambda n, c, h, w: (
        given(lambda x, y: F.cross_entropy(x, y, axis=1), ids(c, n, h, w)), [t(n, c, h, w)]
    ),
    "cumsum": unary(lambda x: dyn.cumsum(x, 1)),
    "argmax": unary(lambda x: dyn.argmax(x, 1)),
    "topk": unary(lambda x: dyn.topk(x, 5, 1)[0]),
    "sort": unary(lambda x: dyn.sort(x, 1)),
    "sum": unary(lambda x: dyn.sum(x, 1)),
    "sum0": unary(lambda x: dyn.sum(x, 0)),
    "max": unary(lambda x: dyn.max(x, 1)),
    "mean": unary(dyn.mean),
    "var": unary(lambda x: dyn.var(x, 1)),
    "logsumexp": unary(lambda x: dyn.logsumexp(x, 1)),
    "add": binary(dyn.add),
    "multiply": binary(dyn.multiply),
    "divide": binary(dyn.divide, positive=True),
    "maximum": binary(dyn.maximum),
    "exp": unary(dyn.exp),
    "log": unary(dyn.log, positive=True),
    "sqrt": unary(dyn.sqrt, positive=True),
    "tanh": unary(dyn.tanh),
    "sigmoid": unary(F.sigmoid),
    "gelu": unary(F.gelu),
    "relu": unary(F.relu),
    "silu": unary(F.silu),
    "sin": unary(dyn.sin),
    "abs": unary(dyn.abs),
    "pow": unary(lambda x: dyn.pow(x, 2.5), positive=True),
    "where": binary(lambda x, y: dyn.where(x > 0, x, y)),
    "cast": unary(lambda x: dyn.cast(x, "float64")),
    "add_row": lambda r, c: (dyn.add, [t(r, c), t(c)]),
    "add_column": lambda r, c: (dyn.add, [t(r, c), t(r, 1)]),
    "add_transposed": lambda r, c: (lambda x, y: x + y.T, [t(r, c), t(c, r)]),
    "add_channel": lambda r, c: (dyn.add, [t(4, r // 4, c), t(r // 4, 1)]),
    "max_pool": unary(lambda x: F.max_pool2d(x, 2, 2)),
    "avg_pool": unary(lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "adaptive_pool": unary(lambda x: F.adaptive_avg_pool2d(x, 1)),
    "batch_norm": normed(batch_norm(True)),
    "batch_norm_infer": normed(batch_norm(False)),
    "group_norm": normed(lambda c: nn.GroupNorm(1 if c % 4 else 4, c)),
    "upsample": unary(lambda x: F.interpolate(x, scale_factor=2, mode="nearest")),
    "bilinear": unary(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "affine_grid": lambda n, *sizes: (
        lambda theta: F.affine_grid(theta, [n, *sizes], align_corners=False),
        [t(n, 2, 3)],
    ),
    "grid_sample": sampled("bilinear"),
    "grid_sample_nearest": sampled("nearest"),
    "pad": unary(lambda x: F.pad(x, [1, 1, 1, 1])),
    "transpose": unary(lambda x: dyn.transpose(x, [0, 2, 3, 1]) * 1.0),
    "concat": lambda *s: (lambda x, y: dyn.concat([x, y], 1), [t(*s), t(*s)]),
    "slice": unary(lambda x: x[:, :, 1:-1, 1:-1] * 1.0),
    "flip": unary(lambda x: dyn.flip(x, [3])),
    "embedding": lambda n, d, k: (given(lambda w, i: F.embedding(i, w), ids(n, k)), [t(n, d)]),
    "bags": lambda n, d, b, k: (given(lambda w, i: sum_bags(i, w), ids(n, b, k)), [t(n, d)]),
    "bags_offsets": lambda n, d, b, k: (
        given(lambda w, i, o: sum_bags(i, w, o, mean=True), ids(n, b * k), starts(b, k)),
        [t(n, d)],
    ),
    "attention": lambda n, h, length, d: (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        [t(n, length, h, d) for _ in range(3)],
    ),
    "lstm": rnn(nn.LSTM),
    "gru": rnn(nn.GRU),
}  # fmt: skip
