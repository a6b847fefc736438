"""The cases of the sweep in torch eager; see `dyn_ops`."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
NO_GRADIENT = torch.no_grad


def t(*shape, positive=False):
    data = torch.randn(*shape)
    return (data.abs() + 0.1 if positive else data).requires_grad_()


def ids(high, *shape):
    return torch.randint(0, high, shape)


def starts(bags, each):
    return torch.arange(0, bags * each, each)


def has_gradient(out):
    return out.requires_grad


def backward(out, gradient):
    out.backward(gradient)


def like(out):
    return torch.ones_like(out)


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
        net = layer(size, hidden, batch_first=True)
        return lambda x: net(x)[0], [t(n, steps, size)]

    return make


def unary(function, **options):
    return lambda *shape: (function, [t(*shape, **options)])


def binary(function, **options):
    return lambda *shape: (function, [t(*shape), t(*shape, **options)])


def given(function, *fixed):
    """The function with its last arguments fixed."""
    return lambda *tensors: function(*tensors, *fixed)


def sampled(mode):
    """Sampling at the places of a grid that is turned a little."""

    def make(n, c, h, w):
        theta = torch.tensor([[[0.9, -0.4, 0.0], [0.4, 0.9, 0.1]]]).repeat(n, 1, 1)
        grid = F.affine_grid(theta, [n, c, h, w], align_corners=False).requires_grad_()
        return (
            lambda x, grid: F.grid_sample(x, grid, mode, align_corners=False),
            [t(n, c, h, w), grid],
        )

    return make


def normed(make):
    def build(n, c, h, w):
        return make(c), [t(n, c, h, w)]

    return build


OPS = {
    "conv2d": conv(F.conv2d, False),
    "conv_transpose2d": conv(F.conv_transpose2d, True),
    "conv1d": conv1d,
    "linear": lambda m, k, n: (F.linear, [t(m, k), t(n, k), t(n)]),
    "matmul": lambda b, m, k, n: (torch.matmul, [t(b, m, k), t(b, k, n)]),
    "matmul_turned": lambda b, m, k, n: (lambda x, y: x @ y.mT, [t(b, m, k), t(b, n, k)]),
    "softmax": unary(lambda x: F.softmax(x, -1)),
    "log_softmax": unary(lambda x: F.log_softmax(x, -1)),
    "layer_norm": lambda r, c: (
        lambda x, w, b: F.layer_norm(x, [c], w, b), [t(r, c), t(c), t(c)]
    ),
    "cross_entropy": lambda r, c: (given(F.cross_entropy, ids(c, r)), [t(r, c)]),
    "cross_entropy_image": lambda n, c, h, w: (
        given(F.cross_entropy, ids(c, n, h, w)), [t(n, c, h, w)]
    ),
    "cumsum": unary(lambda x: torch.cumsum(x, 1)),
    "argmax": unary(lambda x: torch.argmax(x, 1)),
    "topk": unary(lambda x: torch.topk(x, 5, 1)[0]),
    "sort": unary(lambda x: torch.sort(x, 1)[0]),
    "sum": unary(lambda x: torch.sum(x, 1)),
    "sum0": unary(lambda x: torch.sum(x, 0)),
    "max": unary(lambda x: torch.amax(x, 1)),
    "mean": unary(torch.mean),
    "var": unary(lambda x: torch.var(x, 1)),
    "logsumexp": unary(lambda x: torch.logsumexp(x, 1)),
    "add": binary(torch.add),
    "multiply": binary(torch.mul),
    "divide": binary(torch.div, positive=True),
    "maximum": binary(torch.maximum),
    "exp": unary(torch.exp),
    "log": unary(torch.log, positive=True),
    "sqrt": unary(torch.sqrt, positive=True),
    "tanh": unary(torch.tanh),
    "sigmoid": unary(torch.sigmoid),
    "gelu": unary(F.gelu),
    "relu": unary(torch.relu),
    "silu": unary(F.silu),
    "sin": unary(torch.sin),
    "abs": unary(torch.abs),
    "pow": unary(lambda x: torch.pow(x, 2.5), positive=True),
    "where": binary(lambda x, y: torch.where(x > 0, x, y)),
    "cast": unary(lambda x: x.to(torch.float64)),
    "add_row": lambda r, c: (torch.add, [t(r, c), t(c)]),
    "add_column": lambda r, c: (torch.add, [t(r, c), t(r, 1)]),
    "add_transposed": lambda r, c: (lambda x, y: x + y.T, [t(r, c), t(c, r)]),
    "add_channel": lambda r, c: (torch.add, [t(4, r // 4, c), t(r // 4, 1)]),
    "max_pool": unary(lambda x: F.max_pool2d(x, 2, 2)),
    "avg_pool": unary(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    "adaptive_pool": unary(lambda x: F.adaptive_avg_pool2d(x, 1)),
    "batch_norm": normed(nn.BatchNorm2d),
    "batch_norm_infer": normed(lambda c: nn.BatchNorm2d(c).eval()),
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
    "transpose": unary(lambda x: x.permute(0, 2, 3, 1) * 1.0),
    "concat": lambda *s: (lambda x, y: torch.cat([x, y], 1), [t(*s), t(*s)]),
    "slice": unary(lambda x: x[:, :, 1:-1, 1:-1] * 1.0),
    "flip": unary(lambda x: torch.flip(x, [3])),
    "embedding": lambda n, d, k: (given(lambda w, i: F.embedding(i, w), ids(n, k)), [t(n, d)]),
    "bags": lambda n, d, b, k: (
        given(lambda w, i: F.embedding_bag(i, w, mode="sum"), ids(n, b, k)),
        [t(n, d)],
    ),
    "bags_offsets": lambda n, d, b, k: (
        given(lambda w, i, o: F.embedding_bag(i, w, o), ids(n, b * k), starts(b, k)),
        [t(n, d)],
    ),
    "attention": lambda n, h, length, d: (
        lambda q, k, v: F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        ).transpose(1, 2),
        [t(n, length, h, d) for _ in range(3)],
    ),
    "lstm": rnn(nn.LSTM),
    "gru": rnn(nn.GRU),
}  # fmt: skip
