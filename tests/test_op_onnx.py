"""Every row of the op table in ONNX: lowered, checked and run in onnxruntime against eager mode.

At the opsets where most operators change; sizes that have names are dynamic, and the file is run at
the traced sizes and at others. Of random results shape and dtype are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dyn.core.tensor import Tensor
from exporter import model as files
from exporter.lowering import Lowered, lower, require_coverage
from exporter.serving import Predictor
from exporter.trials import random_results
from tests.exporter.nets import all_op_types
from tests.optable import cases
from tests.optable.case import OpCase
from tests.runtime import among
from tracer import InputSpec, optimize, trace
from tracer.graph import Graph

OPSETS = among(17, 20, 23, 26)
CASES = list(cases())
TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 2e-5, "float64": 1e-7}


def traced(case: OpCase) -> Graph:
    arrays, others = (case.arrays(sizes=case.at(which)) for which in (0, 1))
    specs: list[Any] = []
    for i, (shape, a, other) in enumerate(zip(case.specs(), arrays, others, strict=True)):
        if a is None:
            specs.append(None)
            continue
        if shape is None:
            # Drawn by a function: its dynamic axes are those whose size changes.
            names = {n: name for name, n in case.at(0).items()}
            pairs = zip(a.shape, other.shape, strict=True)
            shape = [n if n == m else names[n] for n, m in pairs]
        specs.append(InputSpec(shape, a.dtype, name=f"x{i}", example=a))
    return trace(case.call, *specs)


def written(lowered: Lowered, path: Path) -> Predictor:
    """The file, checked, and open in onnxruntime."""
    model = files.skeleton(lowered, {})
    files.check(model, lowered.weights)
    files.write(model, lowered.weights, path, None)
    return Predictor(path)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_onnxruntime_computes_what_eager_mode_computes(case: OpCase, tmp_path: Path) -> None:
    graph = traced(case)
    require_coverage(graph)
    if case.onnx is not None:
        assert case.onnx in all_op_types(lower(graph, OPSETS[-1]).nodes)
    graph, _ = optimize(graph)
    random = random_results(graph)
    for opset in OPSETS:
        predictor = written(lower(graph, opset), tmp_path / f"{opset}.onnx")
        for which in (0, 1) if case.names else (0,):
            arrays = case.arrays(dtype=case.dtypes[0], sizes=case.at(which))
            wanted = case.call(*(None if a is None else Tensor(a) for a in arrays))
            given = predictor.run(*(a for a in arrays if a is not None))
            for name, a, b in zip(graph.output_names, wanted, given, strict=True):
                at = f"{name}, opset {opset}, sizes {case.at(which)}"
                compare(a.numpy(), b, at, values=name not in random)


@pytest.mark.parametrize("case", [c for c in CASES if c.names and c.empty], ids=lambda c: c.id)
def test_onnxruntime_computes_what_has_no_elements(case: OpCase, tmp_path: Path) -> None:
    arrays = case.arrays(sizes=dict.fromkeys(case.names, 0))
    tensors = [None if a is None else Tensor(a) for a in arrays]
    wanted = case.call(*tensors)
    given = [InputSpec(a.shape, a.dtype, example=a) if a is not None else None for a in arrays]
    graph, _ = optimize(trace(case.call, *given))
    predictor = written(lower(graph, 20), tmp_path / "m.onnx")
    random = random_results(graph)
    found = predictor.run(*(a for a in arrays if a is not None))
    for name, a, b in zip(graph.output_names, wanted, found, strict=True):
        compare(a.numpy(), b, name, values=name not in random)


SCATTERED = {
    "embedding_grad",
    "gather_grad",
    "grid_sample_grad_x",
    "index_add",
    "max_pool_grad",
    "multilabel_margin_grad",
    "pad_grad",
    "put_along_axis",
    "put_at",
    "scatter_extreme",
    "scatter_nd",
    "sum_bags",
    "sum_bags_grad",
}
"""Ops that onnxruntime computes with what it scatters, for which it lacks float16."""


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.op in SCATTERED or c.id == "elu-celu"], ids=lambda c: c.id
)
def test_onnxruntime_computes_in_half_precision(case: OpCase, tmp_path: Path) -> None:
    arrays = case.arrays(dtype="float16")
    wanted = case.call(*[None if a is None else Tensor(a) for a in arrays])
    specs = [None if a is None else InputSpec(a.shape, a.dtype, example=a) for a in arrays]
    graph, _ = optimize(trace(case.call, *specs))
    given = [a for a in arrays if a is not None]
    for opset in OPSETS:
        found = written(lower(graph, opset), tmp_path / f"{opset}.onnx").run(*given)
        for name, a, b in zip(graph.output_names, wanted, found, strict=True):
            compare(a.numpy(), b, f"{name}, opset {opset}", values=True)


def compare(wanted: np.ndarray, given: np.ndarray, at: str, values: bool) -> None:
    assert wanted.dtype == given.dtype and wanted.shape == given.shape, at
    if not values:
        return
    if wanted.dtype.name not in TOLERANCE:
        np.testing.assert_array_equal(given, wanted, err_msg=at)
        return
    bound = TOLERANCE[wanted.dtype.name]
    np.testing.assert_allclose(
        given.astype(np.float64), wanted.astype(np.float64), rtol=bound, atol=bound, err_msg=at
    )
