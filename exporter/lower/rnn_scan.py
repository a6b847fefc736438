"""Recurrent layers and their gradients step by step, as ONNX Scans.

Everything that does not depend on the state is computed for all steps at once outside the Scan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from exporter.builder import Val, tensor_type
from exporter.registry import NodeView
from exporter.windows import filled

ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu"}


class _Body:
    """The graph of one step: named inputs, then nodes, then outputs."""

    def __init__(self, b: Any, dtype: Any):
        self.b = b.child()
        self.dtype = dtype
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

    def maths(self, op_type: str, *operands: Any) -> Val:
        """A node; numbers among its operands become constants."""
        values = [self.b.const(x, self.dtype) if isinstance(x, int) else x for x in operands]
        return self.b.op(op_type, *values)

    def cut(self, value: Val, parts: int) -> list[Val]:
        """A [batch, parts * hidden] value cut into its gates."""
        if parts == 1:
            return [value]
        sizes = {"num_outputs": parts} if self.b.has("Split", since=18) else {}
        return list(self.b.op("Split", value, outputs=parts, axis=1, **sizes))

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
    m = body.maths
    if mode == "lstm":
        i, f, g, o = body.cut(m("Add", a, back), 4)
        i, f, o, g = m("Sigmoid", i), m("Sigmoid", f), m("Sigmoid", o), m("Tanh", g)
        cell = m("Add", m("Mul", f, c), m("Mul", i, g))
        new = m("Mul", o, m("Tanh", cell))
        cell = body.select(alive, cell, c)
        gates = body.b.op("Concat", i, f, g, o, axis=1)
        kept, after = [gates, cell], [cell]
    elif mode == "gru":
        (ar, az, an), (br, bz, bn) = body.cut(a, 3), body.cut(back, 3)
        reset, z = m("Sigmoid", m("Add", ar, br)), m("Sigmoid", m("Add", az, bz))
        n = m("Tanh", m("Add", an, m("Mul", reset, bn)))
        new = m("Add", m("Mul", m("Sub", 1, z), n), m("Mul", z, h))
        kept, after = [body.b.op("Concat", reset, z, n, axis=1), bn], []
    else:
        new = m(ACTIVATIONS[mode], m("Add", a, back))
        kept, after = [new], []
    state = body.select(alive, new, h)
    graph = body.close(state, *after, body.select(alive, new), *kept)
    made = _scan(b, graph, start, sequences, 1 + len(kept), reverse)
    last, y, kept = made[: len(start)], made[len(start)], made[len(start) + 1 :]
    return (y, *last, *kept)


# ---- backward ----------------------------------------------------------------------------------


def scan_backward(b: Any, node: NodeView, mode: str) -> tuple[Any, ...]:
    """Gradients of one direction."""
    cell_states = mode == "lstm"
    gy, gh = node.inputs[:2]
    gc = node.inputs[2] if cell_states else None
    x, _, r, _, _, h = node.inputs[2 + cell_states : 8 + cell_states]
    c = node.inputs[8 + cell_states] if cell_states else None
    lengths, y, gates, *extra = node.inputs[8 + 2 * cell_states :]
    hidden = node.input_types[4 + cell_states].shape[1]  # type: ignore[union-attr]
    batch = node.shape[1]
    zeros = filled(b, [batch, hidden], 0, node.dtype)
    reverse = node.attrs["reverse"]
    before = _shifted(b, y, zeros if h is None else h, reverse)
    steps = None
    if lengths is not None:
        lengths, steps = b.cast(lengths, np.int64), _steps(b, node)
        before = _frozen(b, before, zeros if h is None else h, node, (lengths, steps), reverse)
    sequences = [gy, gates, before, *extra]
    if cell_states:
        sequences.append(_shifted(b, extra[0], zeros if c is None else c, reverse))
    if lengths is not None:
        sequences.append(steps)
    body = _Body(b, node.dtype)
    graph = _backward_step(body, mode, r, lengths)
    split = mode == "gru"
    made = _scan(
        b, graph, [gh, gc] if cell_states else [gh], sequences, 2 if split else 1, not reverse
    )
    last, ga = made[: 1 + cell_states], made[1 + cell_states]
    back = made[-1] if split else ga
    # Sums over steps and batch: one product of everything laid end to end.
    width = len(_order(mode)) * hidden
    flat_a, flat_back = (b.op("Reshape", v, b.ints(-1, width)) for v in (ga, back))
    flat_x = b.op("Reshape", x, b.shape_vector([-1, _inputs(node, cell_states)]))
    flat_h = b.op("Reshape", before, b.ints(-1, hidden))
    gw = b.op("MatMul", _turned(b, flat_a), flat_x)
    gr = b.op("MatMul", _turned(b, flat_back), flat_h)
    gb, grb = (b.axes("ReduceSum", v, [0], keepdims=False) for v in (flat_a, flat_back))
    return (ga, gw, gr, gb, grb, *last)


def _order(mode: str) -> range:
    return range({"lstm": 4, "gru": 3}.get(mode, 1))


def _inputs(node: NodeView, cell_states: bool) -> Any:
    return node.input_types[2 + cell_states].shape[2]  # type: ignore[union-attr]


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
    m = body.maths
    gh = body.input("gh", 2)
    gc = body.input("gc", 2) if mode == "lstm" else None
    gy, gates, before = (body.input(name, 2) for name in ("gy", "gates", "before"))
    extra = body.input("extra", 2) if mode in ("lstm", "gru") else None
    cell_before = body.input("cell", 2) if mode == "lstm" else None
    t = body.input("t", 0, np.int64) if lengths is not None else None
    alive = body.alive(lengths, t)
    g = body.select(alive, m("Add", gh, gy))
    carried = None if alive is None else body.b.op("Where", alive, body.b.const(0, body.dtype), gh)

    def slope(s: Val) -> Val:
        return m("Mul", s, m("Sub", 1, s))

    def bend(s: Val) -> Val:
        return m("Sub", 1, m("Mul", s, s))

    after: list[Val] = []
    through = None
    if mode == "lstm":
        i, f, n, o = body.cut(gates, 4)
        squashed = m("Tanh", extra)
        gcell = m(
            "Add",
            body.select(alive, gc),  # type: ignore[arg-type]
            m("Mul", m("Mul", g, o), bend(squashed)),
        )
        parts = [
            m("Mul", m("Mul", gcell, n), slope(i)),
            m("Mul", m("Mul", gcell, cell_before), slope(f)),
            m("Mul", m("Mul", gcell, i), bend(n)),
            m("Mul", m("Mul", g, squashed), slope(o)),
        ]
        ga = back = body.b.op("Concat", *parts, axis=1)
        after = [body.select(alive, m("Mul", gcell, f), gc)]
    elif mode == "gru":
        reset, z, n = body.cut(gates, 3)
        gn = m("Mul", m("Mul", g, m("Sub", 1, z)), bend(n))
        gz = m("Mul", m("Mul", g, m("Sub", before, n)), slope(z))
        gr = m("Mul", m("Mul", gn, extra), slope(reset))
        ga = body.b.op("Concat", gr, gz, gn, axis=1)
        back = body.b.op("Concat", gr, gz, m("Mul", gn, reset), axis=1)
        through = m("Mul", g, z)
    elif mode == "tanh":
        ga = back = m("Mul", g, bend(gates))
    else:
        on = m("Greater", gates, 0)
        ga = back = body.b.op("Where", on, g, body.b.const(0, body.dtype))
    leaving = body.b.op("MatMul", back, r)
    for more in (through, carried):
        leaving = leaving if more is None else m("Add", leaving, more)
    return body.close(leaving, *after, ga, *([back] if mode == "gru" else []))
