"""Every layer of dyn.nn as a file: traced with a batch of one, run with other batches and sizes.

A row says how the layer is made and what goes in: a kind (a number for whole numbers below it) and
sizes; `n`, `t`, `h` and `w` are dynamic.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
from dyn import nn
from dyn.core.tree import flatten
from tests.runtime import RUNNABLE
from tracer import InputSpec

TRACED = {"n": 1, "t": 5, "h": 8, "w": 8}
TRIED = [
    TRACED,
    {"n": 2, "t": 1, "h": 4, "w": 12},
    {"n": 7, "t": 8, "h": 16, "w": 4},
    {"n": 64, "t": 3, "h": 12, "w": 8},
]


class Unpooled(nn.Layer):
    """Pooling and its inverse, which needs the places of the largest numbers."""

    def __init__(self, pool: Any, unpool: Any) -> None:
        super().__init__()
        self.pool, self.unpool = pool(2, return_mask=True), unpool(2)

    def forward(self, x: Any) -> Any:
        return self.unpool(*self.pool(x))


class Listed(nn.Layer):
    """Layers and parameters in containers that have no forward of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.list = nn.LayerList([nn.Linear(4, 4), nn.ReLU()])
        self.dict = nn.LayerDict({"a": nn.Linear(4, 4)})
        self.weights = nn.ParameterList([self.create_parameter([4])])
        self.named = nn.ParameterDict({"b": self.create_parameter([4])})

    def forward(self, x: Any) -> Any:
        for layer in self.list:
            x = layer(x)
        return self.dict["a"](x) * self.weights[0] + self.named["b"]


class Measured(nn.Layer):
    """A loop over a cell, with the lengths of the sequences."""

    def __init__(self, loop: Any) -> None:
        super().__init__()
        self.loop = loop

    def forward(self, x: Any, lengths: Any) -> Any:
        return self.loop(x, sequence_length=lengths)


class Greedy(nn.Layer):
    """A decoder that reads its own words, with caches that begin empty."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2)
        self.words, self.scores = nn.Embedding(9, 4), nn.Linear(4, 9)

    def forward(self, memory: Any) -> Any:
        caches = self.decoder.gen_cache(memory)
        word, found = dyn.zeros([memory.shape[0], 1], "int64"), []
        for _ in range(3):
            y, caches = self.decoder(self.words(word), memory, cache=caches)
            found.append(self.scores(y))
            word = found[-1].argmax(-1)
        return dyn.concat(found, 1)


LINE, CUBE = "n 4 t", "n 4 h w 4"
PLANE = "n 4 h w"
SIMPLE = """
    AlphaDropout CELU Dropout ELU Flatten GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh
    Identity LeakyReLU LogSigmoid LogSoftmax Mish PReLU RReLU ReLU ReLU6 SELU Sigmoid Silu Softmax
    Softplus Softshrink Softsign Swish Tanh Tanhshrink ThresholdedReLU
"""
ROWS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    **{name: (getattr(nn, name), ["n 4"]) for name in SIMPLE.split()},
    "Maxout": (lambda: nn.Maxout(2), ["n 4"]),
    "Linear": (lambda: nn.Linear(4, 3), ["n t 4"]),
    "Bilinear": (lambda: nn.Bilinear(4, 3, 2), ["n 4", "n 3"]),
    "Embedding": (lambda: nn.Embedding(9, 4), ["9: n t"]),
    "SpectralNorm": (lambda: nn.SpectralNorm([3, 4], power_iters=2), ["3 4"]),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), ["n 4"]),
    "LayerList LayerDict ParameterList ParameterDict": (Listed, ["n 4"]),
    "Unflatten": (lambda: nn.Unflatten(1, [2, -1]), ["n 4 t"]),
    "CosineSimilarity": (nn.CosineSimilarity, ["n 4 t", "n 4 t"]),
    "PairwiseDistance": (nn.PairwiseDistance, ["n 4", "n 4"]),
    "Dropout2D": (nn.Dropout2D, [PLANE]),
    "Dropout3D": (nn.Dropout3D, [CUBE]),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), [PLANE]),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), [PLANE]),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), [PLANE]),
    "Unfold": (lambda: nn.Unfold(2, 2), [PLANE]),
    "Fold": (lambda: nn.Fold([4, 6], 2, strides=2), ["n 12 6"]),
    "ZeroPad1D": (lambda: nn.ZeroPad1D(2), [LINE]),
    "ZeroPad3D": (lambda: nn.ZeroPad3D([1, 0, 2, 0, 0, 3]), [CUBE]),
    "ZeroPad2D": (lambda: nn.ZeroPad2D([1, 0, 2, 0]), [PLANE]),
    "Pad1D": (lambda: nn.Pad1D([1, 2]), [LINE]),
    "Pad2D": (lambda: nn.Pad2D(1, "reflect"), [PLANE]),
    "Pad3D": (lambda: nn.Pad3D(1, "replicate"), [CUBE]),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), [PLANE]),
    "UpsamplingBilinear2D": (lambda: nn.UpsamplingBilinear2D(scale_factor=2), [PLANE]),
    "UpsamplingNearest2D": (lambda: nn.UpsamplingNearest2D(size=[6, 6]), [PLANE]),
    "BatchNorm": (lambda: nn.BatchNorm(4, act="relu"), [PLANE]),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(4), [PLANE]),
    "BatchNorm1D": (lambda: nn.BatchNorm1D(4), ["n 4"]),
    "BatchNorm2D": (lambda: nn.BatchNorm2D(4), [PLANE]),
    "BatchNorm3D": (lambda: nn.BatchNorm3D(4), [CUBE]),
    "InstanceNorm1D": (lambda: nn.InstanceNorm1D(4), ["n 4 h"]),
    "InstanceNorm2D": (lambda: nn.InstanceNorm2D(4), [PLANE]),
    "InstanceNorm3D": (lambda: nn.InstanceNorm3D(4), [CUBE]),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), [PLANE]),
    "LayerNorm": (lambda: nn.LayerNorm(4), ["n t 4"]),
    "RMSNorm": (lambda: nn.RMSNorm(4), ["n t 4"]),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), [PLANE]),
    "Conv1D": (lambda: nn.Conv1D(4, 6, 3, padding=1), [LINE]),
    "Conv2D": (lambda: nn.Conv2D(4, 6, 3, 2, 1, groups=2), [PLANE]),
    "Conv3D": (lambda: nn.Conv3D(4, 6, 3, padding=1), [CUBE]),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(4, 6, 3), [LINE]),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(4, 6, 3, 2, 1, 1), [PLANE]),
    "Conv3DTranspose": (lambda: nn.Conv3DTranspose(4, 6, 2, 2), [CUBE]),
    "MaxPool1D": (lambda: nn.MaxPool1D(2), ["n 4 h"]),
    "MaxPool2D": (lambda: nn.MaxPool2D(3, 2, 1, ceil_mode=True), [PLANE]),
    "MaxPool3D": (lambda: nn.MaxPool3D(2), [CUBE]),
    "AvgPool1D": (lambda: nn.AvgPool1D(2), ["n 4 h"]),
    "AvgPool2D": (lambda: nn.AvgPool2D(3, 2, 1), [PLANE]),
    "AvgPool3D": (lambda: nn.AvgPool3D(2), [CUBE]),
    "LPPool1D": (lambda: nn.LPPool1D(2.0, 2), ["n 4 h"]),
    "LPPool2D": (lambda: nn.LPPool2D(2.0, 2), [PLANE]),
    "MaxUnPool1D": (lambda: Unpooled(nn.MaxPool1D, nn.MaxUnPool1D), ["n 4 h"]),
    "MaxUnPool2D": (lambda: Unpooled(nn.MaxPool2D, nn.MaxUnPool2D), [PLANE]),
    "MaxUnPool3D": (lambda: Unpooled(nn.MaxPool3D, nn.MaxUnPool3D), [CUBE]),
    "AdaptiveAvgPool1D": (lambda: nn.AdaptiveAvgPool1D(3), ["n 4 h"]),
    "AdaptiveAvgPool2D": (lambda: nn.AdaptiveAvgPool2D((3, None)), [PLANE]),
    "AdaptiveAvgPool3D": (lambda: nn.AdaptiveAvgPool3D(2), [CUBE]),
    "AdaptiveMaxPool1D": (lambda: nn.AdaptiveMaxPool1D(3), ["n 4 h"]),
    "AdaptiveMaxPool2D": (lambda: nn.AdaptiveMaxPool2D(3), [PLANE]),
    "AdaptiveMaxPool3D": (lambda: nn.AdaptiveMaxPool3D(2), [CUBE]),
    "RNN": (lambda: Measured(nn.RNN(nn.GRUCell(4, 3), is_reverse=True)), ["n t 4", "4: n"]),
    "BiRNN": (lambda: nn.BiRNN(nn.LSTMCell(4, 3), nn.LSTMCell(4, 3)), ["n t 4"]),
    "SimpleRNN": (lambda: nn.SimpleRNN(4, 3), ["n t 4"]),
    "GRU": (lambda: nn.GRU(4, 3, direction="bidirect"), ["n t 4"]),
    "LSTM": (lambda: nn.LSTM(4, 3, 2, direction="bidirect"), ["n t 4"]),
    "SimpleRNNCell": (lambda: nn.SimpleRNNCell(4, 3), ["n 4"]),
    "GRUCell": (lambda: nn.GRUCell(4, 3), ["n 4"]),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), ["n 4"]),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(4, 2), ["n t 4"]),
    "Transformer": (lambda: nn.Transformer(4, 2, 1, 1, 8), ["n t 4", "n h 4"]),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 8), ["n t 4"]),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2), ["n t 4"],
    ),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(4, 2, 8), ["n t 4", "n h 4"]),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2), ["n t 4", "n h 4"],
    ),
    **{
        name: (getattr(nn, name), ["n 4", "n 4"])
        for name in ("HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss", "PoissonNLLLoss")
    },
    "BCELoss": (nn.BCELoss, ["share: n 4", "share: n 4"]),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss, ["n 4", "share: n 4"]),
    "CTCLoss": (nn.CTCLoss, ["9 n 4", "labels: n 3", "full: n", "short: n"]),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, ["n 4", "n 4", "sign: n"]),
    "CrossEntropyLoss": (nn.CrossEntropyLoss, ["n 4", "4: n"]),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, ["n 4", "n 4", "share: n 4"]),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss, ["n 4", "sign: n 4"]),
    "KLDivLoss": (nn.KLDivLoss, ["n 4", "share: n 4"]),
    "MarginRankingLoss": (nn.MarginRankingLoss, ["n", "n", "sign: n"]),
    "MultiLabelSoftMarginLoss": (nn.MultiLabelSoftMarginLoss, ["n 4", "sign: n 4"]),
    "MultiMarginLoss": (nn.MultiMarginLoss, ["n 4", "4: n"]),
    "NLLLoss": (nn.NLLLoss, ["n 4", "4: n"]),
    "SoftMarginLoss": (nn.SoftMarginLoss, ["n 4", "sign: n 4"]),
    "TripletMarginLoss": (nn.TripletMarginLoss, ["n 4", "n 4", "n 4"]),
    "TripletMarginWithDistanceLoss": (
        nn.TripletMarginWithDistanceLoss, ["n 4", "n 4", "n 4"],
    ),
}  # fmt: skip

ABSTRACT = {"Layer", "RNNCellBase"}


def parsed(text: str) -> tuple[str, list[int | str]]:
    """Kind and sizes of an input."""
    kind, _, sizes = text.rpartition(":")
    return kind, [int(size) if size.isdigit() else size for size in sizes.split()]


def draw(text: str, at: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    kind, sizes = parsed(text)
    shape = [at[size] if isinstance(size, str) else size for size in sizes]
    if kind.isdigit():
        return rng.integers(0, int(kind), shape)
    if kind == "labels":
        return rng.integers(1, 4, shape).astype(np.int32)
    if kind in ("full", "short"):
        return np.full(shape, 9 if kind == "full" else 2, np.int64)
    if kind == "share":
        return rng.uniform(0.1, 0.9, shape).astype(np.float32)
    if kind == "sign":
        return rng.choice(np.array([-1, 1], np.float32), shape)
    return rng.standard_normal(shape).astype(np.float32)


def test_every_layer_has_a_row() -> None:
    layers = {
        name
        for name, found in vars(nn).items()
        if inspect.isclass(found) and issubclass(found, nn.Layer)
    }
    assert {name for key in ROWS for name in key.split()} == layers - ABSTRACT


@pytest.mark.parametrize("name", ROWS)
def test_a_layer(name: str, tmp_path: Path) -> None:
    make, inputs = ROWS[name]
    dyn.seed(0)
    layer, rng = make(), np.random.default_rng(0)
    layer.eval()
    specs = []
    for i, text in enumerate(inputs):
        sample = draw(text, TRACED, rng)
        specs.append(InputSpec(parsed(text)[1], sample.dtype, name=f"x{i}", example=sample))
    opset = RUNNABLE[list(ROWS).index(name) % len(RUNNABLE)]
    path = tmp_path / "m.onnx"
    exporter.export(layer, path, specs, opset=opset, verify=False)
    predictor = exporter.Predictor(path)
    for at in TRIED:
        arrays = [draw(text, at, rng) for text in inputs]
        given = predictor.run(*arrays)
        result = layer(*map(dyn.to_tensor, arrays))
        _, wanted = flatten(result, lambda value: isinstance(value, dyn.Tensor))
        for (_, a), b in zip(wanted, given, strict=True):
            np.testing.assert_allclose(b, a.numpy(), rtol=3e-5, atol=3e-5, err_msg=f"at {at}")


def test_a_decoder_with_caches_for_batches_of_any_size(tmp_path: Path) -> None:
    dyn.seed(0)
    net, rng = Greedy().eval(), np.random.default_rng(0)
    exporter.export(net, tmp_path / "m.onnx", InputSpec(["n", "t", 4], name="memory"))
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    for n, t in ((1, 5), (4, 2)):
        memory = rng.standard_normal((n, t, 4)).astype(np.float32)
        (given,) = predictor.run(memory)
        wanted = net(dyn.to_tensor(memory)).numpy()
        np.testing.assert_allclose(given, wanted, rtol=3e-5, atol=3e-5)
