"""The whole path: a model of layers to a verified file, and one clear error for what cannot be."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from dyn.core.errors import AttributeValueError
from exporter import lowering
from tests.exporter.nets import IMAGE, LeNet, initializers, load, op_types, warmed
from tests.runtime import RUNNABLE
from tracer import InputSpec, TraceError, trace


@pytest.fixture(scope="module")
def lenet() -> Any:
    return warmed(LeNet(), 4, 1, 28, 28)


def test_a_network_of_layers(lenet: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "model.onnx"
    report = exporter.export(lenet, path, input_spec=[IMAGE])
    model = load(path)
    assert model.ir_version == 9 and model.opset_import[0].version == 20
    assert not {"Transpose", "Dropout", "BatchNormalization", "Shape"} & set(op_types(model))
    assert report.path == path and report.bytes == path.stat().st_size
    assert report.nodes == len(op_types(model))
    assert report.verified is not None and report.verified.runs >= 3
    assert report.largest_error < 1e-4
    predictor = exporter.Predictor(path)
    for batch in (1, 2, 33):
        x = rng.normal(size=(batch, 1, 28, 28)).astype(np.float32)
        wanted = lenet(dyn.to_tensor(x)).numpy()
        np.testing.assert_allclose(predictor.run(x)[0], wanted, rtol=1e-4, atol=1e-4)
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_initializers_are_the_state_dict(lenet: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    report = exporter.export(lenet, path, IMAGE)
    found, state = initializers(load(path)), lenet.state_dict()
    folded = {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"}
    assert set(report.initializers) == set(state) - {k for k in state if k.startswith("bn")}
    assert set(report.initializers) <= set(found)
    for name in set(report.initializers) - folded:
        np.testing.assert_array_equal(found[name], state[name].numpy())


@pytest.mark.parametrize("opset", RUNNABLE)
def test_every_opset(lenet: Any, tmp_path: Path, opset: int) -> None:
    path = tmp_path / "model.onnx"
    exporter.export(lenet, path, IMAGE, opset=opset)
    assert load(path).opset_import[0].version == opset


def test_an_opset_that_the_installed_onnxruntime_does_not_run(
    lenet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", "1.23.2")
    with pytest.raises(AttributeValueError, match=r"onnxruntime 1\.25, and 1\.23\.2 .* up to 23"):
        exporter.export(lenet, tmp_path / "model.onnx", IMAGE, opset=26)
    assert not list(tmp_path.iterdir())
    exporter.export(lenet, tmp_path / "model.onnx", IMAGE, opset=26, verify=False)


def test_a_function_and_an_example(tmp_path: Path) -> None:
    x = dyn.to_tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    report = exporter.export(lambda x: x * 2 + 1, tmp_path / "f.onnx", x)
    assert report.verified is not None
    (y,) = exporter.Predictor(tmp_path / "f.onnx").run(x.numpy())
    np.testing.assert_array_equal(y, x.numpy() * 2 + 1)


def test_inputs_by_keyword(tmp_path: Path) -> None:
    spec = {"b": InputSpec(["n"]), "a": InputSpec(["n"])}
    exporter.export(lambda a, b: a - b, tmp_path / "f.onnx", spec)
    predictor = exporter.Predictor(tmp_path / "f.onnx")
    a, b = np.array([5, 6], np.float32), np.array([1, 2], np.float32)
    np.testing.assert_array_equal(predictor.run({"a": a, "b": b})[0], [4, 4])


def test_a_graph_needs_a_model_to_be_verified(tmp_path: Path) -> None:
    graph = trace(lambda x: x + 1, InputSpec([2]))
    with pytest.raises(exporter.ExportError, match="verify=False"):
        exporter.export(graph, tmp_path / "g.onnx")
    assert os.listdir(tmp_path) == []
    report = exporter.export(graph, tmp_path / "g.onnx", verify=False)
    assert report.verified is None and "not verified" in str(report)


def test_names_of_outputs_and_sample_sizes(tmp_path: Path) -> None:
    path = tmp_path / "f.onnx"
    spec = InputSpec(["n", 3])
    exporter.export(lambda x: (x, x + 1), path, spec, output_names=["same", "more"], sizes={"n": 9})
    assert [info.name for info in exporter.Predictor(path).outputs] == ["same", "more"]


# -- what is refused ---------------------------------------------------------------------------


def test_an_opset_out_of_range(lenet: Any, tmp_path: Path) -> None:
    for opset in (16, 27, "20", True):
        with pytest.raises(AttributeValueError, match="opsets 17 to 26"):
            exporter.export(lenet, tmp_path / "m.onnx", IMAGE, opset=opset)  # type: ignore
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_written(lenet: Any, tmp_path: Path) -> None:
    with pytest.raises(exporter.ExportError, match="does not exist"):
        exporter.export(lenet, tmp_path / "no" / "m.onnx", IMAGE)
    with pytest.raises(exporter.ExportError, match="is a folder"):
        exporter.export(lenet, tmp_path, IMAGE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_or_device_is_never_replaced(lenet: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(exporter.ExportError, match="not a regular file"):
            exporter.export(lenet, path, IMAGE)
    assert pipe.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_a_path_that_is_none(lenet: Any, tmp_path: Path) -> None:
    with pytest.raises(exporter.ExportError, match="got None"):
        exporter.export(lenet, None, IMAGE)  # type: ignore[arg-type]
    for name in ("a\0b.onnx", "a" * 300):
        with pytest.raises(exporter.ExportError, match="cannot be written"):
            exporter.export(lenet, tmp_path / name, IMAGE)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_the_file_system_keeps_closed(
    lenet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions say yes (as to root, or on a mount that is read-only), the system says no."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(
        exporter.ExportError, match=r"cannot be written: .*Read-only file"
    ) as caught:
        exporter.export(lenet, tmp_path / "m.onnx", IMAGE)
    assert caught.value.where is not None and caught.value.where.file == __file__


def test_a_folder_without_write_permission(
    lenet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(exporter.ExportError, match="cannot be written"):
        exporter.export(lenet, tmp_path / "m.onnx", IMAGE)


def test_ops_without_a_lowering_are_listed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Sigmoid())
    monkeypatch.delitem(lowering.LOWERINGS, "tanh")
    monkeypatch.delitem(lowering.LOWERINGS, "sigmoid")
    with pytest.raises(exporter.UnsupportedOpError) as caught:
        exporter.export(net, tmp_path / "m.onnx", InputSpec([2, 3]))
    text = str(caught.value)
    assert "tanh in 1 at" in text and "sigmoid in 2 at" in text and "test_export.py:" in text
    assert os.listdir(tmp_path) == []


def test_a_spec_that_does_not_fit_the_model(lenet: Any, tmp_path: Path) -> None:
    with pytest.raises(dyn.ShapeError, match="conv1"):
        exporter.export(lenet, tmp_path / "m.onnx", InputSpec([None, 3, 28, 28]))
    with pytest.raises(TraceError, match="fit the forward"):
        exporter.export(lenet, tmp_path / "m.onnx", [IMAGE, IMAGE])
    with pytest.raises(TraceError, match="fit the forward"):
        exporter.export(lenet, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_a_layer_that_turns_away_an_input_names_the_users_line(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        return x * float(x.sum())

    with pytest.raises(TraceError, match=r"test_export\.py:\d+"):
        exporter.export(forward, tmp_path / "m.onnx", InputSpec([2]))


# -- the model is left as it was ---------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_modes_state_and_random_numbers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    net = warmed(LeNet(), 2, 1, 28, 28)
    net.train()
    net.bn1.eval()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    modes = [layer.training for layer in net.sublayers(include_self=True)]
    dyn.seed(5)
    drawn = dyn.rand([3]).numpy()
    dyn.seed(5)
    if fails:
        monkeypatch.delitem(lowering.LOWERINGS, "relu")
        with pytest.raises(exporter.UnsupportedOpError):
            exporter.export(net, tmp_path / "m.onnx", IMAGE)
    else:
        exporter.export(net, tmp_path / "m.onnx", IMAGE)
        assert "Dropout" not in op_types(load(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(dyn.rand([3]).numpy(), drawn)
    assert modes == [layer.training for layer in net.sublayers(include_self=True)]
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_training_behaviour(tmp_path: Path) -> None:
    net = LeNet()
    report = exporter.export(net, tmp_path / "m.onnx", IMAGE, training=True)
    assert set(report.states) == {f"bn{i}.{s}" for i in (1, 2) for s in ("_mean", "_variance")}
    assert report.verified is not None and report.verified.unchecked == ("output",)


def test_a_fill_of_no_elements_keeps_its_dynamic_sizes(tmp_path: Path) -> None:
    def mask(x: Any) -> Any:
        t = x.shape[0]
        return dyn.concat([dyn.zeros([t, 0]), dyn.ones([t, t])], 1) + x.sum()

    path = tmp_path / "mask.onnx"
    exporter.export(mask, path, InputSpec(["t", 2], "float32", name="x"))
    (found,) = exporter.Predictor(path).run(np.ones((7, 2), np.float32))
    np.testing.assert_array_equal(found, np.full((7, 7), 15, np.float32))


def test_triangles_from_a_dynamic_diagonal(tmp_path: Path) -> None:
    def causal(new: Any, past: Any) -> Any:
        steps, before = new.shape[0], past.shape[0]
        return dyn.full([steps, before + steps], 1.0).triu(before + 1) + new.sum()

    path = tmp_path / "causal.onnx"
    exporter.export(causal, path, [InputSpec(["new"]), InputSpec(["past"])])
    (found,) = exporter.Predictor(path).run(np.zeros(2, np.float32), np.zeros(3, np.float32))
    np.testing.assert_array_equal(found, np.triu(np.ones((2, 5), np.float32), 4))


def test_arguments_of_the_model_by_name(tmp_path: Path) -> None:
    def scaled(x: Any, scale: float = 2.0, opset_version: int = 0) -> Any:
        return x * scale + opset_version

    path = tmp_path / "scaled.onnx"
    exporter.export(scaled, path, InputSpec(["n"], name="x"), scale=3.0, opset_version=1)
    assert exporter.Predictor(path).run(np.ones(2, np.float32))[0].tolist() == [4, 4]


@pytest.mark.parametrize("name", ["opset_version", "dynamic_axes", "input_names"])
def test_arguments_that_pytorchs_export_has(lenet: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(exporter.ExportError, match=f"export has no argument '{name}'; "):
        exporter.export(lenet, tmp_path / "m.onnx", IMAGE, **{name: 1})
    with pytest.raises(TraceError, match=r"unexpected keyword argument 'verbose'; the model is "):
        exporter.export(lenet, tmp_path / "m.onnx", IMAGE, verbose=True)
