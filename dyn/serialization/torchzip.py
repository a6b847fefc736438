"""Files of PyTorch: `.pt` and `.pth`, zip archives of a pickle and raw storages."""

from __future__ import annotations

import math
import os
import zipfile
from typing import Any

import numpy as np

from dyn.core.dtype import as_numpy, of_name
from dyn.core.errors import DynError, StateError
from dyn.serialization.unpickle import NUMPY, Array, ArrayUnpickler, Resolver, StandIn

_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}


class Storage:
    """The raw elements that a tensor is a view of, one after the other."""

    __slots__ = ("elements",)

    def __init__(self, elements: np.ndarray):
        self.elements = elements


def _rebuild(storage: Any, offset: Any, sizes: Any, strides: Any, *rest: Any) -> Array:
    """A tensor over a storage; StateError unless all of it lies inside."""
    sizes, strides = tuple(sizes), tuple(strides)
    numbers = (offset, *sizes, *strides)
    if not isinstance(storage, Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise StateError("a tensor in the file is not described by sizes and strides")
    elements = storage.elements
    last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if math.prod(sizes) and last >= elements.size:
        raise StateError("a tensor in the file reaches beyond its storage")
    out = Array()
    if math.prod(sizes):
        # A view, not a copy: a stride of 0 could ask for any amount of memory.
        steps = tuple(s * elements.itemsize for s in strides)
        out.value = np.lib.stride_tricks.as_strided(elements[offset:], sizes, steps)
    else:
        out.value = np.empty(sizes, elements.dtype)
    return out


def _parameter(data: Any, *rest: Any) -> Any:
    if not isinstance(data, Array):
        raise StateError("a parameter in the file has no data")
    return data


def _subclass(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor with attributes of its own: the tensor without them."""
    if not isinstance(function, StandIn) or not isinstance(args, tuple):
        raise StateError("a tensor in the file is not described by sizes and strides")
    return function(*args)


def _size(items: Any = ()) -> tuple[Any, ...]:
    return tuple(items)


def _device(*args: Any) -> str:
    return "cpu"


_REBUILD = StandIn("torch._utils._rebuild_tensor_v2", _rebuild)
_TENSOR = StandIn("torch.Tensor", _parameter)
_NAMES: dict[tuple[str, str], Any] = {
    **NUMPY,
    ("torch._utils", "_rebuild_tensor"): _REBUILD,
    ("torch._utils", "_rebuild_tensor_v2"): _REBUILD,
    ("torch._utils", "_rebuild_parameter"): StandIn("torch.nn.Parameter", _parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): StandIn("torch.Tensor", _subclass),
    ("torch._tensor", "Tensor"): _TENSOR,
    ("torch", "Tensor"): _TENSOR,
    ("torch.nn.parameter", "Parameter"): _TENSOR,
    ("torch", "Size"): StandIn("torch.Size", _size),
    ("torch", "device"): StandIn("torch.device", _device),
}


class _StorageType(StandIn):
    __slots__ = ("dtype",)

    def __init__(self, name: str, dtype: str):
        super().__init__(name, self._refuse)
        object.__setattr__(self, "dtype", dtype)

    def _refuse(self, *args: Any) -> Any:
        raise StateError("the file makes a storage of its own")


for _name, _dtype in _STORAGES.items():
    for _module in ("torch", "torch.storage"):
        _NAMES[_module, _name] = _StorageType(f"torch.{_name}", _dtype)


def read(path: str | os.PathLike[str]) -> Any:
    """The object in a PyTorch archive, with Tensors in the place of tensors.

    Raises:
        StateError: the file is damaged, asks for anything but tensors and containers, or is no
            archive of tensors at all.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(path, archive)
    except (zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        raise StateError(f"{path} is damaged: {error}") from None


def _read_archive(path: Any, archive: zipfile.ZipFile) -> Any:
    pickles = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise StateError(f"{path} is a zip archive, but not one of PyTorch tensors")
    root = pickles[0][: -len("data.pkl")]
    if root + "constants.pkl" in archive.namelist():
        raise StateError(f"{path} is a TorchScript program; dyn.load takes a saved state_dict")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise StateError(f"{path} is compressed, which PyTorch never does; it is not unpacked")
    order = "<"
    if root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") == b"big":
        order = ">"
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        kind, storage_type, key = pid[:3]
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise StateError(f"{path} refers to {kind!r}, which is not a storage")
        if key not in storages:
            dtype = as_numpy(storage_type.dtype)
            raw = archive.read(f"{root}data/{key}")
            whole = len(raw) - len(raw) % dtype.itemsize
            elements = np.frombuffer(raw[:whole], np.uint8).view(dtype)
            storages[key] = Storage(elements.byteswap() if order == ">" else elements)
        return storages[key]

    with archive.open(pickles[0]) as file:
        return _Unpickler(file, _NAMES, str(path), persistent).result(Resolver())


class _Unpickler(ArrayUnpickler):
    """Also knows `torch.float32` and its like, which become dtype names."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch":
            try:
                return of_name(name).name
            except DynError:
                pass
        return super().find_class(module, name)
