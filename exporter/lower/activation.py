"""Lowerings of `dyn/ops/activation.py`."""

from __future__ import annotations

from exporter.registry import lowers


def _keep(b, node, mask, g):
    """g where the mask holds, else 0."""
    return b.op("Where", mask, g, b.const(0, node.dtype))


def _positive(b, node, x):
    return b.op("Greater", x, b.const(0, node.dtype))


@lowers("relu")
def _(b, node):
    if node.dtype.kind in "iu":
        return b.op("Max", node.x, b.const(0, node.dtype))
    return b.op("Relu", node.x)


@lowers("relu_grad")
def _(b, node):
    g, out = node.inputs
    zero = b.const(0, node.dtype)
    return b.op("Where", b.op("LessOrEqual", out, zero), zero, g)


@lowers("leaky_relu")
def _(b, node):
    return b.op("LeakyRelu", node.x, alpha=node.attrs["slope"])


@lowers("leaky_relu_grad")
def _(b, node):
    g, x = node.inputs
    damped = b.op("Mul", g, b.const(node.attrs["slope"], node.dtype))
    return b.op("Where", _positive(b, node, x), g, damped)


@lowers("prelu")
def _(b, node):
    x, w = node.inputs
    if node.attrs["axis"] is not None:
        return b.op("PRelu", x, _along(b, w, node.attrs["axis"], node.rank))
    if len(node.input_types[1].shape) <= node.rank:
        return b.op("PRelu", x, w)
    return b.op("Where", _positive(b, node, x), x, b.op("Mul", w, x))


def _along(b, vector, axis, rank):
    """A vector so that it lies along an axis of tensors of a rank; as it is for None."""
    behind = 0 if axis is None else rank - 1 - axis
    return b.unsqueeze(vector, *range(1, 1 + behind))


@lowers("prelu_grad")
def _(b, node):
    g, x, w = node.inputs
    scaled = b.op("Mul", g, _along(b, w, node.attrs["axis"], node.rank))
    return b.op("Where", _positive(b, node, x), g, scaled)


def _straight(b, node, slope, offset):
    """x * slope + offset in [0, 1], for float64: attributes of ONNX have the digits of float32."""
    x = b.op("Mul", node.x, b.const(slope, node.dtype))
    x = b.op("Add", x, b.const(offset, node.dtype))
    return b.op("Clip", x, b.const(0, node.dtype), b.const(1, node.dtype))


@lowers("hardsigmoid")
def _(b, node):
    if node.dtype.itemsize == 8:
        return _straight(b, node, node.attrs["slope"], node.attrs["offset"])
    return b.op("HardSigmoid", node.x, alpha=node.attrs["slope"], beta=node.attrs["offset"])


@lowers("hardsigmoid_grad")
def _(b, node):
    g, out = node.inputs
    inside = b.op("And", _positive(b, node, out), b.op("Less", out, b.const(1, node.dtype)))
    return _keep(b, node, inside, b.op("Mul", g, b.const(node.attrs["slope"], node.dtype)))


@lowers("hardswish")
def _(b, node):
    if node.dtype.itemsize == 8:
        return b.op("Mul", node.x, _straight(b, node, 1 / 6, 0.5))
    return b.op("HardSwish", node.x)


@lowers("hardswish_grad")
def _(b, node):
    g, x = node.inputs
    rising = b.op("Div", x, b.const(3, node.dtype))
    rising = b.op("Add", rising, b.const(0.5, node.dtype))
    one, zero = b.const(1, node.dtype), b.const(0, node.dtype)
    slope = b.op("Where", b.op("GreaterOrEqual", x, b.const(3, node.dtype)), one, rising)
    slope = b.op("Where", b.op("LessOrEqual", x, b.const(-3, node.dtype)), zero, slope)
    return b.op("Mul", g, slope)


@lowers("shrink")
def _(b, node):
    return b.op("Shrink", node.x, lambd=node.attrs["threshold"], bias=node.attrs["bias"])


def _halves(b, node, x):
    axis = node.attrs["axis"]
    half = node.input_types[-1].shape[axis] // 2
    return b.op("Split", x, b.shape_vector((half, half)), outputs=2, axis=axis)


@lowers("glu")
def _(b, node):
    first, second = _halves(b, node, node.x)
    return b.op("Mul", first, b.op("Sigmoid", second))


@lowers("glu_grad")
def _(b, node):
    g, x = node.inputs
    first, second = _halves(b, node, x)
    s = b.op("Sigmoid", second)
    slope = b.op("Mul", s, b.op("Sub", b.const(1, node.dtype), s))
    rest = b.op("Mul", b.op("Mul", g, slope), first)
    return b.op("Concat", b.op("Mul", g, s), rest, axis=node.attrs["axis"])
