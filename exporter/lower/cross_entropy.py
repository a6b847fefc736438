"""Lowerings of `dyn/ops/cross_entropy.py`.

The loss alone is ONNX's SoftmaxCrossEntropyLoss; a training graph needs its gradient too and is
written in smaller operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.emptiness import is_filled
from exporter.lower.loss import reduced
from exporter.registry import NodeView, lowers


@lowers("softmax_cross_entropy")
def _(b: Any, node: NodeView) -> Any:
    attrs = node.attrs
    rows = _Rows(b, node)
    plain = attrs["axis"] == 1 and not attrs["label_smoothing"] and node.dtype == np.float32
    # onnxruntime's operator reshapes the logits, which fails for those of no rows.
    if plain and not any(node.used[1:]) and is_filled(node.shape):
        return rows.fused("SoftmaxCrossEntropyLoss"), None, None
    log_probs = b.op("LogSoftmax", node.x, axis=attrs["axis"])
    s = attrs["label_smoothing"]
    loss = rows.pick(log_probs)
    if s:
        loss = b.op("Mul", loss, b.const(1 - s, node.dtype))
        every = b.axes("ReduceMean", log_probs, [attrs["axis"]])
        loss = b.op("Add", loss, b.op("Mul", every, b.const(s, node.dtype)))
    zero, one = b.const(0, node.dtype), b.const(1 - s, node.dtype)
    target = b.op("Where", rows.is_class(), one, zero)
    if s:
        share = b.op("Div", b.const(s, node.dtype), b.cast(rows.classes, node.dtype))
        target = b.op("Add", target, share)
    grad = b.op("Sub", b.op("Exp", log_probs), target)
    grad = rows.select(b.op("Mul", grad, rows.wide(rows.share)), rows.wide(rows.kept))
    return rows.reduced(loss), grad, rows.share


@lowers("soft_cross_entropy")
def _(b: Any, node: NodeView) -> Any:
    axis = node.attrs["axis"]
    parts = b.op("Mul", node.inputs[1], b.op("LogSoftmax", node.x, axis=axis))
    return reduced(b, node, b.op("Neg", b.axes("ReduceSum", parts, [axis])))


@lowers("negative_log_likelihood")
def _(b: Any, node: NodeView) -> Any:
    rows = _Rows(b, node)
    plain = node.attrs["axis"] == 1 and node.dtype == np.float32
    if plain and not node.used[1]:
        return rows.fused("NegativeLogLikelihoodLoss"), None
    return rows.reduced(rows.pick(node.x)), rows.share


@lowers("softmax_cross_entropy_grad")
def _(b: Any, node: NodeView) -> Any:
    g, dlogits = node.inputs
    if node.rank:
        g = b.unsqueeze(g, node.attrs["axis"])
    return b.op("Mul", dlogits, g)


@lowers("negative_log_likelihood_grad")
def _(b: Any, node: NodeView) -> Any:
    g, label, share = node.inputs
    axis, dtype, kind = node.attrs["axis"], node.out.dtype, node.input_types[1].dtype  # type: ignore[union-attr]
    kept = b.op("Not", b.op("Equal", label, b.const(node.attrs["ignore_index"], kind)))
    index = b.op("Where", kept, label, b.const(0, kind))
    value = b.op("Where", kept, b.op("Neg", b.op("Mul", g, share)), b.const(0, dtype))
    zeros = b.op("Expand", b.const(0, dtype), b.shape_vector(node.out.shape))
    index, value = b.unsqueeze(b.cast(index, np.int64), axis), b.unsqueeze(value, axis)
    return b.op("ScatterElements", zeros, index, value, axis=axis)


class _Rows:
    """Which rows count, and by what share. Values are made when they are first asked for."""

    def __init__(self, b: Any, node: NodeView):
        self.b = b
        self.node = node
        self.label, self.weight = node.inputs[1:3]
        if node.input_types[1].dtype != np.int64:  # type: ignore[union-attr]
            self.label = b.cast(self.label, np.int64)
        self.axis = node.attrs["axis"]
        self.made: dict[str, Any] = {}

    @property
    def classes(self) -> Any:
        """Number of classes, 0-d int64."""
        return self.b.size(self.node.shape[self.axis])

    @property
    def kept(self) -> Any:
        """Rows that count."""
        if "kept" not in self.made:
            ignored = self.b.const(self.node.attrs["ignore_index"], np.int64)
            same = self.b.op("Equal", self.label, ignored)
            self.made["kept"] = self.b.op("Not", same)
        return self.made["kept"]

    @property
    def chosen(self) -> Any:
        """The class of each row, 0 where it is ignored."""
        if "chosen" not in self.made:
            zero = self.b.const(0, np.int64)
            self.made["chosen"] = self.b.op("Where", self.kept, self.label, zero)
        return self.made["chosen"]

    def is_class(self) -> Any:
        """Whether a row's label is this class, for every class."""
        b, sizes = self.b, self.node.shape
        number = b.op("Range", b.const(0, np.int64), self.classes, b.const(1, np.int64))
        column = [sizes[self.axis], *([1] * (len(sizes) - 1 - self.axis))]
        return b.op("Equal", self.wide(self.chosen), b.reshape(number, column))

    @property
    def weights(self) -> Any:
        """Weight of each row, 0 where it is ignored."""
        if "weights" not in self.made:
            b, dtype = self.b, self.node.dtype
            if self.weight is None:
                self.made["weights"] = b.cast(self.kept, dtype)
            else:
                by_class = b.op("Gather", self.weight, self.chosen, axis=0)
                self.made["weights"] = self.select(by_class, self.kept)
        return self.made["weights"]

    @property
    def total(self) -> Any:
        """Sum of the weights, 1 where it is 0: the mean of nothing is 0."""
        b, dtype = self.b, self.node.dtype
        total = b.op("ReduceSum", self.weights, keepdims=0)
        none = self.made["none"] = b.op("Equal", total, b.const(0, dtype))
        return b.op("Where", none, b.const(1, dtype), total)

    def mean(self, loss: Any) -> Any:
        """The mean loss, or NaN of nothing where that is asked for."""
        if not self.node.attrs["nan_of_none"]:
            return loss
        nan = self.b.const(np.nan, self.node.dtype)
        return self.b.op("Where", self.made["none"], nan, loss)

    @property
    def share(self) -> Any:
        """What each row's loss is multiplied by."""
        if "share" not in self.made:
            mean = self.node.attrs["reduction"] == "mean"
            self.made["share"] = (
                self.b.op("Div", self.weights, self.total) if mean else self.weights
            )
        return self.made["share"]

    def wide(self, value: Any) -> Any:
        """A value per row, to go with the classes."""
        return self.b.unsqueeze(value, self.axis)

    def select(self, value: Any, kept: Any) -> Any:
        """`value` where the row counts, else 0 (also in place of NaN)."""
        return self.b.op("Where", kept, value, self.b.const(0, self.node.dtype))

    def pick(self, log_probs: Any) -> Any:
        """The log probability of each row's class, the class axis kept with size 1."""
        where = self.wide(self.chosen)
        return self.b.op("GatherElements", log_probs, where, axis=self.axis)

    def reduced(self, log_prob: Any) -> Any:
        """The loss out of the log probability of each row (class axis of size 1)."""
        b = self.b
        loss = b.op("Neg", b.squeeze(log_prob, self.axis))
        loss = self.select(b.op("Mul", loss, self.share), self.kept)
        if self.node.attrs["reduction"] == "none":
            return loss
        loss = b.op("ReduceSum", loss, keepdims=0)
        return self.mean(loss) if self.node.attrs["reduction"] == "mean" else loss

    def fused(self, target: str) -> Any:
        """The loss by ONNX's operator; the mean apart, for ONNX has 0 / 0 where no row counts."""
        b, attrs = self.b, self.node.attrs
        mean = attrs["reduction"] == "mean"
        loss = b.op(
            target,
            self.node.x,
            self.label,
            self.weight,
            ignore_index=attrs["ignore_index"],
            reduction="sum" if mean else attrs["reduction"],
        )
        return self.mean(b.op("Div", loss, self.total)) if mean else loss
