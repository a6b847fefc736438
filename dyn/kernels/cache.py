"""Where compiled kernels lie between processes: one file per kernel and signature, in one folder.

The folder's name is a hash of every kernel source, of the versions and of the processor: an edit to
any kernel file takes effect and nothing stale is ever read. A file is written under another name
and renamed, and there is no index, so processes that compile at once cannot disturb each other.
The files hold machine code: a folder that others could write to is never used. What is compiled,
and how it is called, is `jit.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import shutil
import stat
import sys
import time
import uuid
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SOURCES = Path(__file__).parent
SUFFIX = ".kernel"
KEPT_FOLDERS = 8  # of other sources or versions: an upgrade, another environment, a branch
KEPT_SECONDS = 3600  # a folder used within the last hour is never removed
LOCK_SECONDS = 60  # how long to wait for another process that is compiling the same kernel


@cache
def source_hash(path: Path) -> str:
    """Digest of a kernel's source: of the whole kernel package, or of one file outside it."""
    files = sorted(SOURCES.rglob("*.py")) if path.is_relative_to(SOURCES) else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}:{file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:32]


def environment_key() -> str:
    """Everything but the sources that decides which machine code a kernel becomes."""
    parts = (
        sys.implementation.cache_tag,
        sys.version_info[:3],
        getattr(sys, "abiflags", ""),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        cpu_target.target_context.codegen().magic_tuple(),  # triple, processor, its features
        os.environ.get("DYN_LANES", ""),
        (config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK),
    )
    return repr(parts)


def user_folder() -> Path:
    """The folder of all our caches: DYN_CACHE_DIR, else the user's cache folder of the platform."""
    chosen = os.environ.get("DYN_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    home = Path("~").expanduser()  # RuntimeError where there is none
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "dyn-onnx"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "dyn-onnx"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "dyn-onnx"


def private_folder(path: Path) -> None:
    """Make `path`, or check that it is ours alone; raises OSError when it is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if os.name == "posix":
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(f"{path} is not a folder")
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if found.st_mode & 0o077:
            path.chmod(0o700)
    probe = path / f".{uuid.uuid4().hex}"
    probe.write_bytes(b"")
    probe.unlink()


def prune(folder: Path) -> None:
    """Remove the siblings of `folder` that have not been used for longest."""
    rows = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder.parent):
            ours = re.fullmatch("[0-9a-f]{32}", entry.name) and entry.name != folder.name
            if ours and entry.is_dir(follow_symlinks=False):
                rows.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    for used, path in sorted(rows, reverse=True)[KEPT_FOLDERS:]:
        if time.time() - used > KEPT_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


class Folder:
    """This process's cache folder, found on first use; `path` is None where nothing is kept."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.problem = ""
        self.warned = False
        self.hits = 0
        self.misses = 0
        self.uncached: list[str] = []
        key = hashlib.sha256((source_hash(SOURCES) + environment_key()).encode()).hexdigest()[:32]
        try:
            path = user_folder() / key
            new = not path.exists()
            private_folder(path)
            with contextlib.suppress(OSError):
                os.utime(path)  # the time of last use, for prune
            self.path = path
            if new:
                prune(path)
        except (OSError, RuntimeError) as error:
            self.warn(error)

    def warn(self, problem: Exception) -> None:
        """Say once per process that kernels are not kept, and why."""
        self.problem = self.problem or str(problem)
        if not self.warned:
            self.warned = True
            warnings.warn(
                f"compiled kernels cannot be kept on disk ({problem}), so every process compiles "
                "them anew; set DYN_CACHE_DIR to a folder of your own to keep them",
                RuntimeWarning,
                stacklevel=2,
            )


@cache
def folder() -> Folder:
    """The cache folder of this process."""
    return Folder()


def cache_info() -> dict[str, Any]:
    """What the kernel cache holds.

    Returns:
        `folder` (path or None), `state` ("ready" or why it is off), `files`, `bytes`, and of this
        process `hits`, `misses` and `uncached` (names of the kernels that could not be stored).
    """
    where = folder()
    sizes: list[int] = []
    if where.path is not None:
        with contextlib.suppress(OSError):
            for entry in os.scandir(where.path):
                if entry.name.endswith(SUFFIX):
                    sizes.append(entry.stat().st_size)
    return {
        "folder": where.path,
        "state": "ready" if where.path is not None else f"off: {where.problem}",
        "files": len(sizes),
        "bytes": sum(sizes),
        "hits": where.hits,
        "misses": where.misses,
        "uncached": list(where.uncached),
    }


def external_symbols(library: Any) -> list[str]:
    """Names of the functions that compiled code expects to find in the process."""
    found = library._final_module.functions
    return [f.name for f in found if f.is_declaration and not f.name.startswith("llvm.")]


def provide(symbols: list[str], target_context: Any) -> None:
    """Make the process ready for stored code that uses `symbols`.

    numba would first load all its typing rules (0.3 s), which register such functions on the way.
    Machine code needs none of the rules, so that is done only where a function is still missing.
    """
    for prepare in (lambda: rtsys.initialize(target_context), target_context.refresh):
        if all(map(llvmlite.binding.address_of_symbol, symbols)):
            return
        prepare()


class DiskCache:
    """The cache of one kernel, in the shape in which numba's dispatcher and cfunc ask for it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.usable = True
        self.locks: list[tuple[int, Path]] = []

    def entry(self, signature: Any) -> Path | None:
        """The file of one signature; None where it cannot be kept."""
        where = folder().path
        source = Path(self.function.__code__.co_filename)
        text = str(signature)
        # A type whose name holds an address (a function as an argument) differs in every process.
        if where is None or not self.usable or " at 0x" in text or not source.exists():
            return None
        parts = (self.name, text, source_hash(source))
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
        short = re.sub(r"[^\w.]", "", self.name)[-80:]
        return where / f"{short}-{digest}{SUFFIX}"

    def load_overload(self, signature: Any, target_context: Any) -> CompileResult | None:
        """The stored compilation of a signature, or None (then this process is to compile it)."""
        path = self.entry(signature)
        if path is None:
            return None
        result = self.read(path, target_context)
        if result is None and self.wait(path):
            result = self.read(path, target_context)
        if result is None:
            folder().misses += 1
        else:
            folder().hits += 1
        return result

    def read(self, path: Path, target_context: Any) -> CompileResult | None:
        """The compilation in a file; None if it is absent, damaged or unreadable."""
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        symbols, parts = pickle.loads(data[32:])
        provide(symbols, target_context)
        return CompileResult._rebuild(target_context, *parts)

    def wait(self, path: Path) -> bool:
        """Become the one process that compiles `path`; True if another has meanwhile done it.

        Only saves work: without locks, or after LOCK_SECONDS, several compile the same and the
        last rename wins.
        """
        if fcntl is None:
            return False
        lock = path.with_suffix(".lock")
        until = time.monotonic() + LOCK_SECONDS
        try:
            handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:
            return False
        waited = False
        while time.monotonic() < until:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                waited = True
                time.sleep(0.01)
            else:
                self.locks.append((handle, lock))
                return waited or path.exists()
        os.close(handle)
        return path.exists()

    def save_overload(self, signature: Any, result: Any) -> None:
        """Store a compilation; a kernel that cannot be stored goes on uncached."""
        path = self.entry(signature)
        if path is None or result.library.has_dynamic_globals or any(result.lifted):
            folder().uncached.append(self.name)
            return
        temporary = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            data = dumps((external_symbols(result.library), result._reduce()))
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
            temporary.replace(path)
        except OSError as error:
            self.usable = False
            folder().uncached.append(self.name)
            folder().warn(error)
            with contextlib.suppress(OSError):
                temporary.unlink()

    def release(self) -> None:
        """Let the processes that wait for this kernel go on; called when a compilation ends."""
        while self.locks:
            handle, lock = self.locks.pop()
            with contextlib.suppress(OSError):
                lock.unlink()
            os.close(handle)
