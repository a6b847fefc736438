"""What lowerings of windowed ops share: padding in ONNX's order, and sizes known only at run time.

Padding comes as (low, high) per spatial axis, flattened; amounts are ints or `Expr`s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core.expr import Expr
from tracer.sizes import to_int

Size = int | Expr

MAX_CONSTANT = 1024
"""Elements up to which a tensor of one number is stored rather than computed."""


def onnx_pads(padding: Sequence[Any]) -> list[int] | None:
    """(low, high) per axis as ONNX wants it, all lows first; None when there is none."""
    return [*padding[::2], *padding[1::2]] if any(padding) else None


def is_symbolic(sizes: Sequence[Size]) -> bool:
    """Whether one of the sizes is known only at run time."""
    return any(isinstance(n, Expr) and n.constant is None for n in sizes)


def volume(sizes: Sequence[Size]) -> Size:
    """Product of sizes."""
    total = Expr.of(1)
    for n in sizes:
        total = total * Expr.of(n)
    return total if total.constant is None else total.constant


def pad(b: Any, x: Any, padding: Sequence[Size], value: Any = None) -> Any:
    """x [N, C, ...] with `value` (default 0) around it, or cut where an amount is negative."""
    return b.op("Pad", x, b.shape_vector([0, 0, *padding[::2], 0, 0, *padding[1::2]]), value)


def filled(b: Any, shape: Sequence[Size], value: Any, dtype: Any) -> Any:
    """A tensor of one number: a constant while it is small, else expanded at run time."""
    if isinstance(value, Expr):
        number = b.cast(b.size(value), dtype)
        return b.op("Expand", number, b.shape_vector(shape)) if shape else number
    if not is_symbolic(shape) and math.prod(to_int(tuple(shape), {})) <= MAX_CONSTANT:
        return b.const(np.full(to_int(tuple(shape), {}), value, dtype))
    return b.op("Expand", b.const(value, dtype), b.shape_vector(shape))
