"""Activation functions of networks; each gradient is one fused op. Softmax is in `softmax.py`."""

from __future__ import annotations

from dyn.core.op import op
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import multiply
from dyn.ops.infer import broadcast, same


@op(infer=same)
def relu(x):
    """max(x, 0); NaN stays. ONNX: Relu."""
    return kernels.unary("relu", x)


@relu.vjp("x")
def _(g, *, out):
    return relu_grad(g, out)


@op(infer=broadcast)
def relu_grad(g, out):
    """g where out > 0, else 0. ONNX: Greater, Where."""
    return kernels.binary("relu_grad", g, out)


@relu_grad.vjp("g")
def _(gg, *, out):
    return relu_grad(gg, out)


@relu_grad.vjp("out")
def _(gg):
    return None


@op(infer=same, promote="float")
def sigmoid(x):
    """1 / (1 + e^-x). ONNX: Sigmoid."""
    return kernels.unary("sigmoid", x)


@sigmoid.vjp("x")
def _(g, *, out):
    return sigmoid_grad(g, out)


@op(infer=broadcast)
def sigmoid_grad(g, out):
    """g * out * (1 - out): the gradient of sigmoid by its result. ONNX: Mul, Sub."""
    return kernels.binary("sigmoid_grad", g, out)


@sigmoid_grad.vjp("g")
def _(gg, *, out):
    return sigmoid_grad(gg, out)


@sigmoid_grad.vjp("out")
def _(gg, *, g, out):
    return multiply(multiply(gg, g), 1 - 2 * out)
