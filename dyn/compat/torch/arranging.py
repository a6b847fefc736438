"""More ways to join, cut, turn and lay out tensors, under PyTorch's names: dyn's ops composed.

The common ones are in `shape.py`; what writes to places of a tensor is in `writing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided as as_strided_array
from numpy.lib.stride_tricks import sliding_window_view

from dyn.compat.torch import creation, shape
from dyn.compat.torch.algebra import tensors_of
from dyn.compat.torch.tensor import Base, own
from dyn.compat.torch.types import Size
from dyn.core.alias import shared
from dyn.core.dim import plain
from dyn.core.errors import AttributeValueError
from dyn.ops import composed, gather, join, scan, search
from dyn.ops import shape as ops
from dyn.ops.creation import arange
from dyn.ops.infer import axis_of, show
from dyn.ops.infer import broadcast_shapes as broadcast
from dyn.ops.places import take
from dyn.ops.repeat import tile as tiled


def swapaxes(x: Any, axis0: int, axis1: int) -> Any:
    """Two axes exchanged."""
    return ops.swapaxes(x, axis0, axis1)


def swapdims(x: Any, dim0: int, dim1: int) -> Any:
    """Two axes exchanged."""
    return ops.swapaxes(x, dim0, dim1)


def adjoint(x: Any) -> Any:
    """The last two axes exchanged: elements are real."""
    return ops.swapaxes(x, -2, -1)


def fliplr(x: Any) -> Any:
    """The second axis in reverse order."""
    return join.flip(x, [1])


def flipud(x: Any) -> Any:
    """The first axis in reverse order."""
    return join.flip(x, [0])


def rot90(x: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Turned by k quarters in the plane of two axes."""
    turned = join.rot90(x, k, tuple(dims))
    return turned.clone() if turned is x else turned


def ravel(x: Any) -> Any:
    """All elements in a row."""
    return ops.reshape(x, [-1])


def tile(x: Any, *dims: Any) -> Any:
    """Copies side by side, so many along each axis from the last on."""
    return tiled(x, creation.sizes_of(dims))


def diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Each element minus the one before along an axis, n times over."""
    return scan.diff(x, n, dim, prepend, append)


def argwhere(x: Any) -> Any:
    """The places that are not zero, a row of indices each."""
    return search.nonzero(x)


def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Any:
    """out[i][j] = x[indices[i][j]][j] for dim 0, and so on, broadcast; of all elements if None."""
    if dim is None:
        return gather.take_along_axis(ops.reshape(x, [-1]), ops.reshape(indices, [-1]), 0)
    return gather.take_along_axis(x, indices, dim)


def tensor_split(x: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """So many pieces, the first ones longer by one, or pieces that begin at the listed places."""
    return tuple(composed.tensor_split(x, indices_or_sections, dim))


def hsplit(x: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` along the second axis, or the only one."""
    return tensor_split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` along the first axis."""
    return tensor_split(x, indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` along the third axis."""
    return tensor_split(x, indices_or_sections, 2)


def split_with_sizes(x: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Pieces of the listed sizes."""
    return tuple(join.parts(x, list(split_sizes), dim))


def unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of `size` elements, `step` apart along an axis, as a new last axis.

    A view, read-only unless windows follow on each other.

    Raises:
        AttributeValueError: the windows are longer than the axis, or do not advance.
    """
    axis = axis_of(dimension, x.ndim)
    if step < 1 or not 0 <= size <= plain((x.shape[axis],))[0]:
        raise AttributeValueError(
            f"unfold: windows of {size} elements, {step} apart, do not fit axis {axis} of "
            f"{show(x.shape)}"
        )
    count = (x.shape[axis] - size) // step + 1
    if step == size:
        rows = ops.unflatten(shape.narrow(x, axis, 0, count * size), axis, [count, size])
        return ops.moveaxis(rows, axis + 1, -1)

    def windows(base: Any) -> Any:
        starts = ops.unsqueeze(arange(0, count, 1, "int64") * step, 1)
        places = starts + arange(0, size, 1, "int64")
        return ops.moveaxis(gather.gather(base, places, axis), axis + 1, -1)

    return shared(x, windows, lambda a: sliding_window_view(a, size, axis)[_every(axis, step)])


def _every(axis: int, step: int) -> Any:
    return (*(slice(None),) * axis, slice(None, None, step))


def as_strided(x: Any, size: Any, stride: Any, storage_offset: int = 0) -> Any:
    """The elements at offset + sum(index * stride) of the flattened tensor: a read-only view."""
    first = storage_offset or 0
    places = np.full((), first, np.int64)
    for count, step in zip(size, stride, strict=True):
        places = places[..., None] + np.arange(count, dtype=np.int64) * step
    index = Base(np.ascontiguousarray(places))
    # Strides are in bytes, of which a flag takes one.
    return shared(
        x,
        lambda base: take(base, index),
        lambda a: as_strided_array(a.reshape(-1)[first:], tuple(size), tuple(stride)),
    )


def sum_to_size(x: Any, *size: Any) -> Any:
    """Summed over the axes along which `size` was broadcast to x."""
    wanted = creation.sizes_of(size)
    extra = x.ndim - len(wanted)
    axes = list(range(extra))
    axes += [i + extra for i, n in enumerate(wanted) if n == 1 and x.shape[i + extra] != 1]
    return ops.reshape(x.sum(axes), wanted) if axes else x


def _atleast(count: int) -> Any:
    def call(*tensors: Any) -> Any:
        listed = tensors_of(tensors)
        made = [_widened(t if isinstance(t, Base) else Base(t), count) for t in listed]
        return made[0] if len(tensors) == 1 and isinstance(tensors[0], Base) else tuple(made)

    call.__name__ = f"atleast_{count}d"
    call.__doc__ = f"Tensors with new axes of size 1, so that each has {count} or more."
    return call


def _widened(x: Any, count: int) -> Any:
    sizes = list(x.shape)
    if len(sizes) >= count:
        return x
    if count == 3 and sizes:
        # The third axis comes last, the first one first.
        sizes = [1, *sizes, 1] if len(sizes) == 1 else [*sizes, 1]
    else:
        sizes = [1] * (count - len(sizes)) + sizes
    return ops.reshape(x, sizes)


atleast_1d, atleast_2d, atleast_3d = map(_atleast, (1, 2, 3))


def dstack(tensors: Sequence[Any]) -> Any:
    """Tensors one after the other along the third axis."""
    return composed.dstack(tensors)


def column_stack(tensors: Sequence[Any]) -> Any:
    """Tensors side by side as columns; vectors become columns."""
    return composed.column_stack(tensors)


def concatenate(tensors: Sequence[Any], dim: int = 0, *, axis: int | None = None) -> Any:
    """Tensors one after the other along an axis that they have."""
    return shape.cat(tensors, dim if axis is None else axis)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """The tensors, expanded to their common shape."""
    listed = tensors_of(tensors)
    sizes = broadcast(*(tuple(t.shape) for t in listed))
    return tuple(shape.expanded(t, sizes) for t in listed)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Coordinate tensors of a grid, the first along the first axis: read-only views."""
    alone = len(tensors) == 1 and not isinstance(tensors[0], Base)
    listed: list[Any] = list(tensors[0]) if alone else list(tensors)
    if indexing == "xy":
        first, second, *rest = meshgrid(listed[1], listed[0], *listed[2:])
        return (second, first, *rest)
    sizes = [x.shape[0] if x.ndim else 1 for x in listed]
    return tuple(
        own(shape.expanded(ops.reshape(x, [n if i == j else 1 for j in range(len(sizes))]), sizes))
        for i, (x, n) in enumerate(zip(listed, sizes, strict=True))
    )


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which tensors of the shapes broadcast."""
    return Size(np.broadcast_shapes(*shapes))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, **_: Any) -> Any:
    """Places on and below a diagonal of a matrix: rows and columns, (2, n)."""
    return composed.tril_indices(row, col, offset, dtype or "int64")


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, **_: Any) -> Any:
    """Places on and above a diagonal of a matrix: rows and columns, (2, n)."""
    return composed.triu_indices(row, col, offset, dtype or "int64")
