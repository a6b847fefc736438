"""Lowerings of `dyn/ops/sort.py`."""

from __future__ import annotations

from exporter.registry import lowers


@lowers("topk")
def _(b, node):
    return b.op(
        "TopK",
        node.x,
        b.shape_vector([node.attrs["k"]]),
        outputs=2,
        axis=node.attrs["axis"],
        largest=int(node.attrs["largest"]),
        sorted=1,
    )
