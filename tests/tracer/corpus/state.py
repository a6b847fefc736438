"""Legal forwards: writes, views and state."""

from __future__ import annotations

import dyn
from dyn import nn
from tests.tracer.corpus.base import legal
from tracer import InputSpec as S

# ---- writes and views ------------------------------------------------------------------------


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


# ---- state -----------------------------------------------------------------------------------


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
