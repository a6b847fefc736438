"""Every element-wise function of real numbers, written once for numpy arrays and for registers.

A formula takes a namespace `m` (numpy's functions, or those of `Value`s: `apply.py` has
both), its operands and, keyword-only, numbers. What numpy has a ufunc for is in
`ufuncs.py`, too; gradients are in `gradient_formulas.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

GELU_SLOPE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715
DENSITY = 1 / math.sqrt(2 * math.pi)

# ---- one operand -------------------------------------------------------------------------------


def rsqrt(m, x):
    return 1 / m.sqrt(x)


def sign(m, x):
    return m.where(x > 0, 1.0, m.where(x < 0, -1.0, x))


def log_sigmoid(m, x):
    return m.minimum(x, 0.0) - m.log1p(m.exp(-m.abs(x)))


def leaky_relu(m, x, *, slope):
    return m.where(x > 0, x, x * slope)


def elu(m, x, *, alpha, scale, rate):
    return m.where(x > 0, x, alpha * m.expm1(m.minimum(x, 0.0) * rate)) * scale


def silu(m, x):
    return x * m.sigmoid(x)


def clip(m, x, *, low, high):
    return m.minimum(m.maximum(x, low), high)


def clip_between(m, x, low, high):
    return clip(m, x, low=low, high=high)


def nan_to_num(m, x, *, nan, high, low):
    return m.where(x != x, nan, m.where(x == math.inf, high, m.where(x == -math.inf, low, x)))


def hardsigmoid(m, x, *, slope, offset):
    return clip(m, x * slope + offset, low=0.0, high=1.0)


def hardswish(m, x):
    return x * clip(m, x + 3, low=0.0, high=6.0) * (1 / 6)


def gelu(m, x):
    return x * m.normal_cdf(x)


def gelu_tanh(m, x):
    # (1 + tanh u) / 2 is sigmoid(2 u), which keeps the digits of small results.
    return x * m.sigmoid((2 * GELU_SLOPE) * (x + GELU_CUBIC * x * x * x))


def tanh_softplus(m, x):
    # tanh(log(1 + e^x)) = (n^2 + 2 n) / (n^2 + 2 n + 2) with n = e^x; it is 1 from 20 on.
    n = m.exp(m.minimum(x, 20.0))
    n = n * (n + 2)
    return n / (n + 2)


def mish(m, x):
    return x * tanh_softplus(m, x)


def soft_margin(m, x, y):
    return -log_sigmoid(m, x * y)


def softplus(m, x, *, beta, threshold):
    t = x * beta
    bent = (m.maximum(t, 0.0) + m.log1p(m.exp(-m.abs(t)))) * (1 / beta)
    return m.where(t > threshold, x, bent)


def softsign(m, x):
    return x / (1 + m.abs(x))


def shrink(m, x, *, threshold, bias):
    inside = m.where(x < -threshold, x + bias, x * 0.0)
    return m.where(x > threshold, x - bias, inside)


# ---- several operands --------------------------------------------------------------------------


def gated(m, x, y):
    return x * m.sigmoid(y)


def prelu(m, x, w):
    return m.where(x > 0, x, w * x)


def copysign(m, x, y):
    # Of the zeros only the quotient tells which is negative.
    size = m.abs(x)
    return m.where((y < 0) | ((y == 0) & (1 / y < 0)), -size, size)


def xlogy(m, x, y):
    outside = (y <= 0) | (m.abs(y) == math.inf)
    return x * m.log(m.where((x == 0) & outside, 1.0, y))


def sinc(m, x):
    angle = m.where(x == 0, 1.0, x) * math.pi
    return m.where(x == 0, 1.0, m.sin(angle) / angle)


def logaddexp(m, x, y):
    apart = m.where(x == y, 0.0, m.abs(x - y))
    return m.maximum(x, y) + m.log1p(m.exp(-apart))


def hypot(m, x, y):
    # Scaled by the larger one, so that no square overflows or vanishes. Infinity beats NaN.
    a, b = m.abs(x), m.abs(y)
    most = m.maximum(a, b)
    share = m.minimum(a, b) / m.where(most == 0, 1.0, most)
    infinite = (a == math.inf) | (b == math.inf)
    return m.where(infinite, math.inf, most * m.sqrt(1.0 + share * share))


def distance(m, x, center, scale):
    return (x - center) * scale


def huber(m, x, y, *, delta):
    # With n = min(|d|, delta): n * (|d| - n / 2) is both branches at once.
    size = m.abs(x - y)
    near = m.minimum(size, delta)
    return near * (size - 0.5 * near)


def margin_excess(m, x, y, *, margin):
    return m.maximum(x - y + margin, 0.0)


def margin_ranking(m, x, y, label, *, margin):
    return m.maximum(margin - label * (x - y), 0.0)


def poisson_nll(m, x, y):
    return m.exp(x) - y * x


def scaled_difference(m, x, y, *, factor):
    return (x - y) * factor


def binary_cross_entropy(m, p, y):
    hit = m.maximum(m.log(p), -100.0)
    return -(y * hit + (1 - y) * m.maximum(m.log1p(-p), -100.0))


def logistic_cross_entropy(m, z, y):
    # log(1 + e^z) - y * z, with a power that cannot overflow. Of an infinite z that is right
    # nothing is left, though 0 * inf is NaN.
    size, wrong = m.abs(z), m.where(z > 0, 1 - y, y)
    return m.where(wrong == 0, 0.0, wrong * size) + m.log1p(m.exp(-size))


def kl_div(m, x, y):
    # Of no probability nothing is left, but NaN; a negative one has no logarithm.
    none = y == 0
    nothing = m.where(x == x, 0.0, x)
    return m.where(none, nothing, y * (m.log(m.where(none, 1.0, y)) - x))


def lerp(m, x, y, w):
    return x + w * (y - x)


def lerp_by(m, x, y, *, weight):
    return x + weight * (y - x)


_WRITTEN: Any = (
    binary_cross_entropy, clip, clip_between, copysign, distance, elu, gated, gelu, gelu_tanh,
    hardsigmoid, hardswish, huber, hypot, kl_div, leaky_relu, lerp, lerp_by, log_sigmoid, logaddexp,
    logistic_cross_entropy, margin_excess, margin_ranking, mish, nan_to_num, poisson_nll, prelu,
    rsqrt, scaled_difference, shrink, sign, silu, sinc, soft_margin, softplus, softsign, xlogy,
)  # fmt: skip
FORMULAS: dict[str, Callable[..., Any]] = {f.__name__: f for f in _WRITTEN} | {
    "abs": lambda m, x: m.abs(x),
    "addcdiv": lambda m, x, a, b, *, value: x + value * a / b,
    "addcmul": lambda m, x, a, b, *, value: x + value * a * b,
    "acos": lambda m, x: m.acos(x),
    "acosh": lambda m, x: m.acosh(x),
    "add": lambda m, x, y: x + y,
    "asin": lambda m, x: m.asin(x),
    "asinh": lambda m, x: m.asinh(x),
    "atan": lambda m, x: m.atan(x),
    "atan2": lambda m, x, y: m.atan2(x, y),
    "atanh": lambda m, x: m.atanh(x),
    "ceil": lambda m, x: m.ceil(x),
    "cos": lambda m, x: m.cos(x),
    "cosh": lambda m, x: m.cosh(x),
    "cube": lambda m, x: x * x * x,
    "divide": lambda m, x, y: x / y,
    "equal": lambda m, x, y: x == y,
    "erf": lambda m, x: m.erf(x),
    "exp": lambda m, x: m.exp(x),
    "exp2": lambda m, x: m.exp2(x),
    "expm1": lambda m, x: m.expm1(x),
    "floor": lambda m, x: m.floor(x),
    "floor_divide": lambda m, x, y: m.floor_divide(x, y),
    "fmod": lambda m, x, y: m.fmod(x, y),
    "greater_equal": lambda m, x, y: x >= y,
    "greater_than": lambda m, x, y: x > y,
    "isfinite": lambda m, x: m.abs(x) < math.inf,
    "isinf": lambda m, x: m.abs(x) == math.inf,
    "isnan": lambda m, x: x != x,
    "less_equal": lambda m, x, y: x <= y,
    "less_than": lambda m, x, y: x < y,
    "log": lambda m, x: m.log(x),
    "log10": lambda m, x: m.log(x) * (1 / math.log(10)),
    "log1p": lambda m, x: m.log1p(x),
    "log2": lambda m, x: m.log(x) * (1 / math.log(2)),
    "maximum": lambda m, x, y: m.maximum(x, y),
    "minimum": lambda m, x, y: m.minimum(x, y),
    "multiply": lambda m, x, y: x * y,
    "neg": lambda m, x: -x,
    "not_equal": lambda m, x, y: x != y,
    "pow": lambda m, x, y: m.pow(x, y),
    "reciprocal": lambda m, x: 1 / x,
    "relu": lambda m, x: m.maximum(x, 0),
    "remainder": lambda m, x, y: m.remainder(x, y),
    "round": lambda m, x: m.rint(x),
    "sigmoid": lambda m, x: m.sigmoid(x),
    "sin": lambda m, x: m.sin(x),
    "sinh": lambda m, x: m.sinh(x),
    "sqrt": lambda m, x: m.sqrt(x),
    "square": lambda m, x: x * x,
    "subtract": lambda m, x, y: x - y,
    "tan": lambda m, x: m.tan(x),
    "tanh": lambda m, x: m.tanh(x),
    "trunc": lambda m, x: m.trunc(x),
}

TESTS = {"equal", "greater_equal", "greater_than", "isfinite", "isinf", "isnan", "less_equal",
         "less_than", "not_equal"}  # fmt: skip
"""Formulas that give truth values."""
