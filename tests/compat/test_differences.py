"""Slopes of sampled values, compared with numpy's."""

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn.core.errors import AttributeValueError, ShapeError

VALUES = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
PLACES = np.array([0, 0.5, 0.7, 2, 2.5], np.float32)


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("spacing, dim", [(1, None), (0.5, None), ([2.0, 3.0], (0, 1)), (2, -1)])
def test_slopes_on_even_grids(spacing, dim, edge_order):
    found = torch.gradient(torch.tensor(VALUES), spacing=spacing, dim=dim, edge_order=edge_order)
    steps = spacing if isinstance(spacing, list) else [spacing]
    wanted = np.gradient(VALUES, *steps, axis=dim, edge_order=edge_order)
    wanted = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_slopes_at_coordinates(edge_order):
    x = torch.tensor(VALUES, requires_grad=True)
    (found,) = torch.gradient(x, spacing=[torch.tensor(PLACES)], dim=1, edge_order=edge_order)
    wanted = np.gradient(VALUES, PLACES, axis=1, edge_order=edge_order)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert x.grad.shape == (4, 5)
    (two,) = torch.gradient(torch.tensor([1.0, 4.0]), spacing=2)
    assert two.tolist() == [1.5, 1.5]


def test_what_has_no_slopes():
    x = torch.tensor(VALUES)
    with pytest.raises(ShapeError, match="axis 0 has size 1; edge_order=1 needs 2 values"):
        torch.gradient(x[:1])
    with pytest.raises(ShapeError, match="3 coordinates are given for axis 1 of size 5"):
        torch.gradient(x, spacing=[torch.ones(3)], dim=1)
    with pytest.raises(AttributeValueError, match="spacing has 1 entries for 2 axes"):
        torch.gradient(x, spacing=[1.0])
    with pytest.raises(AttributeValueError, match="edge_order must be 1 or 2, got 3"):
        torch.gradient(x, edge_order=3)
