"""What stands in the file: signature, names, metadata, weights once. And its way to its place."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import dyn
import exporter
from dyn import nn
from exporter import model as files
from tests.exporter.nets import (
    IMAGE,
    Counter,
    LeNet,
    Tied,
    initializers,
    load,
    op_types,
    signature,
    warmed,
)
from tests.runtime import RUNNABLE
from tracer import InputSpec

X = InputSpec(["n", 3], name="x")
steps: Any = importlib.import_module("exporter.export")


def exported(model: Any, folder: Path, *specs: InputSpec, **options: Any) -> onnx.ModelProto:
    """The file of a model, after onnx's checker and its own verification."""
    exporter.export(model, folder / "m.onnx", list(specs), **options)
    return load(folder / "m.onnx")


# -- signature ---------------------------------------------------------------------------------


def test_names_and_order_are_as_declared(tmp_path: Path) -> None:
    def forward(second: Any, first: Any) -> Any:
        return {"b": first - second, "a": first + second}

    n = InputSpec(["n"])
    model = exported(forward, tmp_path, n, n)
    assert signature(model.graph.input) == [("second", ["n"]), ("first", ["n"])]
    assert signature(model.graph.output) == [("b", ["n"]), ("a", ["n"])]


def test_unused_inputs_stay(tmp_path: Path) -> None:
    model = exported(lambda a, b, c: b * 2, tmp_path, *(InputSpec([k]) for k in "ijk"))
    assert [name for name, _ in signature(model.graph.input)] == ["a", "b", "c"]
    arrays = [np.zeros(k, np.float32) for k in (1, 2, 3)]
    assert exporter.Predictor(tmp_path / "m.onnx").run(*arrays)[0].shape == (2,)


def test_repeated_outputs_stay(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        y = x + 1
        return y, y, x, x

    model = exported(forward, tmp_path, X)
    names = [name for name, _ in signature(model.graph.output)]
    assert len(names) == len(set(names)) == 4
    a = np.ones((2, 3), np.float32)
    for given, wanted in zip(
        exporter.Predictor(tmp_path / "m.onnx").run(a), (2, 2, 1, 1), strict=True
    ):
        np.testing.assert_array_equal(given, np.full((2, 3), wanted))


def test_an_input_a_parameter_and_a_constant_returned(tmp_path: Path) -> None:
    class Net(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.w = self.create_parameter([2])

        def forward(self, x: Any) -> Any:
            return x, self.w, dyn.to_tensor([1.0, 2.0])

    net = Net()
    model = exported(net, tmp_path, X)
    assert "w" in initializers(model)
    a = np.ones((2, 3), np.float32)
    given = exporter.Predictor(tmp_path / "m.onnx").run(a)
    for value, wanted in zip(given, (a, net.w.numpy(), [1, 2]), strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_a_name_of_a_weight_does_not_clash(tmp_path: Path) -> None:
    """Names that look like those of nodes and constants are free for users to take."""
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    net.register_buffer("const", dyn.to_tensor([1.0]))
    spec = InputSpec([None, 3], name="1/Relu")
    model = exported(net, tmp_path, spec, output_names=["0/Gemm"])
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == ["1/Relu", "0/Gemm"]


def test_symbolic_sizes_of_outputs(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        n, h = x.shape
        return x.reshape([n * h]), x[:, 1:], dyn.concat([x, x], 1), x.sum()

    model = exported(forward, tmp_path, InputSpec(["n", "h"], name="x"))
    shapes = [shape for _, shape in signature(model.graph.output)]
    assert shapes == [["h*n"], ["n", "h-1"], ["n", "2*h"], []]


PAIRS = InputSpec(["n", 2], name="x")


def test_sizes_that_depend_on_values(tmp_path: Path) -> None:
    model = exported(lambda x: dyn.nonzero(x), tmp_path, InputSpec(["n"], name="x"))
    ((_, shape),) = signature(model.graph.output)
    assert shape == ["?1", 1]
    model = exported(lambda x: dyn.concat([dyn.nonzero(x), x.astype("int64")]), tmp_path, PAIRS)
    assert [shape for _, shape in signature(model.graph.output)] == [["?1+n", 2]]


# -- names and metadata ------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [RUNNABLE[0], RUNNABLE[-1]])
def test_every_node_says_where_it_comes_from(tmp_path: Path, opset: int) -> None:
    class Net(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 4), nn.GELU())

        def forward(self, x: Any) -> Any:
            y = self.body(x)
            return y, x, y.reshape([x.shape[0] * 2, 2])

    model = exported(Net(), tmp_path, X, opset=opset)
    for node in model.graph.node:
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        assert metadata["dyn.op"] and node.name
        if metadata["dyn.op"] != "output":
            assert "test_file.py:" in metadata["dyn.source"]
    layers = {
        entry.value: node.name
        for node in model.graph.node
        for entry in node.metadata_props
        if entry.key == "dyn.layer"
    }
    assert layers["body.0"].startswith("body.0/")
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


def test_metadata_of_the_file(tmp_path: Path) -> None:
    model = exported(lambda x: x + 1, tmp_path, X, metadata={"author": "someone"})
    assert model.producer_name == "dyn-onnx"
    assert exporter.Predictor(tmp_path / "m.onnx").metadata["author"] == "someone"


# -- weights -----------------------------------------------------------------------------------


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    net = Tied()
    model = exported(net, tmp_path, InputSpec([None, "t"], "int64"))
    assert set(initializers(model)) >= set(net.state_dict()) - {"embed.weight"}
    state = sum(value.numpy().nbytes for value in net.state_dict().values())
    stored = sum(array.nbytes for array in initializers(model).values())
    assert stored <= state + 100


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "uint8", "bool"])
def test_dtypes_of_weights(tmp_path: Path, dtype: str) -> None:
    class Net(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("w", dyn.to_tensor([0.0, 1.0, 3.0]).astype(dtype))

        def forward(self, x: Any) -> Any:
            return x + self.w.astype("float32")

    exported(Net(), tmp_path, X)


def test_weights_of_any_layout(tmp_path: Path) -> None:
    class Net(nn.Layer):
        def __init__(self, w: np.ndarray) -> None:
            super().__init__()
            self.w = nn.Parameter(w)
            self.none = nn.Parameter(np.zeros((0, 3), np.float32))
            self.one = nn.Parameter(np.float32(2))

        def forward(self, x: Any) -> Any:
            return x @ self.w * self.one + self.none.sum()

    net = Net(np.arange(9, dtype=np.float32).reshape(3, 3).T[::-1])
    np.testing.assert_array_equal(initializers(exported(net, tmp_path, X))["w"], net.w.numpy())


def test_external_data_moves_with_the_file(tmp_path: Path) -> None:
    net = warmed(LeNet(), 2, 1, 28, 28)
    report = exporter.export(net, tmp_path / "m.onnx", IMAGE, external_data=True)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data"]
    assert report.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in ("m.onnx", "m.onnx.data"):
        shutil.move(tmp_path / file, moved / file)
    onnx.checker.check_model(str(moved / "m.onnx"), full_check=True)
    x = np.ones((2, 1, 28, 28), np.float32)
    (y,) = exporter.Predictor(moved / "m.onnx").run(x)
    np.testing.assert_allclose(y, net(dyn.to_tensor(x)).numpy(), rtol=1e-4, atol=1e-4)


def test_large_weights_lie_outside_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, spec = nn.Linear(20, 30), InputSpec([None, 20])
    size = 20 * 30 * 4 + 30 * 4
    monkeypatch.setattr(files, "LIMIT", size)
    exporter.export(net, tmp_path / "m.onnx", spec)
    assert os.listdir(tmp_path) == ["m.onnx"]
    monkeypatch.setattr(files, "LIMIT", size - 1)
    exporter.export(net, tmp_path / "m.onnx", spec)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data"]


def test_data_that_nothing_refers_to_any_more_is_removed(tmp_path: Path) -> None:
    path, spec = tmp_path / "m.onnx", InputSpec([None, 20])
    exporter.export(nn.Linear(20, 30), path, spec, external_data=True)
    exporter.export(nn.Linear(20, 30), path, spec)
    assert os.listdir(tmp_path) == ["m.onnx"]
    (tmp_path / "m.onnx.data").write_bytes(b"of somebody else")
    exporter.export(nn.Linear(20, 30), path, spec)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data"]


def test_test_data_is_onnx_own(tmp_path: Path) -> None:
    spec = InputSpec(["n", 2], name="x")
    exporter.export(Counter(), tmp_path / "m.onnx", spec, test_data=True)
    exporter.export(Counter(), tmp_path / "m.onnx", spec, test_data=True)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "test_data_set_0"]
    folder = tmp_path / "test_data_set_0"
    assert sorted(os.listdir(folder)) == ["input_0.pb", "output_0.pb", "output_1.pb"]

    def read(name: str) -> tuple[str, np.ndarray]:
        tensor = onnx.TensorProto.FromString((folder / name).read_bytes())
        return tensor.name, onnx.numpy_helper.to_array(tensor)

    session = ort.InferenceSession(tmp_path / "m.onnx")
    results = session.run(None, dict([read("input_0.pb")]))
    for i, info in enumerate(session.get_outputs()):
        name, wanted = read(f"output_{i}.pb")
        assert name == info.name
        np.testing.assert_allclose(np.asarray(results[i]), wanted, rtol=1e-6)


# -- the way to its place ----------------------------------------------------------------------


class FaultError(Exception):
    """What the injected faults raise."""


def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Break one step of the export after the other."""

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise FaultError

    def broken_at(call: int) -> Any:
        calls = iter(range(100))
        return lambda *args: broken() if next(calls) == call else replace(*args)

    replace = os.replace
    targets = [
        (steps, "capture"),
        (steps.tracer, "optimize"),
        (steps, "require_coverage"),
        (steps, "lower"),
        (files, "skeleton"),
        (files, "check"),
        (files, "write"),
        (files, "_append_external"),
        (os, "fsync"),
        (steps.Verifier, "run"),
        (steps, "report"),
    ]
    for owner, name in targets:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            yield name
    for call in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", broken_at(call))
            yield f"move {call}"


@pytest.mark.parametrize("existing", [False, True])
def test_a_fault_at_any_step_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    path, net, spec = tmp_path / "m.onnx", nn.Linear(20, 20), InputSpec([None, 20])
    before: dict[str, bytes] = {}
    if existing:
        exporter.export(nn.Linear(20, 20), path, spec, external_data=True)
        before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    moves = 3 if existing else 2
    for step in faults(monkeypatch):
        if step == f"move {moves}":
            break
        with pytest.raises(FaultError):
            exporter.export(net, path, spec, external_data=True)
        after = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        assert after == before, step
    exporter.export(net, path, spec, external_data=True)
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data"]


def test_an_interrupt_while_verifying_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps.Verifier, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exporter.export(nn.Linear(3, 3), tmp_path / "m.onnx", X)
    assert os.listdir(tmp_path) == []


STUCK = """
import sys, time
import exporter
from dyn import nn

class Stuck(nn.Linear):
    def forward(self, x):
        if exporting:
            print("here", flush=True)
            time.sleep(600)
        return super().forward(x)

exporting, net = False, Stuck(20, 20)
spec = exporter.InputSpec([None, 20])

def progress(step):
    global exporting
    exporting = step == "verify"

exporter.export(net, sys.argv[1], spec, progress=progress)
"""
"""A script whose export never ends; what it has written is complete when it says so."""


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A running process that exports to m.onnx and has written its files."""
    command = [sys.executable, "-c", STUCK, str(tmp_path / "m.onnx")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing there tells of a dead process")
def test_what_a_killed_export_left_is_removed_by_the_next(
    tmp_path: Path, stuck: subprocess.Popen[str]
) -> None:
    def hidden() -> list[str]:
        return [name for name in os.listdir(tmp_path) if name.startswith(".m.onnx-")]

    path = tmp_path / "m.onnx"
    (tmp_path / ".m.onnx-mine_too").mkdir()
    (left,) = set(hidden()) - {".m.onnx-mine_too"}
    exporter.export(nn.Linear(3, 3), path, X)
    assert sorted(hidden()) == sorted([left, ".m.onnx-mine_too"]), "its export still runs"
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    exporter.export(nn.Linear(3, 3), tmp_path / "other.onnx", X)
    assert left in hidden(), "another target"
    exporter.export(nn.Linear(3, 3), path, X)
    assert hidden() == [".m.onnx-mine_too"]


def test_a_folder_that_is_removed_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock, hits = fcntl.flock, []

    def late(lock: int, how: int) -> None:
        if not hits:
            hits.extend(tmp_path.glob(".m.onnx-*"))
            shutil.rmtree(hits[0])
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    exporter.export(nn.Linear(3, 3), tmp_path / "m.onnx", X)
    assert len(hits) == 1
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_what_an_export_set_aside_when_it_was_killed_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path, folder = tmp_path / "m.onnx", tmp_path / ".m.onnx-abcdefgh"
    folder.mkdir()
    for name in ("exporting.lock", "m.onnx", "old.m.onnx.data"):
        (folder / name).touch()
    exporter.export(nn.Linear(3, 3), path, X)
    assert folder.exists(), "the old model has no other copy of its weights"
    (folder / "m.onnx").unlink()
    exporter.export(nn.Linear(3, 3), path, X)
    assert not folder.exists(), "the new model had its place"


def test_a_relative_path_and_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert exporter.export(lambda x: x + 1, "a.onnx", X).path == tmp_path / "a.onnx"
    assert exporter.export(lambda x: x + 1, "~/b.onnx", X).path == tmp_path / "b.onnx"
    assert op_types(load(tmp_path / "b.onnx")) == ["Add"]


def test_the_file_has_the_rights_of_a_new_file(tmp_path: Path) -> None:
    exporter.export(lambda x: x + 1, tmp_path / "m.onnx", X)
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "m.onnx").stat().st_mode == (tmp_path / "other").stat().st_mode
