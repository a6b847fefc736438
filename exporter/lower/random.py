"""Lowerings of `dyn/ops/random.py`: the numbers are drawn anew in every run of the file."""

from __future__ import annotations

import numpy as np

from exporter.builder import tensor_type
from exporter.registry import lowers
from exporter.windows import is_symbolic

_DRAWN = (np.float32, np.float64)


def _draw(b, target, shape, dtype, **attrs):
    """A RandomUniform or RandomNormal, by the shape of a tensor where sizes are dynamic."""
    drawn = np.dtype(dtype if dtype in _DRAWN else np.float32)
    attrs["dtype"] = tensor_type(drawn)
    if is_symbolic(shape):
        zeros = b.op("Expand", b.const(0, drawn), b.shape_vector(shape))
        made = b.op(f"{target}Like", zeros, **attrs)
    else:
        made = b.op(target, shape=[int(n) for n in shape], **attrs)
    return made if drawn == dtype else b.cast(made, dtype)


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


@lowers("multinomial")
def _(b, node):
    count, replacement = node.attrs["num_samples"], node.attrs["replacement"]
    x = b.op("Log", node.x if node.dtype == np.float32 else b.cast(node.x, np.float32))
    if not replacement:
        # The largest of log(p) + Gumbel noise: a draw without replacement.
        draw = _draw(b, "RandomUniform", node.shape, np.float32, low=1e-20, high=1.0)
        noise = b.op("Neg", b.op("Log", b.op("Neg", b.op("Log", draw))))
        return b.op("TopK", b.op("Add", x, noise), b.ints(count), outputs=2, axis=-1)[1]
    if node.rank == 1:
        x = b.unsqueeze(x, 0)
    out = b.op("Multinomial", x, sample_size=count, dtype=tensor_type(np.dtype(np.int64)))
    return b.squeeze(out, 0) if node.rank == 1 else out
