"""Hooks that see the gradients of a module's inputs and outputs, made of hooks on tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dyn.compat.torch.tensor import own
from dyn.core.tensor import Tensor
from dyn.nn.hooks import active
from dyn.ops.shape import reshape


class _Call:
    """One call of a module that is watched: collects gradients until the hooks can run."""

    def __init__(self, module: Any, table: Any, inputs: int, outputs: int):
        self.module, self.table = module, table
        self.grad_input: list[Any] = [None] * inputs
        self.grad_output: list[Any] = [None] * outputs

    def forget(self) -> None:
        """Begin anew."""
        self.grad_input = [None] * len(self.grad_input)
        self.grad_output = [None] * len(self.grad_output)

    def run(self) -> None:
        """Call the hooks; what they return takes the place of the inputs' gradients."""
        for hook in active(self.table):
            answer = hook(self.module, tuple(self.grad_input), tuple(self.grad_output))
            if answer is not None:
                found = answer if isinstance(answer, tuple) else (answer,)
                self.grad_input = list(found)


def watched(
    module: Any,
    table: Any,
    call: Callable[..., Any],
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """Call a module so that its backward hooks run when its gradients are known.

    Inputs enter through a view of their own: its gradient is what flows back through this call
    alone, however often the input is used elsewhere.
    """
    entered = [
        own(reshape(x, list(x.shape))) if isinstance(x, Tensor) and not x.stop_gradient else x
        for x in inputs
    ]
    out = call(*entered, **kwargs)
    outputs = [out] if isinstance(out, Tensor) else list(out)
    state = _Call(module, table, len(inputs), len(outputs))
    wanted = [i for i, x in enumerate(entered) if isinstance(x, Tensor) and not x.stop_gradient]
    arrived: set[int] = set()
    seen: set[int] = set()

    def of_output(position: int) -> Callable[[Any], None]:
        def note(g: Any) -> None:
            if arrived or position in seen:
                # Another walk through the same call, as of a graph that was retained.
                state.forget()
                arrived.clear()
                seen.clear()
            seen.add(position)
            state.grad_output[position] = own(g)
            if not wanted:
                state.run()

        return note

    def of_input(position: int) -> Callable[[Any], Any]:
        def note(g: Any) -> Any:
            state.grad_input[position] = own(g)
            arrived.add(position)
            if len(arrived) == len(wanted):
                state.run()
            return state.grad_input[position]

        return note

    for position, tensor in enumerate(outputs):
        if isinstance(tensor, Tensor) and not tensor.stop_gradient:
            own(tensor).register_hook(of_output(position))
    for position in wanted:
        own(entered[position]).register_hook(of_input(position))
    return out
