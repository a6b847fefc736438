"""Reads signature, metadata and default values from an ONNX file without the `onnx` package.

Serving installs numpy and onnxruntime alone, and onnxruntime tells neither the values of
initializers nor, before a session exists, whether a size is symbolic. So this module walks the
protobuf wire format of `onnx.proto3`, field by field, skipping weights. It checks no graph.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from exporter.serving.signature import STRING, PredictorError, Shape, TensorInfo

STATES_KEY = "dyn.states"
"""Metadata key of the exporter: a JSON object from state inputs to the outputs that renew them."""

# onnx.TensorProto.DataType, as far as numpy and onnxruntime share it.
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    8: "object", 9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
_MODEL = {"ir_version": 1, "graph": 7, "opset_import": 8, "metadata_props": 14}
_GRAPH = {"initializer": 5, "input": 11, "output": 12}
_TENSOR_NAME = 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Span(NamedTuple):
    """A length-delimited field: where its bytes start and end."""

    start: int
    end: int


class _DamagedError(Exception):
    """The bytes are not the protobuf message that was expected here."""


@dataclass(frozen=True)
class OnnxFile:
    """What serving needs to know of a file.

    Attributes:
        path: absolute path.
        ir_version: version of the file format.
        opsets: operator set version by domain ("" is ONNX's own).
        metadata: the file's metadata properties.
        inputs: all graph inputs, those with defaults marked optional.
        outputs: all graph outputs, in order.
        states: for each state input, the output that holds its next value.
    """

    path: str
    ir_version: int
    opsets: dict[str, int]
    metadata: dict[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    states: dict[str, str]

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return os.path.basename(self.path)

    def defaults(self, names: list[str]) -> dict[str, np.ndarray]:
        """The values of the named initializers, read afresh from the file.

        Raises:
            PredictorError: the file is gone, or lacks one of them.
        """
        found = {}
        with _message(self.path) as data:
            for graph in _all(data, _Span(0, len(data)), _MODEL["graph"]):
                for span in _all(data, graph, _GRAPH["initializer"]):
                    name = _text(data, span, _TENSOR_NAME)
                    if name in names:
                        found[name] = _tensor(data, span, os.path.dirname(self.path))
        missing = [name for name in names if name not in found]
        if missing:
            raise PredictorError(f"{self.name} has no default value of {', '.join(missing)}")
        return {name: found[name] for name in names}


def read_onnx(path: str | os.PathLike[str]) -> OnnxFile:
    """Read the outline of an ONNX file; weights are skipped, not loaded.

    Raises:
        PredictorError: there is no such file, it is no ONNX file, it carries types that numpy
            does not have, or its list of states does not match its inputs and outputs.
    """
    path = os.path.abspath(os.fspath(path))
    with _message(path) as data:
        whole = _Span(0, len(data))
        graphs = list(_all(data, whole, _MODEL["graph"]))
        opsets = list(_all(data, whole, _MODEL["opset_import"]))
        if not graphs or not opsets:
            raise _DamagedError("no graph or no operator set in it")
        properties = list(_all(data, whole, _MODEL["metadata_props"]))
        metadata = {_text(data, entry, 1): _text(data, entry, 2) for entry in properties}
        # A message's parts may follow each other in any number of pieces, the graph included.
        spans = {key: [s for g in graphs for s in _all(data, g, n)] for key, n in _GRAPH.items()}
        ir_version = _number(data, whole, _MODEL["ir_version"])
        # Before version 4 every initializer was listed as an input too, and was a constant.
        defaults = {_text(data, span, _TENSOR_NAME) for span in spans["initializer"]}
        inputs = [_value(data, span, defaults) for span in spans["input"]]
        if ir_version < 4:
            inputs = [info for info in inputs if not info.optional]
        outputs = tuple(_value(data, span, set()) for span in spans["output"])
        return OnnxFile(
            path=path,
            ir_version=ir_version,
            opsets={_text(data, span, 1): _number(data, span, 2) for span in opsets},
            metadata=metadata,
            inputs=tuple(inputs),
            outputs=outputs,
            states=_states(metadata, inputs, outputs),
        )


def _states(
    metadata: dict[str, str], inputs: list[TensorInfo], outputs: tuple[TensorInfo, ...]
) -> dict[str, str]:
    """The exporter's list of states, checked against the file that carries it."""
    text = metadata.get(STATES_KEY, "{}")
    try:
        states = json.loads(text)
        given = {info.name for info in inputs if info.optional}
        made = {info.name for info in outputs}
        known = set(states) <= given and set(states.values()) <= made
    except (ValueError, AttributeError, TypeError):
        known, states = False, {}
    if not known:
        raise _DamagedError(f"its {STATES_KEY} does not match its inputs and outputs: {text[:200]}")
    return states


def _value(data: mmap.mmap, span: _Span, defaults: set[str]) -> TensorInfo:
    """A ValueInfoProto."""
    name = _text(data, span, 1)
    for kind in _all(data, span, 2):
        for tensor in _all(data, kind, 1):
            code = _number(data, tensor, 1)
            if code not in _DTYPES:
                raise PredictorError(
                    f"{name} has ONNX element type {code}, which numpy and onnxruntime cannot "
                    f"exchange (16 is bfloat16): export it with a float32 input or output"
                )
            shape: Shape | None = None
            for dims in _all(data, tensor, 2):
                shape = tuple(_size(data, dim) for dim in _all(data, dims, 1))
            return TensorInfo(name, np.dtype(_DTYPES[code]), shape, name in defaults)
    raise PredictorError(f"{name} is no tensor; only tensors can be served")


def _size(data: mmap.mmap, span: _Span) -> int | str | None:
    """One dimension: its number, its name, or None."""
    for field, value in _fields(data, span):
        if field == 1 and isinstance(value, int):
            return value if value < 1 << 63 else None
        if field == 2 and isinstance(value, _Span):
            return data[value.start : value.end].decode("utf-8") or None
    return None


def _tensor(data: mmap.mmap, span: _Span, folder: str) -> np.ndarray:
    """The value of a TensorProto, wherever it keeps its elements."""
    code = _number(data, span, 2)
    if code not in _DTYPES:
        raise PredictorError(f"a default value has ONNX element type {code}, which numpy lacks")
    dtype, shape = np.dtype(_DTYPES[code]), []
    packed: dict[int, bytes] = {}
    strings, external = [], {}
    for field, value in _fields(data, span):
        if field == 1:
            shape += [value] if isinstance(value, int) else _varints(data[value.start : value.end])
        elif field == 6 and isinstance(value, _Span):
            strings.append(data[value.start : value.end].decode("utf-8"))
        elif field == 13 and isinstance(value, _Span):
            external[_text(data, value, 1)] = _text(data, value, 2)
        elif field in (4, 5, 7, 9, 10, 11) and isinstance(value, _Span):
            packed[field] = packed.get(field, b"") + data[value.start : value.end]
    if dtype == STRING:
        array = np.array(strings, object)
    elif external:
        array = np.frombuffer(_external(folder, external), dtype.newbyteorder("<"))
    elif 9 in packed:
        array = np.frombuffer(packed[9], dtype.newbyteorder("<"))
    elif 4 in packed or 10 in packed:
        array = np.frombuffer(packed.get(4, b"") or packed.get(10, b""), dtype.newbyteorder("<"))
    else:
        numbers = _varints(b"".join(packed.get(field, b"") for field in (5, 7, 11)))
        # Whole numbers of every width travel as 64-bit two's complement, float16 as its bits.
        array = np.array(numbers, np.uint64)
        array = array.astype(np.uint16).view(dtype) if dtype == np.float16 else array.astype(dtype)
    return array.astype(dtype).reshape(shape)


def _external(folder: str, where: dict[str, str]) -> bytes:
    """The bytes of a tensor that is kept in a file beside the model."""
    location = Path(where.get("location", ""))
    if location.is_absolute() or ".." in location.parts:
        raise PredictorError(f"external data outside the model's folder: {location}")
    with open(Path(folder) / location, "rb") as file:
        file.seek(int(where.get("offset", 0)))
        return file.read(int(where["length"]) if "length" in where else -1)


@contextmanager
def _message(path: str) -> Iterator[Any]:
    """The bytes of a file, mapped; whatever goes wrong with them names the file."""
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except OSError as error:
        raise PredictorError(f"cannot read {path}: {error.strerror or error}") from error
    except (_DamagedError, IndexError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, PredictorError):
            raise PredictorError(f"{name}: {error}") from error.__cause__
        raise PredictorError(f"{path} is not a sound ONNX file: {error}") from error


def _varint(data: mmap.mmap | bytes, at: int) -> tuple[int, int]:
    """The variable-length number at `at`, and where it ends."""
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise _DamagedError("a number does not end")


def _varints(data: bytes) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _fields(data: mmap.mmap, span: _Span) -> Iterator[tuple[int, int | _Span]]:
    """The fields of a message: number, and a whole number or the span of the bytes."""
    at, end = span
    while at < end:
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        value: int | _Span
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            if wire == _BYTES:
                size, at = _varint(data, at)
            elif wire in (_FIXED32, _FIXED64):
                size = 4 if wire == _FIXED32 else 8
            else:
                raise _DamagedError(f"wire type {wire} at byte {at}")
            value, at = _Span(at, at + size), at + size
        if at > end or field == 0:
            raise _DamagedError(f"a field ends beyond its message at byte {at}")
        yield field, value


def _all(data: mmap.mmap, span: _Span, number: int) -> Iterator[_Span]:
    """The spans of every length-delimited field `number` of a message."""
    for field, value in _fields(data, span):
        if field == number and isinstance(value, _Span):
            yield value


def _number(data: mmap.mmap, span: _Span, number: int) -> int:
    """The whole number in field `number`, 0 when absent; the last one counts."""
    values = [v for field, v in _fields(data, span) if field == number and isinstance(v, int)]
    return values[-1] if values else 0


def _text(data: mmap.mmap, span: _Span, number: int) -> str:
    """The text in field `number`, empty when absent; the last one counts."""
    spans = list(_all(data, span, number))
    return data[spans[-1].start : spans[-1].end].decode("utf-8") if spans else ""
