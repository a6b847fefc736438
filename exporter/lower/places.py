"""Lowerings of `dyn/ops/places.py`: GatherND and ScatterND at coordinates, Gather of a row."""

from __future__ import annotations

from exporter.lower.gather import added, scattered
from exporter.registry import lowers


def _coordinates(b, indices, types):
    """Index tensors of one shape as coordinates along a new last axis."""
    rank = len(types[0].shape)
    pairs = zip(indices, types, strict=True)
    lying = [b.unsqueeze(b.index(i, kind.dtype), rank) for i, kind in pairs]
    return lying[0] if len(lying) == 1 else b.op("Concat", *lying, axis=rank)


@lowers("take_at")
def _(b, node):
    x, *indices = node.inputs
    return b.op("GatherND", x, _coordinates(b, indices, node.input_types[1:]))


@lowers("put_at")
def _(b, node):
    x, value, *indices = node.inputs
    reduction = "add" if node.attrs["reduction"] == "add" else None
    at = _coordinates(b, indices, node.input_types[2:])
    return scattered(b, "ScatterND", x, at, value, node.dtype, reduction)


@lowers("index_add")
def _(b, node):
    x, value, index = node.inputs
    axis, (whole, _, kind) = node.attrs["axis"], node.input_types
    index, rank = b.index(index, kind.dtype), len(kind.shape)
    if axis:
        return b.op("Add", x, added(b, value, index, axis, whole.shape, rank, node.dtype))
    return scattered(b, "ScatterND", x, b.unsqueeze(index, rank), value, node.dtype, "add")


@lowers("take")
def _(b, node):
    x, index = node.inputs
    whole, kind = node.input_types
    row = x if len(whole.shape) == 1 else b.reshape(x, [-1])
    return b.op("Gather", row, b.index(index, kind.dtype, narrow=True), axis=0)
