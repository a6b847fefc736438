"""Views and joins of `kernels/shape.py` that have a short way of their own, against numpy."""

import math

import numpy as np
import pytest

from dyn.kernels.shape import expand_of, stack


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "complex128"])
@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((), (2, 3)), ((1, 4), (3, 4)), ((2, 1, 3), (5, 2, 4, 3)), ((3, 1), (3, 0)), ((1,), (1, 1))],
)
def test_expanding(dtype, shape, wanted):
    x = np.asarray(np.arange(math.prod(shape)).reshape(shape) % 7).astype(dtype)
    for given in (x, np.stack([x, x], -1)[..., 1:].reshape(shape), np.asfortranarray(x)):
        wide = expand_of(shape, x.dtype, wanted)(given)
        np.testing.assert_array_equal(wide, np.broadcast_to(x, wanted))
        assert not wide.flags.writeable and wide.dtype == x.dtype
        assert not wide.size or np.may_share_memory(wide, given)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(), (5,), (4, 10), (0, 3)])
def test_stacking_along_a_new_last_axis(count, shape):
    xs = [np.random.default_rng(i).random(shape) for i in range(count)]
    np.testing.assert_array_equal(stack(xs, len(shape)), np.stack(xs, -1))
