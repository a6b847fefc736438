"""The walk over the tape: backward, grad, and the one un-broadcast.

Goes by creation order with a heap, without recursion. Gradient rules are made of ops, so with
`create_graph` their results are differentiable, and an observer sees them like any other ops.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.core import observe
from dyn.core.dispatch import run_fused
from dyn.core.dtype import is_inexact, name_of
from dyn.core.errors import GradError, ShapeError
from dyn.core.modes import enable_grad, no_grad
from dyn.core.op import OPS
from dyn.core.tape import (
    ATTR,
    G_OUT,
    KEPT_IN,
    KEPT_INS,
    KEPT_OUT,
    SHAPE,
    WANTED,
    GradNode,
    HookList,
    LeafNode,
    Step,
    edge_of,
)
from dyn.core.tensor import ZERO, Tensor

FEW = 4096
"""Elements up to which an array of zeros is kept instead of being made anew."""

_new_object = object.__new__


class _Walk:
    """One backward pass."""

    def __init__(self, create_graph: bool, retain_graph: bool, targets: set[Any] | None):
        self.create_graph = create_graph
        self.retain_graph = retain_graph
        self.targets = targets
        self.found: dict[Any, Any] = {}
        self.pending: dict[Any, list[Any]] = {}
        self.heap: list[tuple[int, int, Any]] = []
        self.alive: set[Any] | None = None
        self.watched = bool(observe.current())

    def deliver(self, node: Any, index: int, g: Any) -> None:
        """Add a gradient to what has arrived at one output of a node."""
        slots = self.pending.get(node)
        if slots is None:
            if self.alive is not None and node not in self.alive:
                return
            slots = self.pending[node] = [None] * node.count
            heapq.heappush(self.heap, (-node.order, id(node), node))
        slots[index] = g if slots[index] is None else OPS["add"](slots[index], g)

    def run(self) -> None:
        """Visit nodes in reverse order of creation until nothing is pending."""
        while self.heap:
            node = heapq.heappop(self.heap)[2]
            grads = self.pending.pop(node)
            leaf, before = isinstance(node, LeafNode), None
            if not leaf and self.targets is None:
                before = node.grads
                node.grads = [None if g is None else g._array for g in grads]
            if node.hooks:
                for index, hooks in node.hooks.items():
                    if grads[index] is not None:
                        grads[index] = _call_hooks(hooks, grads[index])
            if self.targets is not None:
                for index, g in enumerate(grads):
                    if g is not None and (node, index) in self.targets:
                        self.found[node, index] = g
            if leaf:
                if self.targets is None:
                    _accumulate(node, grads[0], self.create_graph)
                continue
            if node.retained and self.targets is None:
                _retain(node, before, grads)
            self.visit(node, grads)

    def visit(self, node: GradNode, grads: list[Any]) -> None:
        """Call the gradient rules of one node and deliver their results."""
        if node.kept_in is None:
            raise GradError(
                f"the graph behind this {node.op.name} was already walked and freed; "
                "call backward(retain_graph=True) the first time"
            )
        plan = node.plan
        if plan.missing is not None and self.wants(node, plan.missing):
            raise GradError(
                f"{node.op.name} has no gradient with respect to {plan.missing}; "
                "detach() that input if none is wanted"
            )
        if node.outputs is None:
            g = grads[0]
        else:
            g = [
                _zeros(*node.outputs[i]) if x is None and is_inexact(node.outputs[i][1]) else x
                for i, x in enumerate(grads[: node.op.public])
            ]
        edges, key = node.edges, node.key
        for step in plan.steps:
            if self.alive is not None and not any(
                edges[position][0] in self.alive for position, _ in step.targets
            ):
                continue
            if g is None and not any(kind == G_OUT for _, kind, _ in step.needs):
                # Only a private output was reached, and this rule does not depend on it.
                continue
            if step.fused is not None and not (self.create_graph or self.watched):
                made = self.fused(node, step, g)
            else:
                made = step.function(g, **self.arguments(node, step, grads))
            for position, pick in step.targets:
                gx = made if pick is None else made[pick]
                if gx is not None:
                    edge = edges[position]
                    shape, dtype = key[2 * position + 1], key[2 * position + 2]
                    # While a model is traced, sizes are compared as symbols: in `_fit`.
                    if self.watched or gx._array.shape != shape or gx._array.dtype != dtype:
                        gx = _fit(gx, shape, dtype)
                        for observer in observe.current():
                            observer.on_gradient(node, position, gx)
                    self.deliver(edge[0], edge[1], gx)
        if not self.retain_graph:
            node.release()

    def wants(self, node: GradNode, name: str) -> bool:
        """Whether the gradient of the input `name` is asked for in this pass."""
        return any(
            edge is not None
            and node.op.input_name(i) == name
            and (self.alive is None or edge[0] in self.alive)
            for i, edge in enumerate(node.edges)
        )

    def arguments(self, node: GradNode, step: Step, grads: list[Any]) -> dict[str, Any]:
        """The keyword arguments a rule asks for by name."""
        found: dict[str, Any] = {}
        for name, kind, at in step.needs:
            if kind == ATTR:
                found[name] = node.attrs[at]
            elif kind == KEPT_IN:
                found[name] = self.kept(node, *at)
            elif kind == KEPT_OUT:
                place, index = at
                found[name] = self.wrap(node.kept_out[place], (node, index))
            elif kind == SHAPE:
                found[name] = node.key[2 * at + 1]
            elif kind == KEPT_INS:
                found[name] = [self.kept(node, place, position) for place, position in at]
            elif kind == G_OUT:
                found[name] = grads[at]
            elif kind == WANTED:
                found[name] = at
            else:
                found[name] = [node.key[2 * i + 1] for i in at]
        return found

    def fused(self, node: GradNode, step: Step, g: Any) -> Any:
        """What a rule on arrays gives, as Tensors."""
        assert step.fused is not None
        needs: dict[str, Any] = {}
        for name, kind, at in step.fused_needs:
            if kind == ATTR:
                needs[name] = node.attrs[at]
            elif kind == KEPT_IN:
                needs[name] = None if at[0] is None else node.kept_in[at[0]]
            elif kind == KEPT_OUT:
                needs[name] = node.kept_out[at[0]]
            else:
                needs[name] = node.key[2 * at + 1] if kind == SHAPE else at
        made = run_fused(step.fused, g._read(), needs)
        if made.__class__ is tuple:
            return [None if array is None else Tensor._of(array) for array in made]
        return Tensor._of(made)

    def kept(self, node: GradNode, place: int | None, position: int) -> Any:
        """The input at `position`, kept at `place`, as a Tensor; None if it was absent."""
        array = None if place is None else node.kept_in[place]
        return None if array is None else self.wrap(array, node.edges[position])

    def wrap(self, array: np.ndarray, edge: tuple[Any, int] | None) -> Tensor:
        """A Tensor over a kept array, tied to its history when that may be differentiated."""
        out = _new_object(Tensor)
        out._array = array
        if self.create_graph and edge is not None and is_inexact(array.dtype):
            node, index = edge
            out.stop_gradient = False
            if isinstance(node, LeafNode):
                out._leaf = node
            else:
                out._node, out._index = node, index
        return out


def _retain(node: GradNode, before: list[np.ndarray | None] | None, grads: list[Any]) -> None:
    """Add to the gradients of earlier passes those of the outputs that retain them."""
    assert node.grads is not None
    for index in node.retained:
        old, g = before[index] if before is not None else None, grads[index]
        if old is not None and g is not None:
            g = OPS["add"](Tensor._of(old), Tensor._of(g._array))
        node.grads[index] = old if g is None else g._array


def _zeros(shape: Sequence[Any], dtype: np.dtype) -> Any:
    """The gradient of an output that nothing was computed from."""
    if observe.current() or math.prod(shape) > FEW:
        return OPS["full"](shape=tuple(shape), value=0, dtype=name_of(dtype))
    return Tensor._of(_few_zeros(shape, dtype))


@lru_cache(256)
def _few_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    made = np.zeros(shape, dtype)
    made.flags.writeable = False
    return made


def _fit(g: Any, shape: Sequence[Any], dtype: np.dtype) -> Any:
    """Bring a gradient to its input's dtype and, if the input was broadcast, to its shape."""
    g = _of_dtype(g, dtype)
    if tuple(g.shape) != tuple(shape):
        g = OPS["sum_to"](g, shape=tuple(shape))
    return g


def _call_hooks(hooks: HookList, g: Any) -> Any:
    for function in list(hooks.functions.values()):
        replaced = function(g)
        if replaced is None:
            continue
        if not isinstance(replaced, Tensor) or replaced._array.shape != g._array.shape:
            given = getattr(replaced, "shape", type(replaced).__name__)
            raise ShapeError(
                f"a gradient hook returned {given}; it must return None or a Tensor of shape "
                f"{list(g._array.shape)}"
            )
        g = _of_dtype(replaced, g._array.dtype)
    return g


def _accumulate(leaf: LeafNode, g: Any, create_graph: bool) -> None:
    tensor = leaf.tensor()
    if tensor is None:
        return
    if not create_graph:
        g = Tensor._of(g._array)
    old = tensor._grad
    tensor._grad = g if old is None or old is ZERO else OPS["add"](old, g)


def _seed(tensor: Tensor, gradient: Any) -> Any:
    if tensor.stop_gradient:
        raise GradError(
            "this tensor does not depend on anything that wants a gradient: set stop_gradient = "
            "False on a leaf before the forward pass, and see that no detach(), no_grad() or op "
            "without a gradient (such as argmax, comparisons, casts to integers) lies between"
        )
    if gradient is None:
        return OPS["ones_like"](Tensor._of(tensor._read()))
    if not isinstance(gradient, Tensor):
        gradient = Tensor._of(np.asarray(gradient, tensor._read().dtype))
    if gradient._read().shape != tensor._read().shape:
        raise ShapeError(
            f"the gradient has shape {list(gradient._read().shape)}, the tensor "
            f"{list(tensor._read().shape)}; they must be equal"
        )
    return _of_dtype(gradient, tensor._read().dtype)


def _of_dtype(g: Any, dtype: np.dtype) -> Any:
    """A gradient in the dtype of what it is the gradient of: kernels rely on it."""
    return g if g._array.dtype == dtype else OPS["cast"](g, dtype=dtype.name)


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
            and freed, or an op on the way has no gradient.
    """
    walk = _Walk(create_graph, retain_graph or create_graph, None)
    _start(walk, tensors, gradients)


def _start(walk: _Walk, tensors: Sequence[Tensor], gradients: Sequence[Any] | None) -> None:
    gradients = gradients if gradients is not None else [None] * len(tensors)
    if len(gradients) != len(tensors):
        raise GradError(f"{len(tensors)} tensors were given with {len(gradients)} gradients")
    with enable_grad() if walk.create_graph else no_grad():
        for tensor, gradient in zip(tensors, gradients, strict=True):
            walk.deliver(*edge_of(tensor), _seed(tensor, gradient))
        walk.run()


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> list[Any]:
    """Gradients of the sum of `outputs` with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs, inputs: a Tensor or a list of Tensors.
        grad_outputs: gradient of each output; ones where it is None.
        retain_graph: keep the graph; by default kept when `create_graph` is.
        create_graph: make the result differentiable.
        allow_unused: give None for an input that no output depends on, instead of an error.

    Returns:
        One gradient per input.

    Raises:
        GradError: an input is unused and `allow_unused` is False.
    """
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
    walk = _Walk(create_graph, keep or create_graph, set(edges))
    walk.alive = _leading_to(outs, {node for node, _ in edges})
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
    nodes: dict[Any, None] = {}
    stack = [edge_of(out)[0] for out in outputs if not out.stop_gradient]
    while stack:
        node = stack.pop()
        if node in nodes:
            continue
        nodes[node] = None
        if isinstance(node, GradNode):
            stack.extend(edge[0] for edge in node.edges if edge is not None)
    alive: set[Any] = set()
    for node in sorted(nodes, key=lambda n: n.order):
        if node in targets or (
            isinstance(node, GradNode) and any(e is not None and e[0] in alive for e in node.edges)
        ):
            alive.add(node)
    return alive
