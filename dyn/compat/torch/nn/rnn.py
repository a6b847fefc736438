"""Recurrent modules: dyn's layers under PyTorch's names; the first axis is time by default."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn import projected
from dyn.compat.torch.nn.linear import finish
from dyn.compat.torch.nn.module import Mixin, Module
from dyn.compat.torch.nn.packing import PackedSequence
from dyn.compat.torch.nn.settings import Setting
from dyn.nn import rnn
from dyn.ops.shape import squeeze, transpose, unsqueeze


class _Recurrent(Mixin):
    _has_cell: bool
    batch_first = Setting("time_major", lambda first: not first)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **settings: Any,
    ):
        for name in settings.keys() - {"activation"}:
            if name == "proj_size":
                raise ValueError(
                    "proj_size argument is only supported for LSTM, not RNN or GRU: put a Linear "
                    "behind it"
                )
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument {name!r}"
            )
        # The recurrent layer of dyn comes next among the bases.
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            "bidirect" if bidirectional else "forward",
            not batch_first,
            float(dropout),
            bias_ih_attr=None if bias else False,
            bias_hh_attr=None if bias else False,
            **settings,
        )
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        finish(self, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Outputs of all steps and the last states, of a batch or of one sequence."""
        if isinstance(input, PackedSequence):
            x = transpose(input.padded, [1, 0, 2]) if self.batch_first else input.padded
            out, last = super().forward(x, hx, input.lengths)
            out = transpose(out, [1, 0, 2]) if self.batch_first else out
            return PackedSequence(out, input.lengths), last
        if input.ndim == 3:
            return super().forward(input, hx)
        axis = 0 if self.batch_first else 1
        if hx is not None:
            hx = tuple(unsqueeze(h, 1) for h in hx) if self._has_cell else unsqueeze(hx, 1)
        out, last = super().forward(unsqueeze(input, axis), hx)
        if self._has_cell:
            return squeeze(out, axis), tuple(squeeze(h, 1) for h in last)
        return squeeze(out, axis), squeeze(last, 1)

    def flatten_parameters(self) -> None:
        """Nothing: parameters need no special place in memory."""

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += ", bias=False"
        if self.batch_first:
            text += ", batch_first=True"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional:
            text += ", bidirectional=True"
        return text


class LSTM(_Recurrent, rnn.LSTM, Module):
    """Long short-term memory: see `dyn.nn.LSTM`.

    Args:
        proj_size: if above 0, the state h is multiplied by `weight_hr` [proj_size, hidden_size] in
            every step, and so are the outputs.
    """

    def __init__(self, *args: Any, proj_size: int = 0, **settings: Any):
        # Before the weights are made, whose shapes depend on it.
        self.__dict__["proj_size"] = proj_size
        super().__init__(*args, **settings)

    def _make(self, inputs: int, hidden: int, suffix: str, attrs: tuple[Any, ...]) -> None:
        if self.proj_size:
            projected.make_weights(self, inputs, hidden, self.proj_size, suffix, attrs)
        else:
            super()._make(inputs, hidden, suffix, attrs)

    def _of(self, suffix: str) -> tuple[Any, ...]:
        found = super()._of(suffix)
        return (*found, getattr(self, f"weight_hr{suffix}")) if self.proj_size else found

    def _call(self, x: Any, *inputs: Any, reverse: bool = False) -> Any:
        if self.proj_size:
            return projected.run(x, *inputs)
        return super()._call(x, *inputs, reverse=reverse)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        inserted = f", proj_size={self.proj_size}" if self.proj_size else ""
        return text + inserted + super().extra_repr().removeprefix(text)


class GRU(_Recurrent, rnn.GRU, Module):
    """Gated recurrent units: see `dyn.nn.GRU`."""


class RNN(_Recurrent, rnn.SimpleRNN, Module):
    """h' = tanh(w x + b + r h + rb), or relu with `nonlinearity="relu"`."""

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **settings: Any):
        self.__dict__["nonlinearity"] = nonlinearity
        super().__init__(*args, activation=nonlinearity, **settings)


class _Cell(Mixin):
    _has_cell: bool

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        **settings: Any,
    ):
        attr = None if bias else False
        super().__init__(input_size, hidden_size, bias_ih_attr=attr, bias_hh_attr=attr, **settings)
        self.bias = bias
        finish(self, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The next state of a batch or of one sample; (h, c) of an LSTM."""
        if input.ndim == 2:
            return super().forward(input, hx)[1]
        if hx is not None:
            hx = tuple(unsqueeze(h, 0) for h in hx) if self._has_cell else unsqueeze(hx, 0)
        found = super().forward(unsqueeze(input, 0), hx)[1]
        return tuple(squeeze(h, 0) for h in found) if self._has_cell else squeeze(found, 0)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias=False"


class LSTMCell(_Cell, rnn.LSTMCell, Module):
    """One step of `LSTM`."""


class GRUCell(_Cell, rnn.GRUCell, Module):
    """One step of `GRU`."""


class RNNCell(_Cell, rnn.SimpleRNNCell, Module):
    """One step of `RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        **settings: Any,
    ):
        super().__init__(input_size, hidden_size, bias, activation=nonlinearity, **settings)
        self.nonlinearity = nonlinearity
