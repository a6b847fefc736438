"""Small forwards, legal and illegal: what tracing must accept in silence and what it must refuse.

A legal one comes with specs and must give, at every size, what the model gives. An illegal one
marks the line to be named with `# refused` and comes with words that the remedy must contain.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import dyn
from dyn import nn
from tracer import InputSpec

S = InputSpec


@dataclass(frozen=True)
class Forward:
    """One entry.

    Attributes:
        make: gives a fresh model or function.
        inputs: specs or other arguments.
        remedy: words of the error; empty for a legal forward.
        source: the function that holds the line marked `# refused`.
        other: sizes to run a legal one at, beside the traced ones.
        kwargs: keyword inputs.
    """

    name: str
    make: Callable[[], Any]
    inputs: tuple[Any, ...]
    remedy: tuple[str, ...] = ()
    source: Callable[..., Any] | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> int:
        """Number of the line that the error must name."""
        assert self.source is not None
        lines, first = inspect.getsourcelines(self.source)
        return next(
            first + i for i, line in enumerate(lines) if line.rstrip().endswith("# refused")
        )


LEGAL: list[Forward] = []
ILLEGAL: list[Forward] = []


def legal(*inputs: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """Add a function of tensors, or a Layer class, to the legal ones."""

    def add(target: Any) -> Any:
        make = target if isinstance(target, type) else lambda: target
        LEGAL.append(Forward(target.__name__, make, inputs, kwargs=kwargs))
        return target

    return add


def illegal(*remedy: str, inputs: tuple[Any, ...] = (S(["n", 3]),)) -> Callable[[Any], Any]:
    """Add a function or Layer class to the illegal ones."""

    def add(target: Any) -> Any:
        is_class = isinstance(target, type)
        make = target if is_class else lambda: target
        source = target.forward if is_class else target  # type: ignore[attr-defined]
        ILLEGAL.append(Forward(target.__name__, make, inputs, remedy, source))
        return target

    return add


# ---- sizes -------------------------------------------------------------------------------------


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


# ---- values that are constants or shapes -------------------------------------------------------


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


# ---- structure of arguments and results --------------------------------------------------------


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


# ---- writes and views --------------------------------------------------------------------------


@legal(S(["n", 4]))
def write_to_a_slice(x):
    y = x * 1
    y[:, :2] = x[:, 2:] * 3
    return y


@legal(S(["n", 4]))
def write_through_a_view(x):
    y = x + 0
    first = y[:, 0]
    first += 5
    return y


@legal(S(["n", 4]))
def view_follows_its_base(x):
    y = x + 0
    view = y[:, 1:3]
    y[:, :] = 1.0
    return view.sum()


@legal(S(["n", 4]))
def accumulation_in_a_local(x):
    total = dyn.zeros([4])
    for _ in range(3):
        total += x.sum(axis=0)
    return total


@legal(S(["n", 4]))
def write_with_a_mask(x):
    y = x * 1
    y[y > 0] = 0.0
    return y


@legal(S(["n", 3]))
def write_to_a_literal(x):
    row = dyn.to_tensor([1.0, 2.0, 3.0])
    row[0] = 7.0
    return x * row


# ---- state -------------------------------------------------------------------------------------


@legal(S(["n", 3]))
class Counter(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        self.count += 1
        return x * self.count


@legal(S(["n", 3]))
class CounterByAssignment(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        self.count = self.count + 1
        return x * self.count


@legal(S(["n", 3]))
class CounterByAssign(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        dyn.assign(self.count + 1, self.count)
        return x * self.count


@legal(S(["n", 3]))
class CounterBySetValue(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        self.count.set_value(self.count.add(dyn.ones([1])))
        return x * self.count


@legal(S(["n", 3]))
class CounterByAddInPlace(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        self.count.add_(dyn.ones([1]))
        return x * self.count


@legal(S(["n", 3]))
class BufferWrittenAtAnIndex(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("last", dyn.zeros([2, 3]))

    def forward(self, x):
        self.last[0] = self.last[1]
        self.last[1] = x.mean(axis=0)
        return x + self.last.sum(axis=0)


@legal(S(["n", 3]))
class TemporaryWritten(nn.Layer):
    def __init__(self):
        super().__init__()
        self.saved = self.create_tensor(name="saved")

    def forward(self, x):
        y = x * 2
        dyn.assign(y, self.saved)
        return y + 1


@legal(S(["n", 3]))
class TemporaryWrittenThenRead(nn.Layer):
    def __init__(self):
        super().__init__()
        self.saved = self.create_tensor(name="saved")

    def forward(self, x):
        dyn.assign(x * 2, self.saved)
        return self.saved + 1


@legal(S(["n", 3]))
class AttributeKept(nn.Layer):
    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x):
        self.last = x * 2
        return self.last + 1


@legal(S(["n", 3]))
class NonPersistableBuffer(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", dyn.to_tensor([1.0, 2.0, 3.0]), persistable=False)

    def forward(self, x):
        return x * self.table


@legal(S(["n", 3]))
class TiedWeights(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


@legal(S(["n", 3]))
class DropoutInEval(nn.Layer):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x)


# ---- branches on values ------------------------------------------------------------------------


@legal(S(["n", 3]))
def branch_on_a_value(x):
    if x.sum() > 0:
        return x * 2
    return x - 1


@legal(S(["n", 3]))
def nested_branches(x):
    if x.sum() > 0:
        y = x * 2
        if x[0, 0] > 0:
            y = y + 1
    else:
        y = x - 1
    return y.exp()


@legal(S(["n", 3]))
def branches_in_a_loop(x):
    for i in range(3):
        if x[0, i] > 0:
            x = x + i
        x = x * 2
    return x


@legal(S(["n", 3]))
def condition_kept_in_a_variable(x):
    positive = bool(x.sum() > 0)
    y = x * 2 if positive else x
    return y + 1 if positive else y


@legal(S(["n", 3]))
def and_or_not(x):
    if (x.sum() > 0 and x.max() < 100) or not x.min() < 0:
        return x * 2
    return x


@legal(S(["n", 3]))
def chained_comparison(x):
    return x * 2 if 0 < x.sum() < 100 else x


@legal(S(["n", 3]))
def assertion_on_a_value(x):
    assert (x.abs() < 1000).all(), "too large"
    return x * 2


@legal(S(["n", 3]))
def raise_on_a_value(x):
    if x.isnan().any():
        raise ValueError("not a number")
    return x * 2


@legal(S(["n", 3]))
class BranchInASublayer(nn.Layer):
    class Inner(nn.Layer):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(x) if x.mean() > 0 else x

    def __init__(self):
        super().__init__()
        self.inner = self.Inner()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(self.inner(x))


@legal(S(["n", 3]))
class BranchInAHook(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.fc.register_forward_post_hook(lambda layer, x, y: y * 2 if y.sum() > 0 else None)

    def forward(self, x):
        return self.fc(x) + 1


@legal(S(["n", 3]))
class StateWrittenOnOneSide(nn.Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("hits", dyn.zeros([1]))

    def forward(self, x):
        if x.sum() > 0:
            self.hits += 1
        return x + self.hits


@legal(S(["n", 3]))
def branch_on_how_many_match(x):
    found = dyn.nonzero(x > 0)
    if found.shape[0] > 2:
        return x * 2
    return x


@legal(S(["n", 3]))
def selection_of_unknown_size(x):
    return x[x > 0] * 2


# ---- control flow made of functions ------------------------------------------------------------


@legal(S(["n", 3]))
def cond_of_functions(x):
    return dyn.cond(x.sum() > 0, lambda: x * 2, lambda: x - 1) + 1


@legal(S(["n", 3]))
def while_over_values(x):
    def smaller(step, y):
        return y.abs().max() > 1

    def halve(step, y):
        return step + 1, y / 2

    steps, y = dyn.while_loop(smaller, halve, [0, x])
    return steps, y


@legal(S(["t", 3]))
def scan_over_a_dynamic_axis(x):
    def step(total, row):
        total = total + row
        return total, total * 2

    last, sums = dyn.scan(step, dyn.zeros([3]), x)
    return last, sums


@legal(S(["n", 3]))
def branch_inside_a_loop_body(x):
    def body(i, y):
        return i + 1, y * 2 if y.sum() < 10 else y + 1

    return dyn.while_loop(lambda i, y: i < 3, body, [0, x])[1]


@legal(S(["n", 3]))
def gradient_inside_the_forward(x):
    w = x * 1
    w.stop_gradient = False
    loss = (w**3).sum()
    (g,) = dyn.grad(loss, w)
    return g


# ---- refused -----------------------------------------------------------------------------------


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
