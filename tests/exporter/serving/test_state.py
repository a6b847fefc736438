"""State that a file carries from call to call: reading, setting, resetting, saving, loading."""

import copy
import pickle
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporter.serving import Predictor, PredictorError
from tests.exporter.serving.models import tensor, write, write_add, write_counter, write_gather

ZERO = np.zeros((1, 2), np.float32)


@pytest.fixture
def counter(tmp_path):
    return Predictor(write_counter(tmp_path / "count.onnx", start=5))


def total(predictor: Predictor) -> float:
    """The counter's state, whose two elements are equal."""
    values = predictor.state["total"]
    assert values.shape == (2,)
    assert values[0] == values[1]
    return float(values[0])


def test_the_state_is_carried_and_stays_out_of_inputs_and_outputs(counter):
    for wanted in (5, 6, 7):
        outputs = counter.run(ZERO)
        assert len(outputs) == 1
        np.testing.assert_array_equal(outputs[0], [[wanted, wanted]])
    assert total(counter) == 8


def test_the_state_before_the_first_call_is_the_default_in_the_file(counter):
    assert total(counter) == 5
    assert counter._session is None


def test_predictors_do_not_share_a_state(counter):
    other = Predictor(counter.path)
    counter(ZERO)
    counter(ZERO)
    other(ZERO)
    assert (total(counter), total(other)) == (7, 6)


def test_reading_gives_copies(counter):
    counter(ZERO)
    counter.state["total"][:] = 99
    outputs = counter(ZERO)
    outputs[0][:] = 99
    assert total(counter) == 7


def test_setting_copies_and_checks(counter):
    values = np.array([1, 1], np.float32)
    counter.set_state({"total": values})
    values[:] = 99
    np.testing.assert_array_equal(counter(ZERO)[0], [[1, 1]])
    counter.set_state({"total": [3, 3]})
    assert total(counter) == 3
    for wrong, reason in (
        ({}, "total: wanted float32\\[2\\], given nothing"),
        ({"total": [1, 2, 3]}, "axis 0 is 3 instead of 2"),
        ({"total": np.zeros(2)}, "not safely float32"),
        ({"total": [1, 1], "other": 1}, "other: no such name"),
    ):
        with pytest.raises(PredictorError, match=f"the state of count.onnx(.|\n)*{reason}"):
            counter.set_state(wrong)
    assert total(counter) == 3


def test_reset_goes_back_to_the_default(counter):
    counter(ZERO)
    counter.reset()
    assert total(counter) == 5
    np.testing.assert_array_equal(counter(ZERO)[0], [[5, 5]])


def test_a_failed_call_leaves_the_state_as_it_was(tmp_path):
    predictor = Predictor(write_gather(tmp_path / "gather.onnx"))
    predictor([1])
    for bad in ([9], [0.5]):
        with pytest.raises(PredictorError):
            predictor(bad)
    assert predictor.state["calls"] == 1


def test_saving_and_loading(counter, tmp_path):
    path = tmp_path / "counter.state"
    counter(ZERO)
    counter.save_state(path)
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive["total"], [6, 6])
    other = Predictor(counter.path)
    other.load_state(path)
    np.testing.assert_array_equal(other(ZERO)[0], [[6, 6]])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["count.onnx", "counter.state"]


def test_the_default_can_be_saved_before_any_call(counter, tmp_path):
    counter.save_state(tmp_path / "state.npz")
    counter(ZERO)
    counter.load_state(tmp_path / "state.npz")
    assert total(counter) == 5


def test_loading_what_is_no_state(counter, tmp_path):
    missing, junk, hostile = (tmp_path / name for name in ("none", "junk", "hostile.npz"))
    junk.write_bytes(b"not an archive")
    with zipfile.ZipFile(hostile, "w") as archive, archive.open("total.npy", "w") as member:
        np.lib.format.write_array(member, np.array([print], object), allow_pickle=True)
    for path in (missing, junk, hostile):
        with pytest.raises(PredictorError, match="cannot read a state from"):
            counter.load_state(path)
    other = tmp_path / "other.npz"
    np.savez(other, mean=np.zeros(2))
    with pytest.raises(PredictorError, match="mean: no such name"):
        counter.load_state(other)
    assert total(counter) == 5


def test_saving_fails_without_leaving_a_file(counter, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(PredictorError, match="not a regular file"):
        counter.save_state(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["count.onnx", "folder"]


def test_a_pickle_takes_the_state_along_by_value(counter):
    counter(ZERO)
    for twin in (pickle.loads(pickle.dumps(counter)), copy.copy(counter), copy.deepcopy(counter)):
        assert total(twin) == 6
        twin(ZERO)
        assert (total(twin), total(counter)) == (7, 6)


def test_a_state_may_grow(tmp_path):
    empty = numpy_helper.from_array(np.zeros((0,), np.float32), "seen")
    nodes = [helper.make_node("Concat", ["seen", "x"], ["seen.next"], axis=0)]
    nodes.append(helper.make_node("Identity", ["seen.next"], ["y"]))
    inputs = [tensor("x", ["n"]), tensor("seen", ["t"])]
    outputs = [tensor("y", None), tensor("seen.next", None)]
    states = {"seen": "seen.next"}
    predictor = Predictor(write(tmp_path / "cache.onnx", nodes, inputs, outputs, [empty], states))
    predictor([1, 2])
    (y,) = predictor([3])
    np.testing.assert_array_equal(y, [1, 2, 3])
    y[:] = 9
    np.testing.assert_array_equal(predictor.state["seen"], [1, 2, 3])
    predictor.set_state({"seen": [7]})
    np.testing.assert_array_equal(predictor([8])[0], [7, 8])


def test_awkward_names_survive_saving(tmp_path):
    names = ["file", "layer.0/mean", "été"]
    nodes, inputs, outputs, defaults, states = [], [tensor("x", [])], [], [], {}
    for name in names:
        nodes.append(helper.make_node("Add", [name, "x"], [f"{name}.next"]))
        inputs.append(tensor(name, []))
        outputs.append(tensor(f"{name}.next", []))
        defaults.append(numpy_helper.from_array(np.zeros((), np.float32), name))
        states[name] = f"{name}.next"
    predictor = Predictor(write(tmp_path / "m.onnx", nodes, inputs, outputs, defaults, states))
    assert predictor(2) == []
    predictor.save_state(tmp_path / "s")
    predictor.reset()
    predictor.load_state(tmp_path / "s")
    assert predictor.state == dict.fromkeys(names, 2)


def test_a_stateless_file_has_no_state(tmp_path):
    predictor = Predictor(write_add(tmp_path / "add.onnx"))
    assert predictor.states == ()
    assert predictor.state == {}
    predictor.reset()
    predictor.set_state({})


@pytest.mark.parametrize("states", [{"nope": "y"}, {"total": "nope"}, ["total"], {"x": "y"}])
def test_a_list_of_states_that_does_not_match_the_file(tmp_path, states):
    start = numpy_helper.from_array(np.zeros((), np.float32), "total")
    nodes = [helper.make_node("Add", ["x", "total"], ["y"])]
    inputs = [tensor("x", []), tensor("total", [], TensorProto.FLOAT)]
    path = write(tmp_path / "m.onnx", nodes, inputs, [tensor("y", [])], [start], states)
    with pytest.raises(PredictorError, match=r"dyn\.states does not match"):
        Predictor(path)
