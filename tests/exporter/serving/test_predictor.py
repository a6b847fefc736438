"""Calls of a predictor: what it answers, what it converts, and the one error for all the rest."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import exporter
from exporter.serving import Predictor, PredictorError
from tests.exporter.serving.models import (
    tensor,
    write,
    write_add,
    write_counter,
    write_gather,
    write_layers,
)


@pytest.fixture
def add(tmp_path):
    return Predictor(write_add(tmp_path / "add.onnx"))


def refusal(predictor: Predictor, *inputs: object) -> str:
    """The message with which a call is refused."""
    with pytest.raises(PredictorError) as caught:
        predictor.run(*inputs)
    return str(caught.value)


def test_arrays_by_position_and_by_name_give_the_same_answer(add, rng):
    x, y = rng.random((2, 4, 3), np.float32)
    (z,) = add.run(x, y)
    np.testing.assert_array_equal(z, x + y)
    np.testing.assert_array_equal(add(x, y)[0], z)
    np.testing.assert_array_equal(add.run({"y": y, "x": x})[0], z)


def test_the_answers_are_those_of_a_plain_session(tmp_path, rng):
    path = write_layers(tmp_path / "layers.onnx", layers=2)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    predictor = Predictor(path)
    for shape in ((1, 5, 64), (3, 17, 64)):
        x = rng.random(shape, np.float32)
        (wanted,) = session.run(None, {"x": x})
        np.testing.assert_allclose(predictor(x)[0], np.asarray(wanted), rtol=1e-5, atol=1e-6)


def test_outputs_come_in_file_order_and_belong_to_the_caller(tmp_path):
    nodes = [helper.make_node("Neg", ["x"], ["b"]), helper.make_node("Abs", ["x"], ["a"])]
    sides = [tensor(name, ["n"]) for name in "xba"]
    predictor = Predictor(write(tmp_path / "two.onnx", nodes, sides[:1], sides[1:]))
    x = np.array([-1, 2], np.float32)
    b, a = predictor(x)
    np.testing.assert_array_equal(b, [1, -2])
    np.testing.assert_array_equal(a, [1, 2])
    a[:] = b[:] = 7
    np.testing.assert_array_equal(x, [-1, 2])
    np.testing.assert_array_equal(predictor(x)[0], [1, -2])


def test_strided_read_only_and_empty_arrays(add, rng):
    whole = rng.random((6, 8), np.float32)
    x, y = whole[::-2, 1:7:2], whole.T[:3, :3].T[::-1]
    x.flags.writeable = False
    np.testing.assert_array_equal(add(x, y)[0], x + y)
    assert add(x[:0], y[:0])[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("code", "wanted", "given"),
    [
        (TensorProto.FLOAT, "float32", "float16"),
        (TensorProto.FLOAT, "float32", "uint8"),
        (TensorProto.FLOAT, "float32", "bool"),
        (TensorProto.FLOAT, "float32", ">f4"),
        (TensorProto.DOUBLE, "float64", "float32"),
        (TensorProto.DOUBLE, "float64", "int32"),
        (TensorProto.INT64, "int64", "int32"),
        (TensorProto.INT64, "int64", "uint8"),
    ],
)
def test_safe_conversions_of_arrays(tmp_path, code, wanted, given):
    predictor = Predictor(write_add(tmp_path / "add.onnx", code))
    x = np.array([[0, 1, 1]]).astype(given)
    (z,) = predictor(x, x)
    assert z.dtype == wanted
    np.testing.assert_array_equal(z, [[0, 2, 2]])


@pytest.mark.parametrize(
    ("code", "wanted", "given"),
    [
        (TensorProto.FLOAT, "float32", "float64"),
        (TensorProto.FLOAT, "float32", "int32"),
        (TensorProto.FLOAT, "float32", "int64"),
        (TensorProto.FLOAT, "float32", "complex64"),
        (TensorProto.INT64, "int64", "float32"),
        (TensorProto.INT64, "int64", "uint64"),
        (TensorProto.INT32, "int32", "int64"),
    ],
)
def test_unsafe_conversions_of_arrays_are_refused_whatever_the_values(
    tmp_path, code, wanted, given
):
    predictor = Predictor(write_add(tmp_path / "add.onnx", code))
    good = np.zeros((2, 3), wanted)
    message = refusal(predictor, good, np.zeros((2, 3), given))
    assert f"y: wanted {wanted}[n, 3], given {given}[2, 3]" in message
    assert f'x.astype("{wanted}")' in message
    assert "x: wanted" not in message


def test_python_numbers_take_the_dtype_of_the_file(tmp_path, add):
    np.testing.assert_array_equal(
        add([[0.1, 2, True]], [[1, 1, 1]])[0], np.array([[1.1, 3, 2]], np.float32)
    )
    assert add([[1, 2, 3]], np.zeros((1, 3), np.float32))[0].dtype == np.float32
    np.testing.assert_array_equal(
        add([[float("inf"), float("nan"), 0]], [[0, 0, 0]])[0][0, 0], np.inf
    )
    whole = Predictor(write_add(tmp_path / "int.onnx", TensorProto.INT32))
    np.testing.assert_array_equal(whole([[1, 2, 3]], [[1, 1, True]])[0], [[2, 3, 4]])
    assert "not int32" in refusal(whole, [[1.0, 2, 3]], [[1, 1, 1]])
    assert "beyond the range of int32" in refusal(whole, [[1, 2, 2**31]], [[1, 1, 1]])
    assert "beyond the range of float32" in refusal(add, [[1, 2, 1e39]], [[1, 1, 1]])


def test_what_is_no_array_is_refused(add):
    good = np.zeros((1, 3), np.float32)
    assert "a list that is no array" in refusal(add, good, [[1, 2], [3]])
    assert "y: wanted float32[n, 3], given object[]" in refusal(add, good, None)
    assert "not float32" in refusal(add, good, [["a", "b", "c"]])


def test_one_error_names_everything_that_is_wrong(add):
    message = refusal(add, {"x": np.zeros((2, 4)), "yy": 1})
    assert message.startswith("add.onnx cannot take this:")
    assert "x: wanted float32[n, 3], given float64[2, 4] (" not in message
    assert "x: wanted float32[n, 3], given float64[2, 4]; not safely float32" in message
    assert "axis 1 is 4 instead of 3" in message
    assert "y: wanted float32[n, 3], given nothing" in message
    assert "yy: no such name (there is x, y)" in message


def test_the_number_of_inputs(add):
    x = np.zeros((2, 3), np.float32)
    wanted = "add.onnx: wanted 2 inputs (x: float32[n, 3], y: float32[n, 3]), given "
    assert refusal(add, x) == f"{wanted}1"
    assert refusal(add) == f"{wanted}0"
    assert refusal(add, x, x, x) == f"{wanted}3"


def test_ranks_and_sizes(add):
    x = np.zeros((2, 3), np.float32)
    assert "y: wanted float32[n, 3], given float32[3]; rank 1 instead of 2" in refusal(add, x, x[0])
    message = refusal(add, x, np.zeros((5, 3), np.float32))
    assert "n is 5 at axis 0 but 2 at x axis 0" in message


def test_open_ranks_anonymous_sizes_and_scalars(tmp_path):
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    sides = [tensor("a", None), tensor("b", []), tensor("y", None)]
    predictor = Predictor(write(tmp_path / "open.onnx", nodes, sides[:2], sides[2:]))
    assert str(predictor.inputs[0]) == "float32[...]"
    assert str(predictor.inputs[1]) == "float32[]"
    for shape in ((), (2,), (2, 1, 3)):
        np.testing.assert_array_equal(
            predictor(np.ones(shape, np.float32), 1)[0], np.full(shape, 2)
        )
    sides = [tensor("x", [None, None]), tensor("y", [None, None])]
    path = write(
        tmp_path / "any.onnx", [helper.make_node("Neg", ["x"], ["y"])], sides[:1], sides[1:]
    )
    predictor = Predictor(path)
    assert str(predictor.inputs[0]) == "float32[?, ?]"
    assert predictor(np.zeros((2, 5), np.float32))[0].shape == (2, 5)


def test_strings(tmp_path):
    sides = [tensor(name, ["n"], TensorProto.STRING) for name in "xy"]
    path = write(
        tmp_path / "text.onnx", [helper.make_node("Identity", ["x"], ["y"])], sides[:1], sides[1:]
    )
    predictor = Predictor(path)
    assert str(predictor.inputs[0]) == "string[n]"
    for words in (["a", "bc"], np.array(["a", "bc"]), np.array(["a", "bc"], object)):
        assert predictor(words)[0].tolist() == ["a", "bc"]
    assert "not all of it strings" in refusal(predictor, np.array(["a", 1], object))


def test_an_input_with_a_default_may_be_left_out_or_given_by_name(tmp_path):
    scale = numpy_helper.from_array(np.array(3, np.float32), "scale")
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"])]
    sides = [tensor("x", ["n"]), tensor("scale", []), tensor("y", ["n"])]
    predictor = Predictor(write(tmp_path / "scale.onnx", nodes, sides[:2], sides[2:], [scale]))
    x = np.array([1, 2], np.float32)
    assert [info.optional for info in predictor.inputs] == [False, True]
    np.testing.assert_array_equal(predictor(x)[0], [3, 6])
    np.testing.assert_array_equal(predictor({"x": x, "scale": 2})[0], [2, 4])
    np.testing.assert_array_equal(predictor(x)[0], [3, 6])
    assert "wanted 1 inputs" in refusal(predictor, x, 2)


def test_what_onnxruntime_cannot_compute_is_told_with_the_inputs(tmp_path):
    predictor = Predictor(write_gather(tmp_path / "gather.onnx"))
    message = refusal(predictor, np.array([9]))
    assert message.startswith("gather.onnx: onnxruntime failed with x: int64[1]")
    assert "out of" in message
    np.testing.assert_array_equal(predictor(np.array([2]))[0], [2])


def test_description(tmp_path):
    path = write_counter(tmp_path / "count.onnx")
    predictor = exporter.Predictor(path)
    assert type(predictor) is Predictor
    assert predictor.path == str(path)
    assert [info.name for info in predictor.inputs] == ["x"]
    assert [info.name for info in predictor.outputs] == ["y"]
    assert [(info.name, info.dtype, info.shape) for info in predictor.states] == [
        ("total", np.float32, (2,))
    ]
    assert predictor.metadata["author"] == "tests"
    assert repr(predictor) == (
        f"Predictor({str(path)!r}: x: float32[n, 2] -> y: float32[n, 2]; state total: float32[2])"
    )


def test_providers(tmp_path):
    path = write_add(tmp_path / "add.onnx")
    x = np.ones((1, 3), np.float32)
    for providers in ("CPUExecutionProvider", [("CPUExecutionProvider", {})]):
        np.testing.assert_array_equal(Predictor(path, providers=providers)(x, x)[0], x + x)
    with pytest.raises(PredictorError, match=r"no execution provider NoneSuch: .* has .*CPU"):
        Predictor(path, providers=["NoneSuch", "CPUExecutionProvider"])
    with pytest.raises(PredictorError, match="no execution provider given"):
        Predictor(path, providers=[])


def test_threads_must_be_positive(tmp_path):
    with pytest.raises(PredictorError, match="threads is 0"):
        Predictor(write_add(tmp_path / "add.onnx"), threads=0)


def test_a_file_that_onnxruntime_refuses(tmp_path):
    path = write_add(tmp_path / "add.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(path.read_bytes().replace(b"Add", b"Odd"))
    predictor = Predictor(broken)
    with pytest.raises(PredictorError, match=r"onnxruntime cannot load .*broken\.onnx"):
        predictor.open()


def test_a_file_replaced_before_it_was_loaded(tmp_path):
    path = write_add(tmp_path / "model.onnx")
    predictor = Predictor(path)
    write_counter(path)
    x = np.ones((1, 3), np.float32)
    assert "has been replaced by another model" in refusal(predictor, x, x)


def test_the_random_state_is_left_alone(add):
    np.random.seed(5)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    add(np.ones((1, 3), np.float32), np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]
