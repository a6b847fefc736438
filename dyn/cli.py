"""The command `dyn`: what is installed and how it will run; compiling the kernels ahead.

Packages that stand above dyn add commands of their own by entry points in the group `dyn.commands`:
objects with `help`, `arguments(parser)` and `run(parsed) -> status`.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata

from tqdm import tqdm

import dyn
from dyn.kernels.runtime import jit, limits, threads
from dyn.kernels.vector import lanes

_PACKAGES = ("numpy", "numba", "llvmlite", "ml_dtypes", "onnx", "onnxruntime")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (those of the process by default); the exit status."""
    parser = argparse.ArgumentParser(prog="dyn", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("info", help="versions, vector width, threads, kernel cache")
    commands.add_parser("warmup", help="compile the kernels now, with a progress bar")
    own = {"info": info, "warmup": warmup}
    others = {entry.name: entry.load() for entry in metadata.entry_points(group="dyn.commands")}
    for name, command in others.items():
        inner = commands.add_parser(name, help=command.help, description=command.help)
        command.arguments(inner)
    chosen = parser.parse_args(arguments)
    return own[chosen.command]() if chosen.command in own else others[chosen.command].run(chosen)


def info() -> int:
    """Print versions, vector width, threads, and where compiled kernels are kept."""
    rows = [
        ("dyn-onnx", dyn.__version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _version(name)) for name in _PACKAGES),
        ("lanes", f"{lanes.LANES} float32 in a vector"),
        ("threads", f"{threads.get_num_threads()} of {limits.available_cpus()} processors"),
        *_cache_rows(),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    return 0


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cache_rows() -> list[tuple[str, str]]:
    found = jit.cache_info()
    return [
        ("kernel cache", f"{found['folder'] or 'none'}"),
        ("cache state", f"{found['state']}, {found['files']} files, {_size(found['bytes'])}"),
    ]


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def warmup() -> int:
    """Compile the kernels, or load them from the cache, and say how long it took.

    Returns:
        0, or 1 where there is no folder to keep them in.
    """
    kept = jit.cache_info()
    if kept["folder"] is None:
        reason = kept["state"].removeprefix("off: ")
        print(f"error: compiled kernels cannot be kept: {reason}", file=sys.stderr)
        return 1
    start = time.perf_counter()
    with tqdm(unit="kernel", desc="compiling", file=sys.stderr, dynamic_ncols=True) as bar:

        def progress(done: int, total: int, name: str) -> None:
            bar.total = total
            bar.set_postfix_str(name.rsplit(".", 1)[-1], refresh=False)
            bar.update(done - bar.n)

        count = jit.warmup(progress)
    seconds = time.perf_counter() - start
    print(f"{count} kernels are ready after {seconds:.1f} s; rarer ones compile when first used")
    for name, value in _cache_rows():
        print(f"{name}: {value}")
    return 0
