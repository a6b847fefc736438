"""`export_training`: one training step as a file, which any onnxruntime can run.

Forward, backward and update are recorded in one run, as every gradient and every update is made of
ops. Nothing here knows how a graph is made or written: that is `export`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tracer
from dyn.core.errors import DTypeError
from dyn.core.tensor import Tensor
from dyn.nn import Layer
from dyn.optimizer import Optimizer
from exporter.export import export, inputs_of
from exporter.report import Report
from tracer.call import forward_of


def export_training(
    loss: Any,
    path: str | os.PathLike[str],
    input_spec: Any = None,
    *,
    optimizer: Optimizer | Sequence[Optimizer],
    layers: Mapping[str, Layer] | None = None,
    state: Mapping[str, Tensor] | None = None,
    sizes: Mapping[str, int] | None = None,
    output_names: Sequence[str] | None = None,
    **options: Any,
) -> Report:
    """Write a training step as an ONNX file: every run of it is one step on a batch.

    Parameters, buffers, the optimiser's slots and counters, and its learning rate are state of the
    file: inputs that have the values of now as defaults, and outputs `<name>.next`.
    `exporter.Predictor` carries them from call to call; `run` takes another learning rate by name.
    Parameters have their `state_dict` names, slots are called `<parameter>.<slot>`.

    Args:
        loss: a Layer or a function of tensors that returns the loss, or a tuple that begins with
            it, or a dict with a "loss". It is differentiated and must not call `backward` itself.
        path: the file. It appears (or replaces an older one) only after it was verified.
        input_spec: one `InputSpec`, example Tensor or array per input of `loss`.
        optimizer: takes a step after the backward pass; several take theirs in turn.
        layers: the layers that the loss uses, by name, where they cannot be found by looking.
        state: tensors that are to be state beside those of layers and optimisers, by name.
        sizes, output_names, options: as for `export`. The loss is called "loss" by default.

    Returns:
        What was written and how well it agrees. Model and optimiser are as they were.

    Raises:
        DTypeError: `optimizer` is none.
        GradError: the loss depends on nothing that is trained.
        TraceError, UnsupportedOpError, VerificationError, ExportError: as `export`. A model with
            dropout is compared in shapes and dtypes only, as its numbers differ in every run.
    """
    optimizers = _listed(optimizer)
    of_model = {"layers": layers, "state": state, "training": True}
    specs, by_name = inputs_of(input_spec)

    def backward(*args: Any, **kwargs: Any) -> Any:
        _clear(optimizers)
        result = loss(*args, **kwargs)
        _loss_in(result).backward()
        return result

    def step(*args: Any, **kwargs: Any) -> Any:
        result = backward(*args, **kwargs)
        for one in optimizers:
            one.step()
        _clear(optimizers)
        return result

    trained = [p for one in optimizers for p in one._parameter_list]
    before = [p._grad for p in trained]
    try:
        # What gets a gradient decides what is state, and must be known before the trace.
        live = tracer.Live(_like(loss, backward), *specs, optimizers={}, **of_model, **by_name)
        results = live.run(live.samples(sizes))
        found = [p._grad for p in trained]
        live.restart()
        _set_grads(trained, found)
        names = output_names or ["loss", *(f"output_{i}" for i in range(1, len(results)))]
        return export(
            _like(loss, step),
            path,
            input_spec,
            sizes=sizes,
            output_names=names,
            optimizers={str(i): one for i, one in enumerate(optimizers)},
            **of_model,
            **options,
        )
    finally:
        _set_grads(trained, before)


def _listed(optimizer: Any) -> list[Optimizer]:
    optimizers = list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]
    for one in optimizers:
        if not isinstance(one, Optimizer):
            raise DTypeError(f"optimizer is {type(one).__name__}; pass a dyn.optimizer.Optimizer")
    return optimizers


def _like(loss: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the signature of `loss`, whose layers are looked for in `loss`."""
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


def _clear(optimizers: Sequence[Optimizer]) -> None:
    for one in optimizers:
        one.clear_grad(set_to_zero=False)


def _set_grads(parameters: Sequence[Any], grads: Sequence[Any]) -> None:
    for p, g in zip(parameters, grads, strict=True):
        p._grad = g
