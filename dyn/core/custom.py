"""Functions with a gradient of the user's own: `PyLayer`, one node of the tape for a whole forward.

The forward is made of ops and so is the gradient; only the link between the two is here.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from dyn.core.dtype import is_inexact
from dyn.core.errors import GradError, ShapeError
from dyn.core.modes import is_grad_enabled, no_grad
from dyn.core.observe import current as current_observers
from dyn.core.tape import GradNode, LeafNode, Step, TapePlan, edge_of, next_order, symbolic_key
from dyn.core.tensor import Tensor


class PyLayerContext:
    """What a forward leaves for its backward; anything may be set on it as an attribute."""

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._outputs: dict[int, int] = {}
        self._node: Any = None
        self._constants: tuple[Any, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors, inputs and outputs among them, for `saved_tensor`."""
        self._saved = tensors

    def saved_tensor(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given."""
        return tuple(self._restored(i, kept) for i, kept in enumerate(self._saved))

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say that outputs have no gradient."""
        self._constants += tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Say which inputs `forward` has written to; those that it returns take its gradient."""
        self._dirty += tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether an output that nothing was computed from has a gradient of zeros, or None."""
        self._materialize = value

    def _keep(self, outputs: Sequence[Tensor], node: GradNode) -> None:
        """Outputs are kept as arrays: kept as tensors, node and outputs would hold each other.

        Values are kept by the node, as those that ops keep: what is written later on changes
        none, and they are freed with the graph.
        """
        self._node = weakref.ref(node)
        if any(isinstance(kept, Tensor) for kept in self._saved):
            node.kept_in = tuple(map(_Kept.of, self._saved))
        places = {id(out): i for i, out in enumerate(outputs)}
        self._outputs = {
            at: places[id(kept)] for at, kept in enumerate(self._saved) if id(kept) in places
        }
        self._saved = tuple(
            kept._read() if at in self._outputs else kept for at, kept in enumerate(self._saved)
        )

    def _take_constants(self) -> set[int]:
        """`id`s of what has no gradient; until now they were kept, so that nothing else has them.

        Forgotten, because a node that held its outputs would never be freed.
        """
        constants, self._constants = self._constants, ()
        return {id(tensor) for tensor in constants}

    def _restored(self, at: int, kept: Any) -> Any:
        node = self._node and self._node()
        if at in self._outputs:
            out = Tensor._of(kept)
            out._node, out._index, out.stop_gradient = node, self._outputs[at], False
            return out
        if not isinstance(kept, Tensor) or node is None or not node.kept_in:
            return kept
        return node.kept_in[at].restored(kept)


class _Kept(NamedTuple):
    """A saved tensor as it was: where its gradient goes, if it wants one, is its edge."""

    array: np.ndarray
    version: int
    edge: tuple[Any, int] | None

    @staticmethod
    def of(saved: Any) -> _Kept | None:
        if not isinstance(saved, Tensor):
            return None
        array = saved._read()
        return _Kept(array, saved._version, None if saved.stop_gradient else edge_of(saved))

    def restored(self, saved: Tensor) -> Tensor:
        """The tensor itself, or what it was before it was written to."""
        saved._read()
        if saved._version == self.version:
            return saved
        if current_observers():
            raise GradError(
                "a tensor that save_for_backward() was given has been written to before the "
                "gradient is computed, which a trace cannot follow; save a clone() of it"
            )
        out = Tensor._of(self.array)
        if self.edge is not None:
            node, index = self.edge
            out.stop_gradient = False
            if isinstance(node, LeafNode):
                out._leaf = node
            else:
                out._node, out._index = node, index
        return out


class PyLayer:
    """A function with a gradient of its own: subclass it and call `apply`.

    `forward(ctx, *args)` computes the result, one tensor or a tuple of them; `backward(ctx, *g)`
    is given a gradient for each output and returns one for each tensor among the arguments, in
    their order, or None. What is between them is kept by `ctx.save_for_backward`.
    """

    _context: type[PyLayerContext] = PyLayerContext
    _every_argument = False
    """Whether `backward` returns something for arguments that are no tensors, too."""

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """The result; every subclass writes its own."""
        raise NotImplementedError("You must implement the forward function for PyLayer.")

    @staticmethod
    def backward(ctx: Any, *args: Any) -> Any:
        """The gradients of the tensors among the arguments; every subclass writes its own."""
        raise NotImplementedError("You must implement the backward function for PyLayer.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, and `backward` when gradients are wanted.

        Raises:
            GradError: while the gradient is computed: `backward` returns too many or too few.
        """
        context = cls._context()
        inputs = [(i, x) for i, x in enumerate(args) if isinstance(x, Tensor)]
        wanted = is_grad_enabled() and any(not x.stop_gradient for _, x in inputs)
        context.needs_input_grad = tuple(
            isinstance(x, Tensor) and not x.stop_gradient for x in args
        )
        with no_grad():
            made = cls._run(context, args, kwargs)
        if not wanted:
            return made
        if any(x.is_leaf and not x.stop_gradient for x in context._dirty):
            raise GradError(
                f"{cls.__name__}.forward has written to a leaf tensor that wants a gradient; "
                "give it a clone()"
            )
        several = isinstance(made, (tuple, list))
        outputs = _link(cls, context, inputs, list(made) if several else [made], len(args))
        return tuple(outputs) if several else outputs[0]

    @classmethod
    def _run(cls, context: Any, args: Any, kwargs: Any) -> Any:
        return cls.forward(context, *args, **kwargs)

    @classmethod
    def _slopes(cls, context: Any, gradients: tuple[Any, ...]) -> Any:
        return cls.backward(context, *gradients)


def _link(
    cls: type[PyLayer],
    context: PyLayerContext,
    inputs: Sequence[tuple[int, Tensor]],
    outputs: Sequence[Tensor],
    count: int,
) -> list[Tensor]:
    """The outputs of a call with `count` arguments, which is on the tape as one node."""
    targets = tuple((i, i) for i, (_, x) in enumerate(inputs) if not x.stop_gradient)

    def gradients(g: Any) -> list[Any]:
        found = cls._slopes(context, tuple(g) if isinstance(g, list) else (g,))
        listed = list(found) if isinstance(found, (tuple, list)) else [found]
        due, what = len(inputs), "tensors"
        if cls._every_argument:
            due, what = count, "arguments"
            while len(listed) > due and listed[-1] is None:
                listed.pop()
        if len(listed) != due:
            raise GradError(
                f"{cls.__name__}.backward returned {len(listed)} gradients for {due} "
                f"{what}; return None where there is none"
            )
        if cls._every_argument:
            listed = [listed[at] for at, _ in inputs]
        for (at, x), slope in zip(inputs, listed, strict=True):
            if slope is not None and not _fits(slope._read().shape, x._read().shape):
                raise ShapeError(
                    f"{cls.__name__}.backward returned a gradient of shape "
                    f"{list(slope.shape)} for argument {at} of shape {list(x.shape)}"
                )
        return listed

    tensors = tuple(x for _, x in inputs)
    key: list[Any] = [()]
    for x in tensors:
        array = x._read()
        key += [array.shape, array.dtype]
    watched = bool(current_observers())
    node = GradNode()
    node.op = SimpleNamespace(  # type: ignore[assignment]
        name=cls.__name__, public=len(outputs), attrs={}, input_name=str
    )
    node.attrs = ()
    step = Step(gradients, (), targets, sparse=not context._materialize)
    node.plan = TapePlan((), (), None, (step,), None)
    node.edges = [None if x.stop_gradient else edge_of(x) for x in tensors]
    node.key = symbolic_key(tensors, tuple(key)) if watched else tuple(key)
    node.kept_in = node.kept_out = ()
    node.count, node.order = len(outputs), next_order()
    if len(outputs) != 1:
        node.outputs = [
            (tuple(out.shape) if watched else out._read().shape, out._read().dtype)
            for out in outputs
        ]
    context._keep(outputs, node)
    constants, linked = context._take_constants(), []
    written, context._dirty = {id(x) for x in context._dirty}, ()
    for i, out in enumerate(outputs):
        # A tensor of its own, whether the forward returned an input, a view or what it kept.
        own = Tensor._of(out._read())
        if is_inexact(own._array.dtype) and id(out) not in constants:
            own._node, own._index, own.stop_gradient = node, i, False
        if id(out) in written:
            out._bind(own)
            own = out
        linked.append(own)
    return linked


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a gradient has the shape that is wanted, or one that this broadcasts to."""
    front = len(shape) - len(wanted)
    pairs = zip(shape[front:], wanted, strict=True) if front >= 0 else ()
    return front >= 0 and all(n in (size, 1) for size, n in pairs)
