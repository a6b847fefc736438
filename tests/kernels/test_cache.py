"""The code cache: where compiled kernels are kept, when they are found again, and when not.

Whole processes run a package of two tiny kernel files beside copies of what compiles them.
"""

from __future__ import annotations

import ast
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dyn.kernels.runtime import cache
from dyn.kernels.runtime.jit import kernel, microkernel

HELPER = """
from dyn.kernels.runtime.jit import kernel

@kernel
def scaled(x):
    return x * 3
"""
TINY = """
from dyn.kernels.runtime.jit import call_address, kernel, microkernel
from dyn.kernels.helper import scaled

@kernel(warm=["(float32[::1],)", "(float64[::1],)"])
def total(x):
    s = 0.0
    for i in range(x.size):
        s += scaled(x[i])
    return s

@microkernel(2)
def both(x, y):
    pass

@kernel(warm=["(int64,)"])
def call(address):
    call_address(address, 1, 2)
"""
PROGRAM = """
import numpy as np
from dyn.kernels import tiny
from dyn.kernels.runtime.jit import cache_info
print(tiny.total(np.ones(5, np.float32)), tiny.total(np.ones(5)))
tiny.call(tiny.both.address)
info = cache_info()
print(info["hits"], info["misses"], info["files"], *info["uncached"])
"""


@pytest.fixture
def package(tmp_path):
    """A folder from which a fresh process imports the tiny kernels."""
    kernels = tmp_path / "install" / "dyn" / "kernels"
    (kernels / "runtime").mkdir(parents=True)
    (kernels.parent / "__init__.py").write_text("")
    for name in ("", "runtime/"):
        shutil.copy(cache.SOURCES / f"{name}__init__.py", kernels / f"{name}__init__.py")
    for name in ("jit", "cache", "compiler", "interrupts", "rules"):
        shutil.copy(cache.SOURCES / f"runtime/{name}.py", kernels / f"runtime/{name}.py")
    (kernels / "helper.py").write_text(HELPER)
    (kernels / "tiny.py").write_text(TINY)
    (kernels / "other.py").write_text("from dyn.kernels.runtime.jit import kernel\n")
    return kernels


def start(package, program=PROGRAM, **changes):
    """A process that runs `program` on the tiny package, its cache beside it."""
    environment = dict(os.environ, PYTHONPATH=str(package.parents[1]), PYTHONDONTWRITEBYTECODE="1")
    environment["DYN_CACHE_DIR"] = str(package.parents[2] / "cache")
    environment |= {name: value for name, value in changes.items() if value is not None}
    for name in [name for name, value in changes.items() if value is None]:
        environment.pop(name, None)
    command = [sys.executable, "-c", program]
    kinds = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, cwd=package.parents[2], **kinds)


def finish(process):
    """The output of a process, as words, and its stderr."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split(), err


def run(package, program=PROGRAM, **changes):
    words, err = finish(start(package, program, **changes))
    assert err == ""
    return words


# hits, misses, files: `total` for two types, `both` and `call`; `scaled` stands inside `total`
COLD = ["15.0", "15.0", "0", "4", "4"]
WARM = ["15.0", "15.0", "4", "0", "4"]


def test_second_process_loads_everything_and_edits_take_effect(package):
    assert run(package) == COLD
    assert run(package) == WARM
    (package / "other.py").write_text("# a kernel file that the tiny kernels do not import\n")
    assert run(package) == WARM
    (package / "helper.py").write_text(HELPER.replace("* 3", "* 7"))
    assert run(package) == ["35.0", "35.0", "0", "4", "8"]
    (package / "tiny.py").write_text(TINY.replace("s = 0.0", "s = 1.0"))
    assert run(package) == ["36.0", "36.0", "0", "4", "12"]


def test_edits_of_what_a_kernel_was_made_from_take_effect(package):
    (package / "bodies.py").write_text(
        "from dyn.kernels.runtime.jit import instance\n"
        "def _body(x):\n    number\n"
        "def make(name, number):\n    return instance(name, _body, number=number)\n"
    )
    (package / "numbers.py").write_text("THREE = 3\n")
    (package / "made.py").write_text(
        "from dyn.kernels.bodies import make\n"
        "from dyn.kernels.numbers import THREE\n"
        "three = [make('three', n) for n in (THREE,)][0]\n"
    )
    program = """
from dyn.kernels.made import three
from dyn.kernels.runtime.jit import cache_info
three.compile_all()
print(cache_info()["hits"], cache_info()["misses"])
"""
    assert run(package, program) == ["0", "1"]
    assert run(package, program) == ["1", "0"]
    for name in ("bodies", "numbers", "made"):
        with (package / f"{name}.py").open("a") as file:
            file.write("# edited\n")
        assert run(package, program) == ["0", "1"]


def test_an_edit_under_a_running_process_is_not_mixed_up_with_what_it_compiles(package):
    edit = f"""
from dyn.kernels import tiny
open({str(package / "helper.py")!r}, "w").write({HELPER.replace("* 3", "* 7")!r})
"""
    assert run(package, edit + PROGRAM) == COLD
    assert run(package) == ["35.0", "35.0", "0", "4", "8"]


def test_eight_cold_processes_at_once(package):
    processes = [start(package) for _ in range(8)]
    found = [finish(process) for process in processes]
    assert all(words[:2] == ["15.0", "15.0"] and err == "" for words, err in found)
    # Each kernel was compiled once, by whichever process came first; nothing is left lying about.
    assert sum(int(words[3]) for words, _ in found) == 4
    folder = package.parents[2] / "cache" / "kernels"
    assert {path.suffix for path in folder.iterdir()} == {cache.SUFFIX}
    assert run(package) == WARM


def test_without_a_writable_place_there_is_one_warning_and_no_cache(package):
    before = sorted(package.iterdir())
    nowhere = {"DYN_CACHE_DIR": None, "XDG_CACHE_HOME": None, "HOME": "/dev/null/home"}
    words, err = finish(start(package, LOCALAPPDATA="/dev/null/home", **nowhere))
    assert words[:5] == ["15.0", "15.0", "0", "0", "0"]
    assert err.count("RuntimeWarning") == 1
    assert "cannot be kept on disk" in err
    assert "DYN_CACHE_DIR" in err
    assert sorted(package.iterdir()) == before  # a read-only install would not have mattered


def test_warmup_compiles_what_was_declared(package):
    program = """
from dyn.kernels.runtime.jit import KERNELS, warmup
seen = []
count = warmup(lambda done, total, name: seen.append((done, total, name)))
names = [name for _, _, name in seen]
declared = [n for n, made in sorted(KERNELS.items()) if getattr(made, "warm", True)]
assert names == [*declared, ""] and count == len(declared) == len(KERNELS) - 1 == 3, names
assert [done for done, _, _ in seen] == list(range(4))
"""
    run(package, program)
    assert run(package) == WARM


def test_lanes_are_part_of_the_key(package):
    run(package, DYN_LANES="8")
    assert run(package, DYN_LANES="4") == ["15.0", "15.0", "0", "4", "8"]


def test_every_import_between_kernel_files_is_seen():
    cache._files.cache_clear()
    for file in cache.SOURCES.rglob("*.py"):
        wanted = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dyn.kernels"):
                folder = cache.SOURCES.joinpath(*node.module.split(".")[2:])
                for alias in node.names:
                    inner = [folder / f"{alias.name}.py", folder / alias.name / "__init__.py"]
                    own = [folder.with_suffix(".py"), folder / "__init__.py"]
                    wanted |= {next(path for path in inner + own if path.exists())}
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("dyn.kernels") for alias in node.names), file
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
        assert wanted == cache._read.__wrapped__(file)[1], file


# In this process, each with a cache folder of its own.


def plus(x, y):
    """A kernel's plain function; every test decorates it anew."""
    return x + y


def nothing(x, y):
    """A microkernel's plain function."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache folder for this test alone; its path."""
    monkeypatch.setenv("DYN_CACHE_DIR", str(tmp_path))
    cache.folder.cache_clear()
    yield tmp_path / "kernels"
    cache.folder.cache_clear()


def test_a_kernel_compiles_once_per_types_and_is_found_again(home):
    add = kernel(plus)
    assert add(1, 2) == 3
    assert add(1, 2) == 3
    assert add(1.5, 2) == 3.5
    assert cache.cache_info()["misses"] == 2
    again = kernel(plus)
    assert again(1, 2) == 3
    info = cache.cache_info()
    assert (info["hits"], info["misses"], info["files"]) == (1, 2, 2)
    assert info["state"] == "ready"
    assert info["folder"] == home
    assert info["bytes"] == sum(path.stat().st_size for path in home.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_compiles(home):
    def compile_all():
        for _ in range(5):
            made = microkernel(2)(nothing)
            made.cache.usable = False  # so that each is compiled, not loaded
            made.compile_all()

    compiler = threading.Thread(target=compile_all)
    compiler.start()
    while compiler.is_alive():
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if microkernel(2)(nothing).address and kernel(plus)(1, 2) == 3 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_the_folder_is_private(home):
    kernel(plus)(1, 2)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize("fault", ["writable by others", "of another user", "not a folder"])
@pytest.mark.skipif(os.name != "posix", reason="no owners and modes on this system")
def test_a_folder_others_could_write_to_is_not_used(home, monkeypatch, fault):
    if fault == "not a folder":
        elsewhere = home.parent / "elsewhere"
        elsewhere.mkdir()
        home.symlink_to(elsewhere)
    else:
        home.mkdir()
    if fault == "writable by others":
        home.chmod(0o777)
    if fault == "of another user":
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        assert kernel(plus)(1, 2) == 3
    assert list(home.iterdir()) == []
    assert cache.cache_info()["state"].startswith("off: ")
    assert cache.cache_info()["folder"] is None


@pytest.mark.parametrize("damage", [b"", b"short", bytes(5000)])
def test_a_damaged_file_is_compiled_anew(home, damage):
    kernel(plus)(1, 2)
    (file,) = home.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert kernel(plus)(1, 2) == 3
    assert cache.cache_info()["misses"] == 2
    assert len(file.read_bytes()) == pytest.approx(len(whole), abs=200)


def test_an_unreadable_file_is_compiled_anew(home, monkeypatch):
    kernel(plus)(1, 2)

    def refuse(path):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert cache.DiskCache(plus).read(next(home.iterdir()), None) is None


def test_a_full_disk_leaves_the_kernel_uncached(home, monkeypatch):
    def refuse(path, data):
        if data:
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    add = kernel(plus)
    with pytest.warns(RuntimeWarning, match="no space left"):
        assert add(1, 2) == 3
    assert add(1.0, 2) == 3.0  # no second warning
    assert cache.cache_info()["uncached"] == [f"{__name__}.plus"] * 2


def test_a_folder_that_can_only_be_read_is_read(home, monkeypatch):
    def refuse(path, data):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    kernel(plus)(1, 2)
    home.chmod(0o755)
    cache.folder.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        patch.setattr(Path, "chmod", refuse)
        assert kernel(plus)(1, 2) == 3
        info = cache.cache_info()
        assert (info["hits"], info["misses"], info["uncached"]) == (1, 0, [])
        assert (info["folder"], info["state"]) == (home, "read only: Read-only file system")
        with pytest.warns(RuntimeWarning, match="cannot be kept on disk .*Read-only file system"):
            assert kernel(plus)(1.0, 2) == 3.0
        assert cache.cache_info()["uncached"] == [f"{__name__}.plus"]


def test_the_folder_may_vanish(home):
    kernel(plus)(1, 2)
    shutil.rmtree(home)
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        assert kernel(plus)(1, 2) == 3
    assert cache.cache_info()["files"] == 0


def test_old_files_are_removed(home, monkeypatch):
    home.mkdir(mode=0o700)
    ages = {"fresh": 10, "used": 2 * 86400, "old": 40 * 86400}
    for name, age in ages.items():
        (home / f"{name}{cache.SUFFIX}").write_bytes(bytes(1000))
        moment = time.time() - age
        os.utime(home / f"{name}{cache.SUFFIX}", (moment, moment))
    kernel(plus)(1, 2)
    kept = {path.name.split(".")[0] for path in home.iterdir()} & set(ages)
    assert kept == {"fresh", "used"}
    monkeypatch.setattr(cache, "MAX_BYTES", 1500)
    cache.folder.cache_clear()
    kernel(plus)(1.0, 2)
    kept = {path.name.split(".")[0] for path in home.iterdir()} & set(ages)
    assert kept == {"fresh"}


def test_one_that_waits_for_another_process_takes_its_result(home, monkeypatch):
    first = cache.DiskCache(plus)
    file = first.entry("(int64, int64)")
    assert file is not None
    assert first.wait(file) is False  # it is now up to the first
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.05)
    assert cache.DiskCache(plus).wait(file) is False  # gives up, and compiles too
    file.write_bytes(b"done")
    first.release()
    assert cache.DiskCache(plus).wait(file) is True
