"""The text of graphs: golden texts of a few models; reading gives back what was printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
from tests.tracer import golden_models
from tracer import GraphError, InputSpec, Interpreter, parse, trace, validate

GOLDEN = Path(__file__).parents[1] / "golden"
GRAPHS = golden_models.graphs()


def quoted(text: str) -> str:
    """A graph's text with lines of the models quoted, not numbered: then they may move."""
    source = Path(golden_models.__file__)
    lines = source.read_text().splitlines()
    return re.sub(
        rf"{re.escape(source.name)}:(\d+)", lambda found: lines[int(found[1]) - 1].strip(), text
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_golden_text(name: str) -> None:
    # A text that has changed is read, found better, and put into its file by hand.
    assert quoted(str(GRAPHS[name])) == (GOLDEN / f"{name}.txt").read_text()


def test_a_text_names_file_and_line() -> None:
    line = golden_models.Mlp.forward.__code__.co_firstlineno + 2
    assert f"# fc2  golden_models.py:{line}\n" in str(GRAPHS["mlp"])


def test_there_are_no_other_golden_texts() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(GRAPHS)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_text_is_read_back(name: str) -> None:
    graph = GRAPHS[name]
    found = parse(str(graph))
    assert str(found) == str(graph)
    validate(found)
    assert found.training == graph.training and found.sizes == graph.sizes
    for a, b in zip(found.walk(), graph.walk(), strict=True):
        assert (a.op, a.attrs, a.layer, list(a.blocks)) == (b.op, b.attrs, b.layer, list(b.blocks))
        named = [(v.type, v.kind) for v in a.outputs if v.name != "_"]
        assert named == [(v.type, v.kind) for v in b.outputs if v.name != "_"]


def test_a_graph_without_weights_runs_from_its_text() -> None:
    def forward(x: Any) -> Any:
        y = x * dyn.to_tensor([1.0, 2.0, float("inf")]) + 0.1
        return y, (x > -0.0).astype("int64") + 3, x / float("nan")

    graph = trace(forward, InputSpec(["n", 3]))
    found = parse(str(graph))
    x = np.array([[1, 2, 3]], np.float32)
    for a, b in zip(Interpreter(found).run(x), Interpreter(graph).run(x), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_weights_are_not_in_the_text() -> None:
    with pytest.raises(GraphError, match=r"fc1\.weight has no data"):
        Interpreter(parse(str(GRAPHS["mlp"])))


def test_text_of_parts() -> None:
    graph = GRAPHS["mlp"]
    assert repr(graph) == "<graph Mlp: 3 nodes>"
    assert repr(graph.inputs[0]) == "<input x: f32[N, 784]>"
    assert repr(graph.nodes[1]) == "<node %2: f32[N, 128] = relu(%1)>"


def test_numbers_keep_their_dtype() -> None:
    def forward(x: Any) -> Any:
        return dyn.where(x > 1, dyn.to_tensor(2, dtype="float32"), dyn.to_tensor(3.0))

    text = str(trace(forward, InputSpec([2])))
    assert "where(%1, f32(2.0), f32(3.0))" in text
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "graph f(x: f32[2]) -> output=%1",
        "graph f(x: f32[2]) -> (output=%1)\n  %1: f32[2] = relu(y)\n",
        "graph f(x: f33[2]) -> (output=x)",
        "graph f(x: f32[2 +]) -> (output=x)",
        "graph f(x: f32[2]) -> (output=x)\n  guard n ~ 3 is True\n",
    ],
)
def test_bad_texts(text: str) -> None:
    with pytest.raises(GraphError, match="cannot be read"):
        parse(text)
