"""Recurrent layers over whole sequences as one op each: LSTM, GRU and the simple RNN.

Sequences are [steps, batch, inputs]. One op runs one layer in one direction or in both; stacking
layers and dropout between them is the business of `dyn.nn`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.errors import ShapeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import rnn as kernels
from dyn.ops.infer import (
    Type,
    need_float,
    need_int,
    need_rank,
    need_same_dtype,
    need_shape,
    same_size,
    show,
)
from dyn.ops.join import concat
from dyn.ops.linalg import matmul

INPUTS = ("x", "w", "r", "b", "rb", "w_back", "r_back", "b_back", "rb_back", "h", "c")
"""What a recurrent op is differentiated by (GRU and RNN have no c)."""


def _infer(gates: int, inputs: tuple[Any, ...], c: Any, lengths: Any) -> tuple[Type, Type, Any]:
    """Types of y and of the last state, and [directions, steps, batch] for what is kept."""
    x, w, r, b, rb, w_back, r_back, b_back, rb_back, h = inputs
    need_float("x", x)
    need_rank("x", x, 3)
    need_rank("r", r, 2)
    need_same_dtype(x=x, w=w, r=r, b=b, rb=rb, w_back=w_back, r_back=r_back, h=h, c=c)
    steps, batch, width = x.shape
    hidden = r.shape[1]
    both = w_back is not None
    need_rank("w", w, 2)
    if not same_size(w.shape[1], width):
        raise ShapeError(
            f"x {show(x.shape)} has {width} features, the weight {show(w.shape)} wants {w.shape[1]}"
        )
    for end, ws in (("", (w, r, b, rb)), ("_back", (w_back, r_back, b_back, rb_back))):
        need_shape(f"w{end}", ws[0], gates * hidden, width)
        need_shape(f"r{end}", ws[1], gates * hidden, hidden)
        need_shape(f"b{end}", ws[2], gates * hidden)
        need_shape(f"rb{end}", ws[3], gates * hidden)
    directions = 2 if both else 1
    need_shape("h", h, directions, batch, hidden)
    need_shape("c", c, directions, batch, hidden)
    if lengths is not None:
        need_int("lengths", lengths)
        need_shape("lengths", lengths, batch)
    y = Type((steps, batch, directions * hidden), x.dtype)
    return y, Type((directions, batch, hidden), x.dtype), (directions, steps, batch)


def _kept(lead: Any, width: Any, x: Type) -> Type:
    return Type((*lead, width), x.dtype)


# ---- LSTM --------------------------------------------------------------------------------------


def _infer_lstm(*inputs: Any, reverse: bool) -> list[Type]:
    y, last, lead = _infer(4, inputs[:10], inputs[10], inputs[11])
    hidden = last.shape[2]
    return [y, last, last, _kept(lead, 4 * hidden, y), _kept(lead, hidden, y)]


@op(infer=_infer_lstm, outputs=("y", "h_last", "c_last", "gates", "cells"), public=3)
def lstm(
    x,
    w,
    r,
    b=None,
    rb=None,
    w_back=None,
    r_back=None,
    b_back=None,
    rb_back=None,
    h=None,
    c=None,
    lengths=None,
    *,
    reverse=False,
):
    """One LSTM layer over a sequence, in one direction or both.

    i, f, o = sigmoid and g = tanh of (w x + b + r h + rb) cut in the order i, f, g, o;
    c' = f * c + i * g; h' = o * tanh(c').

    Args:
        x: [steps, batch, inputs].
        w, r: [4 * hidden, inputs] and [4 * hidden, hidden].
        b, rb: [4 * hidden] or None.
        w_back ... rb_back: the same for a second direction, last step first, or None.
        h, c: [directions, batch, hidden] initial state; zeros if None.
        lengths: [batch] steps of each sample, or None: beyond them the state stays, y is zero.
            More than there are count as all.
        reverse: a single direction runs from the last step to the first.

    Returns:
        y [steps, batch, directions * hidden], last h and last c [directions, batch, hidden].

    Source: Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000). ONNX: LSTM.
    """
    back = (w_back, r_back, b_back, rb_back)
    return kernels.run("lstm", x, (w, r, b, rb), back, h, c, lengths, reverse)


@lstm.vjp(*INPUTS)
def _(
    g,
    *,
    x,
    w,
    r,
    b,
    rb,
    w_back,
    r_back,
    b_back,
    rb_back,
    h,
    c,
    lengths,
    y,
    gates,
    cells,
    reverse,
    wanted,
):
    ways = ((w, r, b, rb), (w_back, r_back, b_back, rb_back))
    return _joined(_lstm_grad, g, x, ways, h, c, lengths, y, gates, cells, reverse, wanted)


def _joined(
    grad_op: Any,
    g: list[Tensor],
    x: Tensor,
    ways: Any,
    h: Tensor | None,
    c: Tensor | None,
    lengths: Tensor | None,
    y: Tensor,
    gates: Tensor,
    extra: Tensor | None,
    reverse: bool,
    wanted: frozenset[str],
) -> tuple[Any, ...]:
    """Gradients of a recurrent op, one direction after the other, in the order of its inputs.

    That of x, a product for all steps, is made only if it is `wanted`: data wants none.
    """
    states = (h, c) if grad_op is _lstm_grad else (h,)
    kept = (lengths, y, gates) if extra is None else (lengths, y, gates, extra)
    made: list[Any] = [
        (None,) * 7
        if way[0] is None
        else grad_op(*g, x, *way, *states, *kept, direction=d, reverse=reverse or d == 1)
        for d, way in enumerate(ways)
    ]
    one, two = made
    gx, ends = matmul(one[0], ways[0][0]) if "x" in wanted else None, one[5:]
    if two[0] is not None:
        gx = None if gx is None else gx + matmul(two[0], ways[1][0])
        ends = tuple(concat(pair) for pair in zip(ends, two[5:], strict=True))
    return (gx, *one[1:5], *two[1:5], *ends)


def _infer_lstm_grad(gy: Type, gh: Type, gc: Type, x: Type, w: Type, r: Type, *rest: Any, **_: Any):
    made = _infer_grad(gy, gh, x, w, r)
    return [*made, made[-1]]


GRADS = ("g_gates", "gw", "gr", "gb", "grb", "gh")


@op(infer=_infer_lstm_grad, outputs=(*GRADS, "gc"), public=7)
def _lstm_grad(gy, gh, gc, x, w, r, b, rb, h, c, lengths, y, gates, cells, *, direction, reverse):
    """Gradients of one direction of `lstm`; what it kept is taken as a function of its inputs.

    Weights are those of the direction; of all else the part of the direction is read. `g_gates` is
    the gradient of what enters the gates from x: [steps, batch, gates * hidden]; those of the
    states are [1, batch, hidden].
    """
    kept = (lengths, y, gates, cells, direction, reverse)
    return kernels.run_grad("lstm", gy, gh, gc, x, w, r, h, c, *kept)


# ---- GRU ---------------------------------------------------------------------------------------


def _infer_gru(*inputs: Any, reverse: bool) -> list[Type]:
    y, last, lead = _infer(3, inputs[:10], None, inputs[10])
    hidden = last.shape[2]
    return [y, last, _kept(lead, 3 * hidden, y), _kept(lead, hidden, y)]


@op(infer=_infer_gru, outputs=("y", "h_last", "gates", "back"), public=2)
def gru(
    x,
    w,
    r,
    b=None,
    rb=None,
    w_back=None,
    r_back=None,
    b_back=None,
    rb_back=None,
    h=None,
    lengths=None,
    *,
    reverse=False,
):
    """One GRU layer over a sequence, in one direction or both.

    With (w x + b) and (r h + rb) cut in the order reset, update, new: s = sigmoid of the sum of the
    first parts, z of the second, n = tanh(wx_n + s * rh_n); h' = (1 - z) * n + z * h.

    Arguments are those of `lstm`, with 3 gates and no cell.

    Returns:
        y [steps, batch, directions * hidden], last h [directions, batch, hidden].

    Source: Cho et al., arXiv 1406.1078. ONNX: GRU with linear_before_reset.
    """
    back = (w_back, r_back, b_back, rb_back)
    return kernels.run("gru", x, (w, r, b, rb), back, h, None, lengths, reverse)


@gru.vjp(*INPUTS[:-1])
def _(
    g,
    *,
    x,
    w,
    r,
    b,
    rb,
    w_back,
    r_back,
    b_back,
    rb_back,
    h,
    lengths,
    y,
    gates,
    back,
    reverse,
    wanted,
):
    ways = ((w, r, b, rb), (w_back, r_back, b_back, rb_back))
    return _joined(_gru_grad, g, x, ways, h, None, lengths, y, gates, back, reverse, wanted)


def _infer_grad(gy: Type, gh: Type, x: Type, w: Type, r: Type, *rest: Any, **_: Any):
    bias, gates = Type((w.shape[0],), w.dtype), Type((*x.shape[:2], w.shape[0]), x.dtype)
    return [gates, w, r, bias, bias, Type((1, *gh.shape[1:]), gh.dtype)]


@op(infer=_infer_grad, outputs=GRADS, public=6)
def _gru_grad(gy, gh, x, w, r, b, rb, h, lengths, y, gates, back, *, direction, reverse):
    """Gradients of one direction of `gru`, as those of `_lstm_grad`."""
    kept = (lengths, y, gates, back, direction, reverse)
    return kernels.run_grad("gru", gy, gh, None, x, w, r, h, None, *kept)


# ---- simple RNN --------------------------------------------------------------------------------


def _infer_simple_rnn(*inputs: Any, activation: str, reverse: bool) -> list[Type]:
    y, last, lead = _infer(1, inputs[:10], None, inputs[10])
    return [y, last, _kept(lead, last.shape[2], y)]


@op(infer=_infer_simple_rnn, outputs=("y", "h_last", "states"), public=2)
def simple_rnn(
    x,
    w,
    r,
    b=None,
    rb=None,
    w_back=None,
    r_back=None,
    b_back=None,
    rb_back=None,
    h=None,
    lengths=None,
    *,
    activation="tanh",
    reverse=False,
):
    """One simple recurrent layer: h' = activation(w x + b + r h + rb), activation tanh or relu.

    Arguments and results are those of `gru`, with one gate. Source: Elman 1990. ONNX: RNN.
    """
    back = (w_back, r_back, b_back, rb_back)
    return kernels.run(activation, x, (w, r, b, rb), back, h, None, lengths, reverse)


@simple_rnn.vjp(*INPUTS[:-1])
def _(
    g,
    *,
    x,
    w,
    r,
    b,
    rb,
    w_back,
    r_back,
    b_back,
    rb_back,
    h,
    lengths,
    y,
    states,
    activation,
    reverse,
    wanted,
):
    def grad_op(*inputs: Any, **way: Any) -> Any:
        return _simple_rnn_grad(*inputs, activation=activation, **way)

    ways = ((w, r, b, rb), (w_back, r_back, b_back, rb_back))
    return _joined(grad_op, g, x, ways, h, None, lengths, y, states, None, reverse, wanted)


@op(infer=_infer_grad, outputs=GRADS, public=6)
def _simple_rnn_grad(
    gy, gh, x, w, r, b, rb, h, lengths, y, states, *, activation, direction, reverse
):
    """Gradients of one direction of `simple_rnn`, as those of `_lstm_grad`."""
    kept = (lengths, y, states, None, direction, reverse)
    return kernels.run_grad(activation, gy, gh, None, x, w, r, h, None, *kept)
