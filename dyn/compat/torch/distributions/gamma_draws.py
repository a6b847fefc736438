"""Draws of the standard gamma distribution, in logarithms, and their slopes by its shape.

In logarithms, because draws of small shapes are too small for floating point while their ratios,
which are what a Dirichlet distribution is made of, are not.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch import creation
from dyn.compat.torch.function import Function
from dyn.compat.torch.tensor import own
from dyn.ops import compare, gamma, index, scan, search
from dyn.ops.gather import take_along_axis

_PROPOSALS = 12
"""How many numbers are proposed for each draw: all are refused once in 1e15 draws."""
_TERMS = 128
_LARGE = 20.0
"""Shapes up to which the series of `_TERMS` terms is used."""


def log_standard_gamma(concentration: Any) -> Any:
    """The logarithm of a draw for each shape; gradients by the shapes are those of the draws.

    Args:
        concentration: shapes above 0, in float32 or float64.

    Source: Marsaglia & Tsang, A simple method for generating gamma variables, 2000; all proposals
    are drawn at once, so that a file needs no loop.
    """
    return own(_LogGamma.apply(concentration))


class _LogGamma(Function):
    """Draws, with the implicit slope of arXiv 1805.08498."""

    @staticmethod
    def forward(ctx: Any, concentration: Any) -> Any:
        out = _drawn(concentration)
        ctx.save_for_backward(concentration, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        concentration, out = ctx.saved_tensors
        slope = slope_of_log(concentration.double(), out.double())
        return gradient * slope.to(dtype=gradient.dtype)


def _drawn(a: Any) -> Any:
    small = compare.less_than(a, 1.0)
    d = own(index.where(small, a + 1.0, a)) - 1.0 / 3.0
    c = 1.0 / (9.0 * d).sqrt()
    shape = (_PROPOSALS, *a.shape)
    normal = creation.randn(shape, dtype=a.dtype)
    root = 1.0 + c * normal
    fits = compare.greater_than(root, 0.0)
    log_root = own(index.where(fits, root, 1.0)).log()
    level = -creation.rand(shape, dtype=a.dtype)
    bound = 0.5 * normal.square() + d * (1.0 - root * root * root + 3.0 * log_root)
    taken = compare.logical_and(fits, compare.less_than(level.log1p(), bound))
    first = search.argmax(taken.to(dtype=a.dtype), 0, keepdim=True)
    chosen = own(take_along_axis(log_root, first, 0)).squeeze(0)
    # A shape below 1 is one above times a power of a uniform number.
    power = (-creation.rand(a.shape, dtype=a.dtype)).log1p() / a
    return d.log() + 3.0 * chosen + own(index.where(small, power, 0.0))


def slope_of_log(a: Any, log_z: Any) -> Any:
    """The slope of the logarithm of a draw z by its shape a, both in float64.

    What leaves the probability of a smaller draw the same: -(dP / da) / p / z.
    """
    large = compare.greater_equal(a, _LARGE)
    low = own(index.where(large, _LARGE, a))
    # Further out there are no draws of a shape up to `_LARGE`, and terms would overflow.
    near = own(index.where(compare.greater_than(log_z, math.log(100.0)), math.log(100.0), log_z))
    series = _by_series(low, near)
    return own(index.where(large, _by_expansion(own(index.where(large, a, _LARGE)), log_z), series))


def _by_series(a: Any, log_z: Any) -> Any:
    """From P = z**a exp(-z) / gamma(a + 1) * (1 + z / (a + 1) + z**2 / ((a + 1) (a + 2)) ...)."""
    later = a.unsqueeze(-1) + creation.arange(1, _TERMS + 1, dtype=a.dtype)
    terms = own(scan.cumsum(log_z.unsqueeze(-1) - later.log(), -1)).exp()
    total = 1.0 + terms.sum(-1)
    slope = (terms * own(scan.cumsum(1.0 / later, -1))).sum(-1)
    return -((log_z - own(gamma.digamma(a + 1.0))) * total - slope) / a


def _by_expansion(a: Any, log_z: Any) -> Any:
    """From z as a series in 1 / sqrt(a) of the normal number of the same probability.

    Source: Cornish & Fisher, Moments and cumulants in the specification of distributions, 1938.
    """
    h = 1.0 / a.sqrt()
    ratio = (log_z - a.log()).exp()
    w = 3.0 * ((log_z - a.log()) / 3.0).exp() - 3.0 + h * h / 3.0
    w = w / h
    for _ in range(2):
        p3, p4, p5 = _terms(w)
        value = 1.0 + h * (w + h * ((w * w - 1.0) / 3.0 + h * (p3 + h * (p4 + h * p5))))
        s3 = (3.0 * w * w - 7.0) / 36.0
        s4 = -(12.0 * w * w + 14.0) * w / 810.0
        s5 = ((45.0 * w * w + 768.0) * w * w - 433.0) / 38880.0
        slope = 1.0 + h * (2.0 / 3.0 * w + h * (s3 + h * (s4 + h * s5)))
        w = w - (value - ratio) / (h * slope)
    p3, p4, p5 = _terms(w)
    by_a = 1.0 + h * (0.5 * w - h * h * (0.5 * p3 + h * (p4 + 1.5 * h * p5)))
    return by_a / (ratio * a)


def _terms(w: Any) -> tuple[Any, Any, Any]:
    """The coefficients of the third to fifth power of 1 / sqrt(a)."""
    square = w * w
    p4 = -((3.0 * square + 7.0) * square - 16.0) / 810.0
    p5 = ((9.0 * square + 256.0) * square - 433.0) * w / 38880.0
    return (square - 7.0) * w / 36.0, p4, p5
