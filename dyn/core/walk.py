"""One walk over the tape: from node to node, what reaches each, hooks, and the one un-broadcast.

Goes by creation order with a heap, without recursion. Gradient rules are made of ops, so with
`create_graph` their results are differentiable, and an observer sees them like any other ops.
Where a walk begins and what is asked of it is `autograd.py`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.core import observe
from dyn.core.dispatch import quietly
from dyn.core.dtype import is_inexact, name_of
from dyn.core.errors import GradError, ShapeError
from dyn.core.op import OPS
from dyn.core.tape import (
    ATTR,
    G_OUT,
    KEPT_IN,
    KEPT_INS,
    KEPT_OUT,
    SHAPE,
    SHAPES,
    WANTED,
    GradNode,
    HookList,
    LeafNode,
    Step,
)
from dyn.core.tensor import ZERO, Tensor

MAX_CACHED = 4096
"""Elements up to which an array of one number is kept instead of being made anew."""

_new_object = object.__new__


class Walk:
    """One backward pass: `deliver` what it begins with, then `run`.

    Args:
        create_graph: record the walk itself, so that gradients can be differentiated.
        retain_graph: keep what the rules saved, so that the graph can be walked again.
        targets: the edges, (node, output index), whose gradients go to `found`; None adds those of
            all leaves to their `.grad` instead.
        alive: the nodes that lead to the targets, where the walk stops at others; None visits all.

    Attributes:
        found: gradient by edge of those `targets` that were reached.
        pending: by node, the sum of what has arrived at each of its outputs so far, or None.
        heap: (-order, node) of the pending nodes other than leaves.
        own: the edges of which what has arrived is an array that nobody else refers to.
        watched: whether there are observers, for which sizes are symbols.
        quiet: whether rules on arrays may be called: nobody records or watches the walk.
    """

    def __init__(
        self,
        create_graph: bool,
        retain_graph: bool,
        targets: set[Any] | None = None,
        alive: set[Any] | None = None,
    ):
        self.create_graph = create_graph
        self.retain_graph = retain_graph
        self.targets = targets
        self.alive = alive
        self.found: dict[Any, Any] = {}
        self.pending: dict[Any, list[Any]] = {}
        self.heap: list[tuple[int, Any]] = []
        self.own: set[Any] = set()
        self.watched = bool(observe.current())
        self.quiet = not (create_graph or self.watched)

    def deliver(self, node: Any, index: int, g: Any) -> None:
        """Add a gradient to what has arrived at one output of a node."""
        slots = self.pending.get(node)
        if slots is None:
            if self.alive is not None and node not in self.alive:
                return
            self.pending[node] = slots = [None] * node.count
            if node.order:  # leaves have none: they are visited last, in any order
                heapq.heappush(self.heap, (-node.order, node))
        slots[index] = g if slots[index] is None else OPS["add"](slots[index], g)

    def run(self) -> None:
        """Visit nodes in reverse order of creation; what is left then has arrived at leaves."""
        heap, pending, targets = self.heap, self.pending, self.targets
        while heap:
            node = heapq.heappop(heap)[1]
            grads = pending.pop(node)
            if targets is None:
                before = node.grads
                node.grads = [None if g is None else g._array for g in grads]
                if node.hooks:
                    _hook(node, grads)
                if node.retained:
                    _retain(node, before, grads)
            else:
                self.find(node, grads)
            self.visit(node, grads)
        for leaf, grads in pending.items():
            if targets is not None:
                self.find(leaf, grads)
                continue
            if leaf.hooks:
                _hook(leaf, grads)
            accumulate(leaf, grads[0], self.create_graph)

    def find(self, node: Any, grads: list[Any]) -> None:
        """Note the gradients that are asked for, after the hooks."""
        if node.hooks:
            _hook(node, grads)
        assert self.targets is not None
        for index, g in enumerate(grads):
            if g is not None and (node, index) in self.targets:
                self.found[node, index] = g

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
        several = node.outputs is not None
        edges, key = node.edges, node.key
        for step in plan.steps:
            wanted = None
            if self.alive is not None:
                used = [i for i, _ in step.targets if edges[i][0] in self.alive]
                if not used:
                    continue
                if len(used) < len(step.targets):
                    wanted = frozenset(map(node.op.input_name, used))
            g = _reached(node, grads, step.sparse) if several else grads[0]
            if g is None and not any(kind == G_OUT for _, kind, _ in step.needs):
                # Only a private output was reached, and this rule does not depend on it.
                continue
            if step.fused is not None and self.quiet:
                made = self.fused(node, step, g, wanted)
            else:
                made = step.function(g, **self.arguments(node, step, grads, wanted))
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

    def arguments(
        self, node: GradNode, step: Step, grads: list[Any], wanted: frozenset[str] | None
    ) -> dict[str, Any]:
        """The keyword arguments a rule asks for by name.

        Args:
            wanted: the inputs whose gradients are of use in this walk; None: all that want one.
        """
        found: dict[str, Any] = {}
        for name, kind, at in step.needs:
            if kind == KEPT_IN:
                found[name] = self.kept(node, *at)
            elif kind == KEPT_OUT:
                place, index = at
                found[name] = self.wrap(node.kept_out[place], (node, index))
            elif kind == ATTR:
                found[name] = node.attrs[at]
            elif kind == SHAPE:
                found[name] = node.key[2 * at + 1]
            elif kind == KEPT_INS:
                found[name] = [self.kept(node, place, position) for place, position in at]
            elif kind == G_OUT:
                found[name] = grads[at]
            elif kind == WANTED:
                found[name] = at if wanted is None else wanted
            else:
                found[name] = [node.key[2 * i + 1] for i in at]
        return found

    def fused(self, node: GradNode, step: Step, g: Any, wanted: frozenset[str] | None) -> Any:
        """What the rule on arrays gives, as Tensors; `Op.fused_vjp` admits no other needs."""
        assert step.fused is not None
        needs: dict[str, Any] = {}
        for name, kind, at in step.fused_needs:
            if kind == ATTR:
                needs[name] = node.attrs[at]
            elif kind == KEPT_IN:
                needs[name] = None if at[0] is None else node.kept_in[at[0]]
            elif kind == KEPT_OUT:
                needs[name] = node.kept_out[at[0]]
            elif kind == SHAPE:
                needs[name] = node.key[2 * at + 1]
            elif kind == KEPT_INS:
                needs[name] = [node.kept_in[place] for place, _ in at]
            elif kind == SHAPES:
                needs[name] = [node.key[2 * i + 1] for i in at]
            else:
                needs[name] = at if wanted is None else wanted
        into = edge = None
        if step.adds:
            edge = node.edges[step.targets[0][0]]
            if edge in self.own:
                into = self.pending[edge[0]][edge[1]]._array
            needs["into"] = into
        several = node.outputs is not None
        arrays = [None if x is None else x._read() for x in g] if several else g._read()
        made = quietly(step.fused, arrays, **needs)
        if step.adds:
            if made is into:
                return None
            self.own.add(edge)  # also if it is added to what has arrived: that is a new array, too
        if made.__class__ is tuple:
            return [None if array is None else Tensor._of(array) for array in made]
        return None if made is None else Tensor._of(made)

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


def _reached(node: GradNode, grads: list[Any], sparse: bool) -> list[Any]:
    """The gradients of several public outputs, with zeros for those without, unless `sparse`."""
    assert node.outputs is not None
    public = grads[: node.op.public]
    if sparse:
        return public
    return [
        _zeros(*node.outputs[i]) if x is None and is_inexact(node.outputs[i][1]) else x
        for i, x in enumerate(public)
    ]


def _zeros(shape: Sequence[Any], dtype: np.dtype) -> Any:
    """The gradient of an output that nothing was computed from."""
    if observe.current() or math.prod(shape) > MAX_CACHED:
        return OPS["full"](shape=tuple(shape), value=0, dtype=name_of(dtype))
    return Tensor._of(cached_full(0, shape, dtype))


@lru_cache(256)
def cached_full(number: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of one number that is not to be written to, kept for the next who asks.

    It should have no more than MAX_CACHED elements.
    """
    made = np.full(shape, number, dtype)
    made.flags.writeable = False
    return made


def _fit(g: Any, shape: Sequence[Any], dtype: np.dtype) -> Any:
    """Bring a gradient to its input's dtype and, if the input was broadcast, to its shape."""
    g = of_dtype(g, dtype)
    if tuple(g.shape) != tuple(shape):
        g = OPS["sum_to"](g, shape=tuple(shape))
    return g


def _hook(node: Any, grads: list[Any]) -> None:
    """Let the hooks of a node see, and replace, what has arrived at it."""
    for index, hooks in node.hooks.items():
        if grads[index] is not None:
            grads[index] = _call_hooks(hooks, grads[index])


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
        g = of_dtype(replaced, g._array.dtype)
    return g


def accumulate(leaf: LeafNode, g: Any, create_graph: bool) -> None:
    """Add a gradient to `.grad` of a leaf, and call the hooks that wait for that."""
    tensor = leaf.tensor()
    if tensor is None:
        return
    if not create_graph:
        g = Tensor._of(g._array)
    old = tensor._grad
    tensor._grad = g if old is None or old is ZERO else OPS["add"](old, g)
    if leaf.after is not None:
        for function in list(leaf.after.functions.values()):
            function(tensor)


def of_dtype(g: Any, dtype: np.dtype) -> Any:
    """A gradient in the dtype of what it is the gradient of: kernels rely on it."""
    return g if g._array.dtype == dtype else OPS["cast"](g, dtype=dtype.name)
