"""`export_training`: one training step as a file, which any onnxruntime can run.

Forward, backward and update are recorded in one run, as every gradient and every update is made of
ops (`tracer/training.py`). Nothing here knows how a graph is made or written: that is `export`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tracer
from dyn.core.tensor import Tensor
from dyn.nn import Layer
from dyn.optimizer import Optimizer
from exporter.export import export, inputs_of
from exporter.report import Report


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
        DTypeError: `optimizer` is not an Optimizer or a list of them, or the loss not a Tensor.
        GradError: the loss depends on nothing that is trained.
        TraceError, UnsupportedOpError, VerificationError, ExportError: as `export`. A model with
            dropout is compared in shapes and dtypes only, as its numbers differ in every run.
    """
    training = tracer.Training(loss, optimizer)
    of_model = {"layers": layers, "state": state, "training": True}
    specs, by_name = inputs_of(input_spec)
    with training.ready(*specs, sizes=sizes, **of_model, **by_name) as results:
        names = output_names or ["loss", *(f"output_{i}" for i in range(1, len(results)))]
        return export(
            training.step,
            path,
            input_spec,
            sizes=sizes,
            output_names=names,
            optimizers=training.optimizers,
            **of_model,
            **options,
        )
