"""0.0 and -0.0 are equal as keys, and not the same: neither takes the place of the other in plans,
traces, passes, files and compiled steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
import tracer
from dyn import nn
from dyn.compat import torch
from dyn.core.errors import DTypeError
from dyn.core.op import freeze
from dyn.nn import functional as F
from tracer import InputSpec
from tracer.passes import common_subexpressions

X = np.array([-2.0, -1.0, 3.0], np.float32)


def _slope(z: float) -> Any:
    return np.where(X < 0, np.float32(z) * X, X)


# What a call gives for a zero, and what numpy says of it.
CASES: dict[str, tuple[Any, Any]] = {
    "full": (lambda x, z: dyn.full([3], z), lambda z: np.full(3, z)),
    "full of numpy's": (lambda x, z: dyn.full([3], np.float64(z)), lambda z: np.full(3, z)),
    "full_like": (lambda x, z: dyn.full_like(x, z), lambda z: np.full(3, z)),
    "clip": (lambda x, z: dyn.clip(x, z), lambda z: np.where(X < 0, z, X)),
    "clip from above": (lambda x, z: dyn.clip(x, max=z), lambda z: np.where(X > 0, z, X)),
    "hardtanh": (lambda x, z: F.hardtanh(x, z, 5.0), lambda z: np.where(X < 0, z, X)),
    "pad": (lambda x, z: F.pad(x, [1, 1], value=z), lambda z: np.array([z, *X, z])),
    "leaky_relu": (F.leaky_relu, _slope),
    "LeakyReLU": (lambda x, z: nn.LeakyReLU(z)(x), _slope),
    "elu": (F.elu, lambda z: np.where(X < 0, z * np.expm1(X), X)),
    "selu": (lambda x, z: F.selu(x, 1.0, z), lambda z: np.where(X < 0, z * np.expm1(X), X)),
    "arange": (lambda x, z: dyn.arange(z, 3.0), lambda z: np.array([z, 1, 2])),
    "linspace": (lambda x, z: dyn.linspace(3, z, 2), lambda z: np.array([3, z])),
    "diag": (
        lambda x, z: dyn.diag(x[:2], padding_value=z),
        lambda z: np.array([[-2, z], [z, -1]]),
    ),
    "nan_to_num": (
        lambda x, z: dyn.nan_to_num(x[:2] * float("nan"), z),
        lambda z: np.full(2, z),
    ),
    "multiply": (lambda x, z: x * z, lambda z: X * np.float32(z)),
    "divide": (lambda x, z: x / z, lambda z: X * np.copysign(np.inf, z)),
    "where": (lambda x, z: dyn.where(x > 0, x, z), lambda z: np.where(X > 0, X, z)),
    "masked_fill": (lambda x, z: dyn.masked_fill(x, x > 0, z), lambda z: np.where(X > 0, z, X)),
    "index_fill": (
        lambda x, z: dyn.index_fill(x, dyn.to_tensor([0]), 0, z),
        lambda z: np.array([z, -1, 3]),
    ),
    "threshold": (
        lambda x, z: torch.nn.functional.threshold(x, 0.0, z),
        lambda z: np.where(X > 0, X, z),
    ),
    "addcmul": (
        lambda x, z: torch.addcmul(-(x * 0).abs(), x, x, value=z),
        lambda z: np.full(3, z),
    ),
}


CHOSEN = ("nan_to_num", "masked_fill", "threshold")
"""Those of which the file makes a Where: onnxruntime's gives 0.0 for a -0.0 that it takes where the
condition is true."""


def _need_same(found: Any, wanted: Any, name: str) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted, np.float32)
    np.testing.assert_array_equal(found, wanted, name)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted), name)


@pytest.mark.parametrize("name", CASES)
def test_calls(name: str) -> None:
    call, wanted = CASES[name]
    x = torch.tensor(X)
    for z in (0.0, -0.0, 0.0, -0.0):
        _need_same(call(x, z).numpy(), wanted(z), name)


def test_traces_and_files(tmp_path: Path) -> None:
    def both(x: Any) -> Any:
        return [call(x, z) for call, _ in CASES.values() for z in (0.0, -0.0)]

    graph = tracer.trace(both, torch.tensor(X))
    wanted = [wanted(z) for _, wanted in CASES.values() for z in (0.0, -0.0)]
    names = [f"{name} {z}" for name in CASES for z in (0.0, -0.0)]
    passed, _ = common_subexpressions(graph)
    exporter.export(both, tmp_path / "m.onnx", [InputSpec([3], "float32", example=X)])
    in_file = exporter.Predictor(tmp_path / "m.onnx").run(X)
    with np.errstate(all="ignore"):
        runs = [tracer.run(graph, X), tracer.run(passed, X), in_file]
    for i, found in enumerate(runs):
        for one, other, name in zip(found, wanted, names, strict=True):
            if i < 2 or not name.startswith(CHOSEN):
                _need_same(one, other, name)


def test_a_forward_that_changes_its_zero_is_not_the_same_twice() -> None:
    zeros = iter([0.0, -0.0, 0.0, -0.0])

    def forward(x: Any) -> Any:
        x = F.leaky_relu(x, next(zeros))
        return x + 1 if x.sum() > 0 else x

    with pytest.raises(tracer.TraceError, match="not the same twice"):
        tracer.trace(forward, dyn.to_tensor(X))


def test_compiled_steps() -> None:
    settings = {"slope": 0.0}
    net = nn.Linear(1, 1)
    optimizer = dyn.optimizer.SGD(0.0, net.parameters())

    def loss(x: Any) -> Any:
        rows = [F.leaky_relu(x, z) for z in (0.0, -0.0, settings["slope"])]
        return net(x.reshape([3, 1])).sum(), *rows

    step = tracer.compile_training(loss, optimizer=optimizer)
    for z in (0.0, 0.0, -0.0, -0.0, 0.0):
        settings["slope"] = z
        for found, zero in zip(step(dyn.to_tensor(X))[1:], (0.0, -0.0, z), strict=True):
            _need_same(found.numpy(), _slope(zero), str(z))


def test_frozen_zeros_stay_numbers() -> None:
    zero = freeze(-0.0)
    assert zero == 0 and repr(zero) == "-0.0" and isinstance(zero, float)
    assert len({(0.0,): 1, (zero,): 2, (freeze(np.float32(-0.0)),): 3}) == 2
    assert freeze(zero) is zero and freeze((1, -0.0))[1] is zero


@pytest.mark.parametrize("layer", [nn.MaxPool2D, nn.AvgPool2D])
def test_a_window_is_refused_whatever_was_asked_for_before(layer: Any) -> None:
    x = dyn.ones([1, 1, 4, 4])
    assert layer(1)(x).shape == [1, 1, 4, 4]
    with pytest.raises(DTypeError, match="kernel_size must be an integer"):
        layer(True)(x)
