"""`torch.nn.utils.rnn`: sequences of several lengths in one tensor.

A packed sequence here is the padded tensor with its lengths, which is what dyn's recurrent layers
take; the steps are never put one behind the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from dyn.compat.torch.creation import as_tensor
from dyn.compat.torch.tensor import Base, own
from dyn.core.observe import current as observers
from dyn.nn import functional as F
from dyn.ops.creation import arange
from dyn.ops.gather import index_select
from dyn.ops.index import slice as cut
from dyn.ops.index import where
from dyn.ops.join import stack
from dyn.ops.search import nonzero
from dyn.ops.shape import reshape, transpose


class PackedSequence:
    """Sequences of several lengths.

    Attributes:
        padded: (steps, batch, ...), in the order in which the sequences were given.
        lengths: (batch,) steps of each.
    """

    def __init__(self, padded: Any, lengths: Any):
        self.padded, self.lengths = padded, lengths

    @property
    def data(self) -> Any:
        """The padded tensor; PyTorch has the steps of all sequences one behind the other."""
        return own(self.padded)


def _time_first(x: Any, batch_first: bool) -> Any:
    return transpose(x, [1, 0, *range(2, x.ndim)]) if batch_first else x


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded tensor with the lengths of its sequences.

    Args:
        input: (steps, batch, ...), or (batch, steps, ...) with `batch_first`.
        lengths: (batch,) steps of each sequence.
        batch_first: whether the batch is the first axis.
        enforce_sorted: whether the lengths must not grow.

    Raises:
        RuntimeError: the lengths grow although `enforce_sorted`, there is not one for each
            sequence, or one is not between 1 and the steps of the input.
    """
    counts = own(lengths) if isinstance(lengths, Base) else as_tensor(list(lengths))
    padded = _time_first(input, batch_first)
    if not observers():
        # Where the lengths are an input of a graph there is nothing to look at.
        _check(counts.tolist(), enforce_sorted, *padded.shape[:2])
    return PackedSequence(padded, counts)


def _check(lengths: list[int], enforce_sorted: bool, steps: int, batch: int) -> None:
    """Complain of lengths that no padded tensor of these sizes can have."""
    if len(lengths) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} "
            f"(batch_size={batch})"
        )
    if enforce_sorted and any(a < b for a, b in pairwise(lengths)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
            "You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if min(lengths, default=1) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if max(lengths, default=0) > steps:
        raise RuntimeError(
            f"a length of {max(lengths)} is more than the {steps} steps of the input"
        )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Any]:
    """The padded tensor of a packed sequence, as long as its longest one, and the lengths.

    Args:
        sequence: what is unpacked.
        batch_first: whether the batch is the first axis of the result.
        padding_value: what stands behind the end of a sequence.
        total_length: number of steps of the result, instead of that of the longest sequence.

    Raises:
        ValueError: a sequence is longer than `total_length`.
    """
    padded, lengths = sequence.padded, sequence.lengths
    ones = [1] * (padded.ndim - 2)
    numbers = arange(padded.shape[0])
    inside = reshape(numbers, [-1, 1, *ones]) < reshape(lengths, [1, -1, *ones])
    found = where(inside, padded, padding_value)
    if total_length is None:
        # The number of steps is a value here: positions are picked, so that it may be traced.
        found = index_select(found, reshape(nonzero(numbers < lengths.max()), [-1]), 0)
    elif total_length > padded.shape[0]:
        widths = [0, total_length - padded.shape[0], *([0] * (2 * (padded.ndim - 1)))]
        found = F.pad(found, widths, value=padding_value)
    elif observers() or total_length >= (longest := int(lengths.max())):
        found = cut(found, [0], [0], [total_length])
    else:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, "
            f"but got total_length={total_length} and max sequence length being {longest}"
        )
    return own(_time_first(found, batch_first)), lengths


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0
) -> Any:
    """Sequences (steps, ...) of several lengths side by side, filled up at their ends."""
    longest = max(x.shape[0] for x in sequences)
    filled = [
        F.pad(x, [0, longest - x.shape[0], *([0] * (2 * (x.ndim - 1)))], value=padding_value)
        for x in sequences
    ]
    return own(stack(filled, axis=0 if batch_first else 1))


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (steps, ...) of several lengths, packed."""
    lengths = [x.shape[0] for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


rnn = SimpleNamespace(
    PackedSequence=PackedSequence,
    pack_padded_sequence=pack_padded_sequence,
    pack_sequence=pack_sequence,
    pad_packed_sequence=pad_packed_sequence,
    pad_sequence=pad_sequence,
)
"""The names of `torch.nn.utils.rnn`."""
