"""Recurrent layers over whole sequences as one op each: LSTM, GRU and the simple RNN.

Sequences are [steps, batch, inputs]. One op runs one layer in one direction or in both; stacking
layers and dropout between them is the business of `dyn.nn`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import rnn as kernels
from dyn.ops.infer import Type, need_float, need_int, need_rank, need_same_dtype, need_shape
from dyn.ops.join import stack
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
    made = []
    hidden = ways[0][1].shape[1]
    both = ways[1][0] is not None
    for d, (w, r, b, rb) in enumerate(ways):
        if w is None:
            made.append((None,) * 7)
            continue
        part = slice(d * hidden, (d + 1) * hidden)
        made.append(
            grad_op(
                g[0][:, :, part] if both else g[0],
                *(state[d] for state in g[1:]),
                x,
                w,
                r,
                b,
                rb,
                None if h is None else h[d],
                *(() if grad_op is not _lstm_grad else (None if c is None else c[d],)),
                lengths,
                y[:, :, part] if both else y,
                gates[d],
                *(() if extra is None else (extra[d],)),
                reverse=reverse or d == 1,
            )
        )
    one, two = made
    gx = None
    if "x" in wanted:
        gx = matmul(one[0], ways[0][0])
        gx = gx + matmul(two[0], ways[1][0]) if both else gx
    states = [stack([one[i], two[i]] if both else [one[i]]) for i in range(5, len(one))]
    return (gx, *one[1:5], *two[1:5], *states)


def _infer_lstm_grad(gy: Type, gh: Type, gc: Type, x: Type, w: Type, r: Type, *rest: Any, **_: Any):
    return [*_infer_grad(gy, gh, x, w, r), gh]


GRADS = ("g_gates", "gw", "gr", "gb", "grb", "gh")


@op(infer=_infer_lstm_grad, outputs=(*GRADS, "gc"), public=7)
def _lstm_grad(gy, gh, gc, x, w, r, b, rb, h, c, lengths, y, gates, cells, *, reverse):
    """Gradients of one direction of `lstm`; what it kept is taken as a function of its inputs.

    `g_gates` is the gradient of what enters the gates from x: [steps, batch, gates * hidden].
    """
    return kernels.run_grad("lstm", gy, gh, gc, x, w, r, h, c, lengths, y, gates, cells, reverse)


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
    return [gates, w, r, bias, bias, gh]


@op(infer=_infer_grad, outputs=GRADS, public=6)
def _gru_grad(gy, gh, x, w, r, b, rb, h, lengths, y, gates, back, *, reverse):
    """Gradients of one direction of `gru`; what it kept is taken as a function of its inputs."""
    return kernels.run_grad("gru", gy, gh, None, x, w, r, h, None, lengths, y, gates, back, reverse)


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
    def grad_op(*inputs: Any, reverse: bool) -> Any:
        return _simple_rnn_grad(*inputs, activation=activation, reverse=reverse)

    ways = ((w, r, b, rb), (w_back, r_back, b_back, rb_back))
    return _joined(grad_op, g, x, ways, h, None, lengths, y, states, None, reverse, wanted)


@op(infer=_infer_grad, outputs=GRADS, public=6)
def _simple_rnn_grad(gy, gh, x, w, r, b, rb, h, lengths, y, states, *, activation, reverse):
    """Gradients of one direction of `simple_rnn`; what it kept is a function of its inputs."""
    return kernels.run_grad(
        activation, gy, gh, None, x, w, r, h, None, lengths, y, states, None, reverse
    )
