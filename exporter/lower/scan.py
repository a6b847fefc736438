"""Lowerings of `dyn/ops/scan.py`. What ONNX cannot run along an axis is a Scan over its slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper

from exporter.builder import Val, tensor_type
from exporter.registry import lowers
from exporter.windows import filled


@lowers("cumsum")
def _(b, node):
    x = node.x if node.dtype == node.out.dtype else b.cast(node.x, node.out.dtype)
    axis = b.const(np.int64(node.attrs["axis"]))
    return b.op("CumSum", x, axis, reverse=int(node.attrs["reverse"]))


def scanned(
    b: Any,
    step: Callable[..., tuple[Sequence[Val], Val]],
    states: Sequence[tuple[Val, Any]],
    inputs: Sequence[tuple[Val, Any]],
    result: Any,
    rank: int,
    axis: int,
    reverse: bool = False,
) -> Val:
    """Carry values along an axis.

    Args:
        b: the builder.
        step: `step(child, *states, *slices) -> (new states, what this place of the result holds)`.
        states: first value and dtype of everything that is carried; each has the shape of a slice.
        inputs: value and dtype of everything that is cut into slices.
        result: dtype of the result.
        rank: number of axes of the inputs and of the result.
        axis: the axis to run along.
        reverse: run from its end to its start.
    """
    child = b.child()
    given = [*states, *inputs]
    names = [
        child.names.fresh("carried" if i < len(states) else "slice") for i in range(len(given))
    ]
    new, place = step(child, *map(Val, names))
    made = [child.copy(value) for value in (*new, place)]
    dtypes = [dtype for _, dtype in states]
    graph = helper.make_graph(
        child.nodes,
        "step",
        _infos(names, [dtype for _, dtype in given], rank - 1),
        _infos([value.name for value in made], [*dtypes, result], rank - 1),
    )
    return b.op(
        "Scan",
        *(value for value, _ in given),
        outputs=len(made),
        body=graph,
        num_scan_inputs=len(inputs),
        scan_input_axes=[axis] * len(inputs),
        scan_output_axes=[axis],
        scan_input_directions=[int(reverse)] * len(inputs),
        scan_output_directions=[int(reverse)],
    )[-1]


def _infos(names: Sequence[str], dtypes: Sequence[Any], rank: int) -> list[Any]:
    # onnxruntime before 1.24 refuses results of unknown rank.
    return [
        helper.make_tensor_value_info(name, tensor_type(np.dtype(dtype)), [None] * rank)
        for name, dtype in zip(names, dtypes, strict=True)
    ]


def _slice_shape(node: Any) -> list[Any]:
    axis = node.attrs["axis"]
    return [*node.shape[:axis], *node.shape[axis + 1 :]]


@lowers("cumprod")
def _(b, node):
    dtype = node.out.dtype
    exclusive = node.attrs["exclusive"]
    x = node.x if node.dtype == dtype else b.cast(node.x, dtype)

    def step(child, before, one):
        after = child.op("Mul", before, one)
        return (after,), before if exclusive else after

    ones = filled(b, _slice_shape(node), 1, dtype)
    return scanned(b, step, [(ones, dtype)], [(x, dtype)], dtype, node.rank, node.attrs["axis"])


@lowers("recurrence")
def _(b, node):
    dtype = node.out.dtype
    inputs = [
        (
            x if t.shape == node.out.shape else b.op("Expand", x, b.shape_vector(node.out.shape)),
            dtype,
        )
        for x, t in zip(node.inputs, node.input_types, strict=True)
    ]

    def step(child, before, factor, term):
        after = child.op("Add", child.op("Mul", factor, before), term)
        return (after,), after

    zeros = [(filled(b, _slice_shape(node), 0, dtype), dtype)]
    axis, reverse = node.attrs["axis"], node.attrs["reverse"]
    return scanned(b, step, zeros, inputs, dtype, len(node.out.shape), axis, reverse)


@lowers("cummax")
def _(b, node):
    largest = node.attrs["largest"]

    def step(child, best, at, place, one):
        better = child.op("GreaterOrEqual" if largest else "LessOrEqual", one, best)
        better = child.op("Or", better, child.op("Equal", place, child.const(0, np.int64)))
        if node.dtype.kind == "f":
            better = child.op("Or", better, child.op("IsNaN", one))
        best = child.op("Where", better, one, best)
        at = child.op("Where", better, place, at)
        following = child.op("Add", place, child.const(1, np.int64))
        return (best, at, following), at

    shape = _slice_shape(node)
    states = [
        (filled(b, shape, 0, node.dtype), node.dtype),
        (filled(b, shape, 0, np.int64), np.int64),
        (filled(b, shape, 0, np.int64), np.int64),
    ]
    axis = node.attrs["axis"]
    places = scanned(b, step, states, [(node.x, node.dtype)], np.int64, node.rank, axis)
    return b.op("GatherElements", node.x, places, axis=axis), places
