"""Indices against numpy: ints, slices, None, Ellipsis, index tensors behind whole slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import dyn
from dyn.core.errors import IndexRangeError

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


def numbers(shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@given(st.data(), SHAPES)
@settings(max_examples=300, deadline=None)
def test_basic_indices_read_and_write_as_numpy(data, shape):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, max_dims=6))
    x = numbers(shape)
    got = dyn.to_tensor(x)[index]
    np.testing.assert_array_equal(got.numpy(), x[index])
    assert got.shape == [*x[index].shape]
    written, wanted = dyn.to_tensor(x), x.copy()
    written[index] = -1.0
    wanted[index] = -1.0
    np.testing.assert_array_equal(written.numpy(), wanted)


@given(st.data(), SHAPES)
@settings(max_examples=200, deadline=None)
def test_an_index_tensor_behind_whole_slices(data, shape):
    axis = data.draw(st.integers(0, len(shape) - 1))
    chosen = data.draw(hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=3),
                                  elements=st.integers(-shape[axis], shape[axis] - 1)))  # fmt: skip
    x, before = numbers(shape), (slice(None),) * axis
    leaf = dyn.to_tensor(x, stop_gradient=False)
    got = leaf[(*before, dyn.to_tensor(chosen))]
    np.testing.assert_array_equal(got.numpy(), x[(*before, chosen)])
    got.sum().backward()
    counted = np.zeros(shape, np.float32)
    np.add.at(counted, (*before, chosen), 1)
    np.testing.assert_array_equal(leaf.grad.numpy(), counted)


@pytest.mark.parametrize(
    "index", [(0, 0, 0), (..., 0, ...), (slice(None), None, slice(None), slice(None))]
)
def test_indices_that_do_not_fit(index):
    with pytest.raises(IndexRangeError):
        dyn.ones([2, 3])[index]
