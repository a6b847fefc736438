"""Lowerings of `dyn/ops/compare.py`. Operators that ONNX has for numbers only get casts."""

from __future__ import annotations

import numpy as np

from exporter.registry import lower_table, lowers

lower_table(isinf="IsInf", isnan="IsNaN")


def _ordered(b, node):
    """Operands of a comparison by size, which ONNX does not define for booleans."""
    if node.dtype.kind != "b":
        return node.inputs
    return [b.cast(x, np.int32) for x in node.inputs]


@lowers("equal")
def _(b, node):
    return b.op("Equal", *node.inputs)


@lowers("not_equal")
def _(b, node):
    return b.op("Not", b.op("Equal", *node.inputs))


@lowers("greater_than")
def _(b, node):
    return b.op("Greater", *_ordered(b, node))


@lowers("greater_equal")
def _(b, node):
    return b.op("GreaterOrEqual", *_ordered(b, node))


@lowers("less_than")
def _(b, node):
    return b.op("Less", *_ordered(b, node))


@lowers("less_equal")
def _(b, node):
    return b.op("LessOrEqual", *_ordered(b, node))


@lowers("isfinite")
def _(b, node):
    return b.op("Not", b.op("Or", b.op("IsNaN", node.x), b.op("IsInf", node.x)))


# ---- logic -------------------------------------------------------------------------------------


def _as_bools(b, node):
    return [
        x if t.dtype.kind == "b" else b.cast(x, np.bool_)
        for x, t in zip(node.inputs, node.input_types, strict=True)
    ]


@lowers("logical_and")
def _(b, node):
    return b.op("And", *_as_bools(b, node))


@lowers("logical_or")
def _(b, node):
    return b.op("Or", *_as_bools(b, node))


@lowers("logical_xor")
def _(b, node):
    return b.op("Xor", *_as_bools(b, node))


@lowers("logical_not")
def _(b, node):
    return b.op("Not", *_as_bools(b, node))


# ---- bits --------------------------------------------------------------------------------------


_POWERS = np.array([1 << k for k in range(63)], np.int64)
_LOW = np.array([1 << k for k in range(32)], np.int64)
_HIGH = np.array([1 << k for k in range(31)] + [-(1 << 31)], np.int64)
"""Weights of the 32 low and the 32 high bits; the last one is negative: two's complement."""


def _bits(b, x, rank):
    """The 64 bits of integers along a new last axis, as booleans, the sign last."""
    wide = b.unsqueeze(b.cast(x, np.int64), rank)
    low = b.op("Mod", wide, b.const(_POWERS))
    shifted = b.op("Div", b.op("Sub", wide, low), b.const(_POWERS))
    odd = b.cast(b.op("Mod", shifted, b.ints(2)), np.bool_)
    return b.op("Concat", odd, b.op("Less", wide, b.ints(0)), axis=rank)


def _from_bits(b, bits):
    """The integers of 64 bits. Summed in halves: onnxruntime adds up in float64."""
    halves = b.op("Split", b.cast(bits, np.int64), b.ints(32, 32), outputs=2, axis=-1)
    low, high = (
        b.op("ReduceSum", b.op("Mul", half, b.const(weights)), b.ints(-1), keepdims=0)
        for half, weights in zip(halves, (_LOW, _HIGH), strict=True)
    )
    return b.op("Add", b.op("Mul", high, b.const(1 << 32, np.int64)), low)


def _bitwise(b, node, logic, target):
    if node.dtype.kind == "b":
        return b.op(logic, *node.inputs)
    if b.has(target):
        return b.op(target, *node.inputs)
    # Before opset 18 there are no operators on bits: take the numbers apart.
    rank = len(node.out.shape)
    parts = []
    for x, t in zip(node.inputs, node.input_types, strict=True):
        missing = rank - len(t.shape)
        parts.append(_bits(b, b.unsqueeze(x, *range(missing)), rank))
    return b.cast(_from_bits(b, b.op(logic, *parts)), node.dtype)


@lowers("bitwise_and")
def _(b, node):
    return _bitwise(b, node, "And", "BitwiseAnd")


@lowers("bitwise_or")
def _(b, node):
    return _bitwise(b, node, "Or", "BitwiseOr")


@lowers("bitwise_xor")
def _(b, node):
    return _bitwise(b, node, "Xor", "BitwiseXor")


@lowers("bitwise_not")
def _(b, node):
    if node.dtype.kind == "b":
        return b.op("Not", node.x)
    if b.has("BitwiseNot"):
        return b.op("BitwiseNot", node.x)
    return b.cast(b.op("Sub", b.ints(-1), b.cast(node.x, np.int64)), node.dtype)


def _shift(b, x, y, direction):
    """x shifted as an unsigned number of 64 bits, the only kind that ONNX shifts."""
    moved = b.op("BitShift", b.cast(x, np.uint64), b.cast(y, np.uint64), direction=direction)
    return b.cast(moved, np.int64)


@lowers("bitwise_left_shift")
def _(b, node):
    x, y = node.inputs
    return b.cast(_shift(b, x, y, "LEFT"), node.dtype)


@lowers("bitwise_right_shift")
def _(b, node):
    x, y = node.inputs
    wide = b.cast(x, np.int64)
    below = b.op("Less", wide, b.const(0, np.int64))
    minus = b.const(-1, np.int64)
    # -1 - x turns all bits over, so that zeros come in from the left.
    turned = b.op("Where", below, b.op("Sub", minus, wide), wide)
    moved = _shift(b, turned, y, "RIGHT")
    return b.cast(b.op("Where", below, b.op("Sub", minus, moved), moved), node.dtype)
