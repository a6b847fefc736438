"""The command `dyn`."""

import re
import subprocess
import sys

import pytest

import dyn
from dyn import cli
from dyn.kernels.runtime import jit
from exporter import command


def test_info_tells_what_is_installed(capsys):
    assert cli.main(["info"]) == 0
    lines = dict(
        re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines()
    )
    assert lines["dyn-onnx"] == dyn.__version__
    assert lines["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert re.match(r"\d+\.\d+", lines["numpy"]) and re.match(r"\d+\.\d+", lines["numba"])
    assert re.match(r"(4|8|16) float32", lines["lanes"])
    assert re.match(r"\d+ of \d+ processors", lines["threads"])
    assert lines["kernel cache"] == str(jit.cache_info()["folder"] or "none")
    assert "files, " in lines["cache state"]


def test_the_package_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "dyn", "info"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("dyn-onnx"), done.stderr


def test_without_numba_one_line_says_what_is_missing():
    hidden = "import sys; sys.modules['numba'] = None; from exporter.command import main; "
    code = hidden + "sys.exit(main(['info']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(
        r"dyn: the command needs numba, .* by exporter\.Predictor\s*", done.stderr
    ), done.stderr


def test_the_installed_command_is_the_command(capsys):
    assert command.main(["info"]) == 0
    assert capsys.readouterr().out.startswith("dyn-onnx")


def test_a_package_that_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_PACKAGES", ("no-such-package-at-all",))
    cli.main(["info"])
    assert "no-such-package-at-all  not installed" in capsys.readouterr().out


def test_warmup_shows_its_progress(capsys, monkeypatch):
    def warmup(progress):
        for done, name in enumerate(["dyn.kernels.a.first", "dyn.kernels.b.second", ""]):
            progress(done, 2, name)
        return 2

    monkeypatch.setattr(jit, "warmup", warmup)
    assert cli.main(["warmup"]) == 0
    out, err = capsys.readouterr()
    assert "2 kernels are ready after" in out and "cache state" in out
    assert "compiling" in err and "2/2" in err


@pytest.mark.parametrize("arguments", [[], ["unknown"]])
def test_a_command_is_needed(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage: dyn" in capsys.readouterr().err


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0 and "info" in text and "warmup" in text


def test_warmup_without_a_folder_to_keep_kernels_in(capsys, monkeypatch):
    state = {"folder": None, "state": "off: Read-only file system"}
    monkeypatch.setattr(jit, "cache_info", lambda: state)
    monkeypatch.setattr(jit, "warmup", lambda progress: pytest.fail("compiled for nothing"))
    assert cli.main(["warmup"]) == 1
    assert "cannot be kept: Read-only file system" in capsys.readouterr().err
