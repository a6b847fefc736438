"""Forwards that tracing refuses; the line to be named ends with `# refused`."""

from __future__ import annotations

import math

import numpy as np

import dyn
from dyn import nn
from tests.tracer.corpus.base import illegal
from tracer import InputSpec as S

# ---- refused ---------------------------------------------------------------------------------


@illegal("tensor")
def item_of_a_value(x):
    return x * x.max().item()  # refused


@illegal("tensor")
def int_of_a_value(x):
    return x * int(x.sum())  # refused


@illegal("tensor")
def float_of_a_value(x):
    y = x + 1
    return y / float(y.norm())  # refused


@illegal("ops of dyn")
def numpy_of_a_value(x):
    return dyn.to_tensor(x.numpy() * 2)  # refused


@illegal("ops of dyn")
def numpy_function_of_a_value(x):
    return x * np.maximum(x, 0)  # refused


@illegal("ops of dyn")
def tolist_of_a_value(x):
    return x * len(x[0].tolist())  # refused


@illegal("format")
def format_of_a_value(x):
    label = f"{x.sum():.3f}"  # refused
    return x if label else x * 2


@illegal("tensor")
def slice_by_a_value(x):
    n = x.argmax()
    return x[: int(n)]  # refused


@illegal("dyn.ceil")
def rounded_value(x):
    return x * math.ceil(x.sum())  # refused


@illegal("leave it out")
def int_of_an_element_of_a_shape(x):
    return x.reshape([int(dyn.shape(x)[0]), -1])  # refused


@illegal("dyn.arange")
def range_over_an_element_of_a_shape(x):
    return sum(x * i for i in range(dyn.shape(x)[0]))  # refused


@illegal("math.ceil(h / 2)")
def list_of_roots_of_sizes(x):
    return x[: dyn.sqrt(dyn.shape(x).astype("float32")).tolist()[0]]  # refused


@illegal("math.ceil(h / 2)")
def rounded_root_of_a_size(x):
    return x[: math.ceil(x.shape[0] ** 0.5)]  # refused


@illegal("math.ceil(h / 2)")
def rounded_tenth_of_a_size(x):
    return x[: math.floor(x.shape[0] * 0.1)]  # refused


@illegal("tensor")
def range_over_a_value(x):
    for _ in range(x.astype("int64").sum()):  # refused
        x = x * 2
    return x


@illegal("number in the InputSpec")
def range_over_a_dynamic_size(x):
    total = x[0]
    for i in range(1, x.shape[0]):  # refused
        total = total + x[i]
    return total


@illegal("number in the InputSpec")
def iteration_over_a_dynamic_axis(x):
    return sum(row for row in x)  # refused


@illegal("number in the InputSpec")
def len_of_a_dynamic_axis(x):
    return x * len(x)  # refused


@illegal("number in the InputSpec")
def list_of_a_dynamic_length(x):
    weights = [1.0] * x.shape[0]  # refused
    return x.sum(axis=1) * dyn.to_tensor(weights)


@illegal("number in the InputSpec")
def numpy_zeros_of_a_dynamic_size(x):
    return x + dyn.to_tensor(np.zeros((x.shape[0], 3), np.float32))  # refused


@illegal("sample sizes only", inputs=(S([None, 3], example=np.ones((1, 3), np.float32)),))
def sizes_that_broadcast_by_chance(x):
    return x + dyn.zeros([5, 3])  # refused


@illegal("dyn.while_loop")
def while_on_a_value(x):
    while x.abs().max() > 0.01:  # refused
        x = x / 2
    return x


@illegal("same shape and dtype")
def branches_of_differing_shape(x):
    if x.sum() > 0:  # refused
        return x
    return x[:, :2]


@illegal("same shape and dtype")
def branches_of_differing_dtype(x):
    if x.sum() > 0:  # refused
        return x
    return x.astype("float64")


@illegal("same number of tensors")
def branches_of_differing_number(x):
    if x.sum() > 0:  # refused
        return x
    return x, x


@illegal("register_buffer")
class TemporaryReadBeforeWritten(nn.Layer):
    def __init__(self):
        super().__init__()
        self.seen = dyn.zeros([3])

    def forward(self, x):
        y = x + self.seen
        dyn.assign(x.mean(axis=0), self.seen)  # refused
        return y


@illegal("register_buffer")
class TemporaryAccumulated(nn.Layer):
    def __init__(self):
        super().__init__()
        self.total = dyn.zeros([3])

    def forward(self, x):
        self.total += x.mean(axis=0)  # refused
        return x + self.total


@illegal("register_buffer")
class AttributeReplaced(nn.Layer):
    def __init__(self):
        super().__init__()
        self.hidden = dyn.zeros([3])

    def forward(self, x):
        y = x + self.hidden  # refused
        self.hidden = y.mean(axis=0)
        return y


@illegal("register_buffer")
class CacheInAList(nn.Layer):
    def __init__(self):
        super().__init__()
        self.cache = [dyn.zeros([3])]

    def forward(self, x):
        y = x + self.cache[0]  # refused
        self.cache[0] = y.mean(axis=0)
        return y


@illegal("LayerList")
class LayersInAPlainList(nn.Layer):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(3, 3), nn.Linear(3, 3)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)  # refused
        return x


@illegal("__init__")
class LayerMadeInTheForward(nn.Layer):
    def forward(self, x):
        return nn.Linear(3, 3)(x)  # refused


@illegal("assign it outside")
class StateInALoopBody(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        def body(y):
            self.count += 1  # refused
            return y / 2

        return dyn.while_loop(lambda y: y.max() > 1, body, [x])[0]


@illegal("return it from the function")
def leak_from_a_function(x):
    found = []

    def true():
        found.append(x * 2)
        return x

    y = dyn.cond(x.sum() > 0, true, lambda: x - 1)
    return y + found[0]  # refused


@illegal("same structure of tensors")
def cond_of_differing_shapes(x):
    return dyn.cond(x.sum() > 0, lambda: x, lambda: x[:1])  # refused


@illegal("keep its shape and dtype")
def loop_that_grows(x):
    return dyn.while_loop(  # refused
        lambda y: y.max() > 1, lambda y: dyn.concat([y, y], axis=0) / 4, [x]
    )[0]


@illegal("not the same twice")
def random_of_numpy_beside_a_branch(x):
    noise = np.random.default_rng().random(3).astype(np.float32)
    y = x * noise  # refused
    return y if y.sum() > 0 else x


@illegal("both sides run")
def a_side_that_fails_on_the_sample(x):
    found = dyn.nonzero(x > 100)
    if found.shape[0] > 0:  # refused
        return x + found[0].astype("float32").sum()
    return x
