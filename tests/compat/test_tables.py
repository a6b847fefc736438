"""Rules that hold for all pairs of dtypes are PyTorch's, as recorded by `record_tables.py`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn
from exporter import export
from tests.compat.tables import KINDS, OPERATIONS, dtypes_of
from tracer.spec import InputSpec

RECORDED: Any = json.loads((Path(__file__).parent / "tables.json").read_text("utf-8"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_have_pytorchs_dtype(name):
    # Where PyTorch has no kernel or refuses, a dtype is no difference.
    pairs = zip(dtypes_of(name, torch), RECORDED["dtypes"][name], strict=True)
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
