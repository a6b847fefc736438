"""Functions of an axis, asked of a tensor without axes: axis 0 or -1 is allowed as in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from dyn.compat import torch
from dyn.core.errors import IndexRangeError, ShapeError
from dyn.nn import functional as F

OF_A_NUMBER: dict[str, tuple[Any, Any]] = {
    "sum": (dyn.sum, 2.5),
    "mean": (dyn.mean, 2.5),
    "prod": (dyn.prod, 2.5),
    "amax": (dyn.amax, 2.5),
    "amin": (dyn.amin, 2.5),
    "var": (lambda x, axis: dyn.var(x, axis, unbiased=False), 0),
    "std": (dyn.std, np.nan),
    "logsumexp": (dyn.logsumexp, 2.5),
    "norm": (lambda x, axis: dyn.linalg.norm(x, 2, axis), 2.5),
    "any": (dyn.any, True),
    "all": (dyn.all, True),
    "count_nonzero": (dyn.count_nonzero, 1),
    "nanmean": (dyn.nanmean, 2.5),
    "softmax": (F.softmax, 1),
    "log_softmax": (F.log_softmax, 0),
    "cumsum": (dyn.cumsum, 2.5),
    "cumprod": (dyn.cumprod, 2.5),
    "cummax": (dyn.cummax, (2.5, 0)),
    "cummin": (dyn.cummin, (2.5, 0)),
    "logcumsumexp": (torch.logcumsumexp, 2.5),
    "max": (torch.max, (2.5, 0)),
    "min": (torch.min, (2.5, 0)),
    "argmax": (dyn.argmax, 0),
    "argmin": (dyn.argmin, 0),
    "sort": (dyn.sort, 2.5),
    "argsort": (dyn.argsort, 0),
    "topk": (lambda x, axis: dyn.topk(x, 1, axis), (2.5, 0)),
    "kthvalue": (lambda x, axis: dyn.kthvalue(x, 1, axis), (2.5, 0)),
    "mode": (dyn.mode, (2.5, 0)),
    "median": (dyn.median, 2.5),
    "nanmedian": (torch.nanmedian, (2.5, 0)),
    "quantile": (lambda x, axis: dyn.quantile(x, 0.5, axis), 2.5),
    "flip": (dyn.flip, 2.5),
    "squeeze": (dyn.squeeze, 2.5),
    "moveaxis": (lambda x, axis: dyn.moveaxis(x, axis, 0), 2.5),
    "swapaxes": (lambda x, axis: torch.swapaxes(x, axis, 0), 2.5),
    "flatten": (dyn.flatten, [2.5]),
    "normalize": (lambda x, axis: F.normalize(x, axis=axis), 1),
    "cosine_similarity": (lambda x, axis: F.cosine_similarity(x, -x, axis=axis), -1),
}


@pytest.mark.parametrize("name", OF_A_NUMBER)
def test_a_number_has_an_axis_to_be_asked_for(name: str) -> None:
    function, wanted = OF_A_NUMBER[name]
    make = torch.tensor if function.__module__.startswith("dyn.compat") else dyn.to_tensor
    x = make(np.float32(2.5))
    wanted = [np.asarray(w) for w in (wanted if isinstance(wanted, tuple) else (wanted,))]
    for axis in (0, -1):
        found = function(x, axis)
        found = found if isinstance(found, tuple) else (found,)
        for one, other in zip(found, wanted, strict=True):
            assert tuple(one.shape) == other.shape
            np.testing.assert_allclose(one.numpy(), other, 1e-6)
    for axis in (1, -2):
        with pytest.raises(IndexRangeError, match=f"axis {axis} is out of range"):
            function(x, axis)


@pytest.mark.parametrize("name", ["softmax", "cumsum", "amax", "sort", "normalize", "squeeze"])
def test_gradients_of_functions_of_a_number(name: str) -> None:
    x = dyn.to_tensor(np.float32(2.5), stop_gradient=False)
    (found,) = dyn.grad([OF_A_NUMBER[name][0](x, 0)], [x])
    assert found.shape == []
    wanted = 0 if name in ("softmax", "normalize") else 1
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


def test_what_needs_an_axis_says_so() -> None:
    x, at = torch.tensor(2.5), torch.tensor(0)
    for function in (
        lambda: dyn.index_select(x, at, 0),
        lambda: torch.index_fill(x, 0, at, 1.0),
        lambda: dyn.unstack(dyn.to_tensor(1.0)),
    ):
        with pytest.raises(IndexRangeError, match="a 0-d tensor has no axes"):
            function()
    with pytest.raises(ShapeError, match=r"use stack\(\)"):
        dyn.concat([dyn.to_tensor(1.0)], 0)


@pytest.mark.parametrize("dim", [2, -3])
def test_axes_out_of_range_are_refused(dim: int) -> None:
    x = torch.ones(2, 3)
    for function in (
        lambda: torch.select(x, dim, 0),
        lambda: torch.narrow(x, dim, 0, 1),
        lambda: torch.renorm(x, 2, dim, 1.0),
        lambda: torch.logcumsumexp(x, dim),
        lambda: torch.nanmedian(x, dim),
        lambda: x.permute(dim, 0),
    ):
        with pytest.raises(IndexError, match=f"axis {dim} is out of range for 2 axes"):
            function()


@pytest.mark.parametrize("axis", [0, -1])
def test_places_of_a_number(axis: int) -> None:
    x, at, y = torch.tensor(2.5, requires_grad=True), torch.tensor(0), torch.tensor(4.0)
    made = {
        "gather": (x.gather(axis, at), 2.5),
        "index_select": (x.index_select(axis, torch.tensor([0])), 2.5),
        "scatter": (x.scatter(axis, at, 4.0), 4),
        "scatter a tensor": (x.scatter(axis, at, y), 4),
        "scatter_add": (x.scatter_add(axis, at, y), 6.5),
    }
    for name, (found, wanted) in made.items():
        assert found.shape == () and found.item() == wanted, name
    assert x.gather(axis, torch.tensor([0, 0])).tolist() == [2.5, 2.5]
    (slope,) = torch.autograd.grad(made["gather"][0] + made["scatter_add"][0], [x])
    assert slope.item() == 2


def test_a_number_with_one_weight_stays_a_number() -> None:
    x = torch.tensor(-2.0)
    assert torch.nn.functional.prelu(x, torch.tensor([0.25])).tolist() == -0.5
