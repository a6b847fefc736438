"""The recurrent ops step by step in small ops: what their second gradients are taken from."""

from __future__ import annotations

from typing import Any

from dyn.core.autograd import grad
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.kernels.rnn import gates as formulas
from dyn.ops.composite import differentiate_as
from dyn.ops.join import split, stack
from dyn.ops.rnn import _gru_grad, _lstm_grad, _simple_rnn_grad


def _zeros(x: Tensor, r: Tensor) -> Tensor:
    """An initial state."""
    return OPS["full"](shape=(x.shape[1], r.shape[1]), value=0.0, dtype=x.dtype.name)


def _step(mode: str, a: Tensor, back: Tensor, h: Tensor, c: Any) -> tuple[Tensor, Any]:
    """State and cell after one step, from what inputs and state contribute to the gates."""
    maths = formulas.Maths(OPS["sigmoid"], OPS["tanh"])
    if mode == "lstm":
        _, cell, new = formulas.lstm(split(a + back, 4, axis=1), c, maths)
        return new, cell
    if mode == "gru":
        (ar, az, an), (br, bz, bn) = split(a, 3, axis=1), split(back, 3, axis=1)
        return formulas.gru(ar + br, az + bz, an, bn, h, maths)[1], None
    return OPS[mode](a + back), None


def _run(mode: str, a: Any, r: Any, rb: Any, h: Any, c: Any, lengths: Any, reverse: bool) -> Any:
    """Outputs per step, stacked, and the last state; `a` is what the inputs give to the gates."""
    turned = OPS["transpose"](r, perm=(1, 0))
    outputs: dict[int, Tensor] = {}
    steps = list(range(a.shape[0]))
    for t in reversed(steps) if reverse else steps:
        back = OPS["matmul"](h, turned)
        new, cell = _step(mode, a[t], back + rb, h, c)
        if lengths is None:
            outputs[t], h, c = new, new, cell
            continue
        alive = (lengths > t).reshape((-1, 1))
        outputs[t] = OPS["where"](alive, new, OPS["zeros_like"](new))
        h = OPS["where"](alive, new, h)
        c = None if cell is None else OPS["where"](alive, cell, c)
    return stack([outputs[t] for t in steps]), h, c


def _gradients(
    mode: str,
    seeds: Any,
    x: Any,
    weights: Any,
    states: Any,
    lengths: Any,
    direction: int,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """What the gradient op of `mode` returns, as differentiable Tensors."""
    hidden = weights[1].shape[1]
    part = slice(direction * hidden, (direction + 1) * hidden)
    seeds = [seeds[0][:, :, part], *(g[direction] for g in seeds[1:])]
    starts = [_zeros(x, weights[1]) if s is None else s[direction] for s in states]
    # Each input stands for itself; a missing bias still has a gradient: that of zeros.
    wide = OPS["full"](shape=(weights[0].shape[0],), value=0.0, dtype=x.dtype.name)
    given = [wide if t is None else t for t in (x, *weights, *starts)]
    own = [OPS["reshape"](t, shape=tuple(t.shape)) for t in given]
    for t in own:
        t.stop_gradient = False
    x, w, r, b, rb, h, *cell = own
    a = OPS["matmul"](x, OPS["transpose"](w, perm=(1, 0))) + b
    made = _run(mode, a, r, rb, h, cell[0] if cell else None, lengths, reverse)
    outputs = [out for out in made if out is not None]
    found = grad(outputs, [a, *own[1:]], seeds, create_graph=True, allow_unused=True)
    return (*found[:5], *(stack([g]) for g in found[5:]))


def _lstm_grad_of_ops(
    gy, gh, gc, x, w, r, b, rb, h, c, lengths, y, gates, cells, *, direction, reverse
):
    given = (x, (w, r, b, rb), (h, c), lengths, direction, reverse)
    return _gradients("lstm", (gy, gh, gc), *given)


def _gru_grad_of_ops(gy, gh, x, w, r, b, rb, h, lengths, y, gates, back, *, direction, reverse):
    return _gradients("gru", (gy, gh), x, (w, r, b, rb), (h,), lengths, direction, reverse)


def _simple_rnn_grad_of_ops(
    gy, gh, x, w, r, b, rb, h, lengths, y, states, *, activation, direction, reverse
):
    return _gradients(activation, (gy, gh), x, (w, r, b, rb), (h,), lengths, direction, reverse)


differentiate_as(_lstm_grad, _lstm_grad_of_ops)
differentiate_as(_gru_grad, _gru_grad_of_ops)
differentiate_as(_simple_rnn_grad, _simple_rnn_grad_of_ops)
