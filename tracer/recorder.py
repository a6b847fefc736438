"""The observer that records one run of a model: ops become nodes, what leaves the graph is refused.

A value is known by its array object. The recorder keeps every array that it has numbered, so that
the identity of a dead one cannot be taken over by another. What no op of the run has made, state
and constants, is told apart in `kept.py`. Control flow made of functions is
recorded in `control.py`; running the model again for its branches is `branch.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dyn.core.dim import Dim, SizeScope, make
from dyn.core.dispatch import run_infer
from dyn.core.errors import DynError, user_line
from dyn.core.expr import Expr, is_unknown
from dyn.core.observe import Observer
from dyn.core.op import OPS, Op, Type
from dyn.core.tensor import Tensor
from tracer import control, refusals
from tracer.branch import Path
from tracer.errors import TraceError
from tracer.graph import Value
from tracer.kept import Kept
from tracer.match import Repeats
from tracer.quotient import leaving
from tracer.session import FREE, FROZEN, SIZED, TRACED, Session
from tracer.sizes import COMPARE, is_symbolic, symbol_of, to_expr, type_of_dims

_OF_SHAPES = frozenset({"zeros_like", "ones_like", "full_like", "shape", "numel"})
"""Ops that read the shape of their input and nothing else."""


class Recorder(Observer, SizeScope):
    """Watches one run along one path.

    Attributes:
        session: what all runs share.
        paths: the path that nodes are recorded on; inner ones belong to blocks being recorded.
        kept: what the run reads and writes that lasts from call to call.
    """

    def __init__(self, session: Session, path: Path):
        self.session = session
        self.paths = [path]
        self.kept = Kept(session, lambda: self.layer[0])
        self.layers: list[tuple[str, str]] = []
        self._known: dict[int, tuple[np.ndarray, Value | None, Path | None]] = {}
        self._repeats = Repeats()
        self._muted = 0
        self._inferring = False
        self._open = True
        self._sizes = dict(session.sizes)
        self.gradients = session.gradients()
        for array, value in self.gradients:
            self.know(array, value)
        for _, value, array in session.inputs:
            self.know(array, value)
        for handle in session.handles.values():
            if handle.array is not None and handle.value is not None:
                self.know(handle.array, handle.value)

    def close(self) -> None:
        """End the run: sizes that are still around turn into plain numbers silently."""
        self._open = False

    @property
    def layer(self) -> tuple[str, str]:
        """Path and class of the layer that is running."""
        return self.layers[-1] if self.layers else ("", "")

    # -- values ------------------------------------------------------------------------------

    def know(self, array: np.ndarray, value: Value) -> None:
        """From now on `array` is `value`, until the block being recorded is finished."""
        self._known[id(array)] = (array, value, self.paths[-1])

    def value_of(self, tensor: Tensor) -> Value:
        """The value that a tensor holds.

        Raises:
            TraceError: it was computed inside a block that is finished, or is a temporary that
                carries state.
        """
        known = self._known.get(id(tensor._array))
        if known is None:
            return self.kept.first_seen(tensor)
        _, value, path = known
        if value is None or path not in self.paths:
            raise refusals.leaks_from_block()
        return value

    def computed_from_inputs(self, tensor: Tensor) -> bool:
        """Whether this run has made the value of a tensor, and not of sizes or constants alone."""
        _, value, _ = self._known.get(id(tensor._array), (None, None, None))
        return value is not None and self.session.levels[value] == TRACED

    def _refuse(self, error: TraceError) -> None:
        self.session.problem(error, self.layer[0])

    # -- events ------------------------------------------------------------------------------

    def on_op(
        self,
        op: Op,
        inputs: Sequence[Tensor | None],
        attrs: dict[str, Any],
        outputs: Sequence[Tensor],
    ) -> None:
        """Record a node, or follow the one that an earlier run has recorded."""
        if self._muted:
            self._hide(outputs)
            return
        values = [None if x is None else self.value_of(x) for x in inputs]
        exprs = {name: to_expr(value) for name, value in attrs.items()}
        known = None if op.random else self._repeats.types(op.name, values, exprs)
        node, new = self.paths[-1].step(
            op.name,
            values,
            exprs,
            lambda: known or self._types(op, values, attrs, outputs),
            self.layer,
            user_line(),
        )
        if new:
            level = self._level(op, values, exprs)
            for value in node.outputs:
                self.session.levels[value] = level
        for tensor, value in zip(outputs, node.outputs, strict=True):
            self.bind(tensor, value)
        if not op.random:
            self._repeats.add(node)
        if op.dynamic:
            self.paths[-1].counts[node.where, node.layer, node.op] += 1

    def bind(self, tensor: Tensor, value: Value) -> None:
        """Say that a fresh tensor holds `value`. An array that is known already gets a twin."""
        if id(tensor._array) in self._known:
            tensor._array = tensor._array.view()
        self.know(tensor._array, value)
        for size, n in zip(value.shape, tensor._array.shape, strict=True):
            symbol = symbol_of(size)
            if symbol is not None and is_unknown(symbol):
                self._sizes[symbol] = n

    def _level(self, op: Op, values: Sequence[Value | None], attrs: dict[str, Any]) -> int:
        if op.random or op.dynamic:
            return TRACED
        given = [value for value in values if value is not None]
        sized = any(map(is_symbolic, attrs.values()))
        if op.name in _OF_SHAPES:
            return SIZED if any(is_symbolic(value.shape) for value in given) else FREE
        return max([SIZED if sized else FREE, *(self.session.levels[value] for value in given)])

    def _types(
        self,
        op: Op,
        values: Sequence[Value | None],
        attrs: dict[str, Any],
        outputs: Sequence[Tensor],
    ) -> list[Type]:
        """Types of the outputs over symbolic sizes: what `infer` says of the symbolic inputs."""
        actual = [Type(out._array.shape, out._array.dtype) for out in outputs]
        symbolic = any(is_symbolic(value.shape) for value in values if value is not None)
        if not (symbolic or op.dynamic or any(is_symbolic(a) for a in attrs.values())):
            return actual
        types = [None if value is None else self._dims(value.type) for value in values]
        self._inferring = True
        try:
            inferred = run_infer(op, types, attrs)
        except DynError as error:
            raise refusals.holds_for_sample_only(op.name, error.message) from error
        finally:
            self._inferring = False
        if op.dynamic:
            inferred = [
                self._known_sizes((op.name, i), a, b)
                for i, (a, b) in enumerate(zip(inferred, actual, strict=True))
            ]
        for a, b in zip(inferred, actual, strict=True):
            sample = tuple(n.sample if isinstance(n, Dim) else n for n in a.shape)
            if sample != b.shape or a.dtype != b.dtype:
                raise refusals.infer_is_wrong(op.name, a, b)
        return [type_of_dims(type_) for type_ in inferred]

    def _known_sizes(self, result: tuple[str, int], inferred: Type, actual: Type) -> Type:
        """A type with a symbol for each size that infer gave as None."""
        here = (user_line(), self.layer[0], result[0])
        times = sum(path.counts[here] for path in self.paths)
        sizes = []
        for axis, (size, n) in enumerate(zip(inferred.shape, actual.shape, strict=True)):
            if size is None:
                point = (*here, times, result[1], axis)
                size = Dim(n, self.session.unknown_size(point, n), self)
            sizes.append(size)
        return Type(tuple(sizes), inferred.dtype)

    def on_create(self, tensor: Tensor) -> None:
        """A tensor of numbers written in the forward."""
        self.kept.create(tensor)

    def before_assign(self, target: Tensor) -> None:
        """Remember the old value, to put it back after the trace."""
        self.session.snapshot.save(target)

    def on_assign(self, target: Tensor) -> None:
        """State that is written; writes to anything else record nothing."""
        if not self._muted:
            self.kept.write(target, in_block=len(self.paths) > 1)

    def before_replace(self, layer: Any, name: str, value: Tensor | None) -> None:
        """State that gets another tensor, which is known from now on by its array."""
        if self._muted:
            return
        self.kept.replace(layer, name, value, in_block=len(self.paths) > 1)
        if value is not None and value._array is not None:
            array = value._read()
            if id(array) not in self._known:
                self.know(array, self.value_of(value))

    def on_layer(self, layer: Any, phase: str) -> None:
        """Keep the stack of running layers."""
        if phase == "enter":
            name = type(layer).__name__
            self.layers.append((self.session.layer_paths.get(id(layer), name), name))
        else:
            self.layers.pop()

    # -- what leaves the graph ---------------------------------------------------------------

    def on_escape(self, tensor: Tensor, how: str) -> Any:
        """Refuse values that would be baked; fork where one is used as a condition."""
        if self._muted:
            return None
        value = self.value_of(tensor)
        level = self.session.levels[value]
        if level == FREE:
            return None
        if level == FROZEN:
            self.session.frozen_escape = self.session.frozen_escape or user_line()
            return None
        if how == "bool":
            return self._fork(tensor)
        if level == SIZED:
            nodes = (node for path in self.paths for node in path.nodes())
            sizes = leaving(value, nodes, how, tensor._array, self._sizes)
            if sizes is not None:
                return self._dim(sizes)
        self._refuse(refusals.value_escapes(how, of_sizes=level == SIZED))
        return None

    def _fork(self, tensor: Tensor) -> bool:
        """Take a side of a condition on a value, and see to it that the other is recorded too."""
        condition = self.value_of(control.condition(tensor))
        for path in self.paths:
            if condition in path.answers:
                return path.answers[condition]
        answer = bool(tensor._array.item())
        return self.paths[-1].fork(condition, answer, self.layer, user_line())

    def on_size_escape(self, dim: Dim, how: str) -> None:
        """Refuse to turn a dynamic size into a plain number."""
        if self._muted or not self._open:
            return
        self._refuse(refusals.size_escapes(dim, how))

    def on_guard(
        self, left: Expr, relation: str, right: Expr, answer: bool, *, needed: bool = False
    ) -> bool:
        """Remember a comparison of sizes; one that depends on values is a fork, if both ways go."""
        if self._muted or not self._open:
            return answer
        unknown = any(is_unknown(name) for name in left.symbols() | right.symbols())
        if unknown and not (needed or self._inferring):
            return self._compare(left, relation, right)
        self.session.guard(left, relation, right, answer, user_line())
        return answer

    def _compare(self, left: Expr, relation: str, right: Expr) -> bool:
        """Compare sizes that depend on values, once on a path: the answer holds to its end."""
        pair = (left.key, right.key)
        asked = relation, frozenset(pair) if relation in ("==", "!=") else pair
        for path in self.paths:
            if asked in path.compared:
                return path.compared[asked]
        lifted = [self.lift(self._dim(side)) for side in (left, right)]
        answer = bool(OPS[COMPARE[relation]](*lifted))
        return self.paths[-1].compared.setdefault(asked, answer)

    def lift(self, dim: Any) -> Tensor:
        """A size as a 0-d int64 tensor, made by a recorded op."""
        if not self._open:
            raise refusals.size_outlives_trace(dim)
        return OPS["full"](shape=(), value=dim, dtype="int64")

    # -- sizes -------------------------------------------------------------------------------

    def shape_of(self, tensor: Tensor) -> Sequence[Any] | None:
        """Sizes as Dims, where the value has dynamic ones."""
        if self._muted:
            return None
        known = self._known.get(id(tensor._array))
        if known is None or known[1] is None or not is_symbolic(known[1].shape):
            return None
        return self._dims(known[1].type).shape

    def _dim(self, size: Any) -> Any:
        if isinstance(size, list):
            return list(map(self._dim, size))
        return make(size.value(self._sizes), size, self) if isinstance(size, Expr) else size

    def _dims(self, type_: Type) -> Type:
        return Type(tuple(self._dim(size) for size in type_.shape), type_.dtype)

    # -- blocks ------------------------------------------------------------------------------

    def on_control(
        self, kind: str, functions: dict[str, Callable[..., Any]], operands: Sequence[Any]
    ) -> Any:
        """Record control flow that is made of functions as one node with blocks."""
        if self._muted:
            return NotImplemented
        return control.record(self, kind, functions, operands)

    @contextmanager
    def inside(self, path: Path) -> Iterator[None]:
        """Record on `path`; what is computed there is not known afterwards."""
        self.paths.append(path)
        try:
            yield
        finally:
            self.paths.pop()

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Let code run for its values only."""
        self._muted += 1
        try:
            yield
        finally:
            self._muted -= 1

    def _hide(self, outputs: Sequence[Tensor]) -> None:
        """Mark results of a muted run, so that they are not taken for constants."""
        for tensor in outputs:
            self._known.setdefault(id(tensor._array), (tensor._array, None, None))
