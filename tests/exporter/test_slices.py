"""Slices in files, at sizes that were never traced, against numpy."""

import itertools

import numpy as np
import onnxruntime
import pytest

from dyn import nn
from exporter import InputSpec, export

BOUNDS = (None, 0, 1, 3, -1, -2, -4)


class Slices(nn.Layer):
    def __init__(self, step):
        super().__init__()
        self.slices = [slice(*pair, step) for pair in itertools.product(BOUNDS, BOUNDS)]

    def forward(self, x):
        return tuple(x[:, one] for one in self.slices)


@pytest.mark.parametrize("step", [-1, -2, -3, 1, 2])
def test_slices_of_any_bounds(step, tmp_path):
    net, path = Slices(step), tmp_path / "slices.onnx"
    export(net, path, [InputSpec([2, None], "float32")])
    session = onnxruntime.InferenceSession(path)
    for width in (1, 2, 3, 4, 7):
        x = np.arange(2 * width, dtype=np.float32).reshape(2, width)
        found = session.run(None, {session.get_inputs()[0].name: x})
        for one, got in zip(net.slices, found, strict=True):
            np.testing.assert_array_equal(got, x[:, one], err_msg=f"{one} of {width} columns")
