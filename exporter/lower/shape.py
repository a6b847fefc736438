"""Lowerings of `dyn/ops/shape.py`: Reshape, Transpose, Squeeze, Unsqueeze."""

from exporter.registry import lowers


@lowers("reshape")
def _(b, node):
    return b.reshape(node.x, node.attrs["shape"])


@lowers("transpose")
def _(b, node):
    perm = node.attrs["perm"]
    return b.op("Identity", node.x) if list(perm) == sorted(perm) else b.transpose(node.x, perm)


@lowers("squeeze")
def _(b, node):
    axes = node.attrs["axes"]
    return b.squeeze(node.x, *axes) if axes else b.op("Identity", node.x)


@lowers("unsqueeze")
def _(b, node):
    axes = node.attrs["axes"]
    return b.unsqueeze(node.x, *axes) if axes else b.op("Identity", node.x)
