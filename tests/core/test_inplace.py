"""What writing in place keeps: the dtype of the tensor, or the tensor itself."""

import numpy as np
import pytest

import dyn
import dyn.compat.torch as torch
from dyn.core.errors import DTypeError


@pytest.mark.parametrize("package", [dyn, torch])
@pytest.mark.parametrize(
    "write", ["x *= 0.5", "x /= 2", "x += 0.5 * x", "x.clip_(min=0.5)", "x.sigmoid_()", "b += x"]
)
def test_fractions_do_not_go_into_integers(package, write):
    make = package.to_tensor if package is dyn else package.tensor
    names = {"x": make([1, 2]), "b": make([True, False])}
    with pytest.raises(DTypeError, match=r"does not go into a tensor of .*write x = x \* y"):
        exec(write, names)
    np.testing.assert_array_equal(names["x"].numpy(), [1, 2])
    np.testing.assert_array_equal(names["b"].numpy(), [True, False])


def test_lower_kinds_and_copies_do():
    x = torch.tensor([1, 2])
    x += True
    x.ge_(3)
    np.testing.assert_array_equal(x.numpy(), [0, 1])
    assert x.dtype == torch.int64
    np.testing.assert_array_equal(x.copy_(torch.tensor([2.7, -2.7])).numpy(), [2, -2])


@pytest.mark.parametrize("package", [dyn, torch])
def test_a_product_of_matrices_is_another_tensor(package):
    before = x = package.ones([2, 2])
    x @= package.ones([2, 3])
    np.testing.assert_array_equal(before.numpy(), np.ones((2, 2)))
    np.testing.assert_array_equal(x.numpy(), np.full((2, 3), 2.0))
