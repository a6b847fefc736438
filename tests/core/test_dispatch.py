"""The road of every op: what it says of operands that cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.dispatch import _quiet
from dyn.core.errors import AttributeValueError, DTypeError, DynError, ShapeError


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nn.functional.relu(None), r"relu: x is None"),
        (lambda: dyn.add(dyn.ones([2]), None), r"add: y is None"),
        (lambda: dyn.ones([2]) + None, r"add: y is None"),
        (lambda: dyn.matmul(None, None), r"matmul: x is None"),
        (lambda: dyn.concat([dyn.ones([2]), None]), r"concat: xs\[1\] is None"),
        (lambda: nn.Linear(1, 2)(None), r"linear: x is None(.|\n)*in layer Linear"),
        (lambda: nn.Conv2D(1, 2, 3)(None), r"conv: x is None(.|\n)*in layer Conv2D"),
        (lambda: nn.Embedding(2, 3)(None), r"embedding: .* is None(.|\n)*in layer Embedding"),
    ],
)
def test_none_for_a_tensor(call: Any, match: str) -> None:
    with pytest.raises(DTypeError, match=match) as caught:
        call()
    assert "test_dispatch.py" in str(caught.value)


def test_none_for_an_input_that_may_be_absent() -> None:
    x = dyn.to_tensor(np.ones((2, 3), np.float32))
    assert nn.functional.linear(x, dyn.ones([3, 4]), None).shape == [2, 4]


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "datetime64[D]"])
def test_dtypes_without_a_counterpart_name_those_that_there_are(dtype: str) -> None:
    with pytest.raises(DTypeError, match="has no counterpart in dyn; it has float16"):
        dyn.to_tensor(np.zeros(3, dtype))


def test_a_0d_operand_widens_nothing_of_its_kind() -> None:
    single, double = dyn.ones([2]), dyn.ones([], "float64")
    assert (single + double).dtype == (double * single).dtype == dyn.float32
    assert (dyn.ones([], "float32") - dyn.ones([2], "float64")).dtype == dyn.float64
    assert (dyn.ones([2], "int32") * dyn.ones([], "int64")).dtype == dyn.int32
    assert (dyn.ones([2], "int32") * double).dtype == dyn.float64
    assert (double + dyn.ones([])).dtype == dyn.float64
    assert (single * dyn.to_tensor(1j)).dtype == dyn.complex64


EMPTY, X, WHOLE = dyn.zeros([0, 3]), dyn.ones([3]), dyn.to_tensor([7, -7])


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda: dyn.max(EMPTY), ShapeError, r"max: axis 0 of \[0, 3\] has size 0"),
        (lambda: EMPTY.amin(0), ShapeError, r"min: axis 0 of \[0, 3\] has size 0"),
        (lambda: X.tile([-1]), AttributeValueError, r"repeats \[-1\] count copies"),
        (lambda: X.repeat_interleave(-1), AttributeValueError, r"cannot be repeated -1 times"),
        (lambda: X.expand([-2, 3]), ShapeError, r"expanded to \[-2, 3\]: sizes do not fit"),
        (
            lambda: dyn.to_tensor(2**70),
            AttributeValueError,
            r"11805\d+ does not fit into int64",
        ),
        (lambda: dyn.to_tensor([1, -(2**63) - 1]), AttributeValueError, "does not fit into int64"),
        (lambda: dyn.to_tensor(2**70, "int32"), AttributeValueError, "does not fit into int32"),
        (lambda: dyn.einsum("i->j", X), AttributeValueError, "'i->j' has 'j' in its output"),
        (lambda: dyn.einsum("i->ii", X), AttributeValueError, "'i->ii' has 'i' in its output"),
        (lambda: dyn.einsum("i$->i", X), AttributeValueError, "no equation of letters"),
        (lambda: WHOLE // 0, ZeroDivisionError, "floor_divide: an integer is divided by zero"),
        (lambda: WHOLE % dyn.to_tensor([1, 0]), RuntimeError, "remainder: an integer is divided"),
        (lambda: dyn.fmod(WHOLE, 0), DynError, "fmod: an integer is divided by zero"),
        (lambda: WHOLE[0] // dyn.zeros([], "int64"), ZeroDivisionError, "divided by zero"),
    ],
)
def test_what_cannot_be_done_is_told(call: Any, kind: Any, match: str) -> None:
    with pytest.raises(kind, match=match):
        call()


def test_what_looks_like_it_can() -> None:
    assert dyn.max(EMPTY, axis=1).shape == [0]
    assert dyn.to_tensor(2**70, "float32").item() == 2.0**70
    assert (X // 0).tolist() == [np.inf] * 3
    assert np.isnan((X % 0).numpy()).all()
    assert (dyn.to_tensor([7, -7]) // 2).tolist() == [3, -4]


def test_an_op_may_run_while_a_kernel_runs():
    # As in a finaliser or in the handler of a signal.
    x = dyn.to_tensor([1.0, 0.0])
    with np.errstate(all="raise"):
        inner = _quiet.run(lambda: 1.0 / x)
    assert inner.tolist() == [1.0, np.inf]


def test_an_error_behind_a_tensor_is_not_taken_for_a_missing_tensor():
    class Broken:
        deferred = False

        def refresh(self, tensor: Any) -> None:
            raise AttributeError("the cause")

    x = dyn.to_tensor([1.0])
    x._alias = Broken()
    with pytest.raises(AttributeError, match="the cause"):
        x + x


@pytest.mark.parametrize(
    ("mode", "pads"), [("reflect", [-3, 3]), ("circular", [-4, 3]), ("replicate", [-6, 1])]
)
def test_padding_by_what_is_cut_off_is_refused(mode, pads):
    # PyTorch answers with numbers that were cut off, or with memory that was never written.
    with pytest.raises(ShapeError, match="wider than size 6 allows"):
        nn.functional.pad(dyn.ones([1, 1, 6]), pads, mode=mode, data_format="NCL")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bool"])
@pytest.mark.parametrize("number", [2, 0.5, -0.0, True, np.float32(0.25), 1 + 2j])
def test_a_number_is_what_a_tensor_of_it_is(dtype: str, number: Any) -> None:
    x = dyn.to_tensor(np.array([3, 0, 1], dtype))
    wide = dyn.multiply(x, dyn.to_tensor(number)) if not isinstance(number, bool) else None
    for made in (dyn.multiply(x, number), dyn.multiply(number, x), x * number, number * x):
        if wide is not None:
            np.testing.assert_array_equal(made.numpy(), wide.numpy())
        assert made.dtype == (x * number).dtype


def test_zeros_keep_their_sign() -> None:
    x = dyn.to_tensor([2.0])
    assert np.signbit(dyn.multiply(x, -0.0).numpy())
    assert not np.signbit(dyn.multiply(x, 0.0).numpy())
    assert not np.signbit(dyn.multiply(x, 0).numpy())


def test_a_number_beside_what_is_no_tensor() -> None:
    np.testing.assert_array_equal(dyn.add(np.ones(2, np.float32), 1).numpy(), [2, 2])
    assert dyn.add(1, 2.5).item() == 3.5
    with pytest.raises(DTypeError, match="add: x is None"):
        dyn.add(None, 2)
    with pytest.raises(AttributeValueError, match="does not fit"):
        dyn.add(dyn.ones([2], "int32"), 2**40)


@pytest.mark.parametrize("call", [dyn.exp, lambda x: x / x, nn.functional.sigmoid])
def test_integers_become_numbers_of_the_default_dtype_as_it_is_now(call: Any) -> None:
    x = dyn.arange(1, 4)
    assert call(x).dtype == dyn.float32
    dyn.set_default_dtype("float64")
    try:
        assert call(x).dtype == dyn.float64
        assert call(dyn.arange(1, 6)).dtype == dyn.float64
    finally:
        dyn.set_default_dtype("float32")
    assert call(x).dtype == call(dyn.arange(1, 6)).dtype == dyn.float32
