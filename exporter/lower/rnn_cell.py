"""Lowerings of `dyn/ops/rnn_cell.py`: one step in plain operators.

ONNX's LSTM and GRU contain the products, which stand before the cell as Gemm, and want sequences;
onnxruntime takes about as long for a single step in either form.
"""

from __future__ import annotations

from typing import Any

from exporter.lower.rnn_gates import Gates
from exporter.registry import NodeView, lowers


@lowers("lstm_cell")
def _(b: Any, node: NodeView) -> Any:
    gates = Gates(b, node.dtype)
    values, cell, new = gates.lstm(*node.inputs)
    return new, cell, gates.joined(values) if node.used[2] else None


@lowers("lstm_cell_grad")
def _(b: Any, node: NodeView) -> Any:
    gh, gc, before, cell, values = node.inputs
    return Gates(b, node.dtype).lstm_grad(values, gh, gc, before, cell)


@lowers("gru_cell")
def _(b: Any, node: NodeView) -> Any:
    a, back, before = node.inputs
    gates = Gates(b, node.dtype)
    values, _, new = gates.gru(a, back, before, node.out.shape[1])
    return new, gates.joined(values) if node.used[1] else None


@lowers("gru_cell_grad")
def _(b: Any, node: NodeView) -> Any:
    g, back, before, values = node.inputs
    gates = Gates(b, node.dtype)
    return gates.gru_grad(values, g, gates.cut(back, 3)[2], before)
