"""The tape: what a call of an op leaves behind for its gradient, and the hooks on gradients.

Plain data. Which arrays are kept, and how the gradient rules are called, is worked out once per op
and set of wanted gradients (`TapePlan`); a call on the tape costs one node. The walk is in
`walk.py`.
"""

from __future__ import annotations

import itertools
import operator
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dyn.core.op import Op, Rule
from dyn.core.tensor import Tensor

next_order = itertools.count(1).__next__
_new_object = object.__new__

MAX_PLANS = 1024
"""Plans remembered per op: one with any number of inputs has as many sets of wanted ones."""

ATTR, KEPT_IN, KEPT_INS, KEPT_OUT, SHAPE, SHAPES, G_OUT, WANTED = range(8)
"""What a rule asks for by name: an attribute, a kept input (or all of a variadic one), a kept
output, the shape of an input (or of all of a variadic one), the gradient of a private output, the
names of the inputs whose gradients are wanted."""


class Step(NamedTuple):
    """One gradient rule to call, and where its results go."""

    function: Callable[..., Any]
    needs: tuple[tuple[str, int, Any], ...]
    """(keyword, one of the kinds above, position or positions; for WANTED the names). What is kept
    has the place where it is kept before its position: None for an input that is absent."""
    targets: tuple[tuple[int, int | None], ...]
    """(input position, index into the rule's result; None if the result is the gradient)."""
    fused: Callable[..., Any] | None = None
    """The same rule on arrays (`Op.fused_vjp`), if there is one."""
    fused_needs: tuple[tuple[str, int, Any], ...] = ()
    """Those of the needs that `fused` asks for, but for `into`."""
    adds: bool = False
    """Whether `fused` asks for `into`."""
    sparse: bool = False
    """See `Rule`."""


class TapePlan(NamedTuple):
    """How to differentiate one op with respect to one set of its inputs."""

    keep_in: tuple[int, ...]
    keep_out: tuple[int, ...]
    pick_in: Callable[[Any], tuple[Any, ...]] | None
    """Picks the arrays to keep from those of all inputs; None if none is kept."""
    steps: tuple[Step, ...]
    missing: str | None
    """Name of a wanted input that has no rule; asking for the gradient is an error."""


def tape_plan(op: Op, wanted: int, count: int) -> TapePlan:
    """The plan for an op with `count` inputs of which those in the bit set `wanted` need one.

    It is remembered in `op.tape_plans` under the bit set with a one above it, at bit `count`.
    """
    place = wanted | 1 << count
    plan = op.tape_plans.get(place)
    if plan is None:
        if len(op.tape_plans) >= MAX_PLANS:
            op.tape_plans.clear()
        plan = op.tape_plans[place] = _make_plan(op, wanted, count)
    return plan


def _picker(places: tuple[int, ...]) -> Callable[[Any], tuple[Any, ...]] | None:
    if len(places) == 1:
        (place,) = places
        return lambda arrays: (arrays[place],)
    return operator.itemgetter(*places) if places else None


def _make_plan(op: Op, wanted: int, count: int) -> TapePlan:
    by_rule: dict[int, tuple[Any, list[tuple[int, int | None]]]] = {}
    missing = None
    first_variadic = len(op.inputs) - 1 if op.variadic else count
    for position in range(count):
        if not wanted >> position & 1:
            continue
        name = op.input_name(position)
        rule = op.rules.get(name)
        if rule is None:
            missing = name
            continue
        pick = None
        if position >= first_variadic:
            pick = position - first_variadic
        elif len(rule.inputs) > 1:
            pick = rule.inputs.index(name)
        by_rule.setdefault(id(rule), (rule, []))[1].append((position, pick))
    names = frozenset(op.input_name(i) for i in range(count) if wanted >> i & 1)
    keep_in: set[int] = set()
    keep_out: set[int] = set()
    needed = [
        [_need(op, rule, name, count, keep_in, keep_out, names) for name in rule.needs]
        for rule, _ in by_rule.values()
    ]
    kept, made = tuple(sorted(keep_in)), tuple(sorted(keep_out))
    steps = []
    for needs, (rule, targets) in zip(needed, by_rule.values(), strict=True):
        placed = tuple(_with_place(need, kept, made) for need in needs)
        fused = tuple(need for need in placed if need[0] in rule.fused_needs)
        adds = "into" in rule.fused_needs
        steps.append(
            Step(rule.function, placed, tuple(targets), rule.fused, fused, adds, rule.sparse)
        )
    return TapePlan(kept, made, _picker(kept), tuple(steps), missing)


def _with_place(
    need: tuple[str, int, Any], kept: tuple[int, ...], made: tuple[int, ...]
) -> tuple[str, int, Any]:
    """A need with where its inputs or output stand among those that are kept."""
    name, kind, at = need
    if kind == KEPT_IN:
        return name, kind, (kept.index(at) if at in kept else None, at)
    if kind == KEPT_INS:
        return name, kind, tuple((kept.index(i), i) for i in at)
    return (name, kind, (made.index(at), at)) if kind == KEPT_OUT else need


def _need(
    op: Op,
    rule: Rule,
    name: str,
    count: int,
    keep_in: set[int],
    keep_out: set[int],
    wanted: frozenset[str],
) -> tuple[str, int, Any]:
    if name == "wanted":
        return (name, WANTED, wanted)
    if name in op.attrs:
        return (name, ATTR, tuple(op.attrs).index(name))
    if name in op.inputs:
        i = op.inputs.index(name)
        if op.variadic and i == len(op.inputs) - 1:
            keep_in.update(range(i, count))
            return (name, KEPT_INS, tuple(range(i, count)))
        needed = name not in rule.only or rule.only[name] in wanted
        if i < count and needed:
            keep_in.add(i)
        return (name, KEPT_IN, i)
    if name in op.outputs:
        keep_out.add(op.outputs.index(name))
        return (name, KEPT_OUT, op.outputs.index(name))
    if name.startswith("g_") and name[2:] in op.outputs:
        return (name, G_OUT, op.outputs.index(name[2:]))
    i = op.inputs.index(name.removesuffix("_shape"))
    if op.variadic and i == len(op.inputs) - 1:
        return (name, SHAPES, tuple(range(i, count)))
    return (name, SHAPE, i)


class GradNode:
    """One call of an op on the tape. Filled in by `link`.

    Attributes:
        op, attrs: what ran, and its attribute values in order.
        plan: which rules to call.
        edges: per input (node, output index) it came from, or None if no gradient is wanted.
        key: (attributes, shape, dtype, shape, dtype ...) of the inputs; sizes may be `Dim`s while
            a model is traced.
        outputs: (shape, dtype) per output of an op with several public ones, else None.
        kept_in, kept_out: arrays kept for the rules, in the plan's order; None once released.
        grads: arrays of the gradients that reached each output in the last backward. They live as
            long as the node does, that is, as long as the user holds one of the output tensors.
        retained: indices of outputs whose gradients are those after their hooks, added up over all
            passes (PyTorch's `retain_grad`).
        hooks: per output index, functions that see and may replace its gradient.
        count: number of outputs, private ones included.
        order: creation number from 1 on; inputs always have smaller ones, leaves 0.
    """

    op: Op
    attrs: tuple[Any, ...]
    plan: TapePlan
    edges: list[Any]
    key: tuple[Any, ...]
    count: int
    order: int
    kept_in: Any = ()
    kept_out: Any = ()
    outputs: list[tuple[Any, np.dtype]] | None = None
    grads: list[np.ndarray | None] | None = None
    retained: frozenset[int] = frozenset()
    hooks: dict[int, HookList] | None = None

    def release(self) -> None:
        """Forget what the rules kept. A node that kept nothing can be walked again."""
        if self.kept_in or self.kept_out:
            self.kept_in = self.kept_out = None
            self.edges = []


class LeafNode:
    """Where gradients of one leaf tensor arrive. Lives as long as the tensor.

    Attributes:
        hooks: by output, of which there is one: they see what has arrived, and may replace it.
        after: hooks that are called with the tensor once its `.grad` is up to date.
    """

    __slots__ = ("__weakref__", "after", "count", "hooks", "order", "tensor")

    def __init__(self, tensor: Tensor):
        self.tensor = weakref.ref(tensor)
        self.hooks: dict[int, HookList] | None = None
        self.after: HookList | None = None
        self.order = 0
        self.count = 1


class HookList:
    """Hooks of one gradient, called in the order of registration."""

    __slots__ = ("functions", "next_key")

    def __init__(self) -> None:
        self.functions: dict[int, Callable[[Any], Any]] = {}
        self.next_key = 0


class HookHandle:
    """What `register_hook` returns; `remove()` answers whether the hook was still there."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: HookList, function: Callable[[Any], Any]):
        self._hooks = hooks
        self._key = hooks.next_key
        hooks.next_key += 1
        hooks.functions[self._key] = function

    def remove(self) -> bool:
        """Take the hook away; True the first time, False after that."""
        return self._hooks.functions.pop(self._key, None) is not None


def leaf_of(tensor: Tensor) -> LeafNode:
    """The node that collects the gradient of a leaf tensor."""
    leaf = tensor._leaf
    if leaf is None:
        leaf = tensor._leaf = LeafNode(tensor)
    return leaf


def edge_of(tensor: Tensor) -> tuple[Any, int]:
    """The (node, output index) at which the gradient of `tensor` arrives."""
    return (tensor._node, tensor._index) if tensor._node is not None else (leaf_of(tensor), 0)


def link(
    op: Op,
    inputs: tuple[Any, ...],
    attrs: tuple[Any, ...],
    key: tuple[Any, ...],
    differentiable: tuple[bool, ...],
    arrays: tuple[Any, ...],
    results: tuple[Any, ...],
    outputs: list[Tensor],
    watched: bool,
) -> None:
    """Put a call on the tape: edges to where the inputs came from, and what the rules keep.

    Args:
        key: (attributes, shape, dtype, shape, dtype ...) of the inputs.
        differentiable: for each output, whether gradients can flow through it.
        watched: whether there are observers, for which sizes are symbols.
    """
    edges: list[Any] = []
    wanted, bit = 0, 1
    for x in inputs:
        if x is None or x.stop_gradient:
            edges.append(None)
        else:
            node = x._node
            edges.append((node, x._index) if node is not None else (x._leaf or leaf_of(x), 0))
            wanted |= bit
        bit += bit
    tape = op.tape_plans.get(wanted | bit) or tape_plan(op, wanted, len(edges))
    # Spelled out instead of a call of __init__, which would cost a tenth of a tiny op.
    node = _new_object(GradNode)
    node.op = op
    node.attrs = attrs
    node.plan = tape
    node.edges = edges
    node.key = symbolic_key(inputs, key) if watched else key
    if tape.pick_in is not None:
        node.kept_in = tape.pick_in(arrays)
    if tape.keep_out:
        node.kept_out = [results[i] for i in tape.keep_out]
    node.count = len(results)
    node.order = next_order()
    if op.public != 1:
        node.outputs = [
            (tuple(out.shape) if watched else out._array.shape, out._array.dtype) for out in outputs
        ]
    for i, out in enumerate(outputs):
        if differentiable[i]:
            out._node = node
            out._index = i
            out.stop_gradient = False


def symbolic_key(inputs: tuple[Any, ...], key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key with the sizes that observers see, so that gradients are traced symbolically."""
    made: list[Any] = [key[0]]
    for x, dtype in zip(inputs, key[2::2], strict=True):
        made += [None if x is None else tuple(x.shape), dtype]
    return tuple(made)
