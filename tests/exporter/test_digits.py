"""Files give small and large numbers with the digits that the live functions give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.nn import functional as F
from exporter import InputSpec, Predictor, export

SMALL = np.array([1e-30, -1e-9, 1e-7, 3e-4, -0.49, 0.51, 0, 1e10, np.inf, -1], np.float32)
SHARES = np.array([1e-30, 1e-9, 1e-7, 3e-4, 0.49, 0.51, 0, 1], np.float32)
WIDE = np.array([1e30, -3e30, 1e-30, 2e-30, np.inf, -np.inf], np.float32)
WRONG = dyn.to_tensor(np.array([0, 1, 0, 1, 0.5, 0], np.float32))


class _Function(nn.Layer):
    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "function, x",
    [
        (dyn.log1p, SMALL),
        (dyn.expm1, SMALL),
        (lambda x: dyn.logaddexp(x * 0.0, x), np.array([-80, -20, 1e-3, 0, 90], np.float32)),
        (lambda p: F.binary_cross_entropy(p, dyn.zeros_like(p), reduction="none"), SHARES),
        (dyn.logit, SHARES),
        (lambda x: dyn.std(dyn.reshape(x, [3, 2]), 1), WIDE),
        (lambda z: F.binary_cross_entropy_with_logits(z, WRONG, reduction="none"), WIDE),
    ],
    ids=["log1p", "expm1", "logaddexp", "binary_cross_entropy", "logit", "std", "logits"],
)
def test_digits(function: Callable[..., Any], x: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export(_Function(function), path, [InputSpec(list(x.shape), "float32", name="x")])
    (found,) = Predictor(path).run(x)
    np.testing.assert_allclose(found, function(dyn.to_tensor(x)).numpy(), 1e-6)


@pytest.mark.parametrize("function", [F.hardsigmoid, F.hardswish])
def test_slopes_in_float64(function: Callable[..., Any], tmp_path: Path) -> None:
    path, x = tmp_path / "m.onnx", np.linspace(-4, 4, 41)
    export(_Function(function), path, [InputSpec([41], "float64", name="x")])
    (found,) = Predictor(path).run(x)
    np.testing.assert_allclose(found, function(dyn.to_tensor(x)).numpy(), 1e-14, 1e-15)
