"""Smooth activation functions: elu, sigmoid, silu, gelu, mish, softplus, softsign.

The gradient of each is one fused op; second derivatives are made of plain ops. Those made of
straight pieces are in `activation.py`.
"""

from __future__ import annotations

import math

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.angles import tanh
from dyn.ops.elementwise import (
    add,
    as_gradient,
    differentiate_by_formula,
    divide,
    keep_where,
    multiply,
    subtract,
)
from dyn.ops.infer import same
from dyn.ops.unary import exp, neg, square

# ---- elu and its kin --------------------------------------------------------------------------


@op(infer=same, promote="float")
def _elu(x, *, alpha, scale, rate):
    """scale * (x if x > 0 else alpha * (e^(rate * x) - 1)). ONNX: Elu, Selu, Celu."""
    return kernels.unary("elu", x, alpha=alpha, scale=scale, rate=rate)


@_elu.vjp("x")
def _(g, *, x, alpha, scale, rate):
    return elu_grad(g, x, alpha=alpha, scale=scale, rate=rate)


@op(infer=as_gradient)
def elu_grad(g, x, *, alpha, scale, rate):
    """g * scale * (1 if x > 0 else alpha * rate * e^(rate * x)). ONNX: Exp, Mul, Where."""
    return kernels.binary("elu_grad", g, x, alpha=alpha, scale=scale, rate=rate)


@elu_grad.vjp("g")
def _(g, *, x, alpha, scale, rate):
    return elu_grad(g, x, alpha=alpha, scale=scale, rate=rate)


@elu_grad.vjp("x")
def _(gx, *, g, x, alpha, scale, rate):
    curve = multiply(exp(multiply(x, rate)), alpha * scale * rate * rate)
    return keep_where(OPS["less_equal"](x, 0), multiply(multiply(gx, g), curve))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (e^x - 1). Source: Clevert et al., arXiv 1511.07289."""
    return apply(_elu, (x,), (freeze(float(alpha)), 1.0, 1.0))


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (e^(x / alpha) - 1). Source: Barron, arXiv 1704.07483."""
    if alpha == 0:
        raise AttributeValueError("alpha of celu must not be 0")
    return apply(_elu, (x,), (float(alpha), 1.0, 1 / alpha))


SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


def selu(x: Tensor, scale: float = SELU_SCALE, alpha: float = SELU_ALPHA) -> Tensor:
    """scale * elu(x, alpha). Source: Klambauer et al., arXiv 1706.02515."""
    return apply(_elu, (x,), (freeze(float(alpha)), freeze(float(scale)), 1.0))


# ---- sigmoid and its kin ----------------------------------------------------------------------


@op(infer=same, promote="float")
def sigmoid(x):
    """1 / (1 + e^-x). ONNX: Sigmoid."""
    return kernels.unary("sigmoid", x)


@sigmoid.vjp("x")
def _(g, *, out):
    return sigmoid_grad(g, out)


@op(infer=as_gradient)
def sigmoid_grad(g, out):
    """g * out * (1 - out): the gradient of sigmoid by its result. ONNX: Mul, Sub."""
    return kernels.binary("sigmoid_grad", g, out)


@sigmoid_grad.vjp("g")
def _(g, *, out):
    return sigmoid_grad(g, out)


@sigmoid_grad.vjp("out")
def _(gx, *, g, out):
    return multiply(multiply(gx, g), subtract(1, add(out, out)))


@op(infer=same, promote="float")
def log_sigmoid(x):
    """log(sigmoid(x)), without overflow. ONNX: Neg, Softplus."""
    return kernels.unary("log_sigmoid", x)


@log_sigmoid.vjp("x")
def _(g, *, x):
    return multiply(g, sigmoid(neg(x)))


@op(infer=same, promote="float")
def silu(x):
    """x * sigmoid(x). ONNX: Sigmoid, Mul (Swish from opset 24)."""
    return kernels.unary("silu", x)


@silu.vjp("x")
def _(g, *, x):
    return silu_grad(g, x)


@op(infer=as_gradient)
def silu_grad(g, x):
    """g * s * (1 + x * (1 - s)) with s = sigmoid(x). ONNX: Sigmoid, Mul, Sub, Add."""
    return kernels.binary("silu_grad", g, x)


@silu_grad.vjp("g")
def _(g, *, x):
    return silu_grad(g, x)


@silu_grad.vjp("x")
def _(gx, *, g, x):
    s = sigmoid(x)
    bend = add(2, multiply(x, subtract(1, add(s, s))))
    return multiply(multiply(gx, g), multiply(multiply(s, subtract(1, s)), bend))


swish = silu


# ---- gelu, mish, softplus ----------------------------------------------------------------------


@op(infer=same, promote="float")
def _gelu(x, *, approximate):
    """x * Phi(x), Phi the normal distribution; "tanh": by the tanh formula. ONNX: Gelu (Erf)."""
    return kernels.unary("gelu_tanh" if approximate else "gelu", x)


@_gelu.vjp("x")
def _(g, *, x, approximate):
    return gelu_grad(g, x, approximate=approximate)


@op(infer=as_gradient)
def gelu_grad(g, x, *, approximate):
    """g * (Phi(x) + x * phi(x)), or the derivative of the tanh formula. ONNX: Erf, Exp, Mul."""
    return kernels.binary("gelu_tanh_grad" if approximate else "gelu_grad", g, x)


@gelu_grad.vjp("g")
def _(g, *, x, approximate):
    return gelu_grad(g, x, approximate=approximate)


@gelu_grad.vjp("x")
def _(gx, *, g, x, approximate):
    both, xx = multiply(gx, g), square(x)
    if not approximate:
        density = multiply(exp(multiply(xx, -0.5)), 1 / math.sqrt(2 * math.pi))
        return multiply(both, multiply(density, subtract(2, xx)))
    # f = x / 2 * (1 + tanh u), u = k * (x + c * x^3);
    # f'' = (1 - tanh^2 u) * (u' + x / 2 * u'' - x * tanh u * u'^2).
    k, c = math.sqrt(2 / math.pi), 0.044715
    t = tanh(multiply(multiply(x, k), add(1, multiply(xx, c))))
    slope = multiply(add(1, multiply(xx, 3 * c)), k)
    bend = add(slope, multiply(xx, 3 * c * k))
    bend = subtract(bend, multiply(multiply(x, t), square(slope)))
    return multiply(both, multiply(subtract(1, square(t)), bend))


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x * Phi(x), where Phi is the cumulative normal distribution.

    Args:
        x: any shape.
        approximate: use x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) instead.

    Source: Hendrycks & Gimpel, arXiv 1606.08415.
    """
    return apply(_gelu, (x,), (approximate in (True, "tanh"),))


@op(infer=same, promote="float")
def mish(x):
    """x * tanh(softplus(x)). ONNX: Softplus, Tanh, Mul. Source: arXiv 1908.08681."""
    return kernels.unary("mish", x)


@mish.vjp("x")
def _(g, *, x):
    return mish_grad(g, x)


@op(infer=as_gradient)
def mish_grad(g, x):
    """g * (t + x * s * (1 - t^2)), t = tanh(softplus(x)), s = sigmoid(x). ONNX: the same."""
    return kernels.binary("mish_grad", g, x)


@mish_grad.vjp("g")
def _(g, *, x):
    return mish_grad(g, x)


@mish_grad.vjp("x")
def _(gx, *, g, x):
    # w = dt/dx = s * (1 - t^2); the second derivative is w * (2 + x * (1 - s - 2 * s * t)).
    t, s = tanh(softplus(x)), sigmoid(x)
    w = multiply(s, subtract(1, square(t)))
    bend = subtract(subtract(1, s), multiply(2, multiply(s, t)))
    return multiply(multiply(gx, g), multiply(w, add(2, multiply(x, bend))))


@op(infer=same, promote="float")
def _softplus(x, *, beta, threshold):
    """log(1 + e^(beta * x)) / beta; x itself where beta * x > threshold. ONNX: Softplus, Where."""
    return kernels.unary("softplus", x, beta=beta, threshold=threshold)


@_softplus.vjp("x")
def _(g, *, x, beta, threshold):
    return softplus_grad(g, x, beta=beta, threshold=threshold)


@op(infer=as_gradient)
def softplus_grad(g, x, *, beta, threshold):
    """g * sigmoid(beta * x); g where beta * x > threshold. ONNX: Sigmoid, Mul, Where."""
    return kernels.binary("softplus_grad", g, x, beta=beta, threshold=threshold)


@softplus_grad.vjp("g")
def _(g, *, x, beta, threshold):
    return softplus_grad(g, x, beta=beta, threshold=threshold)


@softplus_grad.vjp("x")
def _(gx, *, g, x, beta, threshold):
    s = sigmoid(multiply(x, beta))
    curve = multiply(multiply(s, subtract(1, s)), beta)
    bent = OPS["less_equal"](multiply(x, beta), threshold)
    return keep_where(bent, multiply(multiply(gx, g), curve))


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta * x)) / beta; x itself where beta * x > threshold."""
    return apply(_softplus, (x,), (freeze(float(beta)), freeze(float(threshold))))


@op(infer=same, promote="float")
def softsign(x):
    """x / (1 + |x|). ONNX: Softsign."""
    return kernels.unary("softsign", x)


@softsign.vjp("x")
def _(g, *, x):
    return divide(g, square(add(OPS["abs"](x), 1)))


differentiate_by_formula(log_sigmoid, softsign)

__all__ = [
    "celu",
    "elu",
    "gelu",
    "log_sigmoid",
    "mish",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "swish",
]
