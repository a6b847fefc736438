"""The commands export, check, diff and show: what they print and their exit status."""

from __future__ import annotations

import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dyn
import exporter
from dyn import cli as dyn_cli
from exporter import cli
from tests.exporter.serving.models import run_python
from tracer import InputSpec

MODELS = """
import dyn
from dyn import nn

class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("count", dyn.zeros([1]))

    def forward(self, x):
        self.count += 1
        return self.fc(x)

class Wide(nn.Linear):
    def __init__(self, width):
        super().__init__(width, 2)

def make(width=3):
    dyn.seed(1)
    return nn.Linear(width, 2)

linear = make()

def double(x):
    return x * 2

def wrong(x):
    return x * float(x.sum()) + x.numpy()
"""
X = ["--input", "x:float32[n,3]"]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_models.py").write_text(MODELS)


def test_inputs() -> None:
    spec = cli.parse_input("image:int64[batch, 3,?]")
    assert (spec.name, spec.dtype, spec.shape) == ("image", "int64", ("batch", 3, None))
    spec = cli.parse_input("x[]")
    assert (spec.name, spec.dtype, spec.shape) == ("x", "float32", ())


@pytest.mark.parametrize("text", ["x", "x:float32", "x:[", "x:nothing[2]", "x[-1]", "x[a b]"])
def test_inputs_that_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["check", "cli_models:double", "--input", text])
    assert caught.value.code == 2 and "--input" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["cli_models:Net", "cli_models:make", "cli_models:linear"])
def test_export_of_a_class_a_maker_and_a_layer(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", model, *X, "-o", "m.onnx", "--opset", "18"]) == 0
    out = capsys.readouterr().out
    assert "exported" in out and "opset 18" in out and "verified" in out
    assert exporter.Predictor("m.onnx").run(np.zeros((4, 3), np.float32))[0].shape == (4, 2)


def test_export_of_a_function_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "cli_models:double", *X, "-o", "m.onnx", "--no-verify", "--test-data"]
    assert cli.main(arguments) == 0
    assert "not verified" in capsys.readouterr().out
    assert Path("test_data_set_0/input_0.pb").exists()


def test_weights_from_a_file() -> None:
    dyn.seed(5)
    net = dyn.nn.Linear(3, 2)
    dyn.save(net.state_dict(), "w.safetensors")
    x = np.ones((1, 3), np.float32)
    assert (
        cli.main(["export", "cli_models:make", *X, "-o", "m.onnx", "--weights", "w.safetensors"])
        == 0
    )
    np.testing.assert_allclose(
        exporter.Predictor("m.onnx").run(x)[0], net(dyn.to_tensor(x)).numpy(), rtol=1e-5
    )


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "cli_models:make", *X]) == 0
    assert "no problems" in capsys.readouterr().out
    assert cli.main(["check", "cli_models:wrong", *X]) == 1
    out = capsys.readouterr().out
    assert "float()" in out and "numpy()" in out and "2 problems" in out


def test_diff(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["export", "cli_models:make", *X, "-o", "m.onnx"])
    assert cli.main(["diff", "cli_models:make", "m.onnx"]) == 0
    assert "no difference" in capsys.readouterr().out
    dyn.seed(9)
    dyn.save(dyn.nn.Linear(3, 2).state_dict(), "w.safetensors")
    np.save("x.npy", np.ones((2, 3), np.float32))
    arguments = ["diff", "cli_models:make", "m.onnx", "x.npy", "--weights", "w.safetensors"]
    assert cli.main(arguments) == 1
    assert "linear differs" in capsys.readouterr().out


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["export", "cli_models:Net", *X, "-o", "m.onnx"])
    capsys.readouterr()
    assert cli.main(["show", "m.onnx"]) == 0
    out = capsys.readouterr().out
    for told in ("input   x: float32[n, 3]", "output  output: float32[n, 2]", "opset onnx 20"):
        assert told in out
    assert "state   count: float32[1]" in out and "1  Gemm" in out and "fc/Gemm" not in out
    assert cli.main(["show", "m.onnx", "--graph"]) == 0
    out = capsys.readouterr().out
    assert "Gemm(x, fc.weight, fc.bias" in out and "# fc cli_models.py:" in out


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["export", "nothing:at_all", "-o", "m.onnx"], 2, "cannot import 'nothing'"),
        (["export", "cli_models:missing", "-o", "m.onnx"], 2, "has no 'missing'"),
        (["export", "cli_models:Wide", "-o", "m.onnx"], 2, "argument: 'width'"),
        (["export", "cli_models", "-o", "m.onnx"], 2, "module:name"),
        (["export", "cli_models:double", *X, "-o", "no/m.onnx"], 1, "does not exist"),
        (["export", "cli_models:double", *X, "-o", "m.onnx", "--opset", "9"], 1, "17 to 26"),
        (["export", "cli_models:double", "-o", "m.onnx"], 1, "fit the forward"),
        (["check", "cli_models:double", *X, "--weights", "w"], 2, "needs a Layer"),
        (["show", "missing.onnx"], 1, "missing.onnx"),
        (["diff", "cli_models:double", "missing.onnx"], 1, "missing.onnx"),
    ],
)
def test_errors_are_one_message(
    arguments: list[str], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and told in captured.err
    assert not captured.out and "Traceback" not in captured.err
    assert not Path("m.onnx").exists()


@pytest.mark.parametrize("command", ["export", "check", "diff", "show"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0 and "usage" in capsys.readouterr().out


def test_long_work_shows_its_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with cli._progress("exporting", delay=0) as progress:
        progress("trace")
        time.sleep(0.3)
    assert "trace" in capsys.readouterr().err
    with cli._progress("exporting") as progress:
        progress("trace")
    assert capsys.readouterr().err == ""


def test_every_step_is_told() -> None:
    told: list[str] = []
    exporter.export(lambda x: x + 1, "m.onnx", InputSpec([2]), progress=told.append)
    assert told == ["trace", "passes", "lower", "check", "write", "verify"]
    assert len(told) == cli.STEPS


def test_the_command_dyn_finds_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def entry(name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, load=lambda: cli.COMMANDS[name])

    found = [entry(name) for name in cli.COMMANDS]
    monkeypatch.setattr(metadata, "entry_points", lambda group: found)
    assert dyn_cli.main(["export", "cli_models:make", *X, "-o", "m.onnx"]) == 0
    assert dyn_cli.main(["show", "m.onnx"]) == 0
    assert "Gemm" in capsys.readouterr().out


def test_it_runs_as_a_module() -> None:
    code = "import runpy, sys; sys.argv[1:] = ['show', '--help']; "
    text = run_python(code + "runpy.run_module('exporter.cli', run_name='__main__')")
    assert "onnx file" in text.lower()


def test_errors_name_lines_of_models_and_none_of_the_script_dyn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["export", "cli_models:make", *X, "-o", "m.onnx", "--opset", "12"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("opsets 17 to 26 are")
    assert cli.main(["export", "cli_models:make", "--input", "x[2]", "-o", "m.onnx"]) == 1
    assert "its last size must be 3" in capsys.readouterr().err
