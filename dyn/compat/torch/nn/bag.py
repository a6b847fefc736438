"""Embeddings that are summed, averaged or maximised over bags of indices.

Single embeddings are in `linear.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.compat.torch import writing
from dyn.compat.torch.nn.linear import finish, limits_of
from dyn.compat.torch.nn.module import Module
from dyn.core.lift import cast_to
from dyn.core.observe import current as observers
from dyn.nn import initializer as init
from dyn.nn.functional.table import rows_of
from dyn.ops import creation, extremes, join, search
from dyn.ops import reduce as sums
from dyn.ops import shape as ops
from dyn.ops.bags import sum_bags
from dyn.ops.index import where
from dyn.ops.places import index_add


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum, mean or maximum of the rows of each bag: (bags, width).

    Args:
        input: (bags, n) indices, or (n,) with `offsets` (bags,), where each bag begins.
        per_sample_weights: the shape of `input`; what each row counts, with mode "sum" alone.
        max_norm, norm_type, scale_grad_by_freq: as in `functional.embedding`.
        include_last_offset: whether the last offset is where the last bag ends.
        padding_idx: an index that does not count.

    Raises:
        ValueError: weights with another mode than "sum", `scale_grad_by_freq` with the mode "max",
            or offsets that do not fit the input.
        GradError: with `max_norm`, a weight that was computed.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max, got {mode!r}")
    if per_sample_weights is not None and mode != "sum":
        raise ValueError("embedding_bag: per_sample_weights is for mode='sum' alone")
    if scale_grad_by_freq and mode == "max":
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if (input.ndim == 2) == (offsets is not None):
        raise ValueError("embedding_bag takes 2-D input, or 1-D input with offsets")
    if offsets is not None:
        if not observers():
            _check(offsets._read(), input.shape[0])
        if include_last_offset:
            offsets = offsets[:-1]
    plain = padding_idx is None and max_norm is None and not scale_grad_by_freq
    if plain and mode != "max":
        return sum_bags(input, weight, offsets, per_sample_weights, mean=mode == "mean")
    rows = rows_of(input, weight, None, max_norm, norm_type, scale_grad_by_freq)
    counts = creation.ones_like(input, weight._array.dtype.name)
    if padding_idx is not None:
        counts = where(input == padding_idx % weight.shape[0], 0.0, counts)
    if padding_idx is not None:  # what does not count may be NaN or infinite, too
        rows = where(ops.unsqueeze(counts, input.ndim) > 0, rows, 0.0)
    shares = counts if per_sample_weights is None else counts * per_sample_weights
    if offsets is None:
        return _of_rows(rows, counts, shares, mode)
    return _of_offsets(rows, counts, shares, offsets, mode)


def _check(offsets: np.ndarray, count: int) -> None:
    """Complain of offsets that do not cut `count` indices into bags."""
    if not len(offsets):
        return
    if offsets[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {offsets[0]}"
        )
    if offsets[-1] > count:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {count} but got offsets[-1] of "
            f"{offsets[-1]}"
        )
    if (offsets[1:] < offsets[:-1]).any():
        raise RuntimeError(f"offsets must not decrease, got {offsets[:20].tolist()}")


def _of_rows(rows: Any, counts: Any, shares: Any, mode: str) -> Any:
    """Bags (b, n, width) that lie side by side."""
    shares, known = ops.unsqueeze(shares, 2), ops.unsqueeze(counts, 2)
    if mode == "max":
        highest = sums.amax(where(known > 0, rows, float("-inf")), 1)
        return where(sums.any(known > 0, 1), highest, 0.0)
    total = sums.sum(rows * shares, 1)
    if mode == "sum":
        return total
    return total / extremes.maximum(sums.sum(known, 1), creation.ones([1], rows.dtype))


def _bags_of(rows: Any, offsets: Any) -> Any:
    """The bag of every row (n,), where bags begin at the offsets."""
    places = creation.arange(0, rows.shape[0], 1, "int64")
    return search.searchsorted(cast_to(offsets, places._array.dtype), places, right=True) - 1


def _added(rows: Any, bag: Any, bags: Any) -> Any:
    """The sum of the rows of each bag."""
    empty = creation.zeros([bags, *rows.shape[1:]], rows._array.dtype.name)
    return index_add(empty, bag, 0, rows)


def _of_offsets(rows: Any, counts: Any, shares: Any, offsets: Any, mode: str) -> Any:
    """Bags of rows (n, width) that begin at the offsets."""
    bag, bags = _bags_of(rows, offsets), offsets.shape[0]
    if mode == "max":
        empty = creation.zeros([bags, rows.shape[1]], rows._array.dtype.name)
        target = join.expand(ops.unsqueeze(bag, 1), list(rows.shape))
        known = where(ops.unsqueeze(counts, 1) > 0, rows, float("-inf"))
        highest = writing.scatter_reduce(empty, 0, target, known, "amax", include_self=False)
        return where(ops.unsqueeze(_added(counts, bag, bags), 1) > 0, highest, 0.0)
    total = _added(rows * ops.unsqueeze(shares, 1), bag, bags)
    if mode == "sum":
        return total
    number = _added(counts, bag, bags)
    return total / ops.unsqueeze(extremes.maximum(number, creation.ones_like(number)), 1)


class EmbeddingBag(Module):
    """Rows of the weight, summed, averaged or maximised over bags: see `embedding_bag`."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.max_norm, self.norm_type, self.mode = max_norm, norm_type, mode
        self.scale_grad_by_freq, self.include_last_offset = scale_grad_by_freq, include_last_offset
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = self.create_parameter([num_embeddings, embedding_dim], init.Normal(0.0, 1.0))
        if _weight is not None:
            self.weight.set_value(_weight)
        elif self.padding_idx is not None:
            start = self.weight.numpy(force=True).copy()
            start[self.padding_idx] = 0.0
            self.weight.set_value(start)
        finish(self, device, dtype)

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, mode: str = "mean", **settings: Any
    ) -> EmbeddingBag:
        """Bags of given rows, which are not trained unless `freeze` is False."""
        rows, width = embeddings.shape
        made = cls(int(rows), int(width), mode=mode, _weight=embeddings, **settings)
        made.weight.requires_grad_(not freeze)
        return made

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        """Indices (bags, n), or (n,) with offsets (bags,), to (bags, width)."""
        return embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
            self.mode, False, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sizes = f"{self.num_embeddings}, {self.embedding_dim}"
        return f"{sizes}{limits_of(self)}, mode={self.mode!r}{padding}"
