"""Every element-wise function written in numpy: for any dtype, any strides and small arrays.

`UNARY[name](x, *params)` and `BINARY[name](x, y, *params)`; results have the dtype of the inputs
(comparisons and tests give booleans). The fast float32 twins are in `pointwise.py`; both are tested
against each other and against closed formulas.
"""

from __future__ import annotations

import math

import numpy as np

from dyn.kernels.special import erf

ROOT_2 = math.sqrt(2.0)
GELU_SLOPE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


def round_even(x):
    return np.rint(x) if x.dtype.kind not in "iu" else x.copy()


def rsqrt(x):
    return 1 / np.sqrt(x)


def sigmoid(x):
    # e^-|x| cannot overflow; tanh would lose the digits of small results.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def log_sigmoid(x):
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def relu(x):
    return np.maximum(x, 0)


def leaky_relu(x, slope):
    return np.where(x > 0, x, x * slope)


def elu(x, alpha, scale, rate):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) * rate)) * scale


def silu(x):
    return x * sigmoid(x)


def hardsigmoid(x, slope, offset):
    return np.clip(x * slope + offset, 0, 1)


def hardswish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def gelu(x):
    return 0.5 * x * (1 + erf(x * (1 / ROOT_2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(GELU_SLOPE * (x + GELU_CUBIC * x * x * x)))


def _tanh_softplus(x):
    # tanh(log(1 + e^x)) = (n^2 + 2 n) / (n^2 + 2 n + 2) with n = e^x; 1 in the dtype above 20.
    n = np.exp(np.minimum(x, 20))
    n = n * (n + 2)
    return n / (n + 2)


def mish(x):
    return x * _tanh_softplus(x)


def softplus(x, beta, threshold):
    t = x * beta
    return np.where(t > threshold, x, (np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))) / beta)


def softsign(x):
    return x / (1 + np.abs(x))


def shrink(x, threshold, bias):
    return np.where(x > threshold, x - bias, np.where(x < -threshold, x + bias, x * 0))


def clip(x, low, high):
    return np.clip(x, low, high)


UNARY = {
    "abs": np.absolute,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "bitwise_not": np.invert,
    "ceil": np.ceil,
    "clip": clip,
    "cos": np.cos,
    "cosh": np.cosh,
    "elu": elu,
    "erf": erf,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "hardsigmoid": hardsigmoid,
    "hardswish": hardswish,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "leaky_relu": leaky_relu,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "log_sigmoid": log_sigmoid,
    "logical_not": np.logical_not,
    "mish": mish,
    "neg": np.negative,
    "reciprocal": np.reciprocal,
    "relu": relu,
    "round": round_even,
    "rsqrt": rsqrt,
    "shrink": shrink,
    "sigmoid": sigmoid,
    "sign": np.sign,
    "silu": silu,
    "sin": np.sin,
    "sinh": np.sinh,
    "softplus": softplus,
    "softsign": softsign,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
    "trunc": np.trunc,
}


def _keep(mask, g):
    return np.where(mask, g, g.dtype.type(0))


def relu_grad(g, out):
    return _keep(out > 0, g)


def leaky_relu_grad(g, x, slope):
    return np.where(x > 0, g, g * slope)


def clip_grad(g, x, low, high):
    inside = np.ones(x.shape, np.bool_) if low is None else x >= low
    return _keep(inside if high is None else inside & (x <= high), g)


def prelu(x, w):
    return np.where(x > 0, x, w * x)


def elu_grad(g, x, alpha, scale, rate):
    return g * np.where(x > 0, scale, alpha * scale * rate * np.exp(np.minimum(x, 0) * rate))


def sigmoid_grad(g, out):
    return g * (out * (1 - out))


def silu_grad(g, x):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def hardsigmoid_grad(g, out, slope):
    return _keep((out > 0) & (out < 1), g * slope)


def hardswish_grad(g, x):
    return g * np.where(x < -3, 0, np.where(x > 3, 1, (2 * x + 3) / 6))


def tanh_grad(g, out):
    return g * (1 - out * out)


def gelu_grad(g, x):
    density = np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return g * (0.5 * (1 + erf(x * (1 / ROOT_2))) + x * density)


def gelu_tanh_grad(g, x):
    t = np.tanh(GELU_SLOPE * (x + GELU_CUBIC * x * x * x))
    slope = GELU_SLOPE * (1 + 3 * GELU_CUBIC * x * x)
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope)


def mish_grad(g, x):
    t = _tanh_softplus(x)
    return g * (t + x * sigmoid(x) * (1 - t * t))


def softplus_grad(g, x, beta, threshold):
    t = x * beta
    return np.where(t > threshold, g, g * sigmoid(t))


BINARY = {
    "add": np.add,
    "atan2": np.arctan2,
    "bitwise_and": np.bitwise_and,
    "bitwise_left_shift": np.left_shift,
    "bitwise_or": np.bitwise_or,
    "bitwise_right_shift": np.right_shift,
    "bitwise_xor": np.bitwise_xor,
    "clip_grad": clip_grad,
    "divide": np.true_divide,
    "elu_grad": elu_grad,
    "equal": np.equal,
    "floor_divide": np.floor_divide,
    "fmod": np.fmod,
    "gelu_grad": gelu_grad,
    "gelu_tanh_grad": gelu_tanh_grad,
    "greater_equal": np.greater_equal,
    "greater_than": np.greater,
    "hardsigmoid_grad": hardsigmoid_grad,
    "hardswish_grad": hardswish_grad,
    "leaky_relu_grad": leaky_relu_grad,
    "less_equal": np.less_equal,
    "less_than": np.less,
    "logaddexp": np.logaddexp,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mish_grad": mish_grad,
    "multiply": np.multiply,
    "not_equal": np.not_equal,
    "pow": np.power,
    "prelu": prelu,
    "relu_grad": relu_grad,
    "remainder": np.remainder,
    "sigmoid_grad": sigmoid_grad,
    "silu_grad": silu_grad,
    "softplus_grad": softplus_grad,
    "subtract": np.subtract,
    "tanh_grad": tanh_grad,
}
