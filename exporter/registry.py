"""The lowering table: for each op of dyn, the function that writes it in ONNX.

Lowerings live in `exporter/lower/`, one file per family as in `dyn/ops`. They get values and return
values; they never name, bind or look up anything, and never compare opset numbers (they ask the
builder whether the target has an operator).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dyn.core.errors import SourceLine
from dyn.core.op import OPS, Type

LOWERINGS: dict[str, Callable[[Any, NodeView], Any]] = {}
"""Lowering by op name: the only registry in exporter."""


@dataclass
class NodeView:
    """What a lowering sees of a graph node.

    Attributes:
        op: name of the dyn op.
        inputs: ONNX values, None where an optional input is absent.
        attrs: attribute values by name; sizes are ints or `Expr`s.
        input_types, output_types: shape (of int or Expr) and numpy dtype per value.
        used: which outputs anything reads; a private output that is not used may be left out.
        layer, where: path of the layer and line of the user's code, for messages.
    """

    op: str
    inputs: list[Any]
    attrs: dict[str, Any]
    input_types: list[Type | None]
    output_types: list[Type]
    used: list[bool]
    layer: str = ""
    where: SourceLine | None = None

    def named(self) -> dict[str, Any]:
        """The inputs by the names that the op declares, for ops with a fixed number of them."""
        return dict(zip(OPS[self.op].inputs, self.inputs, strict=True))

    @property
    def x(self) -> Any:
        """The first input."""
        return self.inputs[0]

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape of the first input."""
        return self.input_types[0].shape  # type: ignore[union-attr]

    @property
    def rank(self) -> int:
        """Number of axes of the first input."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """numpy dtype of the first input."""
        return self.input_types[0].dtype  # type: ignore[union-attr]

    @property
    def out(self) -> Type:
        """Type of the first output."""
        return self.output_types[0]


def lowers(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the lowering of the ops `names`: `f(b, node) -> value or tuple of values`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            _register(name, function)
        return function

    return register


def lower_table(**pairs: str) -> None:
    """Register ops that are one ONNX operator with the same inputs: `add="Add"`."""
    for name, target in pairs.items():
        _register(name, _Same(target))


class _Same:
    """One ONNX operator on the same inputs, without attributes."""

    def __init__(self, target: str):
        self.target = target

    def __call__(self, b: Any, node: NodeView) -> Any:
        return b.op(self.target, *node.inputs)


def _register(name: str, function: Callable[..., Any]) -> None:
    if name in LOWERINGS:
        raise TypeError(f"op {name!r} has two lowerings")
    LOWERINGS[name] = function


def missing(names: Sequence[str]) -> list[str]:
    """Those of the op names that have no lowering."""
    return [name for name in names if name not in LOWERINGS]
