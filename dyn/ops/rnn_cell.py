"""One step of an LSTM or a GRU: what its gates do with the contributions of inputs and state.

The contributions are products, made by `linear`: a = w x + b and back = r h + rb. Whole sequences
are in `rnn.py`.
"""

from __future__ import annotations

from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels.rnn import cell as kernels
from dyn.kernels.rnn import gates as formulas
from dyn.ops.composite import differentiate_as
from dyn.ops.infer import Type, need_float, need_rank, need_same_dtype, need_shape
from dyn.ops.join import concat, split


def _need(gates: int, a: Type, back: Type, **state: Type) -> None:
    """Check contributions [batch, gates * hidden] beside a state [batch, hidden]."""
    ((name, s),) = state.items()
    need_float("a", a)
    need_same_dtype(a=a, back=back, **state)
    need_rank("a", a, 2)
    need_shape(name, s, a.shape[0], a.shape[1] // gates)
    need_shape("back", back, *a.shape)
    need_shape("a", a, a.shape[0], gates * s.shape[1])


def _slope(s: Tensor) -> Tensor:
    """Derivative of the sigmoid whose value is s."""
    return s * (1.0 - s)


# ---- LSTM --------------------------------------------------------------------------------------


def _infer_lstm(a: Type, back: Type, c: Type) -> list[Type]:
    _need(4, a, back, c=c)
    return [c, c, a]


@op(infer=_infer_lstm, outputs=("h_next", "c_next", "gates"), public=2)
def lstm_cell(a, back, c):
    """One step of an LSTM.

    i, f, o = sigmoid and g = tanh of (a + back) cut in the order i, f, g, o;
    c' = f * c + i * g; h' = o * tanh(c').

    Args:
        a, back: [batch, 4 * hidden], what the inputs and h contribute to the gates.
        c: [batch, hidden], the cell before.

    Returns:
        h' and c' [batch, hidden].

    Source: Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000). ONNX: composed.
    """
    return kernels.lstm(a, back, c)


@lstm_cell.vjp("a", "back", "c")
def _(g, *, c, c_next, gates, g_gates):
    ga, gc = _lstm_cell_grad(*g, c, c_next, gates)
    if g_gates is not None:
        i, f, n, o = split(gates, 4, axis=1)
        ga = ga + g_gates * concat([_slope(i), _slope(f), 1.0 - n * n, _slope(o)], axis=1)
    return ga, ga, gc


def _infer_lstm_grad(gh: Type, gc: Type, c: Type, c_next: Type, gates: Type) -> list[Type]:
    return [gates, c]


@op(infer=_infer_lstm_grad, outputs=("ga", "gc_before"), public=2)
def _lstm_cell_grad(gh, gc, c, c_next, gates):
    """Gradients of `lstm_cell`: of a, which is that of back too, and of c. ONNX: composed."""
    return kernels.lstm_grad(gh, gc, c, c_next, gates)


def _lstm_cell_grad_of_ops(gh, gc, c, c_next, gates):
    squashed = OPS["tanh"](c_next)
    entering, before = formulas.lstm_grad(split(gates, 4, axis=1), gh, gc, c, squashed)
    return concat(entering, axis=1), before


differentiate_as(_lstm_cell_grad, _lstm_cell_grad_of_ops)

# ---- GRU ---------------------------------------------------------------------------------------


def _infer_gru(a: Type, back: Type, h: Type) -> list[Type]:
    _need(3, a, back, h=h)
    return [h, a]


@op(infer=_infer_gru, outputs=("h_next", "gates"))
def gru_cell(a, back, h):
    """One step of a GRU.

    With a and back cut in the order reset, update, new: s = sigmoid of the sum of the first parts,
    z of the second, n = tanh(a_n + s * back_n); h' = (1 - z) * n + z * h.

    Args:
        a, back: [batch, 3 * hidden], what the inputs and h contribute to the gates.
        h: [batch, hidden], the state before.

    Returns:
        h' [batch, hidden].

    Source: Cho et al., arXiv 1406.1078. ONNX: composed.
    """
    return kernels.gru(a, back, h)


@gru_cell.vjp("a", "back", "h")
def _(g, *, back, h, gates, g_gates):
    made = None if g is None else _gru_cell_grad(g, back, h, gates)
    if g_gates is None:
        return made
    reset, z, n = split(gates, 3, axis=1)
    g_reset, gz, gn = split(g_gates, 3, axis=1)
    gn = gn * (1.0 - n * n)
    g_reset = (g_reset + gn * split(back, 3, axis=1)[2]) * _slope(reset)
    gz = gz * _slope(z)
    through = (concat([g_reset, gz, x], axis=1) for x in (gn, gn * reset))
    if made is None:
        return (*through, None)
    ga, gback, gh = made
    return (*(x + y for x, y in zip((ga, gback), through, strict=True)), gh)


def _infer_gru_grad(g: Type, back: Type, h: Type, gates: Type) -> list[Type]:
    return [gates, back, h]


@op(infer=_infer_gru_grad, outputs=("ga", "gback", "gh"), public=3)
def _gru_cell_grad(g, back, h, gates):
    """Gradients of `gru_cell`: of a, of back, and of h. ONNX: composed."""
    return kernels.gru_grad(g, back, h, gates)


def _gru_cell_grad_of_ops(g, back, h, gates):
    entering, gn, gh = formulas.gru_grad(split(gates, 3, axis=1), g, split(back, 3, axis=1)[2], h)
    return concat(entering, axis=1), concat([*entering[:2], gn], axis=1), gh


differentiate_as(_gru_cell_grad, _gru_cell_grad_of_ops)

__all__ = ["gru_cell", "lstm_cell"]
