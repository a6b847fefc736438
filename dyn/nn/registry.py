"""What hangs on a layer and what it is called: registration by assignment, and the walks over it.

Values live in the layer's `__dict__` like any attribute, which keeps reading them fast; `_kinds`
says which of them are parameters, buffers and sublayers. Calling layers must not go in here.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from dyn.core import observe
from dyn.core.errors import AttributeValueError, DTypeError
from dyn.core.tensor import Tensor
from dyn.nn.state import Buffer, Parameter

if TYPE_CHECKING:
    from dyn.nn.layer import Layer


class Registered(MutableMapping[str, Any]):
    """A live view of one kind of a layer's registered attributes, by name."""

    def __init__(self, owner: Registry, kind: str):
        self._owner = owner
        self._kind = kind

    def __getitem__(self, name: str) -> Any:
        if self._owner._kinds.get(name) != self._kind:
            raise KeyError(name)
        return self._owner.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._owner._register(name, value, self._kind)

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self._owner, name)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, kind in self._owner._kinds.items() if kind == self._kind])

    def __len__(self) -> int:
        return sum(kind == self._kind for kind in self._owner._kinds.values())

    def __repr__(self) -> str:
        return repr(dict(self))


class Registry:
    """Keeps parameters, buffers and sublayers under the names they are assigned to."""

    _kinds: dict[str, str]
    """Kind by attribute name, in order of registration: "parameter", "buffer" or "layer"."""

    _made_by_init: tuple[str, ...] = ("_kinds",)
    """Attributes that only a layer without `super().__init__()` can lack."""

    def __init__(self) -> None:
        object.__setattr__(self, "_kinds", {})

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not there, so reading an attribute costs nothing more.
        if name in type(self)._made_by_init:
            raise NotInitializedError("super().__init__() should be called first")
        text = f"'{type(self).__name__}' object has no attribute '{name}'"
        raise AttributeError(text, name=name, obj=self)

    # -- registration ------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            kind = "parameter"
        elif isinstance(value, Buffer):
            kind = "buffer"
        elif isinstance(value, Registry):
            kind = "layer"
        else:
            kinds = self.__dict__.get("_kinds")
            if kinds and name in kinds:
                self._reassign(name, value, kinds[name])
            else:
                object.__setattr__(self, name, value)
            return
        if hasattr(getattr(type(self), name, None), "__set__"):
            object.__setattr__(self, name, value)
        else:
            self._register(name, value, kind)

    def _register(self, name: str, value: Any, kind: str) -> None:
        kinds = self.__dict__.get("_kinds")
        if kinds is None:
            raise NotInitializedError("super().__init__() should be called first")
        if kinds.get(name, kind) != kind:
            del kinds[name]
        kinds[name] = kind
        if kind == "buffer":
            before = self._before_replace(name, value)
            if value is not None and not isinstance(value, Buffer):
                value = Buffer.holding(value, before)
        self.__dict__[name] = value

    def _before_replace(self, name: str, value: Tensor | None) -> Buffer | None:
        """Tell observers what a buffer is about to be; returns what it is."""
        before = self.__dict__.get(name)
        if value is not before:
            for observer in observe.current():
                observer.before_replace(self, name, value)
        return before

    def _reassign(self, name: str, value: Any, kind: str) -> None:
        """Assign something else to a registered name: it keeps its kind, so nothing gets lost."""
        if value is None or (kind == "buffer" and isinstance(value, Tensor)):
            self._register(name, value, kind)
        else:
            wanted = {"parameter": "Parameter", "buffer": "Tensor", "layer": "Layer"}[kind]
            what = "sublayer" if kind == "layer" else kind
            raise DTypeError(
                f"assignment to {what} '{name}' should be of type {wanted} or None, but got "
                f"'{type(value).__name__}'; del it first to use the name for something else"
            )

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self.__dict__.get("_kinds", {}).pop(name, None)

    def _check_name(self, name: Any, what: str) -> None:
        """Raise unless a new parameter, buffer or sublayer may be called `name`."""
        if not isinstance(name, str):
            raise DTypeError(
                f"The name of {what} should be a string, but received {type(name).__name__}."
            )
        if "." in name:
            raise NameTakenError(
                f"The name of {what} can not contain `.`, because it is used to join the names of "
                "nested layers."
            )
        if name == "":
            raise NameTakenError(f"The name of {what} can not be empty.")
        if hasattr(self, name) and name not in self._kinds:
            raise NameTakenError(f"attribute '{name}' already exists.")

    def add_parameter(self, name: str, parameter: Parameter | None) -> Parameter | None:
        """Register a parameter under a name; returns it.

        Raises:
            KeyError: the name is empty, has a dot in it, or belongs to something else.
            TypeError: the name is no string, or the parameter is no Parameter.
        """
        self._check_name(name, "parameter")
        if parameter is not None and not isinstance(parameter, Parameter):
            raise DTypeError(
                "The parameter to be added should be a Parameter, but received "
                f"{type(parameter).__name__}."
            )
        if self._kinds.get(name, "parameter") != "parameter":
            raise NameTakenError(f"attribute '{name}' already exists.")
        self._register(name, parameter, "parameter")
        return parameter

    def register_buffer(self, name: str, tensor: Tensor | None, persistable: bool = True) -> None:
        """Register a tensor as a buffer: state that is kept, moved and exported with the layer.

        Args:
            name: attribute name.
            tensor: becomes a `Buffer` itself, whoever else holds it. None keeps the name free.
            persistable: whether `state_dict` and exported graphs hold it as state.

        Raises:
            KeyError: the name is empty, has a dot in it, or is taken.
            TypeError: the name is no string, or the tensor is no Tensor.
        """
        if not hasattr(self, "_kinds"):
            raise NotInitializedError("super().__init__() should be called first")
        self._check_name(name, "buffer")
        if self._kinds.get(name, "buffer") != "buffer":
            raise NameTakenError(f"attribute '{name}' already exists.")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise DTypeError(
                "The registered buffer should be a dyn.Tensor, but received "
                f"{type(tensor).__name__}."
            )
        buffer = None if tensor is None else Buffer.adopt(tensor, persistable)
        self._register(name, buffer, "buffer")

    def add_sublayer(self, name: str, sublayer: Any) -> Any:
        """Register a sublayer under a name, so that `layer.name` is it; returns the sublayer.

        Raises:
            KeyError: the name is empty, has a dot in it, or belongs to something else.
            TypeError: the name is no string, or the sublayer is no Layer.
        """
        name = name if not isinstance(name, int) else str(name)
        self._check_name(name, "sublayer")
        if sublayer is not None and not isinstance(sublayer, Registry):
            raise DTypeError(
                f"The sublayer to be added should be a Layer, but received "
                f"{type(sublayer).__name__}."
            )
        self._register(name, sublayer, "layer")
        return sublayer

    @property
    def _parameters(self) -> Registered:
        return Registered(self, "parameter")

    @property
    def _buffers(self) -> Registered:
        return Registered(self, "buffer")

    @property
    def _sub_layers(self) -> Registered:
        return Registered(self, "layer")

    # -- walks -------------------------------------------------------------------------------

    def _own(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Names and values of one kind that hang on this layer itself, absent ones left out."""
        values = self.__dict__
        for name, found in list(self._kinds.items()):
            if found == kind and values[name] is not None:
                yield name, values[name]

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        """Attribute names and direct sublayers in order of registration, each layer once."""
        seen: set[int] = set()
        for name, layer in self._own("layer"):
            if id(layer) not in seen:
                seen.add(id(layer))
                yield name, layer

    def children(self) -> Iterator[Layer]:
        """The direct sublayers in order of registration."""
        return (layer for _, layer in self.named_children())

    def named_sublayers(
        self, prefix: str = "", include_self: bool = False
    ) -> Iterator[tuple[str, Layer]]:
        """Dotted names and sublayers of all depths, outer before inner; a shared one once.

        Args:
            prefix: put before every name.
            include_self: begin with this layer, under the name `prefix`.
        """
        seen = {id(self)}
        if include_self:
            yield prefix, self  # type: ignore[misc]
        for path, layer in self._paths(prefix):
            if id(layer) not in seen:
                seen.add(id(layer))
                yield path, layer

    def _paths(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Every path to a sublayer, outer before inner: a shared layer as often as it is held.

        Walks with a stack of its own: the depth of a model is not bounded by Python's recursion.
        """
        joined = prefix + "." if prefix else ""
        stack: list[tuple[str, Registry, Iterator[tuple[str, Any]]]]
        stack = [(joined, self, self._own("layer"))]
        above = {id(self)}
        while stack:
            joined, owner, rest = stack[-1]
            for name, layer in rest:
                if id(layer) in above:
                    continue
                yield joined + name, layer
                above.add(id(layer))
                stack.append((f"{joined}{name}.", layer, layer._own("layer")))
                break
            else:
                above.discard(id(owner))
                stack.pop()

    def sublayers(self, include_self: bool = False) -> list[Layer]:
        """All sublayers of all depths, outer before inner, as a list."""
        return [layer for _, layer in self.named_sublayers(include_self=include_self)]

    def _named_state(
        self, kind: str, prefix: str, include_sublayers: bool
    ) -> Iterator[tuple[str, Any]]:
        layers: Any = ((prefix, self),)
        if include_sublayers:
            layers = self.named_sublayers(prefix, include_self=True)
        seen: set[int] = set()
        for path, layer in layers:
            for name, tensor in layer._own(kind):
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", include_sublayers: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Dotted names and parameters, a shared one once under its first name."""
        return self._named_state("parameter", prefix, include_sublayers)

    def parameters(self, include_sublayers: bool = True) -> list[Parameter]:
        """All parameters as a list, shared ones once."""
        return [p for _, p in self.named_parameters(include_sublayers=include_sublayers)]

    def named_buffers(
        self, prefix: str = "", include_sublayers: bool = True
    ) -> Iterator[tuple[str, Buffer]]:
        """Dotted names and buffers, persistable or not, a shared one once."""
        return self._named_state("buffer", prefix, include_sublayers)

    def buffers(self, include_sublayers: bool = True) -> list[Buffer]:
        """All buffers as a list, shared ones once."""
        return [b for _, b in self.named_buffers(include_sublayers=include_sublayers)]


class NameTakenError(AttributeValueError, KeyError):
    """A name that a parameter, buffer or sublayer cannot have."""

    __str__ = AttributeValueError.__str__


class NotInitializedError(AttributeValueError, AttributeError):
    """A layer is used whose `__init__` did not call `super().__init__()`."""
