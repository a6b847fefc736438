"""Results without elements: nothing is computed for them.

Most operators of ONNX take empty operands; some of onnxruntime's refuse them, and some divide by
their size, which ends the process. A result that is known to be empty is written as such. Where it
may be, as the size depends on values, ops made of such operators stand in a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onnx import helper

from dyn.core.expr import Expr, decide
from dyn.core.op import OPS, Type
from exporter.builder import Builder, tensor_type
from exporter.nodes import live
from exporter.registry import NodeView
from exporter.windows import filled, volume

NEED_ELEMENTS = frozenset(
    {
        "adaptive_avg_pool",
        "adaptive_avg_pool_grad",
        "attention",
        "channel_window_sum",
        "cholesky",
        "cummax",
        "cumprod",
        "einsum",
        "gru",
        "group_norm",
        "group_norm_grad",
        "interpolate_grad",
        "inverse",
        "local_response_norm",
        "lstm",
        "multinomial",
        "pixel_unshuffle",
        "recurrence",
        "slogdet",
        "solve",
        "triangular_solve",
    }
)
"""Ops whose operators onnxruntime does not run on nothing."""


def is_filled(sizes: Any) -> bool | None:
    """Whether a tensor has elements; None if that depends on values."""
    return decide(Expr.of(volume(sizes)), ">")


def nan_of_none(b: Builder, mean: Any, sizes: Any, dtype: Any) -> Any:
    """A mean over axes of these sizes: NaN of no elements, of which ReduceMean gives 0."""
    if is_filled(sizes):
        return mean
    none = b.op("Equal", b.size(volume(sizes)), b.const(0, "int64"))
    return b.op("Where", none, b.const(float("nan"), dtype), mean)


def unless_empty(
    lowering: Callable[[Any, NodeView], tuple[Any, ...]], b: Builder, node: NodeView
) -> tuple[Any, ...]:
    """The results of a lowering, which is not asked for what has no elements."""
    used = [i for i, used in enumerate(node.used) if used]
    types = [node.output_types[i] for i in used]
    known = [is_filled(type_.shape) for type_ in types]
    if not used or True in known or OPS[node.op].dynamic:
        return lowering(b, node)
    if None not in known:
        made = _nothing(b, types)
    elif node.op in NEED_ELEMENTS:
        made = if_filled(b, types, lambda b: [lowering(b, node)[i] for i in used])
    else:
        return lowering(b, node)
    results: list[Any] = [None] * len(node.output_types)
    for i, value in zip(used, made, strict=True):
        results[i] = value
    return tuple(results)


def if_filled(b: Builder, types: Sequence[Type], make: Callable[[Builder], Sequence[Any]]) -> Any:
    """What `make` gives, computed only if the first of its results has elements.

    Args:
        types: of the results, which are empty together.
    """
    some, none = b.child(), b.child()
    branches = []
    for name, side, values in (("some", some, make(some)), ("none", none, _nothing(none, types))):
        copies = [side.copy(value) for value in values]
        nodes = live(side.nodes, [copy.name for copy in copies])
        branches.append(helper.make_graph(nodes, name, [], list(map(_info, copies, types))))
    filled_now = b.op("Greater", b.size(volume(types[0].shape)), b.const(0, "int64"))
    made = b.op(
        "If", filled_now, outputs=len(types), then_branch=branches[0], else_branch=branches[1]
    )
    return made if isinstance(made, tuple) else (made,)


def _nothing(b: Builder, types: Sequence[Type]) -> list[Any]:
    return [filled(b, type_.shape, 0, type_.dtype) for type_ in types]


def _info(value: Any, type_: Type) -> Any:
    """An output of a branch, sizes left open."""
    shape = [None if isinstance(n, Expr) else n for n in type_.shape]
    return helper.make_tensor_value_info(value.name, tensor_type(type_.dtype), shape)
