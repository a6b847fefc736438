"""Images that lie channels last when they are resized, as position tables of transformers do."""

import numpy as np
import pytest

import dyn
from dyn.nn import functional as F
from exporter import InputSpec, Predictor, export


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_images_with_channels_last_grow_and_shrink(mode, tmp_path):
    def resized(x, like):
        n, c = x.shape[0], x.shape[3]
        x = x.transpose([0, 3, 1, 2])
        x = F.interpolate(x, size=like.shape, mode=mode)
        return x.transpose([0, 2, 3, 1]).reshape([n, -1, c])

    specs = [InputSpec(["n", 4, 4, 3], name="x"), InputSpec(["h", "w"], name="like")]
    export(resized, tmp_path / "resized.onnx", specs)
    predictor = Predictor(tmp_path / "resized.onnx")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    for size in ((8, 8), (2, 2), (2, 8), (9, 1)):
        like = np.zeros(size, np.float32)
        (found,) = predictor.run(x, like)
        wanted = resized(dyn.to_tensor(x), dyn.to_tensor(like)).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5)
