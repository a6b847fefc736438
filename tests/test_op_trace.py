"""Every row of the op table traced: well formed, readable, and bitwise what eager mode computes.

Sizes that have names are dynamic; the graph is run at the traced sizes and at others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dyn.core import rng
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from tests.optable import cases
from tests.optable.case import OpCase
from tracer import InputSpec, Interpreter, optimize, parse, trace, validate
from tracer.graph import Graph


def traced(case: OpCase) -> Graph:
    arrays = case.arrays()
    specs: list[Any] = []
    for i, (shape, a) in enumerate(zip(case.specs(), arrays, strict=True)):
        sizes = shape if shape is not None or a is None else a.shape
        specs.append(None if a is None else InputSpec(sizes, a.dtype, name=f"x{i}", example=a))
    return trace(case.call, *specs)


def runs(case: OpCase) -> list[list[Any]]:
    """Inputs at the traced sizes and, where all of them follow the sizes, at others."""
    found = [case.arrays()]
    other = case.arrays(sizes=case.at(1))
    fits = all(
        shape is not None or a is None or a.shape == b.shape
        for shape, a, b in zip(case.specs(), found[0], other, strict=True)
    )
    return [*found, other] if case.names and fits else found


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.id)
def test_the_graph_computes_what_eager_mode_computes(case: OpCase) -> None:
    graph = traced(case)
    validate(graph)
    text = str(graph)
    assert str(parse(text)) == text
    optimized, _ = optimize(graph)
    validate(optimized)
    # A function made of ops may take another way for a size it does not know (quantile).
    exact = case.op in OPS
    for arrays in runs(case):
        given = [a for a in arrays if a is not None]
        with np.errstate(all="ignore"):
            rng.seed(3)
            wanted = case.call(*(None if a is None else Tensor(a) for a in arrays))
            for form in (graph, optimized):
                rng.seed(3)
                for a, b in zip(wanted, Interpreter(form).run(*given), strict=True):
                    assert a._array.dtype == b.dtype and a._array.shape == b.shape
                    assert a._array.tobytes() == b.tobytes() or not exact
                    np.testing.assert_allclose(a._array, b, rtol=1e-5)
