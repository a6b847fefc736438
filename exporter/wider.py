"""Element types in which ONNX or onnxruntime have no operator for an op: a wider one is taken.

A model that runs on bytes, short integers or booleans must export, too. Its values are cast before
the op and back after it; each type in the table holds all numbers of the narrower one, and casting
back keeps the low bits as integers of the narrow type do that overflow. What has no wider type
(float64 in convolutions, say) stays with onnxruntime to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dyn.core.op import Type
from exporter.registry import NodeView

_INT16 = {"int16": "int32"}
_SMALL = {"int8": "int32", "uint8": "int32", **_INT16}
_BOOL = {"bool": "uint8"}

WIDER: dict[str, Mapping[str, str]] = {
    op: wider
    for ops, wider in (
        ("clip maximum minimum pad relu unfold", _INT16),
        ("argmax argmin cummax extreme fold max min searchsorted where", {**_BOOL, **_INT16}),
        ("einsum matmul", {**_SMALL, "bool": "int32"}),
        ("bincount lower_median mode norm pow tril triu", _SMALL),
        ("floor_divide neg remainder", {"uint8": "int32"}),
        # MaxPool takes floating-point numbers and bytes alone, DepthToSpace not even all bytes.
        (
            "max_pool max_pool_index pixel_shuffle",
            {**_BOOL, "int16": "float32", "int32": "float64"},
        ),
    )
    for op in ops.split()
}
"""For each op the wider type by the name of a type that it needs one for."""


def in_wider_types(
    lowering: Callable[[Any, NodeView], Any], b: Any, node: NodeView
) -> tuple[Any, ...]:
    """The results of a lowering, computed in the types that its operators have."""
    wider = WIDER.get(node.op, {})

    def widened(type_: Type) -> Type:
        return Type(type_.shape, np.dtype(wider.get(type_.dtype.name, type_.dtype)))

    def cast(value: Any, old: Type | None, new: Type | None) -> Any:
        if value is None or old is None or new is None or old.dtype == new.dtype:
            return value
        return b.cast(value, new.dtype)

    inputs = [None if t is None else widened(t) for t in node.input_types]
    outputs = [widened(t) for t in node.output_types]
    values = map(cast, node.inputs, node.input_types, inputs)
    view = replace(node, inputs=list(values), input_types=inputs, output_types=outputs)
    made = lowering(b, view)
    results = made if isinstance(made, tuple) else (made,)
    return tuple(map(cast, results, outputs, node.output_types))


__all__ = ["WIDER", "in_wider_types"]
