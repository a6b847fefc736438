"""Files that are there whole or not at all: written beside their place, then renamed.

A process that is killed cannot remove what it has written so far; the next one that writes to the
same place does. What is in the files is the business of the formats.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dyn.core.errors import StateError

try:
    import fcntl
except ImportError:  # Windows: nothing tells whether a file is still being written
    fcntl = None

_END = ".part"


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, which gets the name `path` if the block ends well.

    Raises:
        StateError: what has this path already is no regular file.
        OSError: the place cannot be written.
    """
    path = Path(path)
    # Renaming a file over a device or a pipe would take its place.
    if path.exists() and not path.is_file():
        raise StateError(f"{path} is not a regular file and will not be replaced")
    _remove_abandoned(path)
    handle, temporary = _new_file(path)
    # The lock is held until the file has its name; Windows, which has none, renames no open file.
    lock = None if fcntl is None else os.dup(handle)
    try:
        with open(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _new_file(path: Path) -> tuple[int, str]:
    """A file beside `path`, locked so that others leave it where it is."""
    while True:
        handle, name = tempfile.mkstemp(prefix=path.name, suffix=_END, dir=path.parent)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: nobody removes anything
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):  # another process may take it away until it is locked
            return handle, name
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that died had written for this path."""
    if fcntl is None or not path.parent.is_dir():
        return
    ours = re.compile(re.escape(path.name) + "[a-z0-9_]{8}" + re.escape(_END))
    for name in [entry.path for entry in os.scandir(path.parent) if ours.fullmatch(entry.name)]:
        try:
            handle = os.open(name, os.O_RDWR)
        except OSError:  # of somebody else, or gone
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name)
        except OSError:  # it is being written
            continue
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
