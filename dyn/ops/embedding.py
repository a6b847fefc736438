"""Rows of a table by index (embedding), and the gradient that adds up in the table."""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import IndexRangeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import embedding as kernels
from dyn.ops.creation import ones_like
from dyn.ops.infer import Type, need_float, need_int, need_rank
from dyn.ops.unary import cast


def _infer_embedding(x: Type, weight: Type, *, padding_idx: int | None, by_frequency: bool) -> Type:
    need_int("x", x)
    need_float("weight", weight)
    need_rank("weight", weight, 2)
    rows = weight.shape[0]
    if padding_idx is not None and isinstance(rows, int) and not 0 <= padding_idx < rows:
        raise IndexRangeError(f"padding_idx {padding_idx} is not a row of a table of {rows} rows")
    return Type((*x.shape, weight.shape[1]), weight.dtype)


@op(infer=_infer_embedding)
def _embedding(x, weight, *, padding_idx, by_frequency=False):
    """weight[x]; a row's gradient is divided by how often x names it if asked. ONNX: Gather."""
    return kernels.embedding(x, weight)


_embedding.shortcut = lambda x, weight, padding_idx, by_frequency: kernels.embedding_of(
    x.shape, x.dtype, weight.shape, weight.dtype
)


@_embedding.vjp("weight")
def _(g, *, x, weight_shape, padding_idx, by_frequency):
    if by_frequency:
        g = g / _occurrences(g, x, weight_shape[0])
    return _embedding_grad(g, x, shape=weight_shape, padding_idx=padding_idx)


def _occurrences(g: Any, x: Any, rows: Any) -> Any:
    """How often each number in x occurs in it, [*x.shape, 1]."""
    ones = ones_like(x, "float64").unsqueeze(-1)  # which half precision could not count
    counts = _embedding_grad(ones, x, shape=(rows, 1), padding_idx=None)
    return cast(_embedding(x, counts, padding_idx=None), g.dtype)


def _infer_embedding_grad(g: Type, x: Type, *, shape: Any, padding_idx: int | None) -> Type:
    return Type(shape, g.dtype)


@op(infer=_infer_embedding_grad)
def _embedding_grad(g, x, *, shape, padding_idx):
    """Zeros of `shape` with the rows of g added at x, `padding_idx` left out. ONNX: ScatterND."""
    return kernels.embedding_grad(g, x, rows=shape[0], padding_idx=padding_idx)


@_embedding.fused_vjp("weight")
def _(g, *, x, weight_shape, padding_idx, by_frequency, into):
    if by_frequency:
        g = g / kernels.occurrences(x).astype(g.dtype)[..., None]
    if into is not None and not into.flags.c_contiguous:
        into = None
    rows = weight_shape[0]
    return kernels.embedding_grad(g, x, rows=rows, padding_idx=padding_idx, into=into)


@_embedding_grad.vjp("g")
def _(gg, *, x, padding_idx):
    picked = _embedding(x, gg, padding_idx=None)
    if padding_idx is None:
        return picked
    kept = (x != padding_idx).astype(gg.dtype)
    return picked * kept.reshape((*x.shape, 1))


def rows_of(
    x: Tensor, weight: Tensor, padding_idx: int | None = None, by_frequency: bool = False
) -> Tensor:
    """The rows of `weight` that x names.

    Args:
        x: integers in [0, rows), any shape.
        weight: [rows, width], floating point.
        padding_idx: a row that gets no gradient; negative counts from the end.
        by_frequency: divide the gradient of a row by how often x names it.

    Returns:
        [*x.shape, width].

    Raises:
        DTypeError: x does not hold integers.
        IndexRangeError: an index is not a row of the table.

    ONNX: Gather.
    """
    if padding_idx is not None and padding_idx < 0:
        padding_idx = padding_idx + weight.shape[0]
    return apply(_embedding, (x, weight), (padding_idx, by_frequency))


__all__ = ["rows_of"]
