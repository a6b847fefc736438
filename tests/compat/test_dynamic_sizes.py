"""Dynamic sizes as numbers of pieces, diagonals, values and shifts, in files at several sizes."""

from typing import Any

import numpy as np
import onnxruntime
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.functional as F
from dyn.compat.torch import nn
from exporter import export
from tracer.spec import InputSpec

FORWARDS: dict[str, Any] = {
    "chunk": lambda x: x.chunk(2, 1),
    "tensor_split": lambda x: x.tensor_split(3, 1),
    "diagonal": lambda x: (x.diagonal(), (x @ x.mT).diagonal(), (x.mT @ x).diagonal(1)),
    "offset": lambda x: (x.diagonal(x.shape[1] - 1), (x.mT @ x).diagonal(1 - x.size(1))),
    "trace": lambda x: (x.mT @ x).diagonal(offset=x.size(1) // 2).sum(),
    "pad": lambda x: F.pad(x, (1, 2), value=x.size(1)),
    "pad images": lambda x: F.pad(x[None, None], (0, 1, 1, 0), value=-x.size(1)),
    "smoothed": lambda x: (
        F.interpolate(x[None, None], None, 0.5, "bilinear", antialias=True),
        F.interpolate(x[None, None], None, (1.5, 0.4), "bicubic", antialias=True),
        F.interpolate(x[None, None], None, 0.5, "bicubic", True, antialias=True),
    ),
    "var": lambda x: (torch.var(x, correction=0.5), x.double().std(1, correction=1.5)),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=x.size(1)),
    "addcdiv": lambda x: torch.addcdiv(x, x, x + 9, value=x.size(1)),
    "tril_indices": lambda x: torch.tril_indices(x.size(1), x.size(1)),
    "triu_indices": lambda x: torch.triu_indices(4, x.size(1), x.size(1) - 4),
    "logcumsumexp": lambda x: (torch.logcumsumexp(x, 1), x[None].mT.logcumsumexp(1)),
    "roll": lambda x: (torch.roll(x, torch.tensor(1), 1), torch.roll(x, x[0, 0].long(), 1)),
    "roll flat": lambda x: (
        torch.roll(x, torch.tensor([-3])),
        x.roll(torch.tensor([1, 9]), (0, 1)),
    ),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_files_compute_with_dynamic_sizes(name: str, tmp_path: Any) -> None:
    class Model(nn.Module):
        def forward(self, x):
            return FORWARDS[name](x)

    path = tmp_path / "model.onnx"
    export(Model(), path, [InputSpec([4, "n"], "float32", name="x")], sizes={"n": 6})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (5, 6, 9):
        fed = np.random.default_rng(n).uniform(1, 4, (4, n)).astype(np.float32)
        wanted = Model()(torch.from_numpy(fed))
        wanted = wanted if isinstance(wanted, (tuple, list)) else [wanted]
        for found, out in zip(session.run(None, {"x": fed}), wanted, strict=True):
            np.testing.assert_allclose(np.asarray(found), out.numpy(), rtol=1e-5)


def test_gradients_of_diagonals_of_dynamic_sizes_are_in_files(tmp_path: Any) -> None:
    class Model(nn.Module):
        def forward(self, x):
            x.requires_grad_()
            square = x.mT @ x
            far, near = square.diagonal(offset=x.size(1) // 2), square.diagonal(-1)
            total = (far**2).sum() + (near**3).sum()
            return torch.autograd.grad(total, x)[0]
