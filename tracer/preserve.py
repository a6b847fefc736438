"""Puts a model back as it was: tracing runs the forward for real, and leaves no trace of it.

Saved and restored are the tensors of the model, every tensor that is written, the attributes of
all layers and optimisers, and the random state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dyn.core import rng
from dyn.core.tensor import Tensor
from dyn.nn.layer import Layer
from tracer.names import Model

_CONTAINERS = (list, dict, set)
_PLAIN = (bool, int, float, str)
_ABSENT = object()


class Snapshot:
    """The state of a model at one moment."""

    def __init__(self, model: Model):
        self._tensors: dict[int, tuple[Tensor, dict[str, Any]]] = {}
        self._layers = [(layer, dict(layer.__dict__)) for layer in model.layers.values()]
        keepers = [k for optimizer in model.optimizers for k in (optimizer, *optimizer._groups)]
        self._keepers = [*self._layers, *((keeper, dict(keeper.__dict__)) for keeper in keepers)]
        self._model = model
        self._buffers = [
            (layer, attribute, layer.__dict__[attribute])
            for places in model.places.values()
            for layer, attribute in places
        ]
        self._contents = [
            (value, value.copy())
            for _, attributes in self._keepers
            for value in attributes.values()
            if type(value) in _CONTAINERS
        ]
        self._random = rng.get_rng_state()
        for tensor in model.tensors.values():
            self.save(tensor)

    def save(self, tensor: Tensor) -> None:
        """Remember one more tensor as it is now, unless it is known already."""
        if id(tensor) not in self._tensors:
            self._tensors[id(tensor)] = (tensor, dict(tensor.__dict__))

    def attributes(self, layer: Layer) -> Mapping[str, Any]:
        """The attributes that a layer had."""
        return next(saved for known, saved in self._layers if known is layer)

    def changed(self) -> list[tuple[Layer, str]]:
        """Layers and attributes that hold something else now, numbers and texts by value.

        Buffers are state and do not count.
        """
        contents = {id(value): content for value, content in self._contents}
        return [
            (layer, name)
            for layer, before in self._layers
            for name in dict.fromkeys((*before, *layer.__dict__))
            if self._model.name_at(layer, name) is None
            and _differs(before.get(name, _ABSENT), layer.__dict__.get(name, _ABSENT), contents)
        ]

    def restore(self, *, attributes: bool = True) -> None:
        """Put everything back. May be called several times.

        Args:
            attributes: False leaves what layers keep beside parameters and buffers.
        """
        for tensor, saved in self._tensors.values():
            version = tensor._version
            tensor.__dict__.clear()
            tensor.__dict__.update(saved)
            # Views of the tensor notice that their base has changed.
            tensor._version = version + 1
        for layer, attribute, buffer in self._buffers:
            layer.__dict__[attribute] = buffer
        rng.set_rng_state(self._random)
        if not attributes:
            return
        for keeper, saved in self._keepers:
            keeper.__dict__.clear()
            keeper.__dict__.update(saved)
        for container, content in self._contents:
            container.clear()
            if isinstance(container, list):
                container.extend(content)
            else:
                container.update(content)


def _differs(before: Any, now: Any, contents: Mapping[int, Any]) -> bool:
    if before is not now:
        return type(before) is not type(now) or type(now) not in _PLAIN or before != now
    content = contents.get(id(now))
    if content is None:
        return False
    if isinstance(now, dict):
        now, content = [*now, *now.values()], [*content, *content.values()]
    return len(now) != len(content) or any(a is not b for a, b in zip(now, content, strict=True))
