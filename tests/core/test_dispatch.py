"""The road of every op: what it says of operands that cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.errors import DTypeError


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
