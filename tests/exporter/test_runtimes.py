"""Files run in older onnxruntimes, as the README says: every op, and networks with all features.

Set DYN_RUNTIMES to interpreters (separated as in PATH) that have numpy and some onnxruntime; each
opset is run in the oldest of them that the table names for it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from dyn.core.tensor import Tensor
from exporter import model as files
from exporter.lowering import lower
from exporter.opset import IR_VERSION, OLDEST_RUNTIME
from exporter.trials import random_results
from tests.exporter.nets import IMAGE, Counter, LeNet, warmed
from tests.test_op_onnx import CASES, compare, traced
from tracer import InputSpec, optimize
from tracer.graph import Graph

WORKER = Path(__file__).with_name("other_runtime.py")
README = Path(__file__).parents[2] / "README.md"


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


@cache
def runtimes() -> dict[tuple[int, ...], str]:
    """Interpreters by the version of their onnxruntime, oldest first."""
    found = {}
    for python in filter(None, os.environ.get("DYN_RUNTIMES", "").split(os.pathsep)):
        code = "import onnxruntime; print(onnxruntime.__version__)"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        found[release(done.stdout)] = python
    return dict(sorted(found.items()))


@cache
def graphs() -> list[tuple[str, Graph, list[np.ndarray], list[np.ndarray]]]:
    """Name, graph, inputs and wanted outputs of each row of the op table.

    Without bfloat16, which numpy does not know by itself.
    """
    made = []
    for i, case in enumerate(CASES):
        arrays = case.arrays(dtype=case.dtypes[0], sizes=case.at(0))
        wanted = case.call(*(None if a is None else Tensor(a) for a in arrays))
        given, results = [a for a in arrays if a is not None], [t.numpy() for t in wanted]
        if all(a.dtype.name != "bfloat16" for a in (*given, *results)):
            made.append(
                (f"{i}-{re.sub('[^a-z0-9_-]', '_', case.id)}", traced(case), given, results)
            )
    return made


class Sequence(nn.Layer):
    """Embedding, recurrent and attention layers, a branch, a loop, a scan and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.rnn = nn.LSTM(8, 8, 1)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16)

    def forward(self, ids: Any, x: Any) -> Any:
        n, t = ids.shape
        y = self.encoder(self.rnn(self.embed(ids))[0])
        y = y.reshape([n, t, 2, 4]).transpose([0, 2, 1, 3]).reshape([n, -1])
        y = y * 2 if x.sum() > 0 else dyn.abs(y)
        y = dyn.while_loop(lambda v: v.max() > 1, lambda v: v * 0.5, [y])[0]
        total, sums = dyn.scan(lambda c, row: (c + row, c.max()), y[0] * 0, y)
        y[y > 0.3] = 0.3
        return y, total, sums, x + 0 * dyn.rand([n])


SPECS = (InputSpec(["n", "t"], "int64", name="ids"), InputSpec(["n"], name="x"))


def networks() -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """Name, model, inputs and options of exports that use what a file can have."""
    yield "lenet", warmed(LeNet(), 2, 1, 28, 28), IMAGE, {}
    yield "functions", warmed(LeNet(), 2, 1, 28, 28), IMAGE, {"functions": True}
    yield "external", nn.Linear(32, 32), InputSpec([None, 32], name="x"), {"external_data": True}
    yield "counter", Counter(), InputSpec(["n", 2], name="x"), {}
    yield "sequence", Sequence(), SPECS, {}
    yield "sequence_functions", Sequence(), SPECS, {"functions": True}


def run(python: str, folder: Path) -> dict[str, Any]:
    """Run the worker over a folder; errors by name of the file."""
    done = subprocess.run([python, str(WORKER), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["errors"]


def test_the_readme_has_the_table() -> None:
    rows = dict(
        (cells[0], cells[1:])
        for line in README.read_text().splitlines()
        for cells in [[cell.strip() for cell in line.strip().strip("|").split("|")]]
        if cells[0] in ("opset", "onnxruntime")
    )
    said = {
        int(opset): version
        for opsets, version in zip(rows["opset"], rows["onnxruntime"], strict=True)
        for opset in opsets.split(",")
    }
    assert said == OLDEST_RUNTIME
    assert list(OLDEST_RUNTIME) == list(IR_VERSION)


@pytest.fixture(params=sorted(IR_VERSION))
def older(request: pytest.FixtureRequest) -> tuple[int, str]:
    """An opset and an interpreter with an old onnxruntime that must run it."""
    opset = request.param
    if not runtimes():
        pytest.skip("DYN_RUNTIMES names no interpreter with another onnxruntime")
    fit = [v for v in runtimes() if v >= release(OLDEST_RUNTIME[opset])]
    if not fit:
        pytest.skip(f"DYN_RUNTIMES has no onnxruntime from {OLDEST_RUNTIME[opset]} on")
    return opset, runtimes()[fit[0]]


def test_every_op(older: tuple[int, str], tmp_path: Path) -> None:
    opset, python = older
    for name, graph, given, _ in graphs():
        optimized, _ = optimize(graph)
        lowered = lower(optimized, opset)
        files.write(files.skeleton(lowered, {}), lowered.weights, tmp_path / f"{name}.onnx", None)
        inputs = dict(zip((v.name for v in graph.inputs), given, strict=True))
        np.savez(tmp_path / f"{name}.in.npz", **inputs)
    assert run(python, tmp_path) == {}
    for name, graph, _, wanted in graphs():
        random = random_results(graph)
        with np.load(tmp_path / f"{name}.out.npz") as results:
            for i, (output, a) in enumerate(zip(graph.output_names, wanted, strict=True)):
                compare(a, results[f"o{i}"], f"{name}, opset {opset}", output not in random)


def test_networks(older: tuple[int, str], tmp_path: Path) -> None:
    opset, python = older
    rng = np.random.default_rng(0)
    wanted = {}
    for name, model, spec, options in networks():
        path = tmp_path / f"{name}.onnx"
        exporter.export(model, path, spec, opset=opset, **options)
        predictor = exporter.Predictor(path)
        specs = spec if isinstance(spec, tuple) else (spec,)
        given = []
        for one in specs:
            shape = [size if isinstance(size, int) else 4 for size in one.shape]
            drawn = rng.integers(0, 7, shape) if one.dtype == "int64" else rng.random(shape)
            given.append(drawn.astype(one.dtype))
        inputs = dict(zip((value.name for value in predictor.inputs), given, strict=True))
        np.savez(tmp_path / f"{name}.in.npz", **inputs, **predictor.state)
        wanted[name] = predictor.run(*given)
    assert run(python, tmp_path) == {}
    for name, results in wanted.items():
        with np.load(tmp_path / f"{name}.out.npz") as found:
            for i, a in enumerate(results):
                np.testing.assert_allclose(found[f"o{i}"], a, rtol=2e-5, atol=2e-5, err_msg=name)
