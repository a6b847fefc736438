"""Loops over cells, of one's own too: RNN and BiRNN."""

from __future__ import annotations

from typing import Any

from dyn.core import tree
from dyn.core.dim import Dim
from dyn.core.errors import ShapeError
from dyn.core.tensor import Tensor
from dyn.nn.layer import Layer
from dyn.nn.rnn import RNNCellBase
from dyn.ops.control import scan
from dyn.ops.creation import sequence_mask
from dyn.ops.index import where
from dyn.ops.join import concat, flip, stack, unbind
from dyn.ops.shape import reshape, transpose


class RNN(Layer):
    """Runs a cell of one's own along sequences, step by step in Python.

    Sequences of a dynamic length become `dyn.scan` in a traced model.

    Args:
        cell: called as `cell(inputs, states)`, returns an output and the next states.
        is_reverse: begin with the last step.
        time_major: whether inputs are (steps, batch, ...) instead of (batch, steps, ...).
    """

    def __init__(self, cell: Layer, is_reverse: bool = False, time_major: bool = False):
        super().__init__()
        self.cell = cell
        self.is_reverse, self.time_major = is_reverse, time_major

    def forward(
        self,
        inputs: Tensor,
        initial_states: Any = None,
        sequence_length: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Any]:
        """Run the cell along the time axis.

        Args:
            inputs: (batch, steps, ...), or (steps, batch, ...) if `time_major`.
            initial_states: what the cell begins with; None is the cell's own choice.
            sequence_length: (batch,) steps of each sample. Steps beyond them leave the states as
                they are; what the cell puts out there means nothing.
            kwargs: given to every call of the cell.

        Returns:
            Outputs of all steps, side by side along the time axis, and the last states.

        Raises:
            ShapeError: inputs have fewer than 3 axes.
        """
        return _run(
            self.cell,
            inputs,
            initial_states,
            sequence_length,
            kwargs,
            is_reverse=self.is_reverse,
            time_major=self.time_major,
        )


class BiRNN(Layer):
    """Runs one cell forwards and another backwards, and puts their outputs side by side.

    Args:
        cell_fw, cell_bw: the cells.
        time_major: whether inputs are (steps, batch, ...) instead of (batch, steps, ...).
    """

    def __init__(self, cell_fw: Layer, cell_bw: Layer, time_major: bool = False):
        super().__init__()
        self.cell_fw, self.cell_bw = cell_fw, cell_bw
        self.time_major = time_major

    def forward(
        self,
        inputs: Tensor,
        initial_states: Any = None,
        sequence_length: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Any]:
        """As `RNN`, with a pair of states before and after.

        Returns:
            Outputs of both directions along the last axis, and a pair of last states.
        """
        states = (None, None) if initial_states is None else initial_states
        runs = [
            _run(
                cell,
                inputs,
                start,
                sequence_length,
                kwargs,
                is_reverse=is_reverse,
                time_major=self.time_major,
            )
            for cell, start, is_reverse in zip(
                (self.cell_fw, self.cell_bw), states, (False, True), strict=True
            )
        ]
        (forth, end), (back, start) = runs
        return concat([forth, back], axis=-1), (end, start)


def _run(
    cell: Any,
    inputs: Tensor,
    states: Any,
    lengths: Tensor | None,
    options: dict[str, Any],
    *,
    is_reverse: bool,
    time_major: bool,
) -> tuple[Tensor, Any]:
    """Outputs of a cell at all steps, and its last states; see `RNN.forward`."""
    axis = 0 if time_major else 1
    if inputs.ndim < 3:
        raise ShapeError(f"sequences have 3 axes or more, got shape {inputs.shape}")
    steps = inputs.shape[axis]
    if lengths is not None or isinstance(steps, Dim):
        states = _begun(cell, inputs if axis else inputs[0], states)
    valid = None if lengths is None else sequence_mask(lengths, steps, "bool")
    if isinstance(steps, Dim):
        return _scan(cell, inputs, states, valid, options, axis=axis, is_reverse=is_reverse)
    rows = unbind(inputs, axis)
    columns = [None] * len(rows) if valid is None else unbind(valid, 1)
    outputs = []
    order = range(len(rows))
    for i in reversed(order) if is_reverse else order:
        out, after = cell(rows[i], states, **options)
        states = _kept(columns[i], after, states)
        outputs.append(out)
    if is_reverse:
        outputs.reverse()
    return stack(outputs, axis), states


def _scan(
    cell: Any,
    inputs: Tensor,
    states: Any,
    valid: Tensor | None,
    options: dict[str, Any],
    *,
    axis: int,
    is_reverse: bool,
) -> tuple[Tensor, Any]:
    """The same for any number of steps; a scan walks along the first axis."""
    rows = [transpose(inputs, [axis, 1 - axis, *range(2, inputs.ndim)])]
    if valid is not None:
        rows.append(transpose(valid, [1, 0]))
    if is_reverse:
        rows = [flip(row, [0]) for row in rows]

    def step(states: Any, row: Any) -> tuple[Any, Tensor]:
        out, after = cell(row[0], states, **options)
        return _kept(row[1] if len(row) > 1 else None, after, states), out

    states, outputs = scan(step, states, rows)
    if is_reverse:
        outputs = flip(outputs, [0])
    return transpose(outputs, [axis, 1 - axis, *range(2, outputs.ndim)]), states


def _begun(cell: Any, like: Tensor, states: Any) -> Any:
    """The states to begin with, for a batch as large as the first axis of `like`."""
    if states is None and isinstance(cell, RNNCellBase):
        return cell.get_initial_states(like)
    return states


def _kept(valid: Tensor | None, after: Any, before: Any) -> Any:
    """States after a step: those before it for the samples that are already over."""
    if valid is None:
        return after
    structure, new = tree.flatten(after, lambda item: isinstance(item, Tensor))
    _, old = tree.flatten(before, lambda item: isinstance(item, Tensor))
    if len(new) != len(old):
        raise ShapeError(
            f"the cell gives {len(new)} states and was given {len(old)}: with sequence_length, "
            "sequences that are over keep their states, so initial_states are needed"
        )
    chosen = [
        where(reshape(valid, [-1] + [1] * (one.ndim - 1)), one, last)
        for (_, one), (_, last) in zip(new, old, strict=True)
    ]
    return tree.rebuild(structure, chosen)
