"""Where compiled kernels lie between processes: a private folder, a file per kernel and signature.

A file's name is a hash of the kernel's source (of all that had a hand in it, where it was made from
parts) and of every kernel file it imports, of the versions and of the processor: an edit takes
effect at once, nothing stale is ever read, and kernels whose files did not change stay compiled. A
file is written under another name and renamed, and there is no index, so processes that compile at
once cannot disturb each other. The files hold machine code: a folder that others could have written
to is never used. What is compiled, and how it is called, is `jit.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import re
import stat
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.environment import Environment, _rebuild_env, lookup_environment
from numba.core.registry import cpu_target
from numba.core.runtime import _nrt_python, rtsys  # pyright: ignore
from numba.core.serialize import dumps

from dyn.kernels.runtime.interrupts import interrupted

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SOURCES = Path(__file__).parents[1]
PACKAGE = __name__.rsplit(".", 2)[0]
SUFFIX = ".kernel"
MAX_BYTES = 512 << 20  # more than that, and the files unused for longest are removed
MAX_SECONDS = 30 * 86400  # unused for so long, a file is removed
MIN_SECONDS = 3600  # used so recently, a file stays
LOCK_SECONDS = 60  # how long to wait for another process that is compiling the same kernel

# How a kernel file names others: "from dyn.kernels.gemm import pack, tile as tiles".
_IMPORT = re.compile(
    rf"^\s*from\s+{re.escape(PACKAGE)}((?:\.\w+)*)\s+import\s+(\([^)]*\)|.*)", re.MULTILINE
)
_NAME = re.compile(r"(\w+)(?:\s+as\s+\w+)?")

# numba's environment variables that change the code it makes.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


@cache
def _files() -> dict[str, Path]:
    """The files of the kernel package by dotted module name below it; a folder's is its face."""
    found = {}
    for file in SOURCES.rglob("*.py"):
        parts = file.relative_to(SOURCES).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def _read(file: Path) -> tuple[bytes, frozenset[Path]]:
    """Digest of a source file, and the files of the kernel package that it imports."""
    data = file.read_bytes()
    found = set()
    for package, names in _IMPORT.findall(data.decode("utf-8")):
        inside = package.removeprefix(".")
        named = {f"{inside}.{name}".removeprefix(".") for name in _NAME.findall(names)}
        # What is no file of a folder is defined by the module itself, which may be a folder's face.
        modules = named if named <= _files().keys() else named | {inside}
        found |= {_files()[module] for module in modules & _files().keys()}
    return hashlib.sha256(file.name.encode() + b"\n" + data).digest(), frozenset(found)


@cache
def source_hash(*filenames: str) -> str | None:
    """Digest of source files and of all kernel files they import; None where one is missing."""
    if not all(map(os.path.exists, filenames)):
        return None
    files = {Path(name) for name in filenames}
    new = files
    while new:
        new = {path for one in new for path in _read(one)[1]} - files
        files = files | new
    return hashlib.sha256(b"".join(sorted(_read(path)[0] for path in files))).hexdigest()


@cache
def environment() -> str:
    """Everything but the sources that decides which machine code a kernel becomes."""
    target: Any = cpu_target.target_context
    parts = (
        sys.implementation.cache_tag,
        sys.version_info[:3],
        getattr(sys, "abiflags", ""),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        target.codegen().magic_tuple(),  # triple, processor, its features
        os.environ.get("DYN_LANES", ""),
        [getattr(config, name) for name in _SETTINGS],
    )
    return repr(parts)


def user_folder() -> Path:
    """The folder of all our caches: DYN_CACHE_DIR, else the user's cache folder of the platform."""
    chosen = os.environ.get("DYN_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = Path("~").expanduser()  # RuntimeError where there is none
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "dyn-onnx"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "dyn-onnx"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "dyn-onnx"


def private_folder(path: Path) -> str:
    """Make `path` and say why it can only be read, if so; OSError if others may write to it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(f"{path} is not a folder")
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if found.st_mode & 0o022:
            raise PermissionError(f"others may write to {path}")
        if found.st_mode & 0o077:
            with contextlib.suppress(OSError):  # nobody writes to a read-only file system
                path.chmod(0o700)
    try:
        probe = path / f"{uuid.uuid4().hex}.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""


class Folder:
    """This process's cache folder, found on first use; `path` is None where nothing is kept.

    One that can only be read is read; the warning comes with the first kernel that it lacks.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.problem = ""
        self.closed = ""
        self.hits = 0
        self.misses = 0
        self.uncached: list[str] = []
        self.pruned = False
        try:
            path = user_folder() / "kernels"
            self.closed = private_folder(path)
            self.path = path
        except (OSError, RuntimeError) as error:
            self.warn(error)

    def warn(self, problem: Exception) -> None:
        """Say once per process that kernels are not kept, and why."""
        if not self.problem:
            self.problem = str(problem)
            warnings.warn(
                f"compiled kernels cannot be kept on disk ({problem}), so every process compiles "
                "them anew; set DYN_CACHE_DIR to a folder of your own to keep them",
                RuntimeWarning,
                stacklevel=2,
            )

    def entries(self) -> list[tuple[float, int, str]]:
        """Time of last use, size and path of every file."""
        rows = []
        with contextlib.suppress(OSError, TypeError):  # no folder is None
            for entry in os.scandir(self.path):
                with contextlib.suppress(OSError):  # removed meanwhile
                    found = entry.stat(follow_symlinks=False)
                    rows.append((found.st_mtime, found.st_size, entry.path))
        return rows

    def prune(self) -> None:
        """Remove the files of old sources and versions; once, in a process that adds files."""
        if self.pruned:
            return
        self.pruned = True
        now = time.time()
        total = 0
        for used, size, path in sorted(self.entries(), reverse=True):
            total += size
            unused = now - used
            if unused > MIN_SECONDS and (unused > MAX_SECONDS or total > MAX_BYTES):
                with contextlib.suppress(OSError):
                    os.unlink(path)


@cache
def folder() -> Folder:
    """The cache folder of this process."""
    return Folder()


def cache_info() -> dict[str, Any]:
    """What the kernel cache holds.

    Returns:
        `folder` (path or None), `state` ("ready", "read only" or why it is off), `files`, `bytes`,
        and of this process `hits`, `misses` and `uncached` (kernels that could not be stored).
    """
    where = folder()
    state = f"off: {where.problem}" if where.problem else "ready"
    state = f"read only: {where.closed}" if where.closed else state
    sizes = [size for _, size, path in where.entries() if path.endswith(SUFFIX)]
    return {
        "folder": where.path,
        "state": state,
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
    for name in symbols:
        if not llvmlite.binding.address_of_symbol(name):
            helper = _nrt_python.c_helpers.get(name.removeprefix("NRT_"))
            if helper is None:
                rtsys.initialize(target_context)
                target_context.refresh()
                return
            llvmlite.binding.add_symbol(name, helper)


class _Unpickler(pickle.Unpickler):
    """Restores a compilation without importing the modules its code was inlined from.

    numba would, for the globals of an environment, which compiled code never looks at; some of its
    own modules import scipy (0.3 s).
    """

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return _environment if found is _rebuild_env else found


def _environment(module: str, constants: list[Any], name: str) -> Environment:
    """What numba's `_rebuild_env` makes."""
    made = lookup_environment(name)
    if made is None:
        made = Environment(vars(sys.modules[module]) if module in sys.modules else {})
        made.consts[:] = constants
        made.env_name = name
        Environment._memo[name] = made
    return made


class DiskCache:
    """The cache of one kernel, in the shape in which numba's dispatcher and cfunc ask for it.

    Args:
        function: what is compiled.
        files: sources that decide what it compiles to, besides its own.
    """

    def __init__(self, function: Callable[..., Any], files: Iterable[str] = ()) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        # Read now, as the module is imported: if the file is edited while this process runs, what
        # it compiles must not be kept under the name of the edited source.
        self.source = source_hash(function.__code__.co_filename, *sorted(files))
        self.usable = True
        self.locks: list[tuple[int, Path]] = []

    def entry(self, signature: Any) -> Path | None:
        """The file of one signature; None where it cannot be kept."""
        where = folder().path
        text = str(signature)
        # A type whose name holds an address (a function as an argument) differs in every process.
        if where is None or not self.usable or " at 0x" in text or self.source is None:
            return None
        parts = (self.name, text, self.source, environment())
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
            with contextlib.suppress(OSError):
                os.utime(path)  # the time of last use, for prune
        return result

    def read(self, path: Path, target_context: Any) -> CompileResult | None:
        """The compilation in a file; None if it is absent, damaged or of no use."""
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        try:
            symbols, parts = _Unpickler(io.BytesIO(data[32:])).load()
            provide(symbols, target_context)
            return CompileResult._rebuild(target_context, *parts)
        except Exception:  # whatever is wrong with it, compiling is always possible
            return None

    def wait(self, path: Path) -> bool:
        """Become the one process that compiles `path`; True if another has meanwhile done it.

        Only saves work: without locks, after LOCK_SECONDS or at an interrupt, several compile the
        same and the last rename wins.
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
                if interrupted():
                    break
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
        temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
        folder().prune()
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
