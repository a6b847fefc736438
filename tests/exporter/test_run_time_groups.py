"""Convolutions with weights for each image: as many groups as the batch has images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.nn import functional as F
from exporter import ExportError, InputSpec, Predictor, export, export_training


class Modulated(nn.Layer):
    """Kernels of 2 x 3 channels, a downward and an upward one, made of the mean of each image."""

    def __init__(self, rank: int = 2):
        super().__init__()
        self.rank = rank
        self.down = nn.Linear(3, 2 * 3 * 3**rank)
        self.up = nn.Linear(3, 2 * 4 * 3**rank)
        self.shift = self.create_parameter([4], default_initializer=nn.initializer.Constant(0.1))

    def forward(self, x: Any) -> Any:
        n, sizes, rank = x.shape[0], x.shape[2:], self.rank
        mean = x.mean(axis=list(range(2, rank + 2)))
        conv, back = (F.conv1d, F.conv1d_transpose) if rank == 1 else (F.conv2d, F.conv2d_transpose)
        kernel = self.down(mean).reshape([-1, 3, *[3] * rank])
        y = conv(x.reshape([1, -1, *sizes]), kernel, stride=2, padding=2, dilation=2, groups=n)
        kernel = self.up(mean).reshape([-1, 4, *[3] * rank])
        z = back(F.relu(y), kernel, self.shift.tile([n]), stride=2, padding=1, groups=n)
        return y.reshape([n, 2, *y.shape[2:]]), F.relu(z).reshape([n, 4, *z.shape[2:]])


@pytest.mark.parametrize("opset", [17, 23])
@pytest.mark.parametrize("rank", [1, 2])
def test_groups_by_image(tmp_path: Any, rank: int, opset: int) -> None:
    model, path = Modulated(rank), tmp_path / "model.onnx"
    sizes = ["h", "w"][:rank]
    export(model, path, InputSpec(["n", 3, *sizes], name="x"), opset=opset)
    x = np.random.default_rng(0).normal(size=(4, 3, 9, 8)[: rank + 2]).astype(np.float32)
    found = Predictor(path).run(x)
    # One image by itself has one group.
    alone = [[y.numpy() for y in model(dyn.to_tensor(x[i : i + 1]))] for i in range(4)]
    for got, wanted in zip(found, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(got, np.concatenate(wanted), rtol=1e-4, atol=1e-5)


def test_their_training_step(tmp_path: Any) -> None:
    model, path = Modulated(), tmp_path / "step.onnx"
    sgd = dyn.optimizer.SGD(learning_rate=0.1, parameters=model.parameters())

    def loss(x: Any) -> Any:
        y, z = model(x)
        return y.square().mean() + z.mean()

    export_training(loss, path, InputSpec(["n", 3, 8, 8], name="x"), optimizer=sgd)
    trainer = Predictor(path)
    x = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)
    trainer.run(x)
    loss(dyn.to_tensor(x)).backward()
    sgd.step()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(trainer.state[name], value.numpy(), rtol=1e-4, atol=1e-6)


def test_groups_and_their_channels_may_not_both_be_dynamic(tmp_path: Any) -> None:
    def forward(x: Any, w: Any) -> Any:
        return F.conv2d(x.reshape([1, -1, *x.shape[2:]]), w, groups=x.shape[0])

    specs = [InputSpec(["n", "c", 5, 5], name="x"), InputSpec(["n", "c", 3, 3], name="w")]
    with pytest.raises(ExportError, match=r"n groups of c channels.*declare one of them"):
        export(forward, tmp_path / "model.onnx", specs)
