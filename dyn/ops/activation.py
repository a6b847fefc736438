"""Activation functions in pieces, and gates: relu and its kin, hard sigmoid, shrinkage, glu ...

The smooth ones are in `smooth.py`, softmax and its kin in `softmax.py`. The gradient of each is one
fused op. What must not go in here are layers.
"""

from __future__ import annotations

from dyn.core.dispatch import apply
from dyn.core.dtype import is_inexact
from dyn.core.errors import ShapeError
from dyn.core.lift import rank_of, scalar
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.kernels import gates
from dyn.ops.angles import tanh
from dyn.ops.bounds import clip
from dyn.ops.composite import differentiate_as
from dyn.ops.elementwise import (
    add,
    as_gradient,
    divide,
    keep_where,
    multiply,
    subtract,
)
from dyn.ops.extremes import maximum, minimum
from dyn.ops.index import where
from dyn.ops.infer import Type, axis_of, broadcast, same, same_size, show
from dyn.ops.join import concat, split
from dyn.ops.shape import reshape
from dyn.ops.smooth import sigmoid, silu
from dyn.ops.unary import log, neg

# ---- relu and its kin --------------------------------------------------------------------------


@op(infer=same)
def relu(x):
    """max(x, 0); NaN stays. ONNX: Relu."""
    return kernels.unary("relu", x)


@relu.vjp("x")
def _(g, *, out):
    return relu_grad(g, out)


@op(infer=as_gradient)
def relu_grad(g, out):
    """0 where out <= 0, else g, for NaN as well. ONNX: LessOrEqual, Where."""
    return kernels.binary("relu_grad", g, out)


@relu_grad.vjp("g")
def _(g, *, out):
    return relu_grad(g, out)


@relu_grad.vjp("out")
def _(g):
    return None


@op(infer=same, promote="float")
def _leaky_relu(x, *, slope):
    """x where x > 0, else slope * x. ONNX: LeakyRelu."""
    return kernels.unary("leaky_relu", x, slope=slope)


@_leaky_relu.vjp("x")
def _(g, *, x, slope):
    return leaky_relu_grad(g, x, slope=slope)


@op(infer=as_gradient)
def leaky_relu_grad(g, x, *, slope):
    """g where x > 0, else slope * g. ONNX: Greater, Mul, Where."""
    return kernels.binary("leaky_relu_grad", g, x, slope=slope)


@leaky_relu_grad.vjp("g")
def _(g, *, x, slope):
    return leaky_relu_grad(g, x, slope=slope)


@leaky_relu_grad.vjp("x")
def _(g):
    return None


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return apply(_leaky_relu, (x,), (freeze(float(negative_slope)),))


def relu6(x: Tensor) -> Tensor:
    """x brought into [0, 6]; the slope is 0 at both ends."""
    return hardtanh(x, 0.0, 6.0)


def hardtanh(x: Tensor, min: float = -1.0, max: float = 1.0) -> Tensor:
    """x brought into [min, max]; the slope is 0 at both ends."""
    if not is_inexact(x._read().dtype):
        return clip(x, min, max)
    return apply(OPS["clip"], (x,), (freeze(float(min)), freeze(float(max)), True))


def thresholded_relu(x: Tensor, threshold: float = 1.0, value: float = 0.0) -> Tensor:
    """value where x <= threshold, else x; NaN stays."""
    return where(OPS["less_equal"](x, threshold), value, x)


def _infer_prelu(x: Type, w: Type, *, axis: int | None) -> Type:
    if axis is None:
        return broadcast(x, w)
    if len(w.shape) != 1 or not (same_size(w.shape[0], 1) or same_size(w.shape[0], x.shape[axis])):
        raise ShapeError(f"weight {show(w.shape)} does not fit x {show(x.shape)}")
    return x


@op(infer=_infer_prelu, promote="float")
def _prelu(x, w, *, axis=None):
    """x where x > 0, else w * x; w broadcasts, or is a vector along an axis of x. ONNX: PRelu.

    A vector of one element is for all of x.
    """
    return kernels.binary("prelu", x, kernels.along(w, axis, x.ndim))


@_prelu.vjp("x")
def _(g, *, x, w, axis):
    return apply(_prelu_grad, (g, x, w), (axis,))


@_prelu.vjp("w")
def _(g, *, x, w_shape, axis):
    found = multiply(g, minimum(x, 0))
    if axis is None or same_size(w_shape[0], 1):
        return found
    others = tuple([i for i in range(found.ndim) if i != axis])
    return OPS["sum"](found, axes=others, keepdims=False)


def _infer_prelu_grad(g: Type, x: Type, w: Type, *, axis: int | None) -> Type:
    return g


@op(infer=_infer_prelu_grad)
def _prelu_grad(g, x, w, *, axis):
    """g where x > 0, else w * g. ONNX: Greater, Mul, Where."""
    return kernels.ternary("prelu_grad", g, x, kernels.along(w, axis, x.ndim))


def _prelu_grad_of_ops(g: Tensor, x: Tensor, w: Tensor, axis: int | None) -> Tensor:
    """`_prelu_grad` made of ops."""
    if axis is not None:
        w = reshape(w, [-1 if i == axis else 1 for i in range(x.ndim)])
    return where(OPS["greater_than"](x, 0), g, multiply(g, w))


differentiate_as(_prelu_grad, _prelu_grad_of_ops)


def prelu(x: Tensor, weight: Tensor, data_format: str = "NCHW") -> Tensor:
    """x where x > 0, else weight * x, with one weight or one per channel.

    Args:
        x: (N, C, ...), or (N, ..., C) if `data_format` ends in "C".
        weight: (1,) or (C,).

    Raises:
        ShapeError: the number of weights is neither 1 nor C.
    """
    ndim = x.ndim
    if ndim < 2 and weight.ndim and not same_size(weight.shape[0], 1):
        raise ShapeError(f"weight {show(weight.shape)} does not fit x {show(x.shape)}")
    if ndim == 0 and weight.ndim:
        weight = reshape(weight, [])
    axis = None if ndim < 2 or not weight.ndim else ndim - 1 if data_format[-1] == "C" else 1
    return apply(_prelu, (x, weight), (axis,))


def rrelu(x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """Leaky relu; in training with a slope drawn for each element from [lower, upper]."""
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    slope = OPS["uniform"](shape=tuple(x.shape), low=lower, high=upper, dtype=x.dtype.name)
    return where(OPS["greater_than"](x, 0), x, multiply(x, slope))


# ---- hard sigmoid and swish --------------------------------------------------------------------


@op(infer=same, promote="float")
def _hardsigmoid(x, *, slope, offset):
    """slope * x + offset brought into [0, 1]. ONNX: HardSigmoid."""
    return kernels.unary("hardsigmoid", x, slope=slope, offset=offset)


@_hardsigmoid.vjp("x")
def _(g, *, out, slope):
    return hardsigmoid_grad(g, out, slope=slope)


@op(infer=as_gradient)
def hardsigmoid_grad(g, out, *, slope):
    """slope * g where 0 < out < 1, else 0. ONNX: Greater, Less, And, Mul, Where."""
    return kernels.binary("hardsigmoid_grad", g, out, slope=slope)


@hardsigmoid_grad.vjp("g")
def _(g, *, out, slope):
    return hardsigmoid_grad(g, out, slope=slope)


@hardsigmoid_grad.vjp("out")
def _(g):
    return None


def hardsigmoid(x: Tensor, slope: float = 1 / 6, offset: float = 0.5) -> Tensor:
    """slope * x + offset brought into [0, 1]."""
    return apply(_hardsigmoid, (x,), (freeze(float(slope)), freeze(float(offset))))


@op(infer=same, promote="float")
def hardswish(x):
    """x * clip(x + 3, 0, 6) / 6. ONNX: HardSwish. Source: arXiv 1905.02244."""
    return kernels.unary("hardswish", x)


@hardswish.vjp("x")
def _(g, *, x):
    return hardswish_grad(g, x)


@op(infer=as_gradient)
def hardswish_grad(g, x):
    """g * (0 up to -3, (2 x + 3) / 6, 1 from 3 on). ONNX: GreaterOrEqual, Where, Mul, Add."""
    return kernels.binary("hardswish_grad", g, x)


@hardswish_grad.vjp("g")
def _(g, *, x):
    return hardswish_grad(g, x)


@hardswish_grad.vjp("x")
def _(gx, *, g, x):
    inside = OPS["less_than"](OPS["abs"](x), 3)
    return keep_where(inside, multiply(multiply(gx, g), 1 / 3))


# ---- shrinkage ---------------------------------------------------------------------------------


@op(infer=same, promote="float")
def _shrink(x, *, threshold, bias):
    """x - bias above threshold, x + bias below -threshold, else 0. ONNX: Shrink."""
    return kernels.unary("shrink", x, threshold=threshold, bias=bias)


@_shrink.vjp("x")
def _(g, *, x, threshold):
    return where(OPS["less_equal"](OPS["abs"](x), threshold), scalar(0, g._array.dtype), g)


def hardshrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x where |x| > threshold, else 0."""
    return apply(_shrink, (x,), (float(threshold), 0.0))


def softshrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x brought `threshold` nearer to 0, and 0 where it is nearer already."""
    return apply(_shrink, (x,), (float(threshold), float(threshold)))


def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    return subtract(x, tanh(x))


# ---- gates -------------------------------------------------------------------------------------


def _infer_glu(x: Type, *, axis: int) -> Type:
    size = x.shape[axis]
    if not same_size(size % 2, 0):
        raise ShapeError(f"axis {axis} of {show(x.shape)} cannot be cut into two halves")
    return Type((*x.shape[:axis], size // 2, *x.shape[axis + 1 :]), x.dtype)


@op(infer=_infer_glu, promote="float")
def _glu(x, *, axis):
    """The first half along an axis times the sigmoid of the second. ONNX: Split, Sigmoid, Mul."""
    return gates.glu(x, axis)


_glu.shortcut = lambda x, axis: gates.glu_of(*x, axis)


@_glu.vjp("x")
def _(g, *, x, axis):
    return glu_grad(g, x, axis=axis)


@op(infer=lambda g, x, *, axis: x)
def glu_grad(g, x, *, axis):
    """(g s, g a s (1 - s)) for the halves a, b of x and s = sigmoid(b). ONNX: Split, Concat."""
    return gates.glu_grad(g, x, axis)


def _glu_grad_of_ops(g: Tensor, x: Tensor, axis: int) -> Tensor:
    """`glu_grad` made of ops."""
    a, b = split(x, 2, axis)
    s = sigmoid(b)
    slope = multiply(s, subtract(1.0, s))
    return concat([multiply(g, s), multiply(multiply(g, slope), a)], axis)


differentiate_as(glu_grad, _glu_grad_of_ops)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """The first half along an axis times the sigmoid of the second. Source: arXiv 1612.08083."""
    return apply(_glu, (x,), (axis_of(axis, rank_of(x)),))


def swiglu(x: Tensor, y: Tensor | None = None) -> Tensor:
    """silu(x) * y; without y, x is cut into two halves along its last axis."""
    if y is None:
        x, y = split(x, 2, -1)
    return multiply(silu(x), y)


def maxout(x: Tensor, groups: int, axis: int = 1) -> Tensor:
    """The largest of each `groups` neighbouring channels. Source: arXiv 1302.4389."""
    axis = axis_of(axis, x.ndim)
    shape = list(x.shape)
    if not same_size(shape[axis] % groups, 0):
        raise ShapeError(f"{shape[axis]} channels do not split into groups of {groups}")
    wide = [*shape[:axis], shape[axis] // groups, groups, *shape[axis + 1 :]]
    return OPS["max"](reshape(x, wide), axes=(axis + 1,), keepdims=False)


def gumbel_softmax(
    x: Tensor, temperature: float = 1.0, hard: bool = False, axis: int = -1
) -> Tensor:
    """Softmax of (x + Gumbel noise) / temperature: a differentiable draw from the logits x.

    Args:
        x: logits, any shape.
        temperature: the lower, the nearer to one-hot.
        hard: return one-hot vectors, with the gradient of the soft ones.
        axis: the axis of the classes.

    Source: Jang et al., arXiv 1611.01144.
    """
    axis = axis_of(axis, x.ndim)
    draw = OPS["uniform"](shape=tuple(x.shape), low=0.0, high=1.0, dtype=x.dtype.name)
    tiny = scalar(kernels.limits(x._read().dtype)[2], x._read().dtype)
    noise = neg(log(neg(log(maximum(draw, tiny)))))
    soft = OPS["softmax"](divide(add(x, noise), temperature), axis=axis)
    if not hard:
        return soft
    best = OPS["argmax"](soft, axis=axis, keepdims=True)
    zeros = OPS["zeros_like"](soft)
    ones = OPS["full"](shape=tuple(best.shape), value=1, dtype=x.dtype.name)
    one_hot = OPS["put_along_axis"](zeros, best, ones, axis=axis, reduction="none")
    return add(subtract(one_hot, soft.detach()), soft)


__all__ = [
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "maxout",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "softshrink",
    "swiglu",
    "tanhshrink",
    "thresholded_relu",
]
