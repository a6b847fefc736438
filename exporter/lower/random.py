"""Lowerings of `dyn/ops/random.py`: the numbers are drawn anew in every run of the file."""

from __future__ import annotations

import numpy as np

from exporter.builder import tensor_type
from exporter.registry import lowers
from exporter.windows import filled, is_symbolic

_DRAWN = (np.float32, np.float64)
_BITS = {np.dtype(np.float32): 24, np.dtype(np.float64): 48}


def _draw(b, target, shape, dtype, **attrs):
    """A RandomUniform or RandomNormal, by the shape of a tensor where sizes are dynamic."""
    drawn = np.dtype(dtype if dtype in _DRAWN else np.float32)
    if b.has(target, since=22):
        # onnxruntime has these operators up to opset 21 and none of their later versions.
        made = _draw_from_bits(b, target, shape, drawn, **attrs)
    elif is_symbolic(shape):
        zeros = b.op("Expand", b.const(0, drawn), b.shape_vector(shape))
        made = b.op(f"{target}Like", zeros, dtype=tensor_type(drawn), **attrs)
    else:
        sizes = [int(n) for n in shape]
        made = b.op(target, shape=sizes, dtype=tensor_type(drawn), **attrs)
    return made if drawn == dtype else b.cast(made, dtype)


def _draw_from_bits(b, target, shape, dtype, *, low=0.0, high=1.0, mean=0.0, scale=1.0):
    """The same out of random bits, which Dropout gives at every opset."""
    if target == "RandomUniform":
        return _affine(b, _unit(b, shape, dtype), high - low, low, dtype)
    # Box and Muller: the radius and the angle of a pair of normal numbers are independent.
    above_zero = _affine(b, _unit(b, shape, dtype), -1.0, 1.0, dtype)
    radius = b.op("Sqrt", b.op("Mul", b.op("Log", above_zero), b.const(-2.0, dtype)))
    angle = b.op("Mul", _unit(b, shape, dtype), b.const(2 * np.pi, dtype))
    return _affine(b, b.op("Mul", radius, _cos(b, angle, dtype)), scale, mean, dtype)


def _cos(b, x, dtype):
    """Cos, of which onnxruntime has no float64."""
    if dtype == np.float32:
        return b.op("Cos", x)
    return b.cast(b.op("Cos", b.cast(x, np.float32)), dtype)


def _unit(b, shape, dtype):
    """Numbers in [0, 1): its binary digits are what a Dropout of one half keeps."""
    bits = _BITS[dtype]
    ones = filled(b, [*shape, bits], 1, dtype)
    digits = b.cast(b.dropped(ones, 0.5), dtype)
    return b.op("MatMul", digits, b.const(0.5 ** np.arange(1, bits + 1), dtype))


def _affine(b, x, scale, shift, dtype):
    x = x if scale == 1 else b.op("Mul", x, b.const(scale, dtype))
    return x if shift == 0 else b.op("Add", x, b.const(shift, dtype))


@lowers("uniform")
def _(b, node):
    low, high = node.attrs["low"], node.attrs["high"]
    return _draw(b, "RandomUniform", node.attrs["shape"], node.out.dtype, low=low, high=high)


@lowers("normal")
def _(b, node):
    mean, std = node.attrs["mean"], node.attrs["std"]
    return _draw(b, "RandomNormal", node.attrs["shape"], node.out.dtype, mean=mean, scale=std)


@lowers("randint")
def _(b, node):
    low, high = (b.cast(b.size(node.attrs[name]), np.float64) for name in ("low", "high"))
    drawn = _draw(b, "RandomUniform", node.attrs["shape"], np.float64, low=0.0, high=1.0)
    spread = b.op("Add", b.op("Mul", drawn, b.op("Sub", high, low)), low)
    return b.cast(b.op("Floor", spread), node.out.dtype)


@lowers("randperm")
def _(b, node):
    n = node.attrs["n"]
    keys = _draw(b, "RandomUniform", (n,), np.float32, low=0.0, high=1.0)
    _, order = b.op("TopK", keys, b.shape_vector([n]), outputs=2, axis=0)
    return order if node.out.dtype == np.int64 else b.cast(order, node.out.dtype)


@lowers("bernoulli")
def _(b, node):
    dtype = np.dtype(node.dtype if node.dtype in _DRAWN else np.float32)
    drawn = _draw(b, "RandomUniform", node.shape, dtype, low=0.0, high=1.0)
    x = node.x if node.dtype == dtype else b.cast(node.x, dtype)
    return b.cast(b.op("Less", drawn, x), node.out.dtype)


@lowers("multinomial")
def _(b, node):
    count, replacement = node.attrs["num_samples"], node.attrs["replacement"]
    x = b.op("Log", node.x if node.dtype == np.float32 else b.cast(node.x, np.float32))
    if not replacement:
        # The largest of log(p) + Gumbel noise: a draw without replacement.
        draw = _draw(b, "RandomUniform", node.shape, np.float32, low=1e-20, high=1.0)
        noise = b.op("Neg", b.op("Log", b.op("Neg", b.op("Log", draw))))
        return b.op("TopK", b.op("Add", x, noise), b.ints(count), outputs=2, axis=-1)[1]
    if b.has("Multinomial", since=22):
        return _with_replacement(b, node, count)
    if node.rank == 1:
        x = b.unsqueeze(x, 0)
    out = b.op("Multinomial", x, sample_size=count, dtype=tensor_type(np.dtype(np.int64)))
    return b.squeeze(out, 0) if node.rank == 1 else out


def _with_replacement(b, node, count):
    """Draws by the running sum of the weights: the first place where it exceeds a number."""
    weights = node.x if node.dtype == np.float32 else b.cast(node.x, np.float32)
    sums = b.op("CumSum", weights, b.const(-1, np.int64))
    total = b.op("Slice", sums, b.ints(-1), b.ints(np.iinfo(np.int64).max), b.ints(-1))
    level = b.op("Mul", _unit(b, (*node.shape[:-1], count), np.dtype(np.float32)), total)
    passed = b.op("LessOrEqual", b.unsqueeze(sums, -2), b.unsqueeze(level, -1))
    return b.axes("ReduceSum", b.cast(passed, np.int64), [-1], keepdims=False)
