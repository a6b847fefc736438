"""Rearranging, joining, cutting and indexing under PyTorch's names and argument orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.compat.torch.creation import sizes_of
from dyn.compat.torch.tensor import Base
from dyn.compat.torch.types import INTEGERS
from dyn.core.alias import shared
from dyn.core.dim import Dim, plain
from dyn.core.dtype import DType, common_dtype
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import cast_to
from dyn.ops import creation, elementwise, join, matrix, scan, search
from dyn.ops import gather as gathers
from dyn.ops import index as indices
from dyn.ops import shape as ops
from dyn.ops.infer import axis_of, same_size, show
from dyn.ops.places import index_add as added
from dyn.ops.places import take as taken
from dyn.ops.repeat import repeat_interleave as repeated
from dyn.ops.repeat import tile as tiled


def view(x: Any, *shape: Any, dtype: Any = None) -> Any:
    """The same values in another shape, one size of which may be -1."""
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], DType)):
        raise NotImplementedError(
            "view(dtype) would read the bits as another dtype, for which ONNX has no operator: "
            "to(dtype) converts the values, torch.from_numpy(x.numpy().view(...)) copies the bits"
        )
    return ops.reshape(x, sizes_of(shape))


def reshape(x: Any, *sizes: Any, shape: Any = None) -> Any:
    """`view`; the sizes may also be given as `shape`."""
    return ops.reshape(x, sizes_of(sizes) if shape is None else list(shape))


def view_as(x: Any, other: Any) -> Any:
    """The same values in the shape of `other`."""
    return ops.reshape(x, list(other.shape))


def permute(x: Any, *order: Any, dims: Any = None) -> Any:
    """The axes in the given order."""
    order = order if dims is None else (dims,)
    return ops.transpose(x, sizes_of(order))


def transpose(x: Any, dim0: Any, dim1: Any = None) -> Any:
    """Two axes exchanged; or, as in Paddle, all axes in the order of one list."""
    return ops.transpose(x, dim0) if dim1 is None else ops.swapaxes(x, dim0, dim1)


def t(x: Any) -> Any:
    """A matrix transposed."""
    if x.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D")
    return ops.t(x)


def squeeze(x: Any, dim: Any = None) -> Any:
    """Without the axes of size 1; with `dim` without that one, if its size is 1."""
    return ops.squeeze(x, dim)


def unsqueeze(x: Any, dim: int) -> Any:
    """With a new axis of size 1 at `dim`."""
    return ops.unsqueeze(x, dim)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from `start_dim` to `end_dim` joined."""
    return ops.flatten(x, start_dim, end_dim)


def unflatten(x: Any, dim: int, sizes: Any) -> Any:
    """One axis split into several."""
    return ops.unflatten(x, dim, list(sizes))


def movedim(x: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places."""
    return ops.moveaxis(x, source, destination)


def expand(x: Any, *sizes: Any) -> Any:
    """Axes of size 1 repeated; -1 keeps a size. A view, read-only if an axis is repeated."""
    return expanded(x, sizes_of(sizes))


def expand_as(x: Any, other: Any) -> Any:
    """Axes of size 1 repeated to the shape of `other`."""
    return expanded(x, list(other.shape))


def broadcast_to(x: Any, size: Any) -> Any:
    """The values broadcast to `size`."""
    return expanded(x, list(size))


def expanded(x: Any, sizes: Sequence[Any]) -> Any:
    """A view of x in which axes of size 1 are repeated: it is read-only where one is."""
    own = x.shape
    lead = len(sizes) - len(own)
    olds = (*[1] * lead, *own)
    if lead >= 0 and all(map(_kept, sizes, olds)):
        return ops.unsqueeze(x, range(lead))
    shape = tuple([old if _is(n, -1) else n for n, old in zip(sizes, olds, strict=False)])
    return shared(
        x, lambda base: join.expand(base, sizes), lambda a: np.broadcast_to(a, plain(shape))
    )


def _kept(n: Any, old: Any) -> bool:
    """Whether an axis of size `old` is not repeated; a symbolic size is never taken for 1."""
    return _is(n, -1) or (_is(n, 1) if _is(old, 1) else same_size(n, old))


def _is(n: Any, number: int) -> bool:
    return isinstance(n, int) and n == number


def repeat(x: Any, *sizes: Any) -> Any:
    """Copies side by side, so many along each axis."""
    return tiled(x, sizes_of(sizes))


def repeat_interleave(
    x: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Each element repeated in its place; `output_size` is not needed."""
    return repeated(x, repeats, dim)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors one after the other along an axis that they have.

    Tensors of shape [0] fit all others and add nothing: programs begin with `torch.tensor([])`.
    """
    several = list(tensors)
    full = [x for x in several if getattr(getattr(x, "_array", None), "shape", None) != (0,)]
    if 0 < len(full) < len(several) and full[0].ndim != 1:
        dtype = common_dtype((x._read().shape, x._read().dtype) for x in several)
        several = [cast_to(x, dtype) for x in full]
    return join.concat(several, dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors side by side along a new axis."""
    return join.stack(list(tensors), dim)


def split(x: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Pieces of a size (the last may be smaller), or of the listed sizes."""
    sections = split_size_or_sections
    if isinstance(sections, INTEGERS):
        total = x.shape[dim]
        if sections < 0 or (sections == 0 and total != 0):
            raise AttributeValueError(
                f"split: pieces of {sections} cannot make up size {total} of axis {dim}"
            )
        if sections == 0:
            return tuple(join.parts(x, [0], dim))
        whole, rest = divmod(int(total), int(sections))
        sections = [sections] * whole + ([rest] if rest or not whole else [])
    return tuple(join.parts(x, list(sections), dim))


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most so many pieces of equal size, but for the last."""
    if chunks < 1:
        raise AttributeValueError(f"chunk: there must be a piece or more, got {chunks}")
    total = x.shape[dim]
    if isinstance(total, Dim):
        return _dynamic_chunks(x, total, chunks, dim)
    if not total:
        return tuple(join.parts(x, [0] * chunks, dim))
    return split(x, -(-total // chunks), dim)


def _dynamic_chunks(x: Any, total: Dim, chunks: int, dim: int) -> tuple[Any, ...]:
    """As many pieces as in this run, which is a guard: a shorter axis has fewer."""
    step = (total + (chunks - 1)) // chunks
    count = -(-plain(total) // max(plain(step), 1))
    last = total - step * (count - 1)
    if last < 1 or last > step:
        raise ShapeError(f"chunk: {show(x.shape)} has no {count} pieces along axis {dim}")
    return tuple(join.parts(x, [step] * (count - 1) + [last], dim))


def unbind(x: Any, dim: int = 0) -> tuple[Any, ...]:
    """All slices along an axis, without it."""
    return tuple(join.unbind(x, dim))


def narrow(x: Any, dim: int, start: Any, length: Any) -> Any:
    """`length` slices along an axis from `start` on."""
    return indices.slice(x, [dim], [start], [start + length])


def select(x: Any, dim: int, index: int) -> Any:
    """One slice along an axis, without it."""
    return indices.getitem(x, (slice(None),) * axis_of(dim, x.ndim) + (index,))


def flip(x: Any, *axes: Any, dims: Any = None) -> Any:
    """The given axes in reverse order."""
    return join.flip(x, sizes_of(axes if dims is None else (dims,)))


def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    """The values moved along axes; what falls out comes in at the other end.

    A shift that is a tensor may depend on values: the file computes with it.
    """
    if isinstance(shifts, Base):
        if dims is None:
            flat = roll(reshape(x, (-1,)), shifts, 0)
            return reshape(flat, tuple(x.shape))
        axes = [dims] if isinstance(dims, int) else list(dims)
        if shifts.numel() != len(axes) or shifts.dtype.is_floating_point:
            raise AttributeValueError(
                f"roll: shifts must be {len(axes)} integers for the axes {axes}, got a tensor of "
                f"shape {show(shifts.shape)} and dtype {shifts.dtype}"
            )
        for axis, shift in zip(axes, ops.reshape(shifts, [-1]), strict=True):
            size = x.shape[axis]
            places = elementwise.remainder(creation.arange(0, size) - shift, size)
            x = gathers.index_select(x, places, axis)
        return x
    return join.roll(x, shifts, dims)


def index_select(x: Any, dim: int, index: Any) -> Any:
    """The slices along an axis that `index` lists."""
    found = gathers.index_select(atleast_1d(x), atleast_1d(index), dim)
    return found if x.ndim else ops.reshape(found, [])


def gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """out[i][j] = x[index[i][j]][j] for dim 0, and so on; gradients are always dense."""
    found = gathers.take_along_axis(atleast_1d(x), atleast_1d(index), dim, broadcast=False)
    return found if index.ndim else ops.reshape(found, [])


def part_of(src: Any, index: Any) -> Any:
    """The part of `src` that an index takes, from the front of every axis; a number as it is.

    Raises:
        ShapeError: `src` has other axes than the index, or is shorter.
    """
    if not isinstance(src, Base) or tuple(src.shape) == tuple(index.shape):
        return src
    have, want = plain(tuple(src.shape)), plain(tuple(index.shape))
    if len(have) != len(want) or any(n < m for n, m in zip(have, want, strict=True)):
        raise ShapeError(f"scatter: index {show(want)} takes more than src {show(have)} has")
    return indices.slice(src, list(range(src.ndim)), [0] * src.ndim, list(index.shape))


def scatter(
    x: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Any:
    """A copy with out[index[i][j]][j] = src[i][j] for dim 0, and so on; or one value for all."""
    src = value if src is None else part_of(src, index)
    how = {None: "assign", "add": "add", "multiply": "mul"}[reduce]
    return _put(x, dim, index, src, how)


def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    """A copy with src[i][j] added to out[index[i][j]][j] for dim 0, and so on."""
    return _put(x, dim, index, part_of(src, index), "add")


def _put(x: Any, dim: int, index: Any, src: Any, how: str) -> Any:
    # PyTorch takes a number for a vector where an axis is asked for.
    found = gathers.put_along_axis(atleast_1d(x), atleast_1d(index), atleast_1d(src), dim, how)
    return found if x.ndim else ops.reshape(found, [])


def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """A copy with `alpha` times the slices of `source` added to those that `index` lists."""
    return added(x, index, dim, source if alpha == 1 else source * alpha)


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """A copy with `value` where the mask is true."""
    return indices.masked_fill(x, mask, value)


def masked_select(x: Any, mask: Any) -> Any:
    """The values where the mask is true, in a row."""
    return indices.masked_select(x, mask)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition is true, y elsewhere; the places of true if only it is given."""
    if x is None and y is None:
        return nonzero(condition, as_tuple=True)
    return indices.where(condition, x, y)


def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """The places that are not zero: a row of indices each, or a tensor per axis."""
    found = search.nonzero(x)
    if not as_tuple:
        return found
    return tuple(indices.getitem(found, (slice(None), axis)) for axis in range(x.ndim))


def tril(x: Any, diagonal: int = 0) -> Any:
    """Zeros above a diagonal."""
    return matrix.tril(x, diagonal)


def triu(x: Any, diagonal: int = 0) -> Any:
    """Zeros below a diagonal."""
    return matrix.triu(x, diagonal)


def diag(x: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix, or a matrix with a diagonal."""
    return matrix.diag(x, diagonal)


def cumsum(x: Any, dim: int, *, dtype: Any = None) -> Any:
    """Sums of all elements so far along an axis."""
    return scan.cumsum(x, dim, dtype)


def cumprod(x: Any, dim: int, *, dtype: Any = None) -> Any:
    """Products of all elements so far along an axis."""
    return scan.cumprod(x, dim, dtype)


def take(x: Any, index: Any) -> Any:
    """The elements at places of the flattened tensor."""
    return taken(x, index)


def atleast_1d(x: Any) -> Any:
    """The tensor, with an axis if it has none."""
    return x if not isinstance(x, Base) or x.ndim else ops.reshape(x, [1])


def one_row(tensors: Sequence[Any]) -> Any:
    """Tensors one after the other along the last axis: `torch.hstack`."""
    return join.hstack(list(tensors))


def one_column(tensors: Sequence[Any]) -> Any:
    """Tensors one after the other along the first axis: `torch.vstack`."""
    return join.vstack(list(tensors))
