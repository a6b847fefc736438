"""Saved files are there whole or not at all, and what killed processes leave does not pile up."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import dyn
from dyn.serialization.whole import written

fcntl = pytest.importorskip("fcntl", reason="locks of POSIX")

KILLED = """
import os, sys
from dyn.serialization.whole import written
with written(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_a_killed_save_leaves_the_old_file_and_the_next_one_tidies_up(tmp_path):
    path = tmp_path / "c.safetensors"
    dyn.save({"w": dyn.ones([2])}, path)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    np.testing.assert_array_equal(dyn.load(path)["w"].numpy(), np.ones(2))
    dyn.save({"w": dyn.zeros([2])}, path)
    assert os.listdir(tmp_path) == [path.name]
    np.testing.assert_array_equal(dyn.load(path)["w"].numpy(), np.zeros(2))


def test_what_is_being_written_and_files_of_others_stay(tmp_path):
    path = tmp_path / "c"
    others = [tmp_path / name for name in ("c.part", "ca.part", "d12345678.part", "c12345678.txt")]
    for other in others:
        other.write_text("kept")
    with written(path) as file:
        file.write(b"first")
        dyn.save({"w": dyn.ones([2])}, path)
        assert len(os.listdir(tmp_path)) == 2 + len(others)
    assert path.read_bytes() == b"first"
    assert sorted(os.listdir(tmp_path)) == sorted(p.name for p in (path, *others))


def test_an_error_leaves_nothing(tmp_path):
    def fail():
        with written(tmp_path / "c") as file:
            file.write(b"half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert os.listdir(tmp_path) == []
