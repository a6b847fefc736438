"""Step "write": puts lowered nodes and weights into an ONNX file.

Weights are never gathered in one protobuf message: the graph is written first, then each weight is
appended as a message of its own (concatenated protobuf messages merge), straight from its array. So
writing needs no memory beyond one weight. Above 2 GiB weights go to a side file next to the model.
Waiting for the disk is a step of its own, as the file can be read meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import helper

from dyn.core.op import Type
from dyn.kernels.copy import contiguous
from exporter.builder import tensor_proto, tensor_type
from exporter.errors import ExportError
from exporter.lowering import Lowered, value_info
from exporter.opset import IR_VERSION
from exporter.target import side_file
from tracer.graph import Stored

LIMIT = 2**31 - 2**20
"""Largest single file in bytes: protobuf ends at 2 GiB; room is left for the graph."""
INLINE = 1024
"""Weights up to this size in bytes stay in the model file: shape inference reads axes and sizes."""
PRODUCER = "dyn-onnx"
TRAINING = "dyn.training"
"""Metadata of a file that holds training behaviour."""


def skeleton(lowered: Lowered, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The model without its weights."""
    infos = [*lowered.inputs, *lowered.state_inputs]
    graph = helper.make_graph(
        lowered.nodes,
        lowered.name or "graph",
        [_named(name, type_) for name, type_ in infos],
        [_named(name, t) for name, t in (*lowered.outputs, *lowered.state_outputs)],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", lowered.opset)],
        ir_version=IR_VERSION[lowered.opset],
        producer_name=PRODUCER,
        functions=lowered.functions,
    )
    for domain in dict.fromkeys(function.domain for function in lowered.functions):
        model.opset_import.append(helper.make_opsetid(domain, 1))
    entries = dict(metadata)
    if lowered.states:
        entries["dyn.states"] = json.dumps(lowered.states)
    helper.set_model_props(model, entries)
    return model


def _named(name: str, type_: Type) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, *value_info(type_))


def check(model: onnx.ModelProto, weights: Mapping[str, Stored]) -> None:
    """Step "check": onnx's checker and shape inference over the graph.

    Weights stand in as typed inputs, so that none of them is copied.

    Raises:
        ExportError: onnx refuses the graph.
    """
    stand_in = onnx.ModelProto()
    stand_in.CopyFrom(model)
    declared = {value.name for value in stand_in.graph.input}
    for name, array in weights.items():
        if name in declared:
            continue
        if array.nbytes <= INLINE:
            # Small integer constants (axes, shapes) decide what shape inference finds.
            stand_in.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        else:
            info = helper.make_tensor_value_info(name, tensor_type(array.dtype), array.shape)
            stand_in.graph.input.append(info)
    try:
        onnx.checker.check_model(stand_in, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"onnx's checker refuses the graph, which is a fault of the exporter: {error}"
        ) from error


def write(
    model: onnx.ModelProto, weights: Mapping[str, Stored], path: Path, external: bool | None
) -> int:
    """Write graph and weights to `path`; the number of bytes written.

    Args:
        external: weights in a side file `<path>.data` (True), in the file (False), or decided by
            size (None).
    """
    total = sum(array.nbytes for array in weights.values())
    if external is None:
        external = total > LIMIT
    side = side_file(path)
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
        outside = {}
        for name, array in weights.items():
            if external and array.nbytes > INLINE:
                outside[name] = array
            else:
                _append(file, name, array)
        if outside:
            with open(side, "wb") as data:
                for name, array in outside.items():
                    _append_external(file, data, name, array, side.name)
    return path.stat().st_size + (side.stat().st_size if outside else 0)


def settle(path: Path) -> None:
    """Wait until what was written to `path` and its side file is on the disk."""
    for place in (side_file(path), path):
        if place.exists():
            with open(place, "rb+") as file:
                os.fsync(file.fileno())


def write_test_data(
    folder: Path, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> None:
    """Write arrays as the files of an onnx `test_data_set`, in order, into a new folder."""
    folder.mkdir()
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for i, (name, array) in enumerate(arrays.items()):
            tensor = tensor_proto(array, name)
            (folder / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())


# Field numbers of onnx.proto: ModelProto.graph 7, GraphProto.initializer 5, TensorProto.raw_data 9;
# a length-delimited field has wire type 2.
_GRAPH, _INITIALIZER, _RAW = (bytes([number << 3 | 2]) for number in (7, 5, 9))


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _header(name: str, array: Stored) -> onnx.TensorProto:
    return onnx.TensorProto(name=name, dims=array.shape, data_type=tensor_type(array.dtype))


def _append(file: BinaryIO, name: str, array: Stored) -> None:
    """One initializer, its bytes straight from the array."""
    data = contiguous(np.asarray(array))
    head = _header(name, array).SerializeToString() + _RAW + _varint(data.nbytes)
    tensor = len(head) + data.nbytes
    graph = len(_INITIALIZER) + len(_varint(tensor)) + tensor
    file.write(_GRAPH + _varint(graph) + _INITIALIZER + _varint(tensor) + head)
    file.write(_bytes(data))


def _bytes(data: np.ndarray) -> memoryview:
    return data.reshape(-1).view(np.uint8).data


def _append_external(
    file: BinaryIO, side: BinaryIO, name: str, array: Stored, location: str
) -> None:
    """One initializer that points into the side file, aligned so that it can be mapped."""
    data = contiguous(np.asarray(array))
    side.write(b"\0" * (-side.tell() % 4096))
    tensor = _header(name, array)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    fields = {"location": location, "offset": str(side.tell()), "length": str(data.nbytes)}
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=value)
    side.write(_bytes(data))
    body = tensor.SerializeToString()
    graph = _INITIALIZER + _varint(len(body)) + body
    file.write(_GRAPH + _varint(len(graph)) + graph)
