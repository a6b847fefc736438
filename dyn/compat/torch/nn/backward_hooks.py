"""Hooks that see the gradients of a module's inputs and outputs, made of hooks on tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dyn.compat.torch.tensor import own
from dyn.core.custom import PyLayer
from dyn.core.tensor import Tensor
from dyn.nn.hooks import Table, active
from dyn.ops.shape import reshape


class _Call:
    """One call of a module that is watched: collects gradients until the hooks can run."""

    def __init__(self, module: Any, before: Table, behind: Table, inputs: int, outputs: int):
        self.module, self.before, self.behind = module, before, behind
        self.grad_input: list[Any] = [None] * inputs
        self.grad_output: list[Any] = [None] * outputs

    def forget(self) -> None:
        """Begin anew."""
        self.grad_input = [None] * len(self.grad_input)
        self.grad_output = [None] * len(self.grad_output)

    def run(self) -> None:
        """Call the hooks; what they return takes the place of the inputs' gradients."""
        for hook in active(self.behind):
            answer = hook(self.module, tuple(self.grad_input), tuple(self.grad_output))
            if answer is not None:
                found = answer if isinstance(answer, tuple) else (answer,)
                self.grad_input = list(found)

    def run_before(self, gradients: Mapping[int, Any]) -> list[Any]:
        """Call the hooks on what has arrived, by place; what they return goes on in its place."""
        shown: list[Any] = [own(gradients.get(i)) for i in range(len(self.grad_output))]
        for hook in active(self.before):
            answer = hook(self.module, tuple(shown))
            if answer is not None:
                shown = list(answer) if isinstance(answer, tuple) else [answer]
                if len(shown) != len(self.grad_output):
                    raise RuntimeError(
                        f"a full backward pre hook returned {len(shown)} gradients, the module has "
                        f"{len(self.grad_output)} outputs"
                    )
        return [shown[i] for i in gradients]


class _Outputs(PyLayer):
    """The outputs of a call themselves; their gradients go through the hooks together."""

    @staticmethod
    def forward(ctx: Any, call: _Call, places: list[int], *outputs: Any) -> Any:
        ctx.call, ctx.places = call, places
        return tuple(reshape(x, list(x.shape)) for x in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return tuple(ctx.call.run_before(dict(zip(ctx.places, gradients, strict=True))))


def watched(
    module: Any,
    before: Table,
    behind: Table,
    call: Callable[..., Any],
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a module so that its backward hooks run when its gradients are known.

    Inputs enter through a view of their own: its gradient is what flows back through this call
    alone, however often the input is used elsewhere.

    Args:
        module: the module.
        before, behind: hooks on the gradients of its outputs, and on those of its inputs.
        call: of `(inputs, kwargs)`, runs the module.
        inputs, kwargs: the arguments.
    """
    entered = tuple(
        own(reshape(x, list(x.shape))) if isinstance(x, Tensor) and not x.stop_gradient else x
        for x in inputs
    )
    out = call(entered, kwargs)
    # Of other results, dictionaries say, hooks see no gradients, as in PyTorch.
    several = isinstance(out, (tuple, list))
    outputs = list(out) if several else [out]
    state = _Call(module, before, behind, len(inputs), len(outputs))
    leaving = [i for i, x in enumerate(outputs) if _wants(x)]
    if behind:
        _note(state, entered, {i: outputs[i] for i in leaving})
    if before and leaving:
        # Behind the others: the module sees what the hooks make of its gradients.
        passed = _Outputs.apply(state, leaving, *[outputs[i] for i in leaving])
        for i, x in zip(leaving, passed, strict=True):
            outputs[i] = own(x)
        out = _like(out, outputs) if several else outputs[0]
    return out


def _wants(x: Any) -> bool:
    return isinstance(x, Tensor) and not x.stop_gradient


def _like(given: Any, values: list[Any]) -> Any:
    """Values in a tuple of the class that was given, named ones too."""
    return type(given)(*values) if hasattr(given, "_fields") else type(given)(values)


def _note(state: _Call, entered: tuple[Any, ...], outputs: Mapping[int, Any]) -> None:
    """Hang hooks on what entered and what came out, which tell the call their gradients."""
    wanted = [i for i, x in enumerate(entered) if _wants(x)]
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

    for position, tensor in outputs.items():
        own(tensor).register_hook(of_output(position))
    for position in wanted:
        own(entered[position]).register_hook(of_input(position))
