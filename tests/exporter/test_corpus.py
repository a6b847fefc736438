"""Every legal forward of the tracer's corpus as a file, verified; also with layers as functions."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import exporter
from tests.runtime import RUNNABLE
from tests.tracer.corpus import LEGAL, Forward


@pytest.mark.parametrize("functions", [False, True], ids=["plain", "functions"])
@pytest.mark.parametrize("forward", LEGAL, ids=lambda f: f.name)
def test_legal(forward: Forward, functions: bool, tmp_path: Path) -> None:
    opset = RUNNABLE[(LEGAL.index(forward) + 5 * functions) % len(RUNNABLE)]
    spec = {**dict(zip_names(forward)), **forward.kwargs} if forward.kwargs else forward.inputs
    path = tmp_path / "m.onnx"
    report = exporter.export(forward.make(), path, spec, opset=opset, functions=functions)
    assert report.verified is not None and report.verified.runs
    onnx.checker.check_model(str(path), full_check=True)


def zip_names(forward: Forward) -> list[tuple[str, object]]:
    """Positional inputs by the names that functions of the corpus give them."""
    return list(zip(("x", "y"), forward.inputs, strict=False))
