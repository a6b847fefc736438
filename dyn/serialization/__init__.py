"""`dyn.save` and `dyn.load`: state dictionaries and checkpoints in files that hold only data.

What is saved goes to one safetensors file, whatever the extension. What is loaded may also come
from Paddle or PyTorch; the kind of a file is read from its first bytes. No code in a file is run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from dyn.core.errors import StateError
from dyn.core.place import as_place
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten, rebuild
from dyn.serialization import paddle, safetensors, torchzip
from dyn.serialization.structure import put_together, take_apart

Place = str | os.PathLike[str] | IO[bytes]
"""A file by name, or an open one."""

_KEY = "dyn"
"""Where the metadata of a file keeps the structure around the arrays."""


def save(obj: Any, path: Place) -> None:
    """Write tensors, arrays, numbers, text and containers of them to one file.

    The file is a safetensors file: other programs read its arrays by their names, which are the
    keys joined by `/`. It is complete or not there at all.

    Args:
        obj: a state_dict, or any nesting of dictionaries, lists and tuples.
        path: the file, whose folder is made if it is missing, or an object to write bytes to.

    Raises:
        StateError: something in `obj` is not data.
        OSError: the place cannot be written.
    """
    if isinstance(obj, dict) and not obj:
        warnings.warn("The input state dict is empty, no need to save.", stacklevel=2)
    text, arrays = take_apart(obj)
    if not isinstance(path, (str, os.PathLike)):
        with _beside() as name:
            safetensors.write(name, arrays, {_KEY: text})
            with open(name, "rb") as file:
                shutil.copyfileobj(file, path)
        return
    folder = os.path.dirname(os.fspath(path))
    if folder:
        os.makedirs(folder, exist_ok=True)
    safetensors.write(path, arrays, {_KEY: text})


@contextmanager
def _beside() -> Iterator[str]:
    """The name of a file that stands in for an object of bytes while it is written or read."""
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "buffer")


def load(path: Place, map_location: Any = None, *, return_numpy: bool = False) -> Any:
    """Read what `save` wrote, any safetensors file, or a file of Paddle or PyTorch.

    Args:
        path: a file of `dyn.save`, `.safetensors`, `.pdparams`, `.pdopt`, `.pth` or `.pt`, or an
            object to read the bytes of one from.
        map_location: where tensors go. There is only the CPU: "cpu", None, or PyTorch's other two
            ways to say it, a dictionary from any place to the CPU or a function of storages.
        return_numpy: whether numpy arrays stand in the place of tensors.

    Returns:
        The object that was saved; its tensors are constants. Of a safetensors file from elsewhere,
        a dictionary of its tensors.

    Raises:
        FileNotFoundError: there is no such file.
        StateError: the file is damaged, of another kind, or holds more than data.
    """
    if not callable(map_location):
        named = isinstance(map_location, Mapping)
        for place in map_location.values() if named else [map_location]:
            as_place(place)
    if isinstance(path, (str, os.PathLike)):
        found = _read(path)
    else:
        with _beside() as name:
            with open(name, "wb") as file:
                shutil.copyfileobj(path, file)
            found = _read(name)
    if not return_numpy:
        return found
    try:
        structure, leaves = flatten(found, lambda item: isinstance(item, Tensor))
        return rebuild(structure, [tensor.numpy() for _, tensor in leaves])
    except RecursionError:
        raise StateError(f"{path} is nested too deeply") from None


def _read(path: str | os.PathLike[str]) -> Any:
    """What a file holds, by the kind of file that its first bytes tell."""
    with open(path, "rb") as file:
        head = file.read(9)
    # A safetensors file begins with the length of its header: any bytes, those of the other
    # kinds included, so its brace is what counts.
    if head[8:] == b"{":
        arrays, metadata = safetensors.read(path)
        if _KEY in metadata:
            return put_together(metadata[_KEY], arrays)
        return {name: Tensor._of(array) for name, array in arrays.items()}
    if head[:2] == b"PK":
        return torchzip.read(path)
    if head[:1] == b"\x80":
        return paddle.read(path)
    raise StateError(
        f"{path} is no file that dyn.load knows: it reads safetensors, .pdparams and .pdopt of "
        "Paddle, and .pth and .pt archives of PyTorch"
    )
