"""Tensors print as in Paddle, character by character (values recorded from PaddlePaddle 3.3.1)."""

import numpy as np
import pytest

import dyn
from dyn import printing
from dyn.core import observe

HEAD = "Tensor(shape={shape}, dtype={dtype}, place=CPUPlace, stop_gradient={stop},\n       {data})"

GOLDEN = [
    (1, None, "[]", "int64", "1"),
    (1.5, None, "[]", "float32", "1.50000000"),
    ([True, False], None, "[2]", "bool", "[True , False]"),
    ([1, 2], "int32", "[2]", "int32", "[1, 2]"),
    ([1.0, 2.0], "float64", "[2]", "float64", "[1., 2.]"),
    ([1.5, 2.0], "float16", "[2]", "float16", "[1.50000000, 2.        ]"),
    ([1.5, 2.0], "bfloat16", "[2]", "bfloat16", "[1.50000000, 2.        ]"),
    ([1 + 2j], None, "[1]", "complex64", "[(1.00000000+2.00000000j)]"),
    ([], None, "[0]", "float32", "[]"),
    (np.zeros([0, 3], np.float32), None, "[0, 3]", "float32", "[]"),
    ([float("nan"), float("inf"), -float("inf")], None, "[3]", "float32", "[ nan ,  inf., -inf.]"),
    ([1e-10, 1e10], None, "[2]", "float32", "[0.00000000  , 10000000000.]"),
    ([1e6, 1.5], None, "[2]", "float32", "[1000000.  , 1.50000000]"),
    ([123456789.0, 0.1], None, "[2]", "float32", "[123456792., 0.10000000]"),
    (np.arange(2000), None, "[2000]", "int64", "[0   , 1   , 2   , ..., 1997, 1998, 1999]"),
    (
        np.ones([40, 40], np.float32),
        None,
        "[40, 40]",
        "float32",
        "[[1., 1., 1., ..., 1., 1., 1.],\n"
        "        [1., 1., 1., ..., 1., 1., 1.],\n"
        "        [1., 1., 1., ..., 1., 1., 1.],\n"
        "        ...,\n"
        "        [1., 1., 1., ..., 1., 1., 1.],\n"
        "        [1., 1., 1., ..., 1., 1., 1.],\n"
        "        [1., 1., 1., ..., 1., 1., 1.]]",
    ),
    ([0.948656624], None, "[1]", "float32", "[0.94865662]"),
    (
        [[1, 2.5], [3, 4]],
        None,
        "[2, 2]",
        "float32",
        "[[1.        , 2.50000000],\n        [3.        , 4.        ]]",
    ),
    ([1, 2], "uint8", "[2]", "uint8", "[1, 2]"),
    (-0.08627059, None, "[]", "float32", "-0.08627059"),
]


@pytest.mark.parametrize(("value", "dtype", "shape", "name", "data"), GOLDEN)
def test_golden_strings(value, dtype, shape, name, data):
    tensor = dyn.to_tensor(value, dtype=dtype)
    text = HEAD.format(shape=shape, dtype=name, stop=True, data=data)
    assert repr(tensor) == str(tensor) == f"{tensor}" == text


def test_a_leaf_that_wants_a_gradient():
    tensor = dyn.to_tensor([2.0, 3.0], stop_gradient=False)
    assert repr(tensor) == HEAD.format(shape="[2]", dtype="float32", stop=False, data="[2., 3.]")


def test_parameters_say_what_they_are():
    parameter = dyn.nn.Parameter([2.0, 3.0])
    assert repr(parameter) == "Parameter containing:\n" + HEAD.format(
        shape="[2]", dtype="float32", stop=False, data="[2., 3.]"
    )
    assert repr(dyn.Tensor()) == "Tensor(Not initialized)"


def test_blocks_of_a_tensor_with_three_axes_are_parted_by_a_blank_line():
    assert repr(dyn.to_tensor([[[1], [2]], [[-3], [4]]])) == (
        "Tensor(shape=[2, 2, 1], dtype=int64, place=CPUPlace, stop_gradient=True,\n"
        "       [[[ 1],\n"
        "         [ 2]],\n"
        "\n"
        "        [[-3],\n"
        "         [ 4]]])"
    )


def test_long_rows_wrap_under_their_start():
    lines = repr(dyn.arange(30)).split("\n")
    assert lines[1] == (
        "       [0 , 1 , 2 , 3 , 4 , 5 , 6 , 7 , 8 , 9 , 10, 11, 12, 13, 14, 15, 16, 17,"
    )
    assert lines[2] == "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"


def test_printing_a_traced_value_is_no_event():
    class Strict(observe.Observer):
        def on_escape(self, tensor, how):
            raise AssertionError(how)

    with observe.observing(Strict()):
        assert "1." in repr(dyn.ones([2]))


@pytest.fixture
def options():
    before = printing._options
    yield
    printing._options = before


def test_options(options):
    dyn.set_printoptions(precision=2, threshold=3, edgeitems=1)
    assert "[0.50, ..., 1.50]" in repr(dyn.to_tensor([0.5, 0.75, 1.0, 1.5]))
    dyn.set_printoptions(sci_mode=True, linewidth=30)
    assert "[5.00e-01]" in repr(dyn.to_tensor([0.5]))
    assert printing._options.precision == 2
    with pytest.raises(ValueError, match="precision must be a non-negative integer"):
        dyn.set_printoptions(precision=-1)
