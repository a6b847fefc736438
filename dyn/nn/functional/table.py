"""Rows of a table by index, of which long ones may be shortened in the table: state, and no op."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import GradError
from dyn.core.modes import no_grad
from dyn.core.tensor import Tensor
from dyn.ops import embedding as ops
from dyn.ops.index import where
from dyn.ops.unary import cast
from dyn.ops.vector_norm import norm


def embedding(
    x: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    sparse: bool = False,
    *,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
) -> Tensor:
    """The rows of `weight` that x names; zeros for `padding_idx`, whatever its row holds.

    Args:
        x: integers in [0, rows), any shape.
        weight: [rows, width], floating point.
        padding_idx: the index of no row, as in Paddle; negative counts from the end.
        sparse: accepted; the gradient is always dense.
        max_norm, norm_type, scale_grad_by_freq: as in `rows_of`.

    Returns:
        [*x.shape, width].

    Raises:
        DTypeError: x does not hold integers.
        IndexRangeError: an index is not a row of the table.
        GradError: with `max_norm`, a weight that was computed.
    """
    rows = rows_of(x, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    if padding_idx is None:
        return rows
    named = (x != padding_idx % weight.shape[0]).unsqueeze(-1)
    return where(named, rows, 0.0)


def rows_of(
    x: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
) -> Tensor:
    """The rows of `weight` that x names.

    Args:
        x: integers in [0, rows), any shape.
        weight: [rows, width], floating point.
        padding_idx: a row that gets no gradient; negative counts from the end.
        max_norm: rows that x names and that are longer are shortened to this length before, in
            `weight` itself, in training and in use. An exported file carries the weight as state.
        norm_type: the p of the norm that is their length.
        scale_grad_by_freq: divide the gradient of a row by how often x names it.

    Returns:
        [*x.shape, width].

    Raises:
        DTypeError: x does not hold integers.
        IndexRangeError: an index is not a row of the table.
        GradError: with `max_norm`, a weight that was computed: its history would be lost.
    """
    if max_norm is not None:
        _shorten(weight, x, float(max_norm), float(norm_type))
    return ops.rows_of(x, weight, padding_idx, bool(scale_grad_by_freq))


def _shorten(weight: Any, x: Tensor, most: float, p: float) -> None:
    """Bring the rows of `weight` that x names to a p-norm of `most`, as `rows_of` says."""
    if not weight.is_leaf:
        raise GradError(
            "max_norm shortens rows of the weight in place, but this weight was computed, and its "
            "history would be lost: pass a parameter, or weight.detach()"
        )
    with no_grad():
        places = cast(x, "int64").reshape([-1])
        rows = ops.rows_of(places, weight)
        length = norm(rows, p, 1, keepdim=True)
        # PyTorch's constant; a row that is named twice is written twice, with the same numbers.
        weight[places] = where(length > most, rows * (most / (length + 1e-7)), rows)
