"""Lowerings of `dyn/ops/smooth.py`."""

from __future__ import annotations

import math

import numpy as np

from exporter.registry import lower_table, lowers

lower_table(sigmoid="Sigmoid", softsign="Softsign")


def _sum(b, node, x, number):
    return b.op("Add", x, b.const(number, node.dtype))


def _times(b, node, x, number):
    return x if number == 1 else b.op("Mul", x, b.const(number, node.dtype))


def _one_less(b, node, x):
    """1 - x."""
    return b.op("Sub", b.const(1, node.dtype), x)


# ---- elu and its kin ---------------------------------------------------------------------------


@lowers("elu")
def _(b, node):
    alpha, scale, rate = (node.attrs[name] for name in ("alpha", "scale", "rate"))
    if rate == 1:
        if scale == 1:
            return b.op("Elu", node.x, alpha=alpha)
        return b.op("Selu", node.x, alpha=alpha, gamma=scale)
    if scale == 1 and alpha * rate == 1 and node.dtype == np.float32:
        return b.op("Celu", node.x, alpha=alpha)
    zero = b.const(0, node.dtype)
    bent = b.op("Exp", _times(b, node, b.op("Min", node.x, zero), rate))
    bent = _times(b, node, _sum(b, node, bent, -1), alpha)
    out = b.op("Where", b.op("Greater", node.x, zero), node.x, bent)
    return _times(b, node, out, scale)


@lowers("elu_grad")
def _(b, node):
    g, x = node.inputs
    alpha, scale, rate = (node.attrs[name] for name in ("alpha", "scale", "rate"))
    zero = b.const(0, node.dtype)
    bent = b.op("Exp", _times(b, node, b.op("Min", x, zero), rate))
    bent = _times(b, node, bent, alpha * scale * rate)
    slope = b.op("Where", b.op("Greater", x, zero), b.const(scale, node.dtype), bent)
    return b.op("Mul", g, slope)


# ---- sigmoid and its kin -----------------------------------------------------------------------


@lowers("sigmoid_grad")
def _(b, node):
    g, out = node.inputs
    return b.op("Mul", g, b.op("Mul", out, _one_less(b, node, out)))


@lowers("log_sigmoid")
def _(b, node):
    return b.op("Neg", b.op("Softplus", b.op("Neg", node.x)))


@lowers("silu")
def _(b, node):
    return b.op("Mul", node.x, b.op("Sigmoid", node.x))


@lowers("silu_grad")
def _(b, node):
    g, x = node.inputs
    s = b.op("Sigmoid", x)
    bend = _sum(b, node, b.op("Mul", x, _one_less(b, node, s)), 1)
    return b.op("Mul", g, b.op("Mul", s, bend))


# ---- gelu, mish, softplus ----------------------------------------------------------------------


def _phi(b, node, x):
    """The cumulative normal distribution."""
    erf = b.op("Erf", _times(b, node, x, 1 / math.sqrt(2)))
    return _times(b, node, _sum(b, node, erf, 1), 0.5)


def _tanh_inner(b, node, x):
    """tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)), and x^2."""
    xx = b.op("Mul", x, x)
    inner = b.op("Mul", x, _sum(b, node, _times(b, node, xx, 0.044715), 1))
    return b.op("Tanh", _times(b, node, inner, math.sqrt(2 / math.pi))), xx


@lowers("gelu")
def _(b, node):
    approximate = node.attrs["approximate"]
    if b.has("Gelu"):
        return b.op("Gelu", node.x, approximate="tanh" if approximate else "none")
    if approximate:
        tanh, _ = _tanh_inner(b, node, node.x)
        half = _times(b, node, _sum(b, node, tanh, 1), 0.5)
        return b.op("Mul", node.x, half)
    return b.op("Mul", node.x, _phi(b, node, node.x))


@lowers("gelu_grad")
def _(b, node):
    g, x = node.inputs
    if node.attrs["approximate"]:
        t, xx = _tanh_inner(b, node, x)
        k = math.sqrt(2 / math.pi)
        slope = _sum(b, node, _times(b, node, xx, 3 * 0.044715 * k), k)
        slope = b.op("Mul", slope, _one_less(b, node, b.op("Mul", t, t)))
        both = b.op("Add", _sum(b, node, t, 1), b.op("Mul", x, slope))
        return b.op("Mul", g, _times(b, node, both, 0.5))
    density = b.op("Exp", _times(b, node, b.op("Mul", x, x), -0.5))
    density = _times(b, node, density, 1 / math.sqrt(2 * math.pi))
    return b.op("Mul", g, b.op("Add", _phi(b, node, x), b.op("Mul", x, density)))


@lowers("mish")
def _(b, node):
    return b.op("Mul", node.x, b.op("Tanh", b.op("Softplus", node.x)))


@lowers("mish_grad")
def _(b, node):
    g, x = node.inputs
    t = b.op("Tanh", b.op("Softplus", x))
    bend = b.op("Mul", b.op("Sigmoid", x), _one_less(b, node, b.op("Mul", t, t)))
    return b.op("Mul", g, b.op("Add", t, b.op("Mul", x, bend)))


def _beyond(b, node, x):
    """Where beta * x lies above the threshold, or None where that makes no difference.

    From 16 on, softplus and the identity are the same float32.
    """
    if node.attrs["threshold"] >= 16 and node.dtype == np.float32:
        return None
    scaled = _times(b, node, x, node.attrs["beta"])
    return b.op("Greater", scaled, b.const(node.attrs["threshold"], node.dtype))


@lowers("softplus")
def _(b, node):
    beta = node.attrs["beta"]
    out = b.op("Softplus", _times(b, node, node.x, beta))
    out = _times(b, node, out, 1 / beta)
    beyond = _beyond(b, node, node.x)
    return out if beyond is None else b.op("Where", beyond, node.x, out)


@lowers("softplus_grad")
def _(b, node):
    g, x = node.inputs
    out = b.op("Mul", g, b.op("Sigmoid", _times(b, node, x, node.attrs["beta"])))
    beyond = _beyond(b, node, x)
    return out if beyond is None else b.op("Where", beyond, g, out)
