"""Lowerings of `dyn/ops/solutions.py`: eliminations are Scans over the columns of the matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper

from exporter.builder import Val, tensor_type
from exporter.registry import NodeView, lower_table, lowers
from exporter.windows import filled

lower_table(det="Det")


def stepped(
    b: Any,
    step: Callable[..., tuple[Sequence[Val], Sequence[Val]]],
    count: Any,
    states: Sequence[tuple[Val, Any, int]],
    results: Sequence[tuple[Any, int, int]] = (),
    reverse: bool = False,
) -> list[Val]:
    """Do something for every place of an axis.

    Args:
        b: the builder.
        step: `step(child, place, *states) -> (new states, what is stacked)`; place is [1], int64.
        count: how many places there are.
        states: value, dtype and rank of what is carried from step to step.
        results: dtype, rank and axis of what the steps' second values are stacked to.
        reverse: begin with the last place.

    Returns:
        The last states, then what was stacked, in the order of the places.
    """
    child = b.child()
    place, *names = (child.names.fresh(name) for name in ("place", *["carried"] * len(states)))
    new, parts = step(child, child.unsqueeze(Val(place), 0), *map(Val, names))
    kinds = [(dtype, rank) for _, dtype, rank in states]
    made = [child.copy(value) for value in (*new, *parts)]
    given = [(name, *kind) for name, kind in zip(names, kinds, strict=True)]
    kinds += [(dtype, rank - 1) for dtype, rank, _ in results]
    gone = [(value.name, *kind) for value, kind in zip(made, kinds, strict=True)]
    inputs = [*given, (place, np.int64, 0)]
    graph = helper.make_graph(child.nodes, "step", _infos(inputs), _infos(gone))
    numbers = b.op("Range", b.const(np.int64(0)), b.size(count), b.const(np.int64(1)))
    way = int(reverse)
    found = b.op(
        "Scan",
        *(value for value, _, _ in states),
        numbers,
        outputs=len(made),
        body=graph,
        num_scan_inputs=1,
        scan_input_directions=[way],
        scan_output_directions=[way] * len(results) or None,
        scan_output_axes=[axis for _, _, axis in results] or None,
    )
    return list(found) if len(made) > 1 else [found]


def _infos(values: Sequence[tuple[str, Any, int]]) -> list[Any]:
    # onnxruntime before 1.24 refuses results of unknown rank.
    return [
        helper.make_tensor_value_info(name, tensor_type(np.dtype(dtype)), [None] * rank)
        for name, dtype, rank in values
    ]


def real(b: Any, node: NodeView) -> tuple[Any, list[Val]]:
    """The dtype to compute in, which is at least float32, and the inputs in it."""
    dtype = node.dtype if node.dtype.itemsize >= 4 else np.dtype(np.float32)
    inputs = node.inputs if dtype == node.dtype else [b.cast(x, dtype) for x in node.inputs]
    return dtype, list(inputs)


def back(b: Any, value: Val, node: NodeView) -> Val:
    """A result in the dtype of the inputs."""
    return value if node.dtype.itemsize >= 4 else b.cast(value, node.dtype)


def column_of_numbers(b: Any, count: Any) -> Val:
    """The numbers of rows, [count, 1]."""
    return b.unsqueeze(b.op("Range", b.const(np.int64(0)), b.size(count), b.const(np.int64(1))), 1)


def turned(b: Any, x: Val, rank: int) -> Val:
    """The last two axes exchanged."""
    return b.transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def eye(b: Any, n: Any, dtype: Any) -> Val:
    """The unit matrix."""
    rows = column_of_numbers(b, n)
    return b.cast(b.op("Equal", rows, b.transpose(rows, (1, 0))), dtype)


def _eliminated(
    b: Any, whole: Val, lead: Sequence[Any], n: Any, dtype: Any, hold: bool
) -> tuple[Val, Val, Val]:
    """Gauss and Jordan's elimination with the largest element of each column as the pivot.

    Args:
        b: the builder.
        whole: (..., n, n + k), matrices and right-hand sides.
        lead: their leading sizes.
        n: their size.
        dtype: of all numbers.
        hold: go on where there is no pivot; otherwise what follows is infinite or NaN.

    Returns:
        What `whole` has become; which row was chosen in each step, one-hot (..., n, n); and the
        pivots, (..., n).
    """
    rank = len(lead) + 2
    rows, zero, one = column_of_numbers(b, n), b.const(0, dtype), b.const(1, dtype)
    free = filled(b, [*lead, n, 1], True, np.bool_)

    def step(child: Any, place: Val, whole: Val, free: Val) -> Any:
        column = child.op("Gather", whole, place, axis=rank - 1)
        sizes = child.op("Where", free, child.op("Abs", column), b.const(-1, dtype))
        at = child.op("ArgMax", sizes, axis=rank - 2, keepdims=1)
        chosen = child.op("Equal", rows, at)
        kept = child.op("Where", chosen, whole, zero)
        row = child.axes("ReduceSum", kept, [rank - 2])
        pivot = child.op("Gather", row, place, axis=rank - 1)
        divisor = pivot
        if hold:
            divisor = child.op("Where", child.op("Equal", pivot, zero), one, pivot)
        row = child.op("Div", row, divisor)
        rest = child.op("Sub", whole, child.op("Mul", column, row))
        whole = child.op("Where", chosen, row, rest)
        free = child.op("And", free, child.op("Not", chosen))
        pick = child.squeeze(child.cast(chosen, dtype), rank - 1)
        return (whole, free), (pick, child.squeeze(pivot, rank - 2, rank - 1))

    states = [(whole, dtype, rank), (free, np.bool_, rank)]
    results = [(dtype, rank, rank - 1), (dtype, rank - 1, rank - 2)]
    whole, _, order, pivots = stepped(b, step, n, states, results)
    return whole, order, pivots


@lowers("slogdet")
def _(b: Any, node: NodeView) -> Any:
    dtype, (x,) = real(b, node)
    *lead, n, _ = node.shape
    _, order, pivots = _eliminated(b, x, lead, n, dtype, hold=True)
    # The rows chosen are a permutation: its determinant is 1 or -1, in any type.
    sign = b.cast(b.op("Det", b.cast(order, np.float32)), dtype)
    axis = [len(lead)]
    sign = b.op("Mul", sign, b.axes("ReduceProd", b.op("Sign", pivots), axis, keepdims=False))
    sizes = b.op("Log", b.op("Abs", pivots))
    return back(b, sign, node), back(b, b.axes("ReduceSum", sizes, axis, keepdims=False), node)


def _solved(b: Any, node: NodeView, x: Val, y: Val, dtype: Any) -> Val:
    *lead, n, k = node.out.shape
    rank = len(lead) + 2
    x = b.op("Expand", x, b.shape_vector([*lead, n, n]))
    y = b.op("Expand", y, b.shape_vector([*lead, n, k]))
    whole = b.op("Concat", x, y, axis=rank - 1)
    whole, order, _ = _eliminated(b, whole, lead, n, dtype, hold=False)
    end = b.ints(np.iinfo(np.int64).max)
    sides = b.op("Slice", whole, b.shape_vector([n]), end, b.ints(rank - 1))
    return back(b, b.op("MatMul", turned(b, order, rank), sides), node)


@lowers("inverse")
def _(b: Any, node: NodeView) -> Any:
    dtype, (x,) = real(b, node)
    return _solved(b, node, x, eye(b, node.shape[-1], dtype), dtype)


@lowers("solve")
def _(b: Any, node: NodeView) -> Any:
    dtype, (x, y) = real(b, node)
    return _solved(b, node, x, y, dtype)


@lowers("triangular_solve")
def _(b: Any, node: NodeView) -> Any:
    dtype, (x, y) = real(b, node)
    upper, transpose = node.attrs["upper"], node.attrs["transpose"]
    rank_of_x, rank = node.rank, len(node.out.shape)
    x = turned(b, x, rank_of_x) if transpose else x
    start = b.op("Expand", y, b.shape_vector(node.out.shape))

    def step(child: Any, place: Val, rest: Val) -> Any:
        column = child.op("Gather", x, place, axis=rank_of_x - 1)
        row = child.op("Gather", rest, place, axis=rank - 2)
        if not node.attrs["unitriangular"]:
            row = child.op("Div", row, child.op("Gather", column, place, axis=rank_of_x - 2))
        # This changes rows that have been solved, too: they are not read again.
        rest = child.op("Sub", rest, child.op("Mul", column, row))
        return (rest,), (child.squeeze(row, rank - 2),)

    states, results = [(start, dtype, rank)], [(dtype, rank, rank - 2)]
    found = stepped(b, step, node.shape[-1], states, results, reverse=upper != transpose)
    return back(b, found[1], node)
