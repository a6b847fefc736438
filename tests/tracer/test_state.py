"""State, temporaries and writes: what design section 5 says a first-seen tensor becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from tracer import InputSpec, Interpreter, TraceError, optimize, trace, validate

S = InputSpec


class Cache(nn.Layer):
    """Writes a buffer in the way that `write` says."""

    def __init__(self, write: Any) -> None:
        super().__init__()
        self.register_buffer("total", dyn.zeros([3]))
        self.write = write

    def forward(self, x: Any) -> Any:
        self.write(self, x.sum(axis=0))
        return x + self.total


def _iadd(layer: Any, y: Any) -> None:
    layer.total += y


def _assign(layer: Any, y: Any) -> None:
    dyn.assign(layer.total + y, layer.total)


def _rebind(layer: Any, y: Any) -> None:
    layer.total = layer.total + y


def _slice(layer: Any, y: Any) -> None:
    layer.total[:] = layer.total + y


def _through_a_view(layer: Any, y: Any) -> None:
    view = layer.total[0:3]
    view += y


WRITES = {
    "+=": _iadd,
    "assign": _assign,
    "=": _rebind,
    "[:] =": _slice,
    "view": _through_a_view,
    "set_value": lambda layer, y: layer.total.set_value(layer.total + y),
    "add_": lambda layer, y: layer.total.add_(y),
    "copy_": lambda layer, y: layer.total.copy_(layer.total + y),
}


@pytest.mark.parametrize("how", WRITES)
def test_every_way_of_writing_a_buffer_is_alike(how: str) -> None:
    graph = trace(Cache(WRITES[how]), S(["n", 3]))
    (state,) = graph.states
    assert state.name == "total" and state.value is graph.buffers[0]
    assert state.where is not None and state.where.file == __file__
    run = Interpreter(optimize(graph)[0])
    x = np.ones((2, 3), np.float32)
    assert [run.run(x)[0][0, 0] for _ in range(3)] == [3, 5, 7]
    assert run.state["total"].tolist() == [6, 6, 6]


def test_a_buffer_that_is_only_written_has_no_first_value() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("saved", self.create_tensor())

        def forward(self, x: Any) -> Any:
            dyn.assign(x * 2, self.saved)
            return x + 1

    graph = trace(Model(), S(["n", 3]))
    validate(graph)
    (state,) = graph.states
    assert state.value is None and not graph.buffers
    assert "buffer saved -> %2" in str(graph)
    run = Interpreter(graph)
    run.run(np.ones((2, 3), np.float32))
    assert run.state["saved"].shape == (2, 3)


def test_a_seed_temporary_is_not_recorded_and_a_registered_one_is() -> None:
    class Model(nn.Layer):
        def __init__(self, registered: bool) -> None:
            super().__init__()
            self.flatten = nn.Flatten()
            self.fc = nn.Linear(10, 100)
            saved = self.create_tensor(name="saved_tensor0")
            if registered:
                self.register_buffer("saved_tensor", saved, persistable=True)
            else:
                self.saved_tensor = saved

        def forward(self, x: Any) -> Any:
            y = self.flatten(x)
            dyn.assign(y, self.saved_tensor)
            return self.fc(y)

    plain = str(trace(Model(False), S(["n", 10])))
    assert "saved" not in plain
    assert "buffer saved_tensor ->" in str(trace(Model(True), S(["n", 10])))


def test_a_written_parameter_is_state() -> None:
    model = nn.Linear(2, 1)

    def step(x: Any, y: Any) -> Any:
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        with dyn.no_grad():
            for p in model.parameters():
                p.set_value(p - p.grad * 0.1)  # type: ignore[operator]
                p.clear_grad(set_to_zero=False)
        return loss

    graph = trace(step, S(["n", 2]), S(["n", 1]), training=True)
    validate(graph)
    assert [s.name for s in graph.states] == ["weight", "bias"]
    assert graph.guards == []
    run = Interpreter(optimize(graph)[0])
    rng = np.random.default_rng(0)
    for n in (4, 7, 4):
        x = rng.standard_normal((n, 2)).astype(np.float32)
        y = x.sum(axis=1, keepdims=True)
        given = run.run(x, y)[0]
        wanted = step(dyn.to_tensor(x), dyn.to_tensor(y))
        np.testing.assert_allclose(given, wanted.numpy(), rtol=1e-6)
    np.testing.assert_allclose(run.state["weight"], model.weight.numpy(), rtol=1e-6)


def test_gradients_are_summed_by_declared_sizes() -> None:
    def forward(x: Any, b: Any) -> Any:
        b.stop_gradient = False
        return dyn.grad((x * b).sum(), b)[0]

    example = np.ones((1, 2), np.float32)
    graph = trace(forward, S(["n", 2], example=example), S([1, 2]))
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert Interpreter(graph).run(x, example)[0].tolist() == [[6, 9]]


def test_state_that_is_read_as_a_number_and_written_is_not_baked() -> None:
    class Model(nn.Layer):
        def __init__(self, number: bool) -> None:
            super().__init__()
            self.register_buffer("count", dyn.zeros([1]))
            self.number = number

        def forward(self, x: Any) -> Any:
            factor = float(self.count) if self.number else 2 if self.count > 1 else 1
            self.count += 1
            return x * factor

    with pytest.raises(TraceError, match=r"float\(\) takes"):
        trace(Model(True), S([2]))
    graph = trace(Model(False), S([2]))
    assert [n.op for n in graph.nodes].count("cond") == 1
    run = Interpreter(graph)
    assert [run.run(np.ones(2, np.float32))[0][0] for _ in range(4)] == [1, 1, 2, 2]


def test_state_must_keep_its_type() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rows", dyn.zeros([3, 2]))

        def forward(self, x: Any) -> Any:
            y = self.rows.sum() + x
            self.rows = dyn.concat([self.rows, x], axis=0)
            return y

    with pytest.raises(TraceError, match=r"rows is f32\[3, 2\].*written as f32\[n\+3, 2\]"):
        trace(Model(), S(["n", 2]))


def test_a_non_persistable_buffer_is_a_constant_until_it_carries_state() -> None:
    class Model(nn.Layer):
        def __init__(self, write: bool) -> None:
            super().__init__()
            self.register_buffer("table", dyn.ones([3]), persistable=False)
            self.write = write

        def forward(self, x: Any) -> Any:
            y = x * self.table
            if self.write:
                self.table += 1
            return y

    graph = trace(Model(False), S([3]))
    assert [(c.name, c.kind) for c in graph.constants] == [("table", "const")]
    with pytest.raises(TraceError, match=r"self\.table is written after it was read"):
        trace(Model(True), S([3]))


def test_a_temporary_that_an_earlier_call_has_written() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.last = dyn.zeros([3])
            self.read = False

        def forward(self, x: Any) -> Any:
            y = x + self.last if self.read else x
            dyn.assign(x * 1, self.last)
            return y

    model = Model()
    model(dyn.ones([3]))
    trace(model, S([3]))
    model.read = True
    with pytest.raises(TraceError, match=r"self\.last is written after it was read") as caught:
        trace(model, S([3]))
    assert "self.register_buffer('last', ...)" in str(caught.value)


def test_one_side_of_a_branch_may_write_state() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("hits", dyn.zeros([1]))
            self.register_buffer("calls", dyn.zeros([1]))

        def forward(self, x: Any) -> Any:
            self.calls += 1
            if x.sum() > 0:
                self.hits += 1
            return x * 2

    graph = trace(Model(), S([2]))
    validate(graph)
    run = Interpreter(optimize(graph)[0])
    for value in (1, -1, 1):
        run.run(np.full(2, value, np.float32))
    assert (run.state["hits"][0], run.state["calls"][0]) == (2, 3)


def test_a_buffer_without_a_value_must_be_written_on_both_sides() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("saved", self.create_tensor())

        def forward(self, x: Any) -> Any:
            if x.sum() > 0:
                dyn.assign(x, self.saved)
            return x * 2

    with pytest.raises(TraceError, match="saved has no value yet and is written on one side"):
        trace(Model(), S([2]))


def test_states_may_be_named_for_a_function() -> None:
    momentum = dyn.zeros([2])

    def step(x: Any) -> Any:
        momentum.set_value(momentum * 0.9 + x)
        return momentum * 1

    graph = trace(step, S([2]), state={"sgd.momentum": momentum})
    assert [s.name for s in graph.states] == ["sgd.momentum"]


def _written(start: float = 1.0) -> Any:
    made = dyn.full([3], start)
    made[0] = 5.0
    return made


def test_a_tensor_that_was_written_outside_and_is_only_read(tmp_path: Path) -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.table = _written()

        def forward(self, x: Any) -> Any:
            return x * self.table + around if x.sum() > 0 else x - self.table

    around, model = _written(2.0), Model()
    exporter.export(model, tmp_path / "m.onnx", [S(["n", 3], example=np.ones((2, 3), "f4"))])
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    for x in (np.ones((2, 3), np.float32), -np.ones((1, 3), np.float32)):
        np.testing.assert_array_equal(predictor.run(x)[0], model(dyn.to_tensor(x)).numpy())


CALLS = {"count": 0}


def test_what_a_later_call_may_write_again_is_refused() -> None:
    table = _written()

    def counted(x: Any) -> Any:
        CALLS["count"] += 1
        if CALLS["count"] % 100 == 0:
            dyn.assign(x * 1, table)
        return x * table

    class Counting(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def forward(self, x: Any) -> Any:
            self.count += 1
            if self.count % 100 == 0:
                dyn.assign(x * 1, table)
            return x * table

    for model in (counted, Counting()):
        with pytest.raises(TraceError, match=r"of shape \[3\] is read before it is written"):
            trace(model, S([3]))


def test_what_was_written_and_cannot_be_watched_is_refused() -> None:
    tables = {str(i): _written() for i in range(300)}

    with pytest.raises(TraceError, match=r"of shape \[3\] is read before it is written"):
        trace(lambda x: x * tables["7"], S([3]))


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("written", [True, False])
def test_one_side_reads_what_the_other_writes(written: bool, positive: bool) -> None:
    table = _written() if written else dyn.ones([3])

    def model(x: Any) -> Any:
        if (x.sum() > 0) == positive:
            return x * table
        dyn.assign(x * 1, table)
        return x

    with pytest.raises(TraceError, match=r"is read before|is written after"):
        trace(model, S([3], example=np.ones(3, "f4")))


def test_layers_made_in_the_forward_may_read_buffers_but_not_write_them() -> None:
    def weighed(x: Any) -> Any:
        criterion = nn.CrossEntropyLoss(weight=dyn.to_tensor([1.0, 2.0]))
        return criterion(x, dyn.to_tensor([0, 1, 1]))

    x = np.array([[1, 0], [2, -1], [0, 3]], np.float32)
    (found,) = Interpreter(trace(weighed, S([3, 2], example=x))).run(x)
    rows = np.log(np.exp(x).sum(1)) - x[[0, 1, 2], [0, 1, 1]]
    np.testing.assert_allclose(found, (rows * [1, 2, 2]).sum() / 5, rtol=1e-6)

    class Counter(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", dyn.to_tensor([0.0, 0.0]))

        def forward(self, x: Any) -> Any:
            self.total += x.sum(0)
            return x * self.total

    with pytest.raises(TraceError, match="is made in the forward, so it would be lost as state"):
        trace(lambda x: Counter()(x), S([3, 2]))


class Two(nn.Layer):
    """Two buffers, of one tensor if they are `shared`, and what `step` does with them."""

    def __init__(self, step: Any, *, shared: bool = False) -> None:
        super().__init__()
        first = dyn.zeros([2])
        self.register_buffer("state", first)
        self.register_buffer("last", first if shared else dyn.zeros([2]))
        self.step = step

    def forward(self, x: Any) -> Any:
        return self.step(self, x)


def _keeps_all(layer: Any, x: Any) -> Any:
    seen = []
    for i in range(3):
        layer.state = layer.state * 0.5 + x[i]
        seen.append(layer.state)
    return dyn.stack(seen)


def _moves_on(layer: Any, x: Any) -> Any:
    layer.last = layer.state
    layer.state = layer.state + x[0]
    return layer.state - layer.last * 3


def _replaces_and_writes(layer: Any, x: Any) -> Any:
    old = layer.state
    layer.state = dyn.full([2], 2.0)
    layer.state.add_(x[0])
    old.add_(x[1])
    layer.last += old
    return layer.state + layer.last


def _on_one_side(layer: Any, x: Any) -> Any:
    if x.sum() > 0:
        layer.state = layer.state + x[0]
    return layer.state * 2


@pytest.mark.parametrize("step", [_keeps_all, _moves_on, _replaces_and_writes, _on_one_side])
def test_buffers_that_take_the_places_of_others_are_state(step: Any, tmp_path: Any) -> None:
    model, rng = Two(step), np.random.default_rng(0)
    exporter.export(model, str(tmp_path / "net.onnx"), S([3, 2]))
    assert isinstance(model.state, nn.Buffer) and model.state.tolist() == [0, 0]
    served = exporter.Predictor(str(tmp_path / "net.onnx"))
    for _ in range(4):
        x = rng.standard_normal((3, 2)).astype(np.float32)
        np.testing.assert_allclose(served(x)[0], model(dyn.to_tensor(x)).numpy(), rtol=1e-6)


def _removed(layer: Any, x: Any) -> Any:
    layer.state = None
    return x


def _parted(layer: Any, x: Any) -> Any:
    layer.state = x[0]
    return layer.last


def test_buffers_that_go_or_part_are_refused() -> None:
    with pytest.raises(TraceError, match="state is set to None"):
        trace(Two(_removed), S([3, 2]))
    with pytest.raises(TraceError, match="state, last are one and the same buffer"):
        trace(Two(_parted, shared=True), S([3, 2]))


def test_a_buffer_without_a_first_value_is_no_state() -> None:
    def lazily(layer: Any, x: Any) -> Any:
        if layer.state is None:
            layer.state = dyn.arange(2, dtype="float32") if layer.constant else x[0] * 0
        if not layer.constant:
            layer.state = layer.state + x[0]
        return layer.state + x

    for constant in (True, False):
        model = Two(lazily)
        model.state, model.constant = None, constant
        if constant:
            assert not trace(model, S([3, 2])).states
        else:
            with pytest.raises(TraceError, match=r"self\.state is computed from inputs in one"):
                trace(model, S([3, 2]))
        assert model.state is None
