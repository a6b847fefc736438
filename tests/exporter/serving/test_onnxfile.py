"""The reader of ONNX files against the onnx package, on whole, odd and damaged files."""

import os

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from exporter.serving import Predictor, PredictorError
from exporter.serving.onnxfile import read_onnx
from tests.exporter.serving.models import tensor, write, write_add, write_counter

NUMERIC = ["float32", "float64", "float16", "int8", "int16", "int32", "int64"]
NUMERIC += ["uint8", "uint16", "uint32", "uint64", "bool"]


def state_file(path, proto):
    """A file whose state `s` starts from `proto`."""
    info = tensor("s", list(proto.dims), proto.data_type)
    after = tensor("s.next", list(proto.dims), proto.data_type)
    nodes = [helper.make_node("Identity", ["s"], ["s.next"])]
    return write(path, nodes, [info], [after], [proto], {"s": "s.next"})


def sample(dtype):
    """Values at both ends of a dtype, in two dimensions."""
    if dtype == "bool":
        return np.array([[True, False], [False, True]])
    bounds = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    return np.array([[bounds.min, bounds.max], [0, 1]], dtype)


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("raw", [True, False])
def test_defaults_of_every_dtype_in_both_encodings(tmp_path, dtype, raw):
    wanted = sample(dtype)
    code = helper.np_dtype_to_tensor_dtype(wanted.dtype)
    proto = helper.make_tensor("s", code, wanted.shape, wanted.tobytes() if raw else wanted, raw)
    state = Predictor(state_file(tmp_path / "m.onnx", proto)).state["s"]
    assert state.dtype == wanted.dtype
    np.testing.assert_array_equal(state, wanted)
    assert state.flags.writeable


def test_defaults_of_strings_scalars_and_nothing(tmp_path):
    words = numpy_helper.from_array(np.array(["a", "β"], object), "s")
    assert Predictor(state_file(tmp_path / "a.onnx", words)).state["s"].tolist() == ["a", "β"]
    for value in (np.float32(2.5), np.zeros((0, 3), np.int64)):
        proto = numpy_helper.from_array(np.asarray(value), "s")
        state = Predictor(state_file(tmp_path / "b.onnx", proto)).state["s"]
        np.testing.assert_array_equal(state, value, strict=True)


def test_defaults_kept_beside_the_file(tmp_path):
    wanted = np.arange(600, dtype=np.float32).reshape(2, 300)
    path = state_file(tmp_path / "m.onnx", numpy_helper.from_array(wanted, "s"))
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    assert (tmp_path / "m.data").exists()
    predictor = Predictor(path)
    np.testing.assert_array_equal(predictor.state["s"], wanted)
    predictor()
    np.testing.assert_array_equal(predictor.state["s"], wanted)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname"])
def test_defaults_outside_the_folder_are_not_read(tmp_path, location):
    path = state_file(tmp_path / "m.onnx", numpy_helper.from_array(np.zeros(2, np.float32), "s"))
    model = onnx.load(path)
    proto = model.graph.initializer[0]
    proto.ClearField("raw_data")
    proto.data_location = TensorProto.EXTERNAL
    proto.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(PredictorError, match="external data outside the model's folder"):
        _ = Predictor(path).state


def test_the_outline_is_what_the_onnx_package_reads(tmp_path):
    path = write_counter(tmp_path / "m.onnx")
    file = read_onnx(path)
    model = onnx.load(path)
    assert file.ir_version == model.ir_version
    assert file.opsets == {"": 20}
    assert file.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert [info.name for info in file.inputs] == [value.name for value in model.graph.input]
    assert [info.name for info in file.outputs] == [value.name for value in model.graph.output]
    assert [info.shape for info in file.inputs] == [("n", 2), (2,)]
    assert [info.optional for info in file.inputs] == [False, True]


def test_a_message_in_pieces_is_one_message(tmp_path):
    # Protobuf merges messages that follow each other, so weights may be appended to a file.
    path = write_counter(tmp_path / "m.onnx", start=4)
    model = onnx.load(path)
    weights = list(model.graph.initializer)
    del model.graph.initializer[:]
    pieces = [model.SerializeToString()]
    for proto in weights:
        piece = onnx.ModelProto()
        piece.graph.initializer.append(proto)
        pieces.append(piece.SerializeToString())
    path.write_bytes(b"".join(pieces))
    predictor = Predictor(path)
    np.testing.assert_array_equal(predictor.state["total"], [4, 4])
    np.testing.assert_array_equal(predictor([[1, 1]])[0], [[5, 5]])


def test_old_files_list_their_weights_as_inputs(tmp_path):
    w = numpy_helper.from_array(np.ones(3, np.float32), "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    inputs = [tensor("x", [3]), tensor("w", [3])]
    opset = [helper.make_opsetid("", 8)]
    path = tmp_path / "m.onnx"
    write(path, nodes, inputs, [tensor("y", [3])], [w], ir_version=3, opset_imports=opset)
    predictor = Predictor(path)
    assert [info.name for info in predictor.inputs] == ["x"]
    np.testing.assert_array_equal(predictor([1, 2, 3])[0], [2, 3, 4])


def test_types_that_cannot_be_exchanged_are_named(tmp_path):
    sides = [tensor(name, [2], TensorProto.BFLOAT16) for name in "xy"]
    path = write(tmp_path / "m.onnx", [helper.make_node("Neg", ["x"], ["y"])], sides[:1], sides[1:])
    with pytest.raises(PredictorError, match=r"m.onnx: x has ONNX element type 16.*bfloat16"):
        Predictor(path)
    sides = [helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    path = write(
        tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])], sides[:1], sides[1:]
    )
    with pytest.raises(PredictorError, match=r"m.onnx: x is no tensor"):
        Predictor(path)


def test_missing_empty_and_foreign_files(tmp_path):
    with pytest.raises(PredictorError, match=r"cannot read .*none\.onnx: No such file"):
        Predictor(tmp_path / "none.onnx")
    with pytest.raises(PredictorError, match="cannot read"):
        Predictor(tmp_path)
    path = tmp_path / "m.onnx"
    for content in (b"", b"PK\x03\x04 zip", b"\x00" * 100, b"\xff" * 100, b"\x08\x09", b"text\n"):
        path.write_bytes(content)
        with pytest.raises(PredictorError, match=r"m\.onnx is not a sound ONNX file"):
            Predictor(path)


def test_a_file_that_vanishes_before_its_state_is_read(tmp_path):
    path = write_counter(tmp_path / "m.onnx")
    predictor = Predictor(path)
    os.unlink(path)
    with pytest.raises(PredictorError, match="cannot read"):
        _ = predictor.state


def test_every_truncation_is_refused_or_reads_as_a_prefix(tmp_path):
    path = write_counter(tmp_path / "m.onnx")
    whole = path.read_bytes()
    refused = 0
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            read_onnx(path)
        except PredictorError:
            refused += 1
    assert refused > 0.5 * len(whole)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_never_answered_by_anything_but_a_predictor_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = write_add(folder / "m.onnx")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        file = read_onnx(path)
        file.defaults([info.name for info in file.inputs if info.optional])
    except PredictorError:
        pass
