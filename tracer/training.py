"""A training step as one function that a trace can record: forward, backward, update.

What becomes of the graph is not known here: `exporter.export_training` writes it to a file,
`compiled.py` runs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dyn.core.errors import DTypeError
from dyn.core.tensor import Tensor
from dyn.nn.layer import Layer
from dyn.optimizer import Optimizer
from tracer.call import forward_of
from tracer.live import Live


class Training:
    """A loss, and the optimisers that take a step on it.

    Args:
        loss: a Layer or a function of tensors that returns the loss, or a tuple that begins with
            it, or a dict with a "loss". It is differentiated and must not call `backward` itself.
        optimizer: takes a step after the backward pass; several take theirs in turn.

    Attributes:
        step: takes one step, with the arguments and results of `loss`; gradients are cleared
            before and after it.
        optimizers: all optimisers by their place in the list, as a string.
        parameters: what they train.

    Raises:
        DTypeError: `optimizer` is not an Optimizer or a list of them, or `loss` cannot be called
            with tensors.
    """

    def __init__(self, loss: Any, optimizer: Optimizer | Sequence[Optimizer]):
        optimizers = _listed(optimizer)
        self.optimizers = {str(i): one for i, one in enumerate(optimizers)}

        def backward(*args: Any, **kwargs: Any) -> Any:
            self.clear()
            result = loss(*args, **kwargs)
            _loss_in(result).backward()
            return result

        def step(*args: Any, **kwargs: Any) -> Any:
            result = backward(*args, **kwargs)
            for one in optimizers:
                one.step()
            self.clear()
            return result

        self._backward = _like(loss, backward)
        self.step = _like(loss, step)

    @property
    def parameters(self) -> list[Any]:
        """What the optimisers train; they may be given more at any time."""
        return [p for one in self.optimizers.values() for p in one._parameter_list]

    def clear(self) -> None:
        """Forget the gradients of all that is trained."""
        for p in self.parameters:
            p.clear_grad(set_to_zero=False)

    @contextmanager
    def ready(
        self,
        *inputs: Any,
        sizes: Mapping[str, int] | None = None,
        training: bool | None = True,
        layers: Mapping[str, Layer] | None = None,
        state: Mapping[str, Tensor] | None = None,
        **named: Any,
    ) -> Iterator[list[np.ndarray]]:
        """A block in which `step` can be traced; the arguments are those of `trace`.

        Which parameters get a gradient decides which slots of the optimisers are state, and must be
        known before the trace. So the backward pass is run once, and within the block the
        parameters have its gradients; afterwards they have those that they had before.

        Yields:
            The tensors and numbers that the loss returns.

        Raises:
            DTypeError: the loss is not a Tensor.
            GradError: the loss depends on nothing that is trained.
        """
        parameters = self.parameters
        before = [p._grad for p in parameters]
        of_model = {"training": training, "layers": layers, "state": state}
        try:
            live = Live(self._backward, *inputs, optimizers={}, **of_model, **named)
            results = live.run(live.samples(sizes))
            found = [p._grad for p in parameters]
            live.restart()
            _set_grads(parameters, found)
            yield results
        finally:
            _set_grads(parameters, before)


def _listed(optimizer: Any) -> list[Optimizer]:
    optimizers = list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]
    if not optimizers:
        raise DTypeError("optimizer is an empty list; pass one or more of dyn.optimizer")
    for one in optimizers:
        if not isinstance(one, Optimizer):
            raise DTypeError(f"optimizer is {type(one).__name__}; pass a dyn.optimizer.Optimizer")
    return optimizers


def _like(loss: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the signature of `loss`, whose layers are looked for in `loss`."""
    if not callable(loss) or (isinstance(loss, type) and issubclass(loss, Layer)):
        given = f"the class {loss.__name__}" if isinstance(loss, type) else type(loss).__name__
        raise DTypeError(
            f"loss is {given}; pass a layer that is made, or a function of tensors, that returns "
            "the loss"
        )
    forward = forward_of(loss)
    function.__name__ = f"training step of {getattr(loss, '__name__', type(loss).__name__)}"
    function.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    function.__wrapped__ = loss  # type: ignore[attr-defined]
    return function


def _loss_in(result: Any) -> Tensor:
    """The loss in what the user's function returned."""
    if isinstance(result, Mapping):
        result = result.get("loss")
    elif isinstance(result, (list, tuple)) and result:
        result = result[0]
    if not isinstance(result, Tensor):
        raise DTypeError(
            f"the loss is {type(result).__name__}; return a Tensor, a tuple that begins with the "
            'loss, or a dict with a "loss"'
        )
    return result


def _set_grads(parameters: Sequence[Any], grads: Sequence[Any]) -> None:
    for p, g in zip(parameters, grads, strict=True):
        p._grad = g
