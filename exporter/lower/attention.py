"""Lowerings of `dyn/ops/attention.py`: Attention where the target has it and no mask is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.expr import Expr
from exporter.registry import NodeView, lowers
from exporter.windows import is_symbolic, volume

MAX_MASK = 2**18
"""Elements up to which a causal mask is stored rather than computed."""


HEADS_FIRST = (0, 2, 1, 3)
"""The transpose that exchanges length and heads."""


def _heads_first(b: Any, node: NodeView, x: Any) -> Any:
    """An input as [batch, heads, length, width], or an output from there as the node gives it."""
    return x if node.attrs["heads_first"] else b.transpose(x, list(HEADS_FIRST))


class _Parts:
    """The steps of attention for one node, on [batch, heads, length, width].

    Where keys are shared by several heads, query heads are taken apart as [shared, group] and a
    group axis of size 1 is put into keys and values, so that MatMul broadcasts.
    """

    def __init__(self, b: Any, node: NodeView, first: int):
        self.b = b
        self.node = node
        self.q, self.k, self.v = (_heads_first(b, node, x) for x in node.inputs[first : first + 3])
        self.mask = node.inputs[first + 3]
        types: Any = node.input_types[first : first + 4]
        order = (0, 1, 2, 3) if node.attrs["heads_first"] else HEADS_FIRST
        self.shape, self.key_shape, self.value_shape = (
            tuple(t.shape[axis] for axis in order) for t in types[:3]
        )
        self.mask_type = types[3]
        self.dtype = types[0].dtype
        batch, heads, rows, width = self.shape
        shared = self.key_shape[1]
        self.grouped = Expr.of(heads) != Expr.of(shared)
        if self.grouped:
            group = volume([Expr.of(heads) // Expr.of(shared)])
            self.lead = [batch, shared, group]
            self.q = self.split(self.q, rows, width)
            self.k, self.v = (b.unsqueeze(x, 2) for x in (self.k, self.v))
            if self.mask is not None:
                self.mask = self.split_mask()

    def split(self, x: Any, *inner: Any) -> Any:
        """[batch, heads, ...] as [batch, shared, group, ...]."""
        return self.b.reshape(x, [*self.lead, *inner]) if self.grouped else x

    def split_mask(self) -> Any:
        shape = self.mask_type.shape
        if len(shape) < 3:
            return self.mask
        if Expr.of(shape[-3]) == Expr.of(1):
            return self.b.unsqueeze(self.mask, len(shape) - 2)
        _, shared, group = self.lead
        return self.b.reshape(self.mask, [*shape[:-3], shared, group, *shape[-2:]])

    def swap(self, x: Any) -> Any:
        """The last two axes exchanged."""
        perm = [0, 1, 2, 4, 3] if self.grouped else [0, 1, 3, 2]
        return self.b.transpose(x, perm)

    @property
    def seen(self) -> Any:
        """Where a query may look at a key; None if everywhere or if the mask is added.

        An array where it is known, which only a causal mask of fixed sizes is.
        """
        b = self.b
        seen = self.mask if self.mask is not None and self.mask_type.dtype == np.bool_ else None
        if not self.node.attrs["is_causal"]:
            return seen
        rows, columns = self.shape[2], self.key_shape[2]
        if is_symbolic((rows, columns)) or int(rows) * int(columns) > MAX_MASK:
            zero, one = b.const(0, np.int64), b.const(1, np.int64)
            at = b.unsqueeze(b.op("Range", zero, b.size(rows), one), 1)
            before = b.op("LessOrEqual", b.op("Range", zero, b.size(columns), one), at)
        else:
            before = np.tril(np.ones((int(rows), int(columns)), np.bool_))
            if seen is not None:
                before = b.const(before)
        return before if seen is None else b.op("And", seen, before)

    def scores(self) -> Any:
        """Scaled scores, -inf where nothing may be seen."""
        b = self.b
        scale = b.const(self.node.attrs["scale"], self.dtype)
        s = b.op("MatMul", b.op("Mul", self.q, scale), self.swap(self.k))
        if self.mask is not None and self.mask_type.dtype != np.bool_:
            s = b.op("Add", s, self.mask)
        seen = self.seen
        if seen is None:
            return s
        if isinstance(seen, np.ndarray):
            return b.op("Add", s, b.const(np.where(seen, 0, -np.inf).astype(self.dtype)))
        # Added, as that broadcasts fast, and as layers with one mask share what is added.
        hidden = b.op("Where", seen, b.const(0, self.dtype), b.const(-np.inf, self.dtype))
        return b.op("Add", s, hidden)

    @property
    def may_see_nothing(self) -> bool:
        """Whether a row can be masked altogether; under a causal mask alone it sees itself."""
        return self.mask is not None

    def blind(self, top: Any) -> Any:
        """Rows (by their largest score) that see nothing."""
        return self.b.op("Equal", top, self.b.const(-np.inf, self.dtype))


@lowers("attention")
def _(b: Any, node: NodeView) -> Any:
    attrs = node.attrs
    masked = node.inputs[3] is not None
    # Rows of a mask that see nothing are zero here; onnxruntime 1.23 to 1.26 does not keep to it.
    if not node.used[1] and b.has("Attention") and node.dtype == np.float32 and not masked:
        causal = int(attrs["is_causal"])
        inputs = [_heads_first(b, node, x) for x in node.inputs[:3]]
        out = b.op("Attention", *inputs, is_causal=causal, scale=attrs["scale"])
        return _heads_first(b, node, out), None
    parts = _Parts(b, node, 0)
    scores = parts.scores()
    p = b.op("Softmax", scores, axis=-1)
    if parts.may_see_nothing:
        top = b.axes("ReduceMax", scores, [5 - 1 if parts.grouped else 3])
        p = b.op("Where", parts.blind(top), b.const(0, node.dtype), p)
    out = b.op("MatMul", p, parts.v)
    if parts.grouped:
        out = b.reshape(out, [*parts.shape[:3], parts.value_shape[3]])
    out = _heads_first(b, node, out)
    if not node.used[1]:
        return out, None
    lse = b.axes("ReduceLogSumExp", scores, [4 if parts.grouped else 3], keepdims=False)
    return out, b.reshape(lse, node.output_types[1].shape) if parts.grouped else lse


@lowers("attention_grad")
def _(b: Any, node: NodeView) -> Any:
    parts = _Parts(b, node, 1)
    last = 4 if parts.grouped else 3
    g, out = (_heads_first(b, node, x) for x in (node.inputs[0], node.inputs[5]))
    lse = node.inputs[6]
    rows, width = parts.shape[2], parts.value_shape[3]
    g, out, lse = parts.split(g, rows, width), parts.split(out, rows, width), parts.split(lse, rows)
    lse = b.unsqueeze(lse, last)
    p = b.op("Exp", b.op("Sub", parts.scores(), lse))
    if parts.may_see_nothing:
        p = b.op("Where", parts.blind(lse), b.const(0, parts.dtype), p)
    inner = b.axes("ReduceSum", b.op("Mul", g, out), [last])
    ds = b.op("Mul", p, b.op("Sub", b.op("MatMul", g, parts.swap(parts.v)), inner))
    ds = b.op("Mul", ds, b.const(node.attrs["scale"], parts.dtype))
    gq = b.op("MatMul", ds, parts.k)
    gk = b.op("MatMul", parts.swap(ds), parts.q)
    gv = b.op("MatMul", parts.swap(p), g)
    if parts.grouped:
        gq = b.reshape(gq, parts.shape)
        gk, gv = (b.axes("ReduceSum", x, [2], keepdims=False) for x in (gk, gv))
    return tuple(_heads_first(b, node, x) for x in (gq, gk, gv))
