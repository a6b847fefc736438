"""Legal forwards: conditions on values, and control flow made of functions."""

from __future__ import annotations

import dyn
from dyn import nn
from tests.tracer.corpus.base import legal
from tracer import InputSpec as S

# ---- branches on values ----------------------------------------------------------------------


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


# ---- control flow made of functions ----------------------------------------------------------


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
