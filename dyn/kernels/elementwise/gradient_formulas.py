"""Gradients of element-wise functions, written as `formulas.py` says: `g` is the gradient of the
output, `out` the output itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dyn.kernels.elementwise.formulas import (
    DENSITY,
    GELU_CUBIC,
    GELU_SLOPE,
    clip,
    sign,
    tanh_softplus,
)


def relu_grad(m, g, out):
    return m.where(out <= 0, 0.0, g)


def leaky_relu_grad(m, g, x, *, slope):
    return m.where(x > 0, g, g * slope)


def clip_grad(m, g, x, *, low, high):
    return m.where((x >= low) & (x <= high), g, 0.0)


def elu_grad(m, g, x, *, alpha, scale, rate):
    bent = (alpha * scale * rate) * m.exp(m.minimum(x, 0.0) * rate)
    return g * m.where(x > 0, scale, bent)


def sigmoid_grad(m, g, out):
    return g * (out * (1 - out))


def silu_grad(m, g, x):
    s = m.sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def hardsigmoid_grad(m, g, out, *, slope):
    return m.where((out > 0) & (out < 1), g * slope, 0.0)


def hardswish_grad(m, g, x):
    return g * m.where(x <= -3, 0.0, m.where(x >= 3, 1.0, x * (1 / 3) + 0.5))


def tanh_grad(m, g, out):
    return g * (1 - out * out)


def gelu_grad(m, g, x):
    return g * (m.normal_cdf(x) + x * (DENSITY * m.exp(-0.5 * x * x)))


def gelu_tanh_grad(m, g, x):
    xx = x * x
    s = m.sigmoid((2 * GELU_SLOPE) * (x + GELU_CUBIC * x * xx))
    slope = (2 * GELU_SLOPE) * (1 + (3 * GELU_CUBIC) * xx)
    return g * (s + x * (s * (1 - s)) * slope)


def mish_grad(m, g, x):
    t = tanh_softplus(m, x)
    return g * (t + x * m.sigmoid(x) * (1 - t * t))


def softplus_grad(m, g, x, *, beta, threshold):
    t = x * beta
    return m.where(t > threshold, g, g * m.sigmoid(t))


def abs_grad(m, g, x):
    return g * sign(m, x)


def quotient_grad(m, g, y, out):
    # With respect to the divisor y; g / y may be infinite where the result is 0.
    return -(g * (out / y))


def maximum_grad(m, g, x, y):
    # Of a tie each operand gets half, of NaN all.
    return m.where(x < y, 0.0, m.where(x == y, 0.5 * g, g))


def product_of_three(m, x, y, z):
    return x * (y * z)


def binary_cross_entropy_grad(m, g, p, y):
    # At probabilities of 0 and 1 the gradient is large but finite, as in PyTorch.
    return g * (p - y) / m.maximum(p * (1 - p), 1e-12)


def logistic_cross_entropy_grad(m, g, z, y):
    return g * (m.sigmoid(z) - y)


def kl_div_grad(m, g, y):
    return -(g * y)


def kl_div_target_grad(m, g, x, y):
    none = y == 0
    return m.where(none, 0.0, g * (m.log(m.where(none, 1.0, y)) + (1 - x)))


def logsumexp_grad(m, g, out, x):
    return g * m.exp(x - out)


def gated_grad(m, g, x, y):
    s = m.sigmoid(y)
    # Not g * x first: that overflows where the gradient does not.
    return g * (s * (1 - s)) * x


def prelu_grad(m, g, x, w):
    return m.where(x > 0, g, g * w)


# A slope is the gradient where one number comes in for all elements: of a sum, or of a mean.


def huber_slope(m, x, y, *, delta, factor):
    return factor * clip(m, x - y, low=-delta, high=delta)


def huber_grad(m, g, x, y, *, delta):
    return huber_slope(m, x, y, delta=delta, factor=g)


def poisson_nll_slope(m, x, y, *, factor):
    return factor * (m.exp(x) - y)


def poisson_nll_grad(m, g, x, y):
    return poisson_nll_slope(m, x, y, factor=g)


def soft_margin_slope(m, x, y, *, factor):
    return -(factor * y) * m.sigmoid(-(x * y))


def soft_margin_grad(m, g, x, y):
    return soft_margin_slope(m, x, y, factor=g)


def margin_excess_slope(m, x, y, *, margin, factor):
    return m.where(x - y + margin <= 0, 0.0, factor)


def margin_excess_grad(m, g, x, y, *, margin):
    return margin_excess_slope(m, x, y, margin=margin, factor=g)


def margin_ranking_slope(m, x, y, label, *, margin, factor):
    return m.where(margin - label * (x - y) <= 0, 0.0, -factor * label)


# ---- of one function each: g is the gradient of its output -------------------------------------


def square_grad(m, g, x):
    return g * (x + x)


def sqrt_grad(m, g, out):
    return g / (out + out)


def rsqrt_grad(m, g, out):
    return g * -0.5 * (out * (out * out))


def reciprocal_grad(m, g, out):
    return -(g * (out * out))


def expm1_grad(m, g, out):
    return g * (out + 1)


def log2_grad(m, g, x):
    return g * (1 / math.log(2)) / x


def log10_grad(m, g, x):
    return g * (1 / math.log(10)) / x


def log1p_grad(m, g, x):
    return g / (x + 1)


def sin_grad(m, g, x):
    return g * m.cos(x)


def cos_grad(m, g, x):
    return -(g * m.sin(x))


def tan_grad(m, g, out):
    return g * (out * out + 1)


def asin_grad(m, g, x):
    return g * (1 / m.sqrt(1 - x * x))


def acos_grad(m, g, x):
    return -(g * (1 / m.sqrt(1 - x * x)))


def atan_grad(m, g, x):
    return g / (x * x + 1)


def sinh_grad(m, g, x):
    return g * m.cosh(x)


def cosh_grad(m, g, x):
    return g * m.sinh(x)


def asinh_grad(m, g, x):
    return g * (1 / m.sqrt(x * x + 1))


def acosh_grad(m, g, x):
    return g * (1 / m.sqrt(x * x - 1))


def atanh_grad(m, g, x):
    return g / (1 - x * x)


def erf_grad(m, g, x):
    return g * (2 / math.sqrt(math.pi)) * m.exp(-(x * x))


def log_sigmoid_grad(m, g, x):
    return g * m.sigmoid(-x)


def softsign_grad(m, g, x):
    away = m.abs(x) + 1
    return g / (away * away)


_WRITTEN: Any = (
    abs_grad, acos_grad, acosh_grad, asin_grad, asinh_grad, atan_grad, atanh_grad,
    binary_cross_entropy_grad, clip_grad, cos_grad, cosh_grad, elu_grad, erf_grad, expm1_grad,
    gated_grad, gelu_grad, gelu_tanh_grad, hardsigmoid_grad, hardswish_grad, huber_grad,
    huber_slope, kl_div_grad, kl_div_target_grad, leaky_relu_grad, log10_grad, log1p_grad,
    log2_grad, log_sigmoid_grad, logistic_cross_entropy_grad, logsumexp_grad, margin_excess_grad,
    margin_excess_slope, margin_ranking_slope, maximum_grad, mish_grad, poisson_nll_grad,
    poisson_nll_slope, prelu_grad, product_of_three, quotient_grad, reciprocal_grad, relu_grad,
    rsqrt_grad, sigmoid_grad, silu_grad, sin_grad, sinh_grad, soft_margin_grad, soft_margin_slope,
    softplus_grad, softsign_grad, sqrt_grad, square_grad, tan_grad, tanh_grad,
)  # fmt: skip
GRADIENTS: dict[str, Callable[..., Any]] = {f.__name__: f for f in _WRITTEN}
