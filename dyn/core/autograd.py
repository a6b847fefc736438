"""`backward` and `grad`: where a walk over the tape begins and which gradients are asked for.

The walk itself is `walk.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core import observe
from dyn.core.errors import AttributeValueError, GradError, ShapeError
from dyn.core.modes import restore_grad, switch_grad
from dyn.core.op import OPS
from dyn.core.tape import edge_of
from dyn.core.tensor import Tensor
from dyn.core.walk import MAX_CACHED, Walk, cached_full, of_dtype

_order = operator.attrgetter("order")  # 0 of leaves, which have no edges


def backward(
    tensors: Sequence[Tensor],
    gradients: Sequence[Any] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add the gradient of the sum of `tensors` to `.grad` of every leaf they depend on.

    Args:
        tensors: what to differentiate. A non-scalar without a gradient counts with ones, as in
            Paddle.
        gradients: gradient of each tensor, or None.
        retain_graph: keep what the rules saved, so that the graph can be walked again.
        create_graph: record the walk itself, so that gradients can be differentiated.

    Raises:
        GradError: a tensor depends on nothing that wants a gradient, the graph was already walked
            and freed, an op on the way has no gradient, or there are more or fewer gradients than
            tensors.
        ShapeError: a gradient does not have the shape of its tensor, or a hook returned another.
    """
    walk = Walk(create_graph, retain_graph or create_graph)
    _start(walk, tensors, gradients)


def _start(walk: Walk, tensors: Sequence[Tensor], gradients: Sequence[Any] | None) -> None:
    gradients = gradients if gradients is not None else [None] * len(tensors)
    if len(gradients) != len(tensors):
        raise GradError(f"{len(tensors)} tensors were given with {len(gradients)} gradients")
    before = switch_grad(walk.create_graph)
    try:
        for tensor, gradient in zip(tensors, gradients, strict=True):
            walk.deliver(*edge_of(tensor), _seed(tensor, gradient))
        walk.run()
    finally:
        restore_grad(before)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool = False,
) -> list[Any]:
    """Gradients of the sum of `outputs` with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs, inputs: a Tensor or a list of Tensors.
        grad_outputs: gradient of each output; ones where it is None.
        retain_graph: keep the graph; by default kept when `create_graph` is.
        create_graph: make the result differentiable.
        only_inputs: True; no other tensor is ever given a gradient.
        allow_unused: give None for an input that no output depends on, instead of an error.

    Returns:
        One gradient per input.

    Raises:
        GradError: an input has stop_gradient=True, or is unused and `allow_unused` is False; or as
            `backward`.
        ShapeError: as `backward`.
    """
    if not only_inputs:
        raise AttributeValueError("only_inputs=False is not offered; use backward()")
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = (
        None
        if grad_outputs is None
        else ([grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs))
    )
    for i, x in enumerate(ins):
        if x.stop_gradient:
            raise GradError(f"input {i} has stop_gradient=True; set it to False first")
    edges = [edge_of(x) for x in ins]
    keep = create_graph if retain_graph is None else retain_graph
    alive = _leading_to(outs, {node for node, _ in edges})
    walk = Walk(create_graph, keep or create_graph, set(edges), alive)
    _start(walk, outs, seeds)
    found = []
    for i, edge in enumerate(edges):
        g = walk.found.get(edge)
        if g is None and not allow_unused:
            raise GradError(
                f"no output depends on input {i}; pass allow_unused=True to get None for it"
            )
        found.append(g if g is None or create_graph else Tensor._of(g._array))
    return found


def _leading_to(outputs: Sequence[Tensor], targets: set[Any]) -> set[Any]:
    """All nodes on a path from the outputs to one of the target nodes."""
    nodes: set[Any] = set()
    stack = [edge_of(out)[0] for out in outputs if not out.stop_gradient]
    while stack:
        node = stack.pop()
        if node not in nodes:
            nodes.add(node)
            if node.order:
                stack += [edge[0] for edge in node.edges if edge is not None]
    alive: set[Any] = set()
    for node in sorted(nodes, key=_order):
        if node in targets:
            alive.add(node)
        elif node.order:
            for edge in node.edges:
                if edge is not None and edge[0] in alive:
                    alive.add(node)
                    break
    return alive


def _seed(tensor: Tensor, gradient: Any) -> Any:
    if tensor.stop_gradient:
        raise GradError(
            "this tensor does not depend on anything that wants a gradient: set stop_gradient = "
            "False on a leaf before the forward pass, and see that no detach(), no_grad() or op "
            "without a gradient (such as argmax, comparisons, casts to integers) lies between"
        )
    if gradient is None:
        array = tensor._read()
        if observe.current() or array.size > MAX_CACHED:
            return OPS["ones_like"](Tensor._of(array))
        return Tensor._of(cached_full(1, array.shape, array.dtype))
    if not isinstance(gradient, Tensor):
        gradient = Tensor._of(np.asarray(gradient, tensor._read().dtype))
    if gradient._read().shape != tensor._read().shape:
        raise ShapeError(
            f"the gradient has shape {list(gradient._read().shape)}, the tensor "
            f"{list(tensor._read().shape)}; they must be equal"
        )
    return of_dtype(gradient, tensor._read().dtype)
