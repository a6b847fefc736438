"""Calling a model: its arguments out of specs, its modes set for the call and put back."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dyn.core.dim import Dim
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten, join, rebuild
from dyn.nn.layer import Layer
from tracer.errors import TraceError
from tracer.names import Model
from tracer.spec import InputSpec, as_spec, class_beside


def is_output(value: Any) -> bool:
    """Whether something that a forward returns is one of its outputs: a tensor or a number."""
    return isinstance(value, (Tensor, Dim, np.ndarray, np.generic, int, float))


class Call:
    """The arguments of a model, with specs in the place of tensors."""

    def __init__(self, model: Model, inputs: Sequence[Any], kwargs: Mapping[str, Any]):
        names = argument_names(model.function, inputs, kwargs)
        self._class = class_beside(model.tensors.values())
        given = [*inputs, *kwargs.values()]
        self._count = len(inputs)
        self._keys = list(kwargs)
        self.specs: list[tuple[str, InputSpec]] = []
        self._structures: list[Any] = []
        self._offsets: list[int] = []
        taken: set[str] = set()
        for name, value in zip(names, given, strict=True):
            structure, leaves = flatten(value, lambda v: as_spec(v) is not None)
            self._structures.append(structure)
            self._offsets.append(len(self.specs))
            for path, leaf in leaves:
                spec = as_spec(leaf)
                assert spec is not None
                chosen = spec.name or join(name, path)
                if chosen in taken:
                    raise TraceError(f"two inputs are called {chosen!r}; give one another name")
                taken.add(chosen)
                self.specs.append((chosen, spec))

    def arguments(self, tensors: list[Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments with tensors in the place of the specs."""
        for tensor, (_, spec) in zip(tensors, self.specs, strict=True):
            tensor.__class__ = spec.tensor_class or self._class
        values = [
            rebuild(structure, tensors[offset:])
            for structure, offset in zip(self._structures, self._offsets, strict=True)
        ]
        return values[: self._count], dict(zip(self._keys, values[self._count :], strict=True))


def forward_of(model: Any) -> Any:
    """The function that gets the arguments of a model: a layer's forward, or the model itself."""
    return model.forward if isinstance(model, Layer) else model


def argument_names(model: Any, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """The parameter that each argument is bound to."""
    if isinstance(model, type) and issubclass(model, Layer):
        name = model.__name__
        raise TraceError(f"{name} is a class; pass a model that is made of it, {name}(...)")
    try:
        bound = inspect.signature(forward_of(model)).bind(*inputs, **kwargs)
    except TypeError as error:
        raise TraceError(f"the inputs do not fit the forward: {error}{_advice(model)}") from None
    except ValueError:
        return [f"input_{i}" for i in range(len(inputs))] + list(kwargs)
    names: list[str] = []
    for name, parameter in bound.signature.parameters.items():
        if name not in bound.arguments or len(names) >= len(inputs):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{name}_{i}" for i in range(len(bound.arguments[name]))]
        elif parameter.kind is not parameter.VAR_KEYWORD:
            names.append(name)
    return names[: len(inputs)] + list(kwargs)


def _advice(model: Any) -> str:
    """What to do where arguments do not fit."""
    function = forward_of(model)
    name = getattr(function, "__name__", "forward")
    return (
        f"; the model is called as {name}{inspect.signature(function)}, and each tensor it takes "
        "needs an InputSpec or an example"
    )


class Modes:
    """Sets train or eval mode for the length of a trace, and each layer's own mode back.

    Args:
        layers: by path, outer before inner.
        training: as for `trace`; None leaves every layer in the mode that it is in.
    """

    def __init__(self, layers: Mapping[str, Layer], training: bool | None):
        self._layers = list(layers.values())
        self._training = training

    def __enter__(self) -> None:
        self._before = [layer.training for layer in self._layers]
        if self._training is None or (self._training and self._before and self._before[0]):
            return
        for layer in self._layers:
            layer.training = self._training

    def __exit__(self, *exc: object) -> None:
        for layer, mode in zip(self._layers, self._before, strict=True):
            layer.training = mode
