"""Recurrent layers and their gradients step by step, as ONNX Scans.

Everything that does not depend on the state is computed for all steps at once outside the Scan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from exporter.builder import Val, tensor_type
from exporter.lower.rnn_gates import Gates
from exporter.registry import NodeView
from exporter.windows import filled


class _Body:
    """The graph of one step: named inputs, then nodes, then outputs."""

    def __init__(self, b: Any, dtype: Any):
        self.b = b.child()
        self.dtype = dtype
        self.gates = Gates(self.b, dtype)
        self.inputs: list[Any] = []

    def input(self, name: str, rank: int, dtype: Any = None) -> Val:
        """An input of the step."""
        name = self.b.names.fresh(name)
        kind = tensor_type(np.dtype(dtype or self.dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, [None] * rank))
        return Val(name)

    def close(self, *outputs: Val) -> Any:
        """The GraphProto; every output under a name of its own."""
        infos = []
        kind = tensor_type(np.dtype(self.dtype))
        for value in outputs:
            own = self.b.copy(value)
            infos.append(helper.make_tensor_value_info(own.name, kind, [None, None]))
        return helper.make_graph(self.b.nodes, "step", self.inputs, infos)

    def alive(self, lengths: Val | None, t: Val | None) -> Val | None:
        """[batch, 1]: whether each sample still runs; None if all do."""
        if lengths is None or t is None:
            return None
        return self.b.unsqueeze(self.b.op("Greater", lengths, t), 1)

    def select(self, alive: Val | None, value: Val, other: Val | None = None) -> Val:
        """`value` where a sample runs, else `other` (zero by default)."""
        if alive is None:
            return value
        zero = self.b.const(0, self.dtype)
        return self.b.op("Where", alive, value, zero if other is None else other)


def _scan(b: Any, body: Any, states: list[Any], sequences: list[Any], outs: int, reverse: bool):
    """A Scan over the first axis, from the last step on if `reverse`."""
    way = int(reverse)
    made = b.op(
        "Scan",
        *states,
        *sequences,
        outputs=len(states) + outs,
        body=body,
        num_scan_inputs=len(sequences),
        scan_input_directions=[way] * len(sequences),
        scan_output_directions=[way] * outs,
    )
    return list(made)


def _steps(b: Any, node: NodeView) -> Any:
    """The number of each step, int64."""
    steps = node.shape[0]
    return b.op("Range", b.const(0, np.int64), b.size(steps), b.const(1, np.int64))


def _turned(b: Any, weight: Any) -> Any:
    return b.transpose(weight, (1, 0))


def _plus(b: Any, value: Any, bias: Any) -> Any:
    return value if bias is None else b.op("Add", value, bias)


# ---- forward -----------------------------------------------------------------------------------


def scan_forward(b: Any, node: NodeView, mode: str) -> tuple[Any, ...]:
    """All outputs of a recurrent op, private ones too."""
    x, lengths = node.inputs[0], node.inputs[-1]
    ways = [node.inputs[1:5], node.inputs[5:9]][: 1 if node.inputs[5] is None else 2]
    states = node.inputs[9:-1]
    hidden = node.input_types[2].shape[1]  # type: ignore[union-attr]
    batch = node.shape[1]
    lengths = None if lengths is None else b.cast(lengths, np.int64)
    made = []
    for d, weights in enumerate(ways):
        start = [
            filled(b, [batch, hidden], 0, node.dtype)
            if s is None
            else b.op("Gather", s, b.const(d, np.int64), axis=0)
            for s in states
        ]
        reverse = node.attrs["reverse"] or d == 1
        made.append(_forward(b, node, mode, x, weights, start, lengths, reverse))
    y = made[0][0] if len(made) == 1 else b.op("Concat", *(m[0] for m in made), axis=2)
    rest = []
    for parts in zip(*(m[1:] for m in made), strict=True):
        wide = [b.unsqueeze(part, 0) for part in parts]
        rest.append(wide[0] if len(wide) == 1 else b.op("Concat", *wide, axis=0))
    return (y, *rest)


def _forward(
    b: Any, node: NodeView, mode: str, x: Any, weights: Any, start: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """One direction: y, last states, and what the gradient needs."""
    w, r, bias, back_bias = weights
    sequences = [_plus(b, b.op("MatMul", x, _turned(b, w)), bias)]
    turned = _turned(b, r)
    body = _Body(b, node.dtype)
    h = body.input("h", 2)
    c = body.input("c", 2) if mode == "lstm" else None
    a = body.input("inputs", 2)
    t = None
    if lengths is not None:
        sequences.append(_steps(b, node))
        t = body.input("t", 0, np.int64)
    alive = body.alive(lengths, t)
    back = _plus(body.b, body.b.op("MatMul", h, turned), back_bias)
    gates = body.gates
    if mode == "lstm":
        values, cell, new = gates.lstm(a, back, c)  # type: ignore[arg-type]
        cell = body.select(alive, cell, c)
        kept, after = [gates.joined(values), cell], [cell]
    elif mode == "gru":
        hidden = node.input_types[2].shape[1]  # type: ignore[union-attr]
        values, bn, new = gates.gru(a, back, h, hidden)
        kept, after = [gates.joined(values), bn], []
    else:
        new = gates.plain(mode, a, back)
        kept, after = [new], []
    state = body.select(alive, new, h)
    graph = body.close(state, *after, body.select(alive, new), *kept)
    made = _scan(b, graph, start, sequences, 1 + len(kept), reverse)
    last, y, kept = made[: len(start)], made[len(start)], made[len(start) + 1 :]
    return (y, *last, *kept)


# ---- backward ----------------------------------------------------------------------------------

_KEPT = {"lstm": ("gates", "cells"), "gru": ("gates", "back")}
"""What the forward op of a mode keeps for the gradient; of others it is ("states",)."""


def scan_backward(b: Any, node: NodeView, mode: str) -> tuple[Any, ...]:
    """Gradients of one direction."""
    given, direction, reverse = node.named(), node.attrs["direction"], node.attrs["reverse"]
    inputs, hidden = (made.shape[1] for made in node.output_types[1:3])  # of gw and gr
    batch = node.shape[1]

    def own(name: str) -> Any:
        """The part of this direction of an input that has the directions first."""
        value = given.get(name)
        return None if value is None else b.op("Gather", value, b.const(direction), axis=0)

    gates, *extra = (own(name) for name in _KEPT.get(mode, ("states",)))
    first, lengths = own("h"), given["lengths"]
    gy, y = given["gy"], given["y"]
    if node.shape[2] != hidden:
        start, end = b.ints(direction * hidden), b.ints((direction + 1) * hidden)
        gy, y = (b.op("Slice", v, start, end, b.ints(2)) for v in (gy, y))
    zeros = filled(b, [batch, hidden], 0, node.dtype)
    first = zeros if first is None else first
    before, steps = _shifted(b, y, first, reverse), None
    if lengths is not None:
        lengths, steps = b.cast(lengths, np.int64), _steps(b, node)
        before = _frozen(b, before, first, node, (lengths, steps), reverse)
    slopes, sequences = [own("gh")], [gy, gates, before, *extra]
    if mode == "lstm":
        c = own("c")
        slopes.append(own("gc"))
        sequences.append(_shifted(b, extra[0], zeros if c is None else c, reverse))
    if steps is not None:
        sequences.append(steps)
    graph = _backward_step(_Body(b, node.dtype), mode, given["r"], lengths)
    split = mode == "gru"
    made = _scan(b, graph, slopes, sequences, 2 if split else 1, not reverse)
    last, ga = made[: len(slopes)], made[len(slopes)]
    back = made[-1] if split else ga
    # Sums over steps and batch: one product of everything laid end to end.
    width = len(_order(mode)) * hidden
    flat_a, flat_back = (b.op("Reshape", v, b.ints(-1, width)) for v in (ga, back))
    flat_x = b.op("Reshape", given["x"], b.shape_vector([-1, inputs]))
    flat_h = b.op("Reshape", before, b.ints(-1, hidden))
    gw = b.op("MatMul", _turned(b, flat_a), flat_x)
    gr = b.op("MatMul", _turned(b, flat_back), flat_h)
    gb, grb = (b.axes("ReduceSum", v, [0], keepdims=False) for v in (flat_a, flat_back))
    return (ga, gw, gr, gb, grb, *(b.unsqueeze(state, 0) for state in last))


def _order(mode: str) -> range:
    return range({"lstm": 4, "gru": 3}.get(mode, 1))


def _shifted(b: Any, values: Any, start: Any, reverse: bool) -> Any:
    """The state before each step, out of the state after each: [steps, batch, hidden]."""
    first = b.unsqueeze(start, 0)
    axis, big = b.ints(0), b.ints(np.iinfo(np.int64).max)
    if reverse:
        return b.op("Concat", b.op("Slice", values, b.ints(1), big, axis), first, axis=0)
    return b.op("Concat", first, b.op("Slice", values, b.ints(0), b.ints(-1), axis), axis=0)


def _frozen(b: Any, before: Any, start: Any, node: NodeView, run: Any, reverse: bool) -> Any:
    """The state before each step where samples end early: outputs beyond the end are zero."""
    if not reverse:
        # A step that runs follows one that ran: what is zero here is never read.
        return before
    lengths, steps = run
    # Backwards, a sample begins at its own last step, from the initial state.
    ends = b.op("Equal", b.unsqueeze(steps, 1), b.op("Sub", lengths, b.const(1, np.int64)))
    return b.op("Where", b.unsqueeze(ends, 2), b.unsqueeze(start, 0), before)


def _backward_step(body: _Body, mode: str, r: Any, lengths: Any) -> Any:
    """Gradients that enter a step from the steps after it, turned into those that leave it."""
    gates, m = body.gates, body.gates.maths
    gh = body.input("gh", 2)
    gc = body.input("gc", 2) if mode == "lstm" else None
    gy, values, before = (body.input(name, 2) for name in ("gy", "gates", "before"))
    extra = body.input("extra", 2) if mode in ("lstm", "gru") else None
    cell_before = body.input("cell", 2) if mode == "lstm" else None
    t = body.input("t", 0, np.int64) if lengths is not None else None
    alive = body.alive(lengths, t)
    g = body.select(alive, m("Add", gh, gy))
    carried = None if alive is None else m("Where", alive, 0, gh)
    after: list[Val] = []
    through = None
    if mode == "lstm":
        assert gc is not None and cell_before is not None and extra is not None
        gcell = body.select(alive, gc)
        ga, gcell = gates.lstm_grad(values, g, gcell, cell_before, extra)
        back, after = ga, [body.select(alive, gcell, gc)]
    elif mode == "gru":
        assert extra is not None
        ga, back, through = gates.gru_grad(values, g, extra, before)
    else:
        ga = back = gates.plain_grad(mode, values, g)
    leaving = body.b.op("MatMul", back, r)
    for more in (through, carried):
        leaving = leaving if more is None else m("Add", leaving, more)
    return body.close(leaving, *after, ga, *([back] if mode == "gru" else []))
