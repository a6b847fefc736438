"""The corpus of forwards: no miss, no false alarm, and every refusal names its line and remedy."""

from __future__ import annotations

import numpy as np
import pytest

from dyn.core import rng
from tests.tracer.corpus import ILLEGAL, LEGAL, Forward, refused
from tracer import Interpreter, Live, TraceError, optimize, parse, trace, validate
from tracer.graph import Graph
from tracer.sizes import to_int
from tracer.spec import draw


def test_the_corpus_is_large_enough() -> None:
    assert len(LEGAL) + len(ILLEGAL) >= 60
    assert len(LEGAL) >= 30 and len(ILLEGAL) >= 30


def calls(graph: Graph, sizes: dict[str, int], seed: int) -> list[list[np.ndarray]]:
    """Two sets of inputs at the given sizes."""
    generator = np.random.default_rng(seed)
    shapes = [(to_int(v.shape, sizes), v.dtype) for v in graph.inputs]
    return [[draw(shape, dtype, generator) for shape, dtype in shapes] for _ in range(2)]


def size_sets(graph: Graph) -> list[dict[str, int]]:
    """The traced sizes and others; 1 is among them."""
    declared = [name for name in graph.sizes if not name.startswith("_")]
    even = 64 if max(graph.sizes.values(), default=0) > 32 else 2
    return [dict(graph.sizes)] + [
        {name: k + (even if graph.sizes[name] > 32 else 0) for name in declared} for k in (1, 4, 6)
    ] * bool(declared)


@pytest.mark.parametrize("forward", LEGAL, ids=lambda f: f.name)
def test_legal(forward: Forward) -> None:
    model = forward.make()
    graph = trace(model, *forward.inputs, **forward.kwargs)
    validate(graph)
    assert str(parse(str(graph))) == str(graph)
    optimized, _ = optimize(graph)
    validate(optimized)
    live = Live(model, *forward.inputs, **forward.kwargs)
    for sizes in size_sets(graph):
        for form in (graph, optimized):
            live.restart()
            interpreter = Interpreter(form)
            for arrays in calls(graph, sizes, seed=sum(sizes.values())):
                rng.seed(1)
                wanted = live.run(arrays)
                rng.seed(1)
                given = interpreter.run(*arrays)
                for a, b in zip(wanted, given, strict=True):
                    assert a.dtype == b.dtype and a.shape == b.shape
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    live.restart()


@pytest.mark.parametrize("forward", ILLEGAL, ids=lambda f: f.name)
def test_illegal(forward: Forward) -> None:
    with pytest.raises(TraceError) as caught:
        trace(forward.make(), *forward.inputs, **forward.kwargs)
    message = str(caught.value)
    for words in forward.remedy:
        assert words in message
    where = caught.value.where
    assert where is not None and where.file == refused.__file__
    assert where.line == forward.line, message
    assert f"{refused.__file__}:{forward.line}" in message
