"""The live model as a function from arrays to arrays: what a graph or a file is compared with.

Called as the trace called it, in the same modes; state carries from call to call until `restart`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dyn.core.tensor import Tensor
from dyn.nn.layer import Layer
from dyn.nn.state import Parameter
from dyn.optimizer import Optimizer
from tracer.call import Call, Modes
from tracer.names import Model
from tracer.preserve import Snapshot
from tracer.spec import bind
from tracer.steady import arrays_of
from tracer.trace import need_same_twice


class Live:
    """A model that can be run again on other arrays.

    Takes the arguments of `trace`. Between two calls of `restart` the runs change the model's own
    state; call it when done.
    """

    def __init__(
        self,
        model: Layer | Callable[..., Any],
        *inputs: Any,
        training: bool | None = False,
        layers: Mapping[str, Layer] | None = None,
        state: Mapping[str, Tensor] | None = None,
        optimizers: Mapping[str, Optimizer] | None = None,
        **kwargs: Any,
    ):
        self._model = Model(model, layers, state, optimizers, training)
        self._call = Call(self._model, inputs, kwargs)
        self._training = training
        self._snapshot = Snapshot(self._model)
        for tensor in self._model.temporaries().values():
            self._snapshot.save(tensor)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, in the order of the graph's outputs, for one array per input."""
        tensors = []
        for (_, spec), array in zip(self._call.specs, arrays, strict=True):
            tensor = Tensor._of(array)
            tensor.stop_gradient = spec.stop_gradient
            tensors.append(tensor)
        args, kwargs = self._call.arguments(tensors)
        with Modes(self._model.layers, self._training):
            return arrays_of(self._model.function(*args, **kwargs))

    def samples(self, sizes: Mapping[str, int] | None = None) -> list[np.ndarray]:
        """An array for each input, as `trace` would draw it; `sizes` are those of `trace`."""
        bound, _ = bind(self._call.specs, sizes)
        return [one.sample for one in bound]

    def classes(self) -> dict[str, str]:
        """Class names by path of the layers that have a forward of their own, outer ones first."""
        return {
            path: type(layer).__name__
            for path, layer in self._model.layers.items()
            if path and type(layer).forward is not Layer.forward
        }

    def state(self) -> dict[str, np.ndarray]:
        """Parameters and persistable buffers by name, as the last run left them."""
        return {
            name: tensor._read()
            for name, tensor in ((name, self._model.now(name)) for name in self._model.tensors)
            if tensor._array is not None
        }

    def restart(self) -> None:
        """Put the model's state and the random numbers back as they were at the start."""
        self._snapshot.restore()

    def change(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change all parameters, each array by a function of it, until `restart`."""
        for tensor in self._model.tensors.values():
            if isinstance(tensor, Parameter):
                tensor._assign(Tensor._of(change(tensor._read())))

    def keeps(self) -> bool:
        """Whether the runs since the start have changed attributes of layers."""
        return bool(self._snapshot.changed())

    def refuse(self) -> None:
        """Say at which line the model is not the same twice.

        Raises:
            TraceError: two calls with the same inputs differ, and where they do.
        """
        self.restart()
        need_same_twice(self._model, self._call, self._training)
