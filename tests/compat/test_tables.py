"""What holds for all pairs of dtypes and all views is as in PyTorch: see `record_tables.py`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn
from exporter import export
from tests.compat.tables import KINDS, OPERATIONS, WRITES, dtypes_of, expressions, written
from tracer.spec import InputSpec

RECORDED: Any = json.loads((Path(__file__).parent / "tables.json").read_text("utf-8"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_have_pytorchs_dtype(name):
    # Where PyTorch has no kernel or refuses, a dtype is no difference.
    pairs = zip(dtypes_of(name, torch), RECORDED[name], strict=True)
    wrong = [n for n, (ours, wanted) in enumerate(pairs) if wanted not in ("-", ours)]
    assert not wrong, [(KINDS[n // 40], KINDS[n // 4 % 10], n % 4) for n in wrong]


def test_a_0d_tensor_keeps_the_dtype_in_a_file_and_in_gradients(tmp_path):
    class Centred(nn.Module):
        def forward(self, x):
            return (x - x.double().mean()) * torch.tensor(2.0, dtype=torch.float64)

    x = torch.tensor([[1.0, 2.0, 6.0]], requires_grad=True)
    out = Centred()(x)
    assert out.dtype is torch.float32
    (out * out).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[-16.0, -8.0, 24.0]], rtol=1e-6)
    path = tmp_path / "centred.onnx"
    export(Centred(), path, [InputSpec(["batch", 3], "float32", name="x")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    fed = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = np.asarray(session.run(None, {"x": fed})[0])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (fed - fed.mean()) * 2, rtol=1e-6)


READ_ONLY = ("expand", "broadcast", "meshgrid", "unfold", "as_strided")
"""What gives views that are refused when they are written, though PyTorch may write them."""


@pytest.mark.parametrize("expression", expressions())
def test_writes_reach_what_they_reach_in_pytorch(expression):
    for how, wanted in zip(WRITES, RECORDED[expression].split(), strict=True):
        found = written(expression, how, torch, nn)
        # Where PyTorch refuses a write it is about memory: here values move.
        if wanted not in ("-", found):
            assert found == "-" and any(name in expression for name in READ_ONLY), how


def test_a_shared_element_cannot_be_written():
    x = torch.zeros(3, 1)
    for view in (
        x.expand(3, 4),
        x.expand(3, 4)[0],
        x.expand(3, 4).detach(),
        x[:, 0].unfold(0, 2, 1),
    ):
        with pytest.raises(RuntimeError, match=r"single memory location.*clone\(\)"):
            view.add_(1)
        assert view.contiguous().add_(1).sum() == view.numel()
    assert x.sum() == 0


def test_a_write_to_a_diagonal_runs_in_onnxruntime_and_has_gradients(tmp_path):
    class Jittered(nn.Module):
        def forward(self, x):
            k = x @ x.mT
            k.diagonal(0, 1, 2).add_(0.5)
            torch.linalg.diagonal(k, offset=1).mul_(x[:, :2, 0])
            return k

    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.functional.jacobian(Jittered(), x.detach())
    path = tmp_path / "jittered.onnx"
    export(Jittered(), path, [InputSpec(["batch", 3, 4], "float64", name="x")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        fed = np.random.default_rng(count).standard_normal((count, 3, 4))
        wanted = fed @ fed.swapaxes(1, 2)
        for n in range(3):
            wanted[:, n, n] += 0.5
        for n in range(2):
            wanted[:, n, n + 1] *= fed[:, n, 0]
        np.testing.assert_allclose(np.asarray(session.run(None, {"x": fed})[0]), wanted)
        np.testing.assert_allclose(Jittered()(torch.from_numpy(fed)).numpy(), wanted)


def test_bits_are_not_viewed_and_division_of_integers_is_exact():
    for call in (lambda x: x.view(torch.int32), lambda x: x.view(dtype=torch.int32)):
        with pytest.raises(NotImplementedError, match=r"to\(dtype\) converts"):
            call(torch.ones(3))
    large = torch.tensor([2**40 + 1, -7])
    assert torch.div(large, 2, rounding_mode="trunc").tolist() == [2**39, -3]
    assert torch.div(large, 2, rounding_mode="floor").tolist() == [2**39, -4]
    assert torch.div(torch.tensor([-7.5]), 2, rounding_mode="trunc").tolist() == [-3.0]
    for how in ("floor", "trunc"):
        with pytest.raises(RuntimeError, match="divided by zero"):
            torch.div(large, 0, rounding_mode=how)
    assert torch.zeros(0, 3).var().isnan()
