"""`exporter.check`: all problems at once, in the user's terms, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import dyn
import exporter
from dyn import nn
from dyn.core.errors import AttributeValueError
from exporter.registry import LOWERINGS
from tests.exporter.nets import IMAGE, LeNet
from tracer import InputSpec, trace

X = InputSpec(["n", 3], name="x")


class Wrong(nn.Layer):
    """Does five things that cannot be exported, each on a line of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = [nn.Linear(3, 3)]
        self.fine = nn.Linear(3, 3)
        self.count = dyn.zeros([1])

    def forward(self, x: Any) -> Any:
        x = self.listed[0](x)
        x = self.fine(x) * float(x.sum())
        x = x + x.numpy().mean()
        self.count = self.count + 1
        return dyn.tanh(x) * self.count


def test_a_model_without_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert exporter.check(LeNet(), IMAGE) == []
    assert exporter.check(trace(lambda x: x + 1, X)) == []
    assert os.listdir(tmp_path) == []


def test_all_problems_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LOWERINGS, "tanh")
    problems = exporter.check(Wrong(), X)
    text = "\n".join(map(str, problems))
    for told in ("float()", "numpy()", "register_buffer", "LayerList", "tanh"):
        assert told in text, told
    assert {p.kind for p in problems} == {"trace", "op"}
    for problem in problems:
        assert "test_check.py:" in str(problem)
    lines = [p.where.line for p in problems if p.where is not None]
    assert len(set(lines)) >= 4


def test_what_only_one_opset_lacks_is_told_for_that_opset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def modern(b: Any, node: Any) -> Any:
        if not b.has("Swish"):
            raise exporter.UnsupportedOpError(["needs a newer opset"])
        return b.op("Swish", node.x)

    monkeypatch.setitem(LOWERINGS, "silu", modern)
    net = nn.Sequential(nn.Silu(), nn.ReLU(), nn.Silu())
    problems = exporter.check(net, X, opset=23)
    assert len(problems) == 2 and all(p.kind == "op" for p in problems)
    assert "in layer 0" in str(problems[0]) and "in layer 2" in str(problems[1])
    assert exporter.check(net, X, opset=24) == []


def test_a_forward_that_fails() -> None:
    (problem,) = exporter.check(LeNet(), InputSpec([None, 3, 28, 28]))
    assert problem.kind == "model" and "conv1" in str(problem)


def test_an_opset_out_of_range() -> None:
    with pytest.raises(AttributeValueError, match="17 to 26"):
        exporter.check(LeNet(), IMAGE, opset=9)
