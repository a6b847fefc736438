"""Calls of the names beyond the common ones give what PyTorch 2.13 gave, gradients included.

The calls are in `calls.py`; what they gave was recorded by `record_calls.py`.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn
from exporter import export
from tests.compat.calls import CALLS, FACTS, LAYERS, evaluated, layer_of, lines_of, tensors_of
from tracer.spec import InputSpec

RECORDED: Any = json.loads((Path(__file__).parent / "calls.json").read_text("utf-8"))


def compare(found: Any, wanted: Any, what: str) -> None:
    kind, shape, values = wanted
    assert type(found) is torch.Tensor, what
    assert (str(found.dtype).removeprefix("torch."), list(found.shape)) == (kind, shape), what
    array = found.detach().numpy()
    if array.dtype.kind == "f":
        wanted = np.array(values, np.float64).reshape(shape)
        np.testing.assert_allclose(array, wanted, rtol=2e-5, atol=1e-5, err_msg=what)
    else:
        assert array.reshape(-1).tolist() == values, what


@pytest.mark.parametrize("line", lines_of(CALLS))
def test_calls_give_pytorchs_values_and_gradients(line):
    outputs, grads = RECORDED[line]
    found, gradients = evaluated(line, torch)
    for number, (out, wanted) in enumerate(zip(found, outputs, strict=True)):
        compare(out, wanted, f"result {number}")
    for name, wanted in grads.items():
        if name not in gradients:
            # Not on the tape: PyTorch has zeros then.
            assert not any(wanted[2]), f"no gradient of {name}"
            continue
        compare(gradients[name], wanted, f"gradient of {name}")
    assert set(gradients) <= set(grads)


@pytest.mark.parametrize("line", lines_of(FACTS))
def test_facts_print_as_in_pytorch(line):
    space = {"torch": torch, "nn": nn, **tensors_of(torch)}
    assert repr(eval(line, space)) == RECORDED[line]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_give_pytorchs_values_and_run_in_onnxruntime(name, tmp_path):
    layer, x = layer_of(name, torch)
    out = layer(x)
    compare(out, RECORDED[name], name)
    path = tmp_path / "layer.onnx"
    kind = str(x.dtype).removeprefix("torch.")
    export(layer, path, [InputSpec(["batch", *x.shape[1:]], kind, name="x")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        fed = np.concatenate([x.numpy()] * count)
        found = np.asarray(session.run(None, {"x": fed})[0])
        wanted = layer(torch.from_numpy(fed)).detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number", range(3))
def test_random_numbers_in_place(number):
    torch.manual_seed(3)
    draw, mean = [
        (lambda x: x.bernoulli_(0.3), 0.3),
        (lambda x: x.exponential_(2.0), 0.5),
        (lambda x: x.log_normal_(0.0, 0.5), math.exp(0.125)),
    ][number]
    x = torch.zeros(20000)
    assert draw(x) is x
    np.testing.assert_allclose(x.mean().item(), mean, rtol=0.05)
    assert torch.zeros(5000).geometric_(0.25).mean().item() == pytest.approx(4, rel=0.1)
    assert torch.zeros(5001).cauchy_(3.0).median().item() == pytest.approx(3, rel=0.1)


def test_windows_of_dropout_take_whole_channels():
    torch.manual_seed(0)
    dropped = nn.Dropout1d(0.5)(torch.ones(40, 10, 3))
    assert set(dropped.sum(2).reshape(-1).tolist()) == {0.0, 6.0}
    assert set(nn.Dropout1d(0.5)(torch.ones(50, 3)).sum(1).tolist()) == {0.0, 6.0}


def test_what_is_not_offered_says_what_to_use():
    for place, name, hint in (
        (torch, "fft", "complex"), (torch, "svd", "numpy.linalg"), (torch, "jit", "exporter"),
        (torch, "nonsense", r"docs/compat-torch\.md"), (nn, "LazyLinear", "input features"),
        (nn.functional, "multi_head_attention_forward", "MultiheadAttention"),
        (torch.optim, "LBFGS", "SGD"),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match=hint):
            getattr(place, name)
    assert not hasattr(torch, "lgamma")
    with pytest.raises(NotImplementedError, match="prod"):
        torch.zeros(3).scatter_reduce(0, torch.tensor([0]), torch.ones(1), "prod")


def test_mixed_precision_without_a_device_changes_nothing():
    p = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=0.5)
    scaler = torch.amp.GradScaler("cuda")
    with torch.autocast("cuda", torch.float16):
        loss = (p * p).sum()
    assert loss.dtype is torch.float32
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0.0, 0.0]
    assert torch.compile(abs) is abs and torch.compile(dynamic=True)(abs) is abs
    assert scaler.state_dict() == {} and not torch.distributed.is_initialized()
