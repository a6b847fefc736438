"""Lowerings of `dyn/ops/repeat.py`: Tile; Expand of what has one more axis or lies along one."""

from exporter.registry import lowers


@lowers("repeat_each")
def _(b, node):
    count, axis = node.attrs["count"], node.attrs["axis"]
    sizes = node.input_types[0].shape
    apart = b.shape_vector((*sizes[: axis + 1], count, *sizes[axis + 1 :]))
    return b.reshape(
        b.op("Expand", b.unsqueeze(node.x, axis + 1), apart), node.output_types[0].shape
    )


@lowers("tile")
def _(b, node):
    return b.op("Tile", node.x, b.shape_vector(node.attrs["repeats"]))


@lowers("line")
def _(b, node):
    shape, axis = node.attrs["shape"], node.attrs["axis"]
    behind = len(shape) - axis - 1
    lying = node.x
    if behind or len(node.input_types[0].shape) != 1:
        lying = b.reshape(node.x, (shape[axis], *[1] * behind))
    return b.op("Expand", lying, b.shape_vector(shape))
