"""What a model consists of and what it is called: parameters, buffers, layers, temporaries.

Names are the keys of `state_dict`. They are read before the trace, by walking the model, never
guessed from the run.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from dyn.core.tensor import Tensor
from dyn.nn.layer import Layer
from dyn.nn.state import Buffer, Parameter
from dyn.optimizer import Optimizer
from tracer.errors import TraceError
from tracer.graph import Block, Graph, Value
from tracer.reach import reach_kinds


class Model:
    """A model or function with the names of everything in it.

    Attributes:
        function: what is called.
        name: class name of the model, or name of the function.
        closed: whether all state must be registered; a plain function may use any parameter.
        layers: all layers by path, outer before inner.
        optimizers: those that it knows, or that were given.
        training: whether they may step.
        tensors: parameters, persistable buffers and what optimisers keep by name, each once.
        carried: names of learning rates, which are state though nothing but a schedule writes them.
        places: the attributes of layers that hold buffers among the tensors, by name; more than
            one where a buffer is shared.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        layers: Mapping[str, Layer] | None = None,
        state: Mapping[str, Tensor] | None = None,
        optimizers: Mapping[str, Optimizer] | None = None,
        training: bool | None = False,
    ):
        """Walk the model.

        Args:
            function: a Layer, a method of one, or any function; the layers and optimisers that a
                function uses are found in what it reads: variables, attributes of the user's
                objects, and what the functions that it calls read.
            layers: layers of a function by name, instead of those found.
            state: more tensors that are state, by name.
            optimizers: optimisers of a training step by name, instead of those found.
            training: whether it may step. Else what the optimisers found keep is no state, and is
                not even made: many functions know an optimiser that they do not use.

        Raises:
            TraceError: it cannot be called.
        """
        if not callable(function):
            raise TraceError(
                f"{type(function).__name__} cannot be called; pass a Layer or a function of tensors"
            )
        if layers is not None and not isinstance(layers, Mapping):
            raise TraceError(
                f"layers names the layers that a function uses, as a dict such as {{'net': net}}, "
                f"not as {type(layers).__name__}"
            )
        self.function = function
        function = inspect.unwrap(function)
        owner = function if isinstance(function, Layer) else getattr(function, "__self__", None)
        self.closed = isinstance(owner, Layer)
        self.name = _name_of(function, owner if self.closed else None)
        found: dict[str, Any]
        distant: dict[str, Any] = {}
        if isinstance(owner, Layer):
            found = {"": owner}
        elif layers is not None:
            found = dict(layers)
        else:
            found = _used_by(function)
            distant = _used_elsewhere(function, found)
            found |= distant
        self.layers: dict[str, Layer] = {}
        self.tensors: dict[str, Tensor] = dict(state or {})
        self._names = {id(tensor): name for name, tensor in self.tensors.items()}
        self.places: dict[str, list[tuple[Layer, str]]] = {}
        self._name_at: dict[tuple[int, str], str] = {}
        roots = {name: item for name, item in found.items() if isinstance(item, Layer)}
        for name, item in found.items():
            if isinstance(item, (Parameter, Buffer)):
                self._add_tensor(name, item)
        # A layer that is alone needs no prefix, whatever functions that are called use besides.
        near = {name for name in roots if name not in distant} or set(roots)
        for name, layer in roots.items():
            self._add_layer("" if near == {name} and not layers else name, layer)
        stepped = {name: item for name, item in found.items() if isinstance(item, Optimizer)}
        stepped = stepped if optimizers is None else dict(optimizers)
        self.optimizers = list(stepped.values())
        self.training = bool(training) or optimizers is not None
        self.carried: set[str] = set()
        for name, optimizer in stepped.items() if self.training else ():
            self._add_optimizer(f"{name}." if len(stepped) > 1 else "", optimizer)

    def _add_layer(self, prefix: str, root: Layer) -> None:
        for path, layer in root.named_sublayers(prefix, include_self=True):
            self.layers.setdefault(path, layer)
        # Layer's own: a subclass may give copies, and the tensors themselves are meant.
        for name, tensor in Layer.state_dict(root).items():
            self._add_tensor(f"{prefix}.{name}" if prefix else name, tensor)
        for layer in root.sublayers(include_self=True):
            for attribute, buffer in layer._own("buffer"):
                name, place = self._names.get(id(buffer)), (id(layer), attribute)
                if name is not None and place not in self._name_at:
                    self._name_at[place] = name
                    self.places.setdefault(name, []).append((layer, attribute))

    def _add_tensor(self, name: str, tensor: Tensor) -> None:
        if tensor.persistable and id(tensor) not in self._names:
            if name in self.tensors:
                raise TraceError(
                    f"two tensors of {self.name} are called {name!r}; give one another name, as "
                    "with state={'name': tensor} or layers={'name': layer}"
                )
            self._names[id(tensor)] = name
            self.tensors[name] = tensor

    def _add_optimizer(self, prefix: str, optimizer: Optimizer) -> None:
        """Its parameters that no layer holds; slots as `<parameter>.<slot>`; what groups share."""
        for p in optimizer._parameter_list:
            if id(p) not in self._names:
                self._add_state(p.name, p)
        for kind, parameter, buffer in optimizer.state_buffers():
            before = prefix if parameter is None else f"{self._names[id(parameter)]}."
            name = self._add_state(before + kind, buffer)
            if kind == "learning_rate":
                self.carried.add(name)

    def _add_state(self, stem: str, tensor: Tensor) -> str:
        """The name that a tensor gets: `stem`, with a number behind it if that is taken."""
        name = _free(stem, self.tensors)
        self._names[id(tensor)] = name
        self.tensors[name] = tensor
        return name

    def name_at(self, layer: Any, attribute: str) -> str | None:
        """The name of the state that an attribute of a layer holds, if it does."""
        return self._name_at.get((id(layer), attribute))

    def now(self, name: str) -> Tensor:
        """The tensor that holds a state now: `layer.buffer = value` puts another in its place."""
        for layer, attribute in self.places.get(name, ()):
            return layer.__dict__[attribute]
        return self.tensors[name]

    def gradients(self) -> dict[str, Tensor]:
        """What stands in `grad` of its tensors, by their names."""
        return {name: t._grad for name, t in self.tensors.items() if isinstance(t._grad, Tensor)}

    def temporaries(self) -> dict[str, Tensor]:
        """Tensors that hang on layers without being state (also in lists and dicts), by path.

        Non-persistable buffers are among them, and buffers that had no value at first.
        """
        found: dict[str, Tensor] = {}
        for path, layer in self.layers.items():
            kinds = layer._kinds
            for name, value in list(layer.__dict__.items()):
                if type(value) in _PLAIN or kinds.get(name) in ("parameter", "layer"):
                    continue
                if self.name_at(layer, name) is not None:
                    continue
                for key, tensor in _tensors_in(f"{path}.{name}" if path else name, value):
                    if id(tensor) not in self._names:
                        found[key] = tensor
        return found


_STATE = (Layer, Parameter, Buffer, Optimizer)
_PLAIN = frozenset({bool, int, float, str, type(None), Parameter})
"""What an attribute can be that is no temporary and holds none."""


def _tensors_in(
    path: str, value: Any, around: tuple[Any, ...] = ()
) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, (list, tuple, dict)) and not any(one is value for one in around):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _tensors_in(f"{path}[{key!r}]", item, (*around, value))


def _name_of(function: Any, owner: Layer | None) -> str:
    name = getattr(function, "__name__", None)
    if owner is not None:
        plain = name in (None, "forward", "__call__")
        return type(owner).__name__ if plain else f"{type(owner).__name__}.{name}"
    if name is None:
        inner = getattr(function, "func", None)
        return _name_of(inner, None) if inner is not None else type(function).__name__
    return "function" if name == "<lambda>" else name


def _used_by(function: Any) -> dict[str, Any]:
    """Layers, parameters, buffers and optimisers that a function can reach, by variable name."""
    found: dict[str, Any] = {}
    inner = getattr(function, "func", None)
    if inner is not None:  # functools.partial
        for name, item in enumerate(function.args):
            _collect(str(name), item, found)
        for name, item in function.keywords.items():
            _collect(name, item, found)
        found |= {k: v for k, v in _used_by(inner).items() if k not in found}
        return found
    owner = getattr(function, "__self__", None)
    if owner is None and not inspect.isroutine(function):
        owner, function = function, type(function).__call__
    for name, item in getattr(owner, "__dict__", {}).items():
        _collect(name, item, found)
    function = inspect.unwrap(function)
    function = getattr(function, "__func__", function)
    if inspect.isfunction(function):
        variables = inspect.getclosurevars(function)
        for name, item in {**variables.globals, **variables.nonlocals}.items():
            _collect(name, item, found)
    return found


def _used_elsewhere(function: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """What else a function reads: on objects of the user's, and in functions that it calls.

    What layers hold that were found is left out: it has its name from them.
    """
    distant = reach_kinds(("", function), _STATE)
    held = {id(item) for item in found.values()}
    for layer in (*found.values(), *(item for _, item in distant)):
        if isinstance(layer, Layer):
            held |= {id(x) for x in (*layer.sublayers(), *Layer.state_dict(layer).values())}
    more: dict[str, Any] = {}
    for path, item in distant:
        if id(item) not in held:
            more[_free(path.lstrip("."), {**found, **more})] = item
    return more


def _free(stem: str, taken: Container[str]) -> str:
    """A name that is not taken: `stem`, with a number behind it if that is."""
    numbered = (f"{stem}_{i}" for i in itertools.count(1))
    return next(name for name in itertools.chain([stem], numbered) if name not in taken)


def _collect(name: str, item: Any, found: dict[str, Any], depth: int = 0) -> None:
    """Add what is state, also inside containers; not deeper than models are ever kept."""
    if isinstance(item, _STATE):
        found[name] = item
    elif isinstance(item, (list, tuple, dict)) and depth < 3:
        pairs = item.items() if isinstance(item, dict) else enumerate(item)
        for key, one in pairs:
            _collect(f"{name}.{key}", one, found, depth + 1)


def number(graph: Graph) -> None:
    """Give the results of nodes and the inputs of blocks their names `%1`, `%2` ... in order.

    Results that nothing reads and that are not the node's first are called `_`.
    """
    read: set[Value] = {value for block in blocks(graph) for value in block.roots()}
    read |= {value for node in graph.walk() for value in node.inputs if value is not None}
    count = 0

    def name(values: list[Value], keep: int) -> None:
        nonlocal count
        for i, value in enumerate(values):
            if i < keep or value in read:
                count += 1
                value.name = f"%{count}"
            else:
                value.name = "_"

    def visit(block: Block) -> None:
        for node in block.nodes:
            for inner in node.blocks.values():
                name(inner.inputs, len(inner.inputs))
                visit(inner)
            name(node.outputs, 1)

    visit(graph)


def name_constants(graph: Graph) -> None:
    """Give constants that have no name one, and no name twice."""
    taken = {value.name for value in (*graph.inputs, *graph.params, *graph.buffers)}
    taken |= {value.name for value in graph.constants}
    counts: dict[str, int] = {}
    for value in graph.constants:
        if value.name:
            continue
        stem = "c" if value.kind == "literal" else "const"
        count = counts.get(stem, 0)
        while f"{stem}{count}" in taken:
            count += 1
        counts[stem] = count + 1
        value.name = f"{stem}{count}"
        taken.add(value.name)


def blocks(graph: Graph) -> Iterator[Block]:
    """The graph itself and every block in it."""
    yield graph
    for node in graph.walk():
        yield from node.blocks.values()
