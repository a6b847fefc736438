"""A forward that is not the same twice is refused, whatever Python keeps from call to call.

What a graph can carry from call to call (buffers) is in `test_state.py`.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from tracer import InputSpec, TraceError, trace
from tracer.errors import headline
from tracer.steady import HIGHEST, LOWEST, _drawing

X = InputSpec(["n", 4], name="x")


class Keeping(nn.Layer):
    """A layer whose forward is a method given to it, with what Python can keep."""

    def __init__(self, body: Callable[[Any, Any], Any]):
        super().__init__()
        self.body = body
        self.calls = 0
        self.ready = False
        self.last: Any = None
        self.seen: list[Any] = []
        self.table: dict[str, Any] = {"last": None}

    def forward(self, x: Any) -> Any:
        return self.body(self, x)


def counter(self: Any, x: Any) -> Any:
    self.calls += 1
    return x * self.calls


def flag(self: Any, x: Any) -> Any:
    if not self.ready:
        self.ready = True
        return x * 0
    return x


def growing(self: Any, x: Any) -> Any:
    self.seen.append(1)
    return x * len(self.seen)


@pytest.mark.parametrize(("body", "name"), [(counter, "calls"), (flag, "ready"), (growing, "seen")])
def test_attributes_that_decide_the_next_call(body: Any, name: str) -> None:
    with pytest.raises(TraceError, match="not the same twice") as caught:
        trace(Keeping(body), X)
    assert f"self.{name}" in str(caught.value)
    assert f"register_buffer('{name}'" in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.file == __file__
    assert "x" in caught.value.where.text.split()


def cached_input(self: Any, x: Any) -> Any:
    if self.last is None:
        self.last = x * 2
    return x + self.last


def listed(self: Any, x: Any) -> Any:
    self.seen.append(x.mean(0))
    return x + self.seen[0]


def in_a_dict(self: Any, x: Any) -> Any:
    before, self.table["last"] = self.table["last"], x.mean()
    return x if before is None else x + before


def read_by_python(self: Any, x: Any) -> Any:
    before, self.last = self.last, x.max()
    return x * 2 if before is not None and before > 0 else x


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (cached_input, "last"),
        (listed, "seen"),
        (in_a_dict, "table"),
        (read_by_python, "last"),
    ],
)
def test_tensors_that_are_kept_for_the_next_call(body: Any, name: str) -> None:
    with pytest.raises(TraceError, match="carries a value from one call to the next") as caught:
        trace(Keeping(body), X)
    assert f"register_buffer('{name}'" in str(caught.value)
    assert caught.value.where is not None and caught.value.where.file == __file__


def logged(self: Any, x: Any) -> Any:
    self.calls += 1
    self.seen.append(tuple(x.shape))
    self.last = x
    return x * 2


def lazy_mask(self: Any, x: Any) -> Any:
    size = x.shape[0]
    if self.last is None or self.last.shape[0] < size:
        self.last = dyn.tril(dyn.ones([64, 64]))
    return self.last[:size, :size] @ x


def drawn_for_nothing(self: Any, x: Any) -> Any:
    skipped = random.random() < 0.5 or np.random.rand() < 0.5
    return x if self.training and skipped else x * 2


@pytest.mark.parametrize("body", [logged, lazy_mask, drawn_for_nothing])
def test_what_changes_no_result_is_allowed(body: Any, tmp_path: Path) -> None:
    net = Keeping(body)
    exporter.export(net, tmp_path / "m.onnx", X)
    assert (net.calls, net.seen, net.last) == (0, [], None)


def test_a_second_call_that_fails() -> None:
    def once(self: Any, x: Any) -> Any:
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("used up")
        return x

    with pytest.raises(TraceError, match="raises RuntimeError: used up") as caught:
        trace(Keeping(once), X)
    assert "self.calls" in str(caught.value)


def test_a_second_call_that_fails_without_a_word() -> None:
    def once(self: Any, x: Any) -> Any:
        self.calls += 1
        assert self.calls < 2
        return x

    # pytest fills in messages of assertions in test files; other programs have none.
    with pytest.raises(TraceError, match="raises AssertionError"):
        trace(Keeping(once), X)
    assert headline(AssertionError()) == "AssertionError"


def scaled(x: Any) -> Any:
    return x * random.random()


def shifted(x: Any) -> Any:
    return x + np.random.randn(4).astype("float32")


def rarely(x: Any) -> Any:
    return x * 2 if random.random() < 0.001 else x


def nearly_always(x: Any) -> Any:
    return x * 2 if np.random.rand() < 0.999 else x


def shuffled(x: Any) -> Any:
    return x[:, random.sample(range(4), 4)]


@pytest.mark.parametrize("forward", [scaled, shifted, rarely, nearly_always, shuffled])
def test_random_numbers_of_python_and_numpy(forward: Any) -> None:
    random.seed(0)
    np.random.seed(0)
    with pytest.raises(TraceError, match=r"Remedy: draw with ops \(dyn.rand") as caught:
        trace(forward, X)
    assert caught.value.where is not None and caught.value.where.file == __file__


def test_extreme_numbers_and_back() -> None:
    random.seed(3)
    np.random.seed(3)
    expected = random.Random(3).random(), np.random.RandomState(3).rand()
    with _drawing(LOWEST):
        assert (random.random(), np.random.rand(), random.randrange(9)) == (0, 0, 0)
    with _drawing(HIGHEST):
        assert min(random.random(), np.random.rand()) > 1 - 1e-9
        assert np.random.randn(3).size == 3 and random.randrange(9) < 9  # rejection ends
    assert (random.random(), np.random.rand()) == expected


COUNT = {"calls": 0}


def global_counter(x: Any) -> Any:
    COUNT["calls"] += 1
    return x * COUNT["calls"]


def timed(x: Any) -> Any:
    return x * (time.perf_counter() % 1000)


def own_generator(x: Any) -> Any:
    return x + np.random.default_rng().random(4, np.float32)


def size_as_text(x: Any) -> Any:
    return x * 2 if str(x.shape[0]) == "3" else x


def size_as_key(x: Any) -> Any:
    return x * {3: 2.0}.get(x.shape[0], 1.0)


@pytest.mark.parametrize(
    "forward", [global_counter, timed, own_generator, size_as_text, size_as_key]
)
def test_what_only_running_it_again_can_tell(forward: Any, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="not the same twice"):
        exporter.export(forward, tmp_path / "m.onnx", X)
    assert not list(tmp_path.iterdir())


def test_unsteady_results_are_no_rounding(tmp_path: Path) -> None:
    calls: list[int] = []

    def late(x: Any) -> Any:
        calls.append(1)
        return x * max(1, len(calls) - 1)

    with pytest.raises(TraceError, match="not the same twice"):
        exporter.export(late, tmp_path / "m.onnx", X)


def test_the_line_of_what_only_running_it_again_can_tell(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        exporter.export(timed, tmp_path / "m.onnx", X)
    assert caught.value.where is not None
    assert "time.perf_counter()" in caught.value.where.text


def test_a_table_that_functools_keeps(tmp_path: Path) -> None:
    @functools.lru_cache
    def table(size: int) -> Any:
        return dyn.to_tensor(np.arange(size, dtype="float32"))

    exporter.export(lambda x: x * table(4), tmp_path / "m.onnx", X)


def test_it_is_one_of_the_problems() -> None:
    net = Keeping(lambda self, x: counter(self, x) * float(x.sum()))
    found = [problem.text for problem in exporter.check(net, X)]
    assert any("not the same twice" in text for text in found)
    assert any(text.startswith("float()") for text in found)


def test_a_refusal_that_the_forward_catches() -> None:
    def careless(x: Any) -> Any:
        try:
            return x * int(x.sum())
        except Exception:
            return x

    with pytest.raises(TraceError, match=r"int\(\) takes a value"):
        trace(careless, X)
