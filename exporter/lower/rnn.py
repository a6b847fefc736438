"""Lowerings of `dyn/ops/rnn.py`: ONNX's LSTM, GRU and RNN with their order of gates.

A training graph also needs what the steps computed, which those operators do not give out: there
the recurrence is a Scan, and so is its gradient (`rnn_scan.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.lower.rnn_gates import ACTIVATIONS
from exporter.lower.rnn_scan import scan_backward, scan_forward
from exporter.registry import NodeView, lowers

ORDERS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "tanh": (0,), "relu": (0,)}
"""Position of each of ONNX's gates in ours: i o f c out of i f g o; z r h out of r z n."""


def _mode(node: NodeView) -> str:
    return node.attrs.get("activation", node.op.removesuffix("_grad"))


def _rows(mode: str, hidden: int, parts: int) -> np.ndarray:
    """[parts, gates * hidden]: rows of `parts` stacked weights in ONNX's order of gates."""
    gates = len(ORDERS[mode])
    one = np.concatenate([np.arange(hidden) + k * hidden for k in ORDERS[mode]])
    return np.stack([one + d * gates * hidden for d in range(parts)])


def _stacked(b: Any, mode: str, values: list[Any], hidden: int) -> Any:
    """Weights or biases of all directions as ONNX has them, [directions, gates * hidden, ...]."""
    both = values[0] if len(values) == 1 else b.op("Concat", *values, axis=0)
    return b.op("Gather", both, b.const(_rows(mode, hidden, len(values))), axis=0)


def _biases(b: Any, mode: str, pairs: list[Any], hidden: int, dtype: Any) -> Any:
    """[directions, 2 * gates * hidden], input biases before recurrent ones; None without any."""
    if all(v is None for pair in pairs for v in pair):
        return None
    gates = len(ORDERS[mode])
    zeros = b.const(np.zeros(gates * hidden, dtype))
    flat = [zeros if v is None else v for pair in pairs for v in pair]
    rows = _rows(mode, hidden, len(flat)).reshape(len(pairs), -1)
    return b.op("Gather", b.op("Concat", *flat, axis=0), b.const(rows), axis=0)


def _within(b: Any, lengths: Any, steps: Any) -> Any:
    """Lengths as ONNX wants them: int32, and at most the steps, which is what larger ones mean."""
    return b.cast(b.op("Min", b.cast(lengths, np.int64), b.size(steps)), np.int32)


@lowers("lstm", "gru", "simple_rnn")
def _(b: Any, node: NodeView) -> Any:
    mode = _mode(node)
    public = 3 if mode == "lstm" else 2
    if any(node.used[public:]) or node.dtype != np.float32:
        return scan_forward(b, node, mode)
    x = node.inputs[0]
    ways = [node.inputs[1:5], node.inputs[5:9]][: 1 if node.inputs[5] is None else 2]
    states, lengths = node.inputs[9:-1], node.inputs[-1]
    hidden = node.input_types[2].shape[1]  # type: ignore[union-attr]
    direction = "bidirectional" if len(ways) == 2 else "forward"
    made = b.op(
        {"lstm": "LSTM", "gru": "GRU"}.get(mode, "RNN"),
        x,
        _stacked(b, mode, [w[0] for w in ways], hidden),
        _stacked(b, mode, [w[1] for w in ways], hidden),
        _biases(b, mode, [w[2:] for w in ways], hidden, node.dtype),
        None if lengths is None else _within(b, lengths, node.shape[0]),
        *states,
        outputs=public,
        hidden_size=hidden,
        direction="reverse" if node.attrs["reverse"] else direction,
        linear_before_reset=1 if mode == "gru" else None,
        activations=[ACTIVATIONS[mode]] * len(ways) if mode in ACTIVATIONS else None,
    )
    y = made[0]
    if len(ways) == 1:
        y = b.squeeze(y, 1)
    else:
        y = b.op("Reshape", b.transpose(y, (0, 2, 1, 3)), b.ints(0, 0, 2 * hidden), allowzero=0)
    return (y, *made[1:], *([None] * (len(node.used) - public)))


@lowers("lstm_grad", "gru_grad", "simple_rnn_grad")
def _(b: Any, node: NodeView) -> Any:
    return scan_backward(b, node, _mode(node))
