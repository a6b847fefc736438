"""The safetensors file format: named arrays and a metadata dictionary of strings.

Layout: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
then the raw little-endian data. Nothing in a file is ever executed.
Source: https://github.com/huggingface/safetensors (format section of the README).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from dyn.core.dtype import as_numpy
from dyn.core.errors import StateError
from dyn.serialization.whole import written

_CODES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "complex128": "C128",
}
_NAMES = {code: name for name, code in _CODES.items()}
_MAX_HEADER = 100_000_000
"""Bytes a header may have, as in the reference implementation."""


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write a file; a file that was there before stays whole until the new one is complete.

    Args:
        path: where to.
        arrays: arrays of any layout by name; written in row-major order.
        metadata: text by name.

    Raises:
        StateError: an array has a dtype that the format does not know, or what has this path
            already is no regular file.
        OSError: the place cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    header.update(dict.fromkeys(arrays))
    offset = 0
    # Wide elements first: every array then starts at a multiple of its element size. The header
    # keeps the order of the arrays.
    names = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    for name in names:
        array = arrays[name]
        code = _CODES.get(array.dtype.name)
        if code is None:
            raise StateError(f"{name!r} has dtype {array.dtype}, which cannot be saved")
        end = offset + array.nbytes
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with written(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in names:
            array = arrays[name]
            little = array.dtype.newbyteorder("<") if array.dtype.kind != "V" else array.dtype
            file.write(np.ascontiguousarray(array, little).reshape(-1).view(np.uint8).data)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a file.

    Raises:
        StateError: the file is damaged: its header is no header, or does not fit its data.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise StateError(f"{path} is damaged: its header is longer than the file")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise StateError(f"{path} is damaged: its header is not JSON") from None
        data = np.fromfile(file, np.uint8)
    if not isinstance(header, dict):
        raise StateError(f"{path} is damaged: its header is not a dictionary")
    metadata = header.pop("__metadata__", None) or {}
    arrays = {name: _array(path, name, entry, data) for name, entry in header.items()}
    return arrays, metadata


def _array(path: Any, name: str, entry: Any, data: np.ndarray) -> np.ndarray:
    try:
        shape = tuple(entry["shape"])
        start, end = entry["data_offsets"]
        known = entry["dtype"] in _NAMES
        whole = all(type(n) is int and n >= 0 for n in (start, end, *shape))
    except (TypeError, KeyError, ValueError):
        raise StateError(f"{path} is damaged: the entry of {name!r} is incomplete") from None
    if not known:
        raise StateError(f"{path}: {name!r} has dtype {entry['dtype']!r}, which dyn does not have")
    name_of = _NAMES[entry["dtype"]]
    dtype = as_numpy(name_of) if name_of == "bfloat16" else np.dtype(name_of)
    if not whole or end > data.size or end - start != math.prod(shape) * dtype.itemsize:
        raise StateError(f"{path} is damaged: the data of {name!r} does not fit its shape")
    part = data[start:end]
    if start % dtype.itemsize:
        part = part.copy()
    return part.view(dtype).reshape(shape)
