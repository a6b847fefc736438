"""Infinities and NaN in functions whose formula, taken literally, would make NaN or lose it."""

from __future__ import annotations

import math

import numpy as np

import dyn
from dyn.nn import functional as F


def test_gradient_of_logaddexp_at_infinities() -> None:
    inf = math.inf
    x = dyn.to_tensor(np.array([inf, -inf, inf, -inf, 0], np.float32), stop_gradient=False)
    y = dyn.to_tensor(np.array([0, 0, -inf, inf, 200], np.float32), stop_gradient=False)
    dyn.logaddexp(x, y).sum().backward()
    assert x.grad is not None and y.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [1, 0, 1, 0, 0])
    np.testing.assert_array_equal(y.grad.numpy(), [0, 1, 0, 1, 1])


def test_nan_passes_a_threshold() -> None:
    x = dyn.to_tensor(np.array([math.nan, -math.inf, 0.5, 1, 2, math.inf], np.float32))
    found = F.thresholded_relu(x, 1.0, 7.0)
    np.testing.assert_array_equal(found.numpy(), [math.nan, 7, 7, 7, 2, math.inf])
