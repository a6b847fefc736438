"""The backward graph as PyTorch shows it: names of gradient functions, and `backward`'s rules.

The tape and the walk are dyn's own; what must not go in here is a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyn.core import autograd
from dyn.core.tape import GradNode, leaf_of
from dyn.core.tensor import Tensor
from dyn.core.walk import accumulate

_NAMES = {
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "remainder": "Remainder",
    "concat": "Cat",
    "transpose": "Permute",
    "cast": "ToCopy",
    "conv": "Convolution",
    "conv_transpose": "Convolution",
    "max_pool": "MaxPool2DWithIndices",
    "avg_pool": "AvgPool2D",
    "batch_norm": "NativeBatchNorm",
    "batch_norm_infer": "NativeBatchNorm",
    "layer_norm": "NativeLayerNorm",
    "group_norm": "NativeGroupNorm",
    "dropout": "NativeDropout",
    "reshape": "View",
    "softmax_cross_entropy": "NllLoss",
    "negate": "Neg",
    "tile": "Repeat",
    "square": "Pow",
}
_SECOND = {"sum", "mean", "max", "min", "prod", "var", "std"}
"""Reductions, which PyTorch counts: 0 over all elements, 1 along axes."""


def _name_of(node: GradNode) -> str:
    op = node.op.name
    if op == "matmul":
        ranks = {len(shape) for shape in node.key[1::2] if shape is not None}
        return {frozenset({2}): "Mm", frozenset({1}): "Dot"}.get(frozenset(ranks), "Bmm")
    if op == "linear":
        return "Addmm" if node.key[5] is not None else "Mm"
    if op == "getitem" or op == "basic_index":
        return "Select" if node.key else "Slice"
    return _NAMES.get(op) or "".join(part.capitalize() for part in op.split("_"))


class GradFn:
    """What `tensor.grad_fn` is: one call of an op on the tape, seen from outside."""

    def __init__(self, node: GradNode):
        self._node = node

    def name(self) -> str:
        """The name in PyTorch's style, such as "AddBackward0"."""
        node = self._node
        number = 0
        if node.op.name in _SECOND:
            axes = dict(zip(node.op.attrs, node.attrs, strict=True)).get("axes")
            number = int(axes is not None and len(axes) < len(node.key[1]))
        return f"{_name_of(node)}Backward{number}"

    @property
    def next_functions(self) -> tuple[Any, ...]:
        """Pairs of the gradient function of each input, or None, and which output it was."""
        found = []
        for edge in self._node.edges:
            node = None if edge is None else edge[0]
            shown = GradFn(node) if isinstance(node, GradNode) else node
            found.append((shown, 0 if edge is None else edge[1]))
        return tuple(found)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self._node):#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GradFn) and self._node is other._node

    def __hash__(self) -> int:
        return hash(self._node)


def seeds(tensors: Sequence[Tensor], gradients: Sequence[Any] | None) -> list[Any]:
    """The gradient to start from for each tensor; ones are supplied for single elements only.

    Raises:
        RuntimeError: a tensor of several elements has no gradient.
    """
    given = list(gradients) if gradients is not None else [None] * len(tensors)
    for tensor, gradient in zip(tensors, given, strict=True):
        if gradient is None and not tensor.stop_gradient and tensor._read().size != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
    return given


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of the sum of `tensors` to `.grad` of every leaf they depend on.

    Args:
        tensors: a tensor or several.
        grad_tensors: the gradient of each; may be left out for tensors of one element.
        retain_graph: keep the graph; by default as `create_graph`.
        create_graph: make the gradients differentiable.
        inputs: a tensor or several whose `.grad` alone is added to; None: those of all leaves.

    Raises:
        RuntimeError: nothing here wants a gradient, the graph was freed, a gradient is missing, or
            `inputs` are none.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if isinstance(grad_tensors, Tensor):
        grad_tensors = [grad_tensors]
    for tensor in tensors:
        if tensor.stop_gradient:
            raise RuntimeError(
                "element 0 of tensors does not require grad and does not have a grad_fn"
            )
    keep = create_graph if retain_graph is None else retain_graph
    given = seeds(tensors, grad_tensors)
    if inputs is None:
        autograd.backward(tensors, given, keep, create_graph)
        return
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not wanted:
        raise RuntimeError("'inputs' argument to 'backward' cannot be empty.")
    found = autograd.grad(tensors, wanted, given, keep, create_graph, allow_unused=True)
    for x, g in zip(wanted, found, strict=True):
        if g is None:
            continue
        if x.is_leaf:
            accumulate(leaf_of(x), g, create_graph)
        else:
            x.grad = g if x.grad is None else x.grad + g
