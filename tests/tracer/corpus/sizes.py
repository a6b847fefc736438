"""Legal forwards: sizes, constants, nested arguments and results."""

from __future__ import annotations

import math

import numpy as np

import dyn
from dyn import nn
from tests.tracer.corpus.base import legal
from tracer import InputSpec as S

# ---- sizes -----------------------------------------------------------------------------------


@legal(S(["n", "c", "h", "w"]))
def reshape_by_product_of_sizes(x):
    n, c, h, w = x.shape
    return x.reshape([n, c, h * w]).transpose([0, 2, 1])


@legal(S([None, None, 4]))
def reshape_with_minus_one(x):
    return x.reshape([x.shape[0], -1])


@legal(S(["n", 3, "h", "w"]))
def halves_of_an_image(x):
    h, w = x.shape[2] // 2, x.shape[3] // 2
    return x[:, :, :h, w:] * 2


@legal(S(["n", 3, "h", "w"]))
def padded_as_many_pixels_as_strides_need(x):
    pads = []
    for size, stride, window in ((x.shape[3], 2, 3), (x.shape[2], 3, 4)):
        pad = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
        pads += [pad // 2, pad - pad // 2]
    return nn.functional.pad(x, pads)


@legal(S(["n", "t"]))
def quotients_of_sizes_rounded(x):
    n, t = x.shape
    wholes = [math.floor(t * 0.5), math.ceil(t / 4 - 0.5) + 1, math.trunc((t + n) / 3 * 1.5)]
    return [dyn.arange(whole + 1) for whole in wholes]


@legal(S(["n", 3, "h", "w"]))
def sizes_as_a_tensor(x):
    sizes = dyn.shape(x)
    larger = nn.functional.interpolate(x, sizes[2:] * 2, mode="bilinear")
    smaller = nn.functional.adaptive_avg_pool2d(x, sizes[2:] // 2)
    rows = dyn.zeros(dyn.concat([sizes[:2], dyn.prod(sizes[2:], keepdim=True)])) + 1
    return larger, smaller, rows, x[:, :, : sizes[2] // 2] * 2, dyn.ones([sizes[0], dyn.numel(x)])


@legal(S(["n", 3, "h", "w"]))
def elements_of_a_shape(x):
    n, c, h, w = dyn.shape(x)
    half = (dyn.shape(x)[2:] / 2).astype("int32")
    flat = x.reshape([n, c, h * w])
    best, _ = dyn.topk(flat, k=dyn.minimum(h, w) - 1)
    below = nn.functional.pad(x, [0, (4 - w % 4) % 4, 0, dyn.ceil(h / 3).astype("int64")])
    return best, below, dyn.arange(n.item()), nn.functional.interpolate(x, half)


@legal(S(["n", "t"]))
def a_shape_that_is_changed_in_part(x):
    sizes = dyn.shape(x).flip(0)
    sizes[1] = 2
    rows, columns = dyn.stack([sizes[0], dyn.gather(sizes, dyn.to_tensor([1]))[0]]).tolist()
    return dyn.full(sizes, 3.0) + dyn.linspace(0, 1, rows).unsqueeze(-1), dyn.roll(x, columns, 0)


@legal(S(["n", 6]))
def elements_of_a_static_shape_are_numbers(x):
    return x.reshape([-1, int(dyn.shape(x)[1]) // 2, range(3)[dyn.shape(x[0]) // 3]])


@legal(S(["n", "t"]))
def positions(x):
    return x + dyn.arange(x.shape[1], dtype="float32")


@legal(S(["n", "t", 4]))
def causal_mask(x):
    t = x.shape[1]
    scores = dyn.matmul(x, x.transpose([0, 2, 1]))
    allowed = dyn.tril(dyn.ones([t, t]))
    return dyn.where(allowed > 0, scores, dyn.full([1], -1e9))


@legal(S(["n", 3]))
def mean_by_hand(x):
    return x.sum(axis=0) / x.shape[0]


@legal(S(["n", "d"]))
def scaled_by_a_root(x):
    return x * (x.shape[1] ** -0.5)


@legal(S([2, 5]))
def static_sizes_are_numbers(x):
    total = x[:, 0]
    for i in range(1, x.shape[1]):
        total = total + x[:, i] * float(x.shape[0])
    return total


@legal(S(["n", 4]))
def static_axis_unrolled(x):
    return dyn.stack([x[:, i] * i for i in range(x.shape[1])], axis=1)


@legal(S(["n", 4]))
def iteration_over_a_static_axis(x):
    return sum(column for column in x.transpose([1, 0]))


@legal(S(["n", 3]), S(["n", 3]))
def one_name_is_one_size(x, y):
    return x + y


@legal(S(["n", 3]), S([1, 3]))
def broadcast_of_a_declared_one(x, y):
    return x * y


@legal(S([None, 3], example=np.ones((1, 3), np.float32)))
def sample_of_size_one_stays_dynamic(x):
    return (x + 1).reshape([x.shape[0] * 3])


@legal(S(["n", 3]))
def comparison_that_always_holds(x):
    assert x.shape[0] > 0
    return x.reshape([-1]) if x.shape[0] >= 1 else x


@legal(S(["n", 3]))
def size_in_a_format(x):
    message = f"batch of {x.shape[0]}"
    return x if message else x * 2


@legal(S(["n", 3]))
def size_returned(x):
    return x * 2, x.shape[0]


@legal(S(["n", 6]))
def chunks_along_a_static_axis(x):
    a, b, c = dyn.split(x, 3, axis=1)
    return a * b + c


@legal(S(["n", "m"]))
def concat_of_dynamic_sizes(x):
    return dyn.concat([x, x[:, 1:]], axis=1)


@legal(S(["n", 3]))
def expand_to_a_dynamic_size(x):
    return dyn.zeros([x.shape[0], 2]) + x.sum(axis=1, keepdim=True)


@legal(S([None, 3, 32, 32]))
class Convolutions(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2D(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return self.fc(x.mean(axis=[2, 3]))


@legal(S(["n", 3, "h", "w"]))
class SqueezeAndExcite(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        n, c, h, w = x.shape
        pooled = x.reshape([n, c, h * w]).mean(axis=2)
        return x * nn.functional.sigmoid(self.fc(pooled)).reshape([n, c, 1, 1])


@legal(S(["n", "t", 4]))
def last_of_a_dynamic_axis(x):
    return x[:, x.shape[1] - 1], x[:, -1], x[:, x.shape[1] // 2]


@legal(S(["n", "t"]))
def backwards_and_every_second(x):
    return x[:, ::-1], x[:, ::2], dyn.flip(x, [0])


@legal(S(["n", "t"], "int64"))
class Embedded(nn.Layer):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.places = nn.Embedding(128, 4)

    def forward(self, ids):
        places = dyn.arange(ids.shape[1]).unsqueeze(0)
        return nn.functional.gelu(self.words(ids) + self.places(places)).mean(axis=1)


@legal(S(["n", 3, "h", "w"], example=np.ones((2, 3, 4, 6), np.float32)))
def pixels_as_a_sequence(x):
    n, c, h, w = x.shape
    y = x.transpose([0, 2, 3, 1]).reshape([n, h * w, c])
    return (y @ y.transpose([0, 2, 1])).max(axis=-1).reshape([n, 1, h, w])


@legal(S(["n", 4]))
def tensors_from_sizes(x):
    n, d = x.shape
    return dyn.full([n, 2], 1.5), dyn.to_tensor([n, d, n * d]), dyn.ones([n * 2, d])


@legal(S(["n", "m"]))
def products_of_shapes(x):
    total = 1
    for size in x.shape:
        total = total * size
    return x.reshape([total]) / total


@legal(S(["n", 5]))
def choices_without_branches(x):
    best = x.argmax(axis=1)
    values, places = dyn.topk(x, 2, axis=1)
    return dyn.where(x > 0, x, x * 0.1), best, values, places


# ---- values that are constants or shapes -----------------------------------------------------


@legal(S(["n", 3]))
def number_from_a_constant(x):
    scale = dyn.full([1], 3.0)
    return x * float(scale) + int(scale.item())


@legal(S(["n", 3]))
class NumberFromAParameter(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(x) * float(self.fc.bias.sum() + 2.0)


@legal(S(["n", 3]))
class BranchOnAParameter(nn.Layer):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(1, 1)

    def forward(self, x):
        return x * 2 if self.gate.bias.sum() == 0 else x


@legal(S(["n", 3]))
class BranchOnPython(nn.Layer):
    def __init__(self):
        super().__init__()
        self.double = True

    def forward(self, x):
        if self.double and not self.training:
            x = x * 2
        return x


@legal(S(["n", 3]))
def numpy_of_a_constant(x):
    weights = dyn.to_tensor([1.0, 2.0, 3.0]).numpy() * 2
    return x * weights


@legal(S(["n", 3]))
def branch_on_a_shape_and_rank(x):
    if x.ndim == 2 and x.shape[1] == 3:
        return x + 1
    return x


@legal(S(["n", 3]), None, 2)
def arguments_that_are_no_tensors(x, mask, times):
    return x * times if mask is None else x


@legal(S(["n", 3]))
def constant_from_outside(x):
    return x @ _TABLE


_TABLE = dyn.to_tensor(np.arange(12, dtype=np.float32).reshape(3, 4))


@legal(S(["n", 3]))
def print_of_a_traced_value(x):
    assert str(x)
    return x


@legal(S(["n", 3]))
def zeros_like_is_a_constant(x):
    return x + float(dyn.zeros([3]).sum())


# ---- structure of arguments and results ------------------------------------------------------


@legal((S(["n", 3]), [S(["n", 4])]))
def nested_arguments(pair):
    a, (b,) = pair
    return dyn.concat([a, b], axis=1)


@legal(S(["n", 3]), scale=S([1]))
def keyword_input(x, *, scale):
    return x * scale


@legal(S(["n", 3]), S(["n", 3]))
def unused_input(x, unused):
    return x


@legal(S(["n", 3]))
def nested_results(x):
    return {"logits": x * 2, "parts": (x[:, 0], [x, x])}


@legal(S(["n", 3]))
class ParameterReturned(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(x), self.fc.weight
