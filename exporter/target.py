"""Where an export goes: the path is checked first, and what is written gets its name last.

Everything is written into a hidden folder beside the target, so that moving is renaming and side
files already have the names by which the model refers to them. A process that is killed cannot
remove its folder; the next export to the same target does. What is in the files is `model.py`.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.errors import ExportError

try:
    import fcntl
except ImportError:  # Windows: nothing tells whether an export is still running
    fcntl = None

TEST_DATA = "test_data_set_0"
"""Folder of sample inputs and outputs beside a model, as onnx's own tests have it."""
_LOCK = "exporting.lock"
"""File in a staging folder that is locked while the export runs."""


def side_file(path: Path) -> Path:
    """Where the weights of the model `path` lie when they are external."""
    return path.with_name(path.name + ".data")


def check_target(path: str | os.PathLike[str]) -> Path:
    """The absolute target path, known to be writable before any work is done.

    Raises:
        ExportError: it is no path, its folder does not exist or cannot be written, or what has its
            name is no regular file.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ExportError(f"the path must be a string or a path, got {path!r}")
    target = Path(path).expanduser().absolute()
    try:
        kind = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        kind = None
    except (OSError, ValueError) as error:  # too long, a null byte, a loop of links
        raise ExportError(f"{str(target)!r} cannot be written: {error}") from error
    if kind is not None and stat.S_ISDIR(kind):
        raise ExportError(f"{target} is a folder; give the name of a file in it")
    # Renaming a file over a device or a pipe would take its place.
    if kind is not None and not stat.S_ISREG(kind):
        raise ExportError(f"{target} is not a regular file and will not be replaced")
    if not target.parent.is_dir():
        raise ExportError(f"the folder {target.parent} does not exist; make it first")
    if not os.access(target.parent, os.W_OK):
        raise ExportError(f"the folder {target.parent} cannot be written")
    return target


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A place to write `target` and its side files; they move only if the block ends well.

    Raises:
        ExportError: the folder of the target refuses new files.
    """
    try:
        _remove_abandoned(target)
        folder, lock = _new_folder(target)
    except OSError as error:  # what the permissions allow, the file system may still refuse
        raise ExportError(f"the folder {target.parent} cannot be written: {error}") from error
    try:
        yield folder / target.name
        _move(folder, target)
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder(target: Path) -> tuple[Path, int]:
    """A staging folder, and the open lock that keeps others from removing it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        with suppress(FileNotFoundError):  # another export may take it away until it is locked
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks: nobody removes anything
                    fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / _LOCK).exists():
                return folder, lock
            os.close(lock)


def _remove_abandoned(target: Path) -> None:
    """Remove the staging folders of this target whose exports have died."""
    if fcntl is None:
        return
    ours = re.compile(re.escape(f".{target.name}-") + "[a-z0-9_]{8}")
    for folder in [Path(e.path) for e in os.scandir(target.parent) if ours.fullmatch(e.name)]:
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:  # not of an export, or of somebody else
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # that export is running
            continue
        else:
            # One that died while it moved files keeps what it had set aside of the old model.
            if not ((folder / target.name).exists() and any(folder.glob("old.*"))):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _move(folder: Path, target: Path) -> None:
    """Give what was written its place, the model last; on an error the old files stay."""
    beside = [side_file(target), target.with_name(TEST_DATA)]
    moves: list[tuple[Path, Path]] = []
    for place in beside:
        made = folder / place.name
        if place.exists() and (made.exists() or _refers(target, place.name)):
            moves.append((place, folder / f"old.{place.name}"))
        if made.exists():
            moves.append((made, place))
    done: list[tuple[Path, Path]] = []
    try:
        for source, place in [*moves, (folder / target.name, target)]:
            os.replace(source, place)
            done.append((source, place))
    except BaseException:
        for source, place in reversed(done):
            os.replace(place, source)
        raise


def _refers(path: Path, name: str) -> bool:
    """Whether the model file, if there is one, keeps weights in the file called `name`."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(name.encode()) >= 0
