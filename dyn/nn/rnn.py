"""Recurrent layers: whole sequences (SimpleRNN, LSTM, GRU) and single steps.

Loops over cells are in `rnn_loop.py`.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.core import tree
from dyn.core.dtype import get_default_dtype
from dyn.core.errors import AttributeValueError
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn import initializer as init
from dyn.nn.layer import Layer
from dyn.ops import rnn as ops
from dyn.ops.creation import full
from dyn.ops.infer import need_shape, need_whole
from dyn.ops.join import concat
from dyn.ops.linalg import linear
from dyn.ops.rnn_cell import gru_cell, lstm_cell
from dyn.ops.shape import transpose


class _Weights(Layer):
    """The parameters of one recurrent step, and how they are made."""

    _gates: int
    _has_cell = False

    def _make(self, inputs: int, hidden: int, suffix: str, attrs: tuple[Any, ...]) -> None:
        """Create and register weight_ih, weight_hh, bias_ih and bias_hh."""
        bound = 1.0 / math.sqrt(hidden)
        start = init.Uniform(-bound, bound)
        rows = self._gates * hidden
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        shapes = ([rows, inputs], [rows, hidden], [rows], [rows])
        for name, shape, attr in zip(names, shapes, attrs, strict=True):
            parameter = self.create_parameter(
                shape, attr, is_bias=len(shape) == 1, default_initializer=start
            )
            self.add_parameter(name + suffix, parameter)

    def _of(self, suffix: str) -> tuple[Any, ...]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(getattr(self, name + suffix) for name in names)

    def _call(self, x: Tensor, *inputs: Any, reverse: bool = False) -> tuple[Tensor, ...]:
        """The op over a sequence [steps, batch, inputs]: outputs and last states."""
        raise NotImplementedError

    def _step(self, a: Tensor, back: Tensor, states: Any) -> Any:
        """The next states, from what inputs and state contribute to the gates."""
        raise NotImplementedError


class _Simple(_Weights):
    _gates = 1
    activation: str

    def _call(self, x: Tensor, *inputs: Any, reverse: bool = False) -> tuple[Tensor, ...]:
        return ops.simple_rnn(x, *inputs, activation=self.activation, reverse=reverse)

    def _step(self, a: Tensor, back: Tensor, states: Any) -> Any:
        need_shape("states", states, *a.shape)
        return OPS[self.activation](a + back)


class _Long(_Weights):
    _gates = 4
    _has_cell = True

    def _call(self, x: Tensor, *inputs: Any, reverse: bool = False) -> tuple[Tensor, ...]:
        return ops.lstm(x, *inputs, reverse=reverse)

    def _step(self, a: Tensor, back: Tensor, states: Any) -> Any:
        return lstm_cell(a, back, states[1])


class _Gated(_Weights):
    _gates = 3

    def _call(self, x: Tensor, *inputs: Any, reverse: bool = False) -> tuple[Tensor, ...]:
        return ops.gru(x, *inputs, reverse=reverse)

    def _step(self, a: Tensor, back: Tensor, states: Any) -> Any:
        return gru_cell(a, back, states)


# ---- whole sequences ---------------------------------------------------------------------------


class _Recurrent(_Weights):
    """Stacked layers in one direction or both; see `LSTM` for the arguments."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        direction: str = "forward",
        time_major: bool = False,
        dropout: float = 0.0,
        weight_ih_attr: Any = None,
        weight_hh_attr: Any = None,
        bias_ih_attr: Any = None,
        bias_hh_attr: Any = None,
        name: str | None = None,
    ):
        super().__init__()
        if direction not in ("forward", "bidirect", "bidirectional"):
            raise AttributeValueError(
                f"direction should be forward or bidirect (or bidirectional), got {direction!r}"
            )
        need_whole(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if hidden_size <= 0 or num_layers <= 0:
            raise AttributeValueError(
                f"hidden_size={hidden_size} and num_layers={num_layers} must be positive"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.time_major, self.dropout = time_major, dropout
        self.num_directions = 1 if direction == "forward" else 2
        attrs = (weight_ih_attr, weight_hh_attr, bias_ih_attr, bias_hh_attr)
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self.num_directions
            for end in ("", "_reverse")[: self.num_directions]:
                self._make(width, hidden_size, f"_l{layer}{end}", attrs)

    def forward(
        self, inputs: Tensor, initial_states: Any = None, sequence_length: Any = None
    ) -> tuple[Tensor, Any]:
        """Run over sequences.

        Args:
            inputs: (batch, steps, input_size), or (steps, batch, input_size) with `time_major`.
            initial_states: h, or (h, c), each (num_layers * directions, batch, hidden_size);
                zeros by default.
            sequence_length: (batch,) steps of each sample; outputs beyond them are zero. More
                than there are count as all.

        Returns:
            Outputs (batch, steps, directions * hidden_size), and the last states.
        """
        x = inputs if self.time_major else transpose(inputs, [1, 0, 2])
        given = [None, None]
        if initial_states is not None:
            given = list(initial_states) if self._has_cell else [initial_states, None]
        given = given[: 1 + self._has_cell]
        last: list[list[Tensor]] = [[] for _ in given]
        directions = self.num_directions
        for layer in range(self.num_layers):
            weights = self._of(f"_l{layer}")
            back = self._of(f"_l{layer}_reverse") if directions == 2 else (None,) * 4
            part = slice(layer * directions, (layer + 1) * directions)
            states = [None if state is None else state[part] for state in given]
            if layer > 0 and self.dropout > 0:
                x = F.dropout(x, self.dropout, training=self.training)
            x, *ends = self._call(x, *weights, *back, *states, sequence_length)
            for found, end in zip(last, ends, strict=True):
                found.append(end)
        joined = [found[0] if len(found) == 1 else concat(found, axis=0) for found in last]
        out = x if self.time_major else transpose(x, [1, 0, 2])
        return out, tuple(joined) if self._has_cell else joined[0]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.time_major:
            text += f", time_major={self.time_major}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        return text


class SimpleRNN(_Recurrent, _Simple):
    """h' = activation(w x + b + r h + rb); arguments as in `LSTM`.

    Args:
        activation: "tanh" or "relu".

    Source: Elman 1990. ONNX: RNN.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        direction: str = "forward",
        time_major: bool = False,
        dropout: float = 0.0,
        activation: str = "tanh",
        **attrs: Any,
    ):
        super().__init__(
            input_size, hidden_size, num_layers, direction, time_major, dropout, **attrs
        )
        self.activation = _checked(activation)


class LSTM(_Recurrent, _Long):
    """Long short-term memory.

    Args:
        input_size: width of the inputs.
        hidden_size: width of the states.
        num_layers: layers on top of each other.
        direction: "forward", or "bidirect" for both, their outputs side by side.
        time_major: whether inputs are (steps, batch, ...) instead of (batch, steps, ...).
        dropout: probability with which outputs between layers are dropped in training.
        weight_ih_attr, weight_hh_attr, bias_ih_attr, bias_hh_attr: wishes for the parameters
            `weight_ih_l0` [4 * hidden, inputs], `weight_hh_l0` [4 * hidden, hidden], `bias_ih_l0`
            and `bias_hh_l0` [4 * hidden], and those of the other layers and directions
            (`..._l1_reverse`); uniform within 1 / sqrt(hidden) by default.

    Source: Hochreiter & Schmidhuber 1997. ONNX: LSTM.
    """


class GRU(_Recurrent, _Gated):
    """Gated recurrent units; arguments as in `LSTM`. Source: arXiv 1406.1078. ONNX: GRU."""


# ---- single steps ------------------------------------------------------------------------------


class RNNCellBase(Layer):
    """Base of cells: `forward(inputs, states)` returns an output and the next states."""

    @property
    def state_shape(self) -> Any:
        """Sizes of a state after the batch; a tuple of them if there are several states."""
        raise NotImplementedError(f"{type(self).__name__} needs a state_shape")

    def get_initial_states(
        self,
        batch_ref: Any,
        shape: Any = None,
        dtype: Any = None,
        init_value: float = 0.0,
        batch_dim_idx: int = 0,
    ) -> Any:
        """States of one number, for a batch as large as that of `batch_ref`.

        Args:
            batch_ref: a tensor, or a structure of tensors whose first one counts.
            shape: sizes of a state after the batch, such as [hidden], or [-1, hidden] with the
                batch; lists, tuples and dicts of them for several states. `state_shape` by default.
            dtype: one for all states; by default that of `batch_ref` if it is floating, else the
                default dtype.
            init_value: the number.
            batch_dim_idx: the axis of `batch_ref` that is the batch.

        Returns:
            A tensor (batch, ...), or the structure of `shape` with one for every state.
        """
        like: Tensor = tree.flatten(batch_ref, lambda item: isinstance(item, Tensor))[1][0][1]
        batch = like.shape[batch_dim_idx]
        if dtype is None:
            dtype = like.dtype if like.dtype.is_floating_point else get_default_dtype()
        structure, shapes = tree.flatten(self.state_shape if shape is None else shape, _is_shape)
        rests = (sizes[1:] if sizes and sizes[0] == -1 else sizes for _, sizes in shapes)
        return tree.rebuild(structure, [full([batch, *r], init_value, dtype) for r in rests])


def _is_shape(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and all(isinstance(size, int) for size in item)


class _Cell(RNNCellBase, _Weights):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        weight_ih_attr: Any = None,
        weight_hh_attr: Any = None,
        bias_ih_attr: Any = None,
        bias_hh_attr: Any = None,
        name: str | None = None,
    ):
        super().__init__()
        if hidden_size <= 0:
            raise AttributeValueError(f"hidden_size must be positive, got {hidden_size}")
        self.input_size, self.hidden_size = input_size, hidden_size
        attrs = (weight_ih_attr, weight_hh_attr, bias_ih_attr, bias_hh_attr)
        self._make(input_size, hidden_size, "", attrs)

    def forward(self, inputs: Tensor, states: Any = None) -> tuple[Tensor, Any]:
        """One step.

        Args:
            inputs: (batch, input_size).
            states: h, or (h, c) of an LSTM, each (batch, hidden_size); zeros by default.

        Returns:
            The output (batch, hidden_size), which is the next h, and the next states.
        """
        if states is None:
            states = self.get_initial_states(inputs)
        h = states[0] if self._has_cell else states
        a = linear(inputs, self.weight_ih, self.bias_ih, transpose_weight=True)
        after = self._step(
            a, linear(h, self.weight_hh, self.bias_hh, transpose_weight=True), states
        )
        return (after[0] if self._has_cell else after), after

    @property
    def state_shape(self) -> Any:
        one = (self.hidden_size,)
        return (one, one) if self._has_cell else one

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class SimpleRNNCell(_Cell, _Simple):
    """One step of `SimpleRNN`: h' = activation(w x + b + r h + rb)."""

    def __init__(self, input_size: int, hidden_size: int, activation: str = "tanh", **attrs: Any):
        super().__init__(input_size, hidden_size, **attrs)
        self.activation = _checked(activation)


class LSTMCell(_Cell, _Long):
    """One step of `LSTM`."""


class GRUCell(_Cell, _Gated):
    """One step of `GRU`."""


def _checked(activation: str) -> str:
    if activation not in ("tanh", "relu"):
        raise AttributeValueError(f"activation should be tanh or relu, but got {activation}")
    return activation


# ---- loops over cells --------------------------------------------------------------------------
