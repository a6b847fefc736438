"""What Python and other packages ask of a tensor: pickles, hashes, text, iteration, DLPack."""

import copy
import pickle

import numpy as np
import pytest

import dyn
from dyn import nn
from tracer import trace
from tracer.errors import TraceError
from tracer.spec import InputSpec

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]


class Foreign:
    """An array of another package: it can be read through DLPack and in no other way."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **kwargs):
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_goes_both_ways(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    out = np.from_dlpack(dyn.to_tensor(array))  # type: ignore[arg-type]
    assert out.dtype == array.dtype and np.array_equal(out, array)
    for source in (Foreign(array), array.T, dyn.to_tensor(array)):
        back = dyn.from_dlpack(source)
        assert back.dtype == dtype and back.stop_gradient
    array[0, 0] = 1
    assert dyn.from_dlpack(array).tolist() == array.tolist()


def test_dlpack_copies_what_comes_in():
    array = np.zeros(3, np.float32)
    tensor = dyn.from_dlpack(Foreign(array))
    array += 1
    assert tensor.tolist() == [0.0, 0.0, 0.0]


def test_dlpack_stops_a_trace_like_any_way_out():
    class Model(nn.Layer):
        def forward(self, x):
            return dyn.to_tensor(np.from_dlpack(x))

    with pytest.raises(TraceError):
        trace(Model(), InputSpec([2], "float32"))


def test_pickles_keep_value_dtype_and_whether_a_gradient_is_wanted():
    for dtype in [*DTYPES, "bfloat16", "complex64"]:
        x = dyn.ones([2, 3], dtype)
        y = pickle.loads(pickle.dumps(x))
        assert y.dtype == x.dtype and np.array_equal(y.numpy(), x.numpy()) and y.stop_gradient
    w = nn.Linear(2, 3).weight
    w.need_clip = False
    for again in (pickle.loads(pickle.dumps(w)), copy.deepcopy(w), copy.copy(w)):
        assert not again.need_clip
        assert type(again) is nn.Parameter and not again.stop_gradient
        assert np.array_equal(again.numpy(), w.numpy()) and again is not w
    view = dyn.arange(6).reshape([2, 3])[:, 1]
    assert pickle.loads(pickle.dumps(view)).tolist() == [1, 4]
    x = dyn.to_tensor([1.0], stop_gradient=False)
    assert pickle.loads(pickle.dumps(x * 2)).tolist() == [2.0]


@pytest.mark.parametrize("size", [3, 100_000])
def test_arrays_of_another_byte_order(size):
    x = np.arange(size, dtype=">f4")
    y = dyn.to_tensor(x)
    assert y.dtype == dyn.float32 and y.numpy().dtype.isnative
    np.testing.assert_array_equal((y + 1).numpy(), x + 1)


def test_hashes_go_by_identity():
    a, b = dyn.ones([2]), dyn.ones([2])
    assert hash(a) == hash(a) and len({a, b, a}) == 2
    found = {a: "a", b: "b"}
    a += 1
    assert found[a] == "a"


def test_formats_are_those_of_the_number():
    x = dyn.to_tensor(1.23456)
    assert f"{x:.2f}|{x:>8.3f}|{dyn.to_tensor(42):05d}" == "1.23|   1.235|00042"
    assert f"{x}" == str(x) and f"{dyn.ones([2])}" == str(dyn.ones([2]))
    with pytest.raises((TypeError, ValueError)):
        f"{dyn.ones([2]):.2f}"


def test_python_numbers_and_iteration():
    x = dyn.to_tensor([[1, 2], [3, 4]])
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]] and len(x) == 2
    assert int(x[0, 1]) == 2 and float(x[1, 1]) == 4.0 and bool(x[0, 0]) and [7, 8, 9][x[0, 0]] == 8
    with pytest.raises(dyn.ShapeError, match="0-d"):
        len(dyn.to_tensor(1))
    with pytest.raises(dyn.ShapeError, match="0-d"):
        list(dyn.to_tensor(1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_data_is_copied_to_the_beginning_of_a_cache_line(dtype):
    whole = np.arange(60_000).reshape(200, 300).astype(dtype)
    for data in (whole, whole[::2, ::3], whole.T):
        x = dyn.to_tensor(data)
        np.testing.assert_array_equal(x.numpy(), data)
        held = x._array
        assert held.flags.c_contiguous
        assert not np.shares_memory(held, whole)
        assert held.nbytes < 16_384 or held.ctypes.data % 64 == 0


def test_limits_of_dtypes():
    for name in ("float16", "float32", "float64"):
        limits, wanted = dyn.finfo(name), np.finfo(name)
        for what in ("min", "max", "eps", "tiny", "resolution", "bits"):
            assert getattr(limits, what) == getattr(wanted, what), what
    assert dyn.finfo(dyn.bfloat16).eps == 2**-7 and dyn.iinfo(dyn.int8).min == -128
    assert dyn.iinfo("int64").max == 2**63 - 1 and dyn.iinfo("uint8").dtype == "uint8"
    with pytest.raises(dyn.DTypeError, match="not int64; use iinfo"):
        dyn.finfo(dyn.int64)
    with pytest.raises(dyn.DTypeError, match="not float32; use finfo"):
        dyn.iinfo(dyn.float32)


def test_deep_copies_are_made_of_values_as_they_are_now():
    x = dyn.zeros([3])
    followers = [x[:2], x.detach(), x.detach()[1:]]
    x.add_(dyn.ones([3]))
    assert [copy.deepcopy(one).tolist() for one in followers] == [[1, 1], [1, 1, 1], [1, 1]]

    class Keeps(nn.Layer):
        """Copies what the next layer may yet take over (`core/deferred.py`)."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2D(1, 2, 1), nn.BatchNorm2D(2)

        def forward(self, x):
            y = self.conv(x)
            return copy.deepcopy(y), self.norm(y), y

    with dyn.no_grad():
        copied, _, y = Keeps().eval()(dyn.ones([1, 1, 2, 2]))
    np.testing.assert_array_equal(copied.numpy(), y.numpy())
