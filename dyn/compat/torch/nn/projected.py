"""The LSTM whose state is projected to fewer numbers in every step, `LSTM(proj_size=...)`.

ONNX's LSTM has no projection, and no kernel here has one: the recurrence is a loop over steps made
of ops, and a scan of the file where the number of steps is dynamic.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError
from dyn.nn import initializer as init
from dyn.ops.compare import greater_than
from dyn.ops.control import scan
from dyn.ops.creation import arange, full, zeros_like
from dyn.ops.index import where
from dyn.ops.join import concat, flip, stack, unbind
from dyn.ops.linalg import linear
from dyn.ops.rnn_cell import lstm_cell
from dyn.ops.shape import unsqueeze


def make_weights(
    layer: Any, inputs: int, hidden: int, projected: int, suffix: str, attrs: tuple[Any, ...]
) -> None:
    """Create and register the weights of one layer in one direction, `weight_hr` the last.

    Raises:
        AttributeValueError: the state would not get smaller.
    """
    if not 0 < projected < hidden:
        raise AttributeValueError(
            f"proj_size has to be smaller than hidden_size, and not negative: got {projected} of "
            f"{hidden}"
        )
    if not suffix.startswith("_l0"):
        inputs = projected * layer.num_directions
    bound = 1.0 / math.sqrt(hidden)
    shapes = {
        "weight_ih": [4 * hidden, inputs],
        "weight_hh": [4 * hidden, projected],
        "bias_ih": [4 * hidden],
        "bias_hh": [4 * hidden],
        "weight_hr": [projected, hidden],
    }
    for (name, shape), attr in zip(shapes.items(), (*attrs, None), strict=True):
        made = layer.create_parameter(
            shape, attr, is_bias=len(shape) == 1, default_initializer=init.Uniform(-bound, bound)
        )
        layer.add_parameter(name + suffix, made)


def run(x: Any, *inputs: Any) -> tuple[Any, Any, Any]:
    """One layer in one direction or both, as `dyn.ops.rnn.lstm`.

    Args:
        x: [steps, batch, inputs].
        inputs: the five weights of each direction, then h [directions, batch, projected] and
            c [directions, batch, hidden] or None, and the lengths [batch] or None.

    Returns:
        y [steps, batch, directions * projected], last h and last c.
    """
    *weights, h, c, lengths = inputs
    ways = [weights[:5]] if weights[5] is None else [weights[:5], weights[5:]]
    made = [
        _direction(x, way, None if h is None else h[d], None if c is None else c[d], lengths, d)
        for d, way in enumerate(ways)
    ]
    outputs, hs, cs = zip(*made, strict=True)
    y = outputs[0] if len(outputs) == 1 else concat(list(outputs), axis=-1)
    return y, stack(list(hs)), stack(list(cs))


def _direction(
    x: Any, weights: Any, h: Any, c: Any, lengths: Any, backwards: int
) -> tuple[Any, Any, Any]:
    w, r, b, rb, projection = weights
    gates = linear(x, w, b, transpose_weight=True)
    count, batch = x.shape[0], x.shape[1]
    if h is None:
        h = full([batch, projection.shape[0]], 0.0, x.dtype)
        c = full([batch, projection.shape[1]], 0.0, x.dtype)
    places = arange(count)

    def step(states: Any, given: Any) -> Any:
        (h, c), (a, place) = states, given
        new, cell = lstm_cell(a, linear(h, r, rb, transpose_weight=True), c)
        new = linear(new, projection, None, transpose_weight=True)
        if lengths is None:
            return (new, cell), new
        # Beyond the steps of a sample its states stay, and its output is zero.
        alive = unsqueeze(greater_than(lengths, place), -1)
        kept = where(alive, new, h), where(alive, cell, c)
        return kept, where(alive, new, zeros_like(new))

    if isinstance(count, Dim):
        steps = (flip(gates, [0]), flip(places, [0])) if backwards else (gates, places)
        (h, c), outputs = scan(step, (h, c), steps)
        return (flip(outputs, [0]) if backwards else outputs), h, c
    listed = list(zip(unbind(gates), unbind(places), strict=True))
    states, found = (h, c), []
    for given in reversed(listed) if backwards else listed:
        states, out = step(states, given)
        found.append(out)
    return stack(found[::-1] if backwards else found), *states
