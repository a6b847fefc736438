"""Small savings while nodes are made: moves that undo or follow each other, and repeated calls.

Only what holds for every input of every operator is done here; a better choice of operators belongs
in the lowering that knows the op.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx

DRAWS = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
"""Operators whose result is another one each time."""

MOVES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that keep the elements and their order."""

Maker = Callable[[str], "onnx.NodeProto | None"]
"""The node that makes a value, by the value's name."""


def same_call(op_type: str, inputs: Sequence[str], outputs: int, attrs: Mapping[str, Any]) -> Any:
    """What two nodes must share to compute the same; None if they need not."""
    if op_type in DRAWS:
        return None
    frozen = []
    for name, value in sorted(attrs.items()):
        if isinstance(value, (list, tuple)):
            value = tuple(value)
        elif not isinstance(value, (int, float, str, bytes)):
            return None
        frozen.append((name, repr(value)))  # 0.0 equals -0.0
    return (op_type, tuple(inputs), outputs, tuple(frozen))


def simplified(
    op_type: str, inputs: Sequence[str], attrs: Mapping[str, Any], maker: Maker
) -> tuple[str, list[str], dict[str, Any]] | str:
    """A node that does the same for less, or the name of the value that is its result already.

    Args:
        op_type, inputs, attrs: the node as it is asked for.
        maker: looks up nodes that are made already.
    """
    if op_type == "Identity":
        return inputs[0]
    if op_type == "Transpose":
        perm = list(attrs["perm"])
        before = maker(inputs[0])
        if before is not None and before.op_type == "Transpose":
            first = list(before.attribute[0].ints)
            perm = [first[axis] for axis in perm]
            inputs = [before.input[0]]
        if perm == list(range(len(perm))):
            return inputs[0]
        return op_type, list(inputs), {"perm": perm}
    if op_type == "Reshape" and not attrs:  # one that copies sizes of its input has allowzero=0
        before = maker(inputs[0])
        while before is not None and before.op_type in MOVES:
            inputs = [before.input[0], *inputs[1:]]
            before = maker(inputs[0])
    return op_type, list(inputs), dict(attrs)
