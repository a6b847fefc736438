"""Lowerings of `dyn/ops/basic_index.py`.

Reading is Slice, Gather, Squeeze, Unsqueeze. Writing a block of one axis joins what stays with what
is new; any other region is written by the positions that the same read gives of a counting tensor.
"""

from __future__ import annotations

import numpy as np

from dyn.core.expr import Expr
from dyn.ops.infer import product
from exporter.registry import lowers

FIRST, LAST = -(2**63) + 1, 2**63 - 1


def _places(b, places):
    """A vector of numbers, some of which may depend on sizes."""
    if all(isinstance(at, int) for at in places):
        return b.ints(*places)
    parts = [b.shape_vector([at]) for at in places]
    return parts[0] if len(parts) == 1 else b.op("Concat", *parts, axis=0)


def read(b, x, index):
    """`x[index]` for an index attribute."""
    sliced = []
    ints: list[tuple[int, object]] = []
    new: list[int] = []
    axis = out_axis = 0
    for entry in index:
        if entry[0] == "new":
            new.append(out_axis)
            out_axis += 1
            continue
        if entry[0] == "int":
            ints.append((axis, entry[1]))
        else:
            if tuple(entry[1:]) not in ((None, None, None), (None, None, 1), (0, None, 1)):
                sliced.append((axis, entry))
            out_axis += 1
        axis += 1
    if sliced:
        x = _slice(b, x, sliced)
    for axis, at in reversed(ints):
        x = b.op("Gather", x, b.size(at), axis=axis)
    if new:
        x = b.unsqueeze(x, *new)
    return x


def _slice(b, x, sliced):
    x, sliced = _from_the_end(b, x, sliced)
    axes = [axis for axis, _ in sliced]
    steps = [1 if step is None else step for _, (*_, step) in sliced]
    starts = [
        (0 if by > 0 else LAST) if start is None else start
        for (_, (_, start, _, _)), by in zip(sliced, steps, strict=True)
    ]
    stops = [
        (LAST if by > 0 else FIRST) if stop is None else stop
        for (_, (_, _, stop, _)), by in zip(sliced, steps, strict=True)
    ]
    return b.op("Slice", x, _places(b, starts), _places(b, stops), b.ints(*axes), b.ints(*steps))


def _from_the_end(b, x, sliced):
    """Slices that go backwards from a place counted from the end, made to begin at the end.

    Where that place is before the first element nothing is read, but Slice would read the first.
    """
    kept = [(axis, e) for axis, e in sliced if _starts_before_the_last(e)]
    if kept:
        stop = b.ints(*(e[1] + 1 for _, e in kept))
        x = b.op("Slice", x, b.ints(*[0] * len(kept)), stop, b.ints(*(axis for axis, _ in kept)))
    return x, [(axis, _shortened(e) if _starts_before_the_last(e) else e) for axis, e in sliced]


def _starts_before_the_last(entry):
    _, start, _, step = entry
    return step is not None and step < 0 and isinstance(start, int) and start < -1


def _shortened(entry):
    """What is left of a slice when its axis ends where it starts."""
    kind, start, stop, step = entry
    if isinstance(stop, int) and stop < 0:
        stop = min(stop - start - 1, -1)
    return kind, None, stop, step


@lowers("getitem")
def _(b, node):
    out = read(b, node.x, node.attrs["index"])
    return b.op("Identity", out) if out is node.x else out


def _full(entry):
    return entry[0] == "slice" and tuple(entry[1:]) in ((None, None, None), (None, None, 1))


def _one_block(index):
    """(axis, start, stop) if the index selects one block of one axis with known ends, else None."""
    found = [(axis, e) for axis, e in enumerate(index) if not _full(e)]
    if len(found) != 1 or any(e[0] == "new" for e in index):
        return None
    axis, entry = found[0]
    if entry[0] == "int":
        at = entry[1]
        return (axis, at, at + 1, True) if isinstance(at, int) and at >= 0 else None
    _, start, stop, step = entry
    start = 0 if start is None else start
    if step not in (None, 1) or not _plain(start) or not (stop is None or _plain(stop)):
        return None
    return (axis, start, stop, False)


def _plain(at):
    return isinstance(at, int) and at >= 0


def _positions(b, shape, index):
    """Flat positions, in row-major order, of the elements that `index` selects."""
    if all(isinstance(n, int) for n in shape):
        count = b.const(np.arange(product(shape), dtype=np.int64).reshape(shape))
    else:
        total = b.size(product(shape))
        flat = b.op("Range", b.const(np.int64(0)), total, b.const(np.int64(1)))
        count = b.reshape(flat, shape)
    return read(b, count, index)


def _write(b, x, shape, value, index):
    where = _positions(b, shape, index)
    wide = b.op("Expand", value, b.op("Shape", where))
    flat = b.op(
        "ScatterElements",
        b.reshape(x, [-1]),
        b.reshape(where, [-1]),
        b.reshape(wide, [-1]),
        axis=0,
    )
    return b.reshape(flat, shape)


@lowers("setitem")
def _(b, node):
    x, value = node.inputs
    shape, index = node.shape, node.attrs["index"]
    block = _one_block(index)
    if block is not None and _inside(shape, block):
        return _join_block(b, x, shape, value, len(node.input_types[1].shape), block)
    return _write(b, x, shape, value, index)


def _inside(shape, block):
    """Whether the block surely lies inside the axis and is not empty."""
    axis, start, stop, _ = block
    n = shape[axis]
    if isinstance(n, Expr):
        return stop is None and start == 0
    return start < (n if stop is None else stop) <= n


def _join_block(b, x, shape, value, value_rank, block):
    axis, start, stop, single = block
    n = shape[axis]
    size = 1 if single else (n if stop is None else stop) - start
    region = [*shape[:axis], size, *shape[axis + 1 :]]
    if single and value_rank > len(shape) - 1 - axis:
        # The value has no axis for the single index: put one in.
        lead = len(shape) - 1 - value_rank
        value = b.unsqueeze(value, axis - lead)
    middle = b.op("Expand", value, b.shape_vector(region))
    parts = []
    if start > 0:
        parts.append(b.op("Slice", x, b.ints(0), b.ints(start), b.ints(axis)))
    parts.append(middle)
    if stop is not None and stop != n:
        parts.append(b.op("Slice", x, b.ints(stop), b.ints(LAST), b.ints(axis)))
    return b.op("Concat", *parts, axis=axis) if len(parts) > 1 else middle


@lowers("getitem_grad")
def _(b, node):
    shape, index = node.attrs["shape"], node.attrs["index"]
    block = _one_block(index)
    if block is not None:
        axis, start, stop, single = block
        g = b.unsqueeze(node.x, axis) if single else node.x
        n = shape[axis]
        end = n if stop is None else stop
        if isinstance(end, int) and isinstance(n, int):
            end = min(end, n)
        elif stop is not None:
            return _scattered(b, node.x, shape, index, node.dtype)
        pads = [0] * (2 * len(shape))
        pads[axis], pads[len(shape) + axis] = start, n - end
        return b.op("Pad", g, b.shape_vector(pads), b.const(0, node.dtype))
    return _scattered(b, node.x, shape, index, node.dtype)


def _scattered(b, g, shape, index, dtype):
    zeros = b.op("Expand", b.const(0, dtype), b.shape_vector(shape))
    return _write(b, zeros, shape, g, index)
