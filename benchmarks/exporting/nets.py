"""The networks: what goes into each, in terms that both exporters read. No framework in here."""

from __future__ import annotations

from typing import NamedTuple


class Net(NamedTuple):
    """A network; `dyn_nets.py` and `torch_nets.py` have a maker of this name."""

    name: str
    title: str
    input: str
    shape: tuple[int, ...]
    """Sizes without the batch, which is dynamic."""
    high: int = 0
    """Integers below this number; 0 stands for normal float32 numbers."""
    latency: bool = True
    """Whether the files are also run."""


NETS = (
    Net("mlp", "MLP 784-512-512-10", "x", (784,)),
    Net("civilnet", "CivilNet, 32 px", "x", (3, 32, 32)),
    Net("resnet18", "ResNet-18, 224 px", "x", (3, 224, 224)),
    Net("resnet50", "ResNet-50, 224 px", "x", (3, 224, 224)),
    Net("mobilenet_v2", "MobileNetV2, 224 px", "x", (3, 224, 224)),
    Net("unet", "U-Net 32-256, 128 px", "x", (3, 128, 128)),
    Net("lstm", "LSTM 2 x 128, 50 steps", "x", (50, 64)),
    Net("gpt", "GPT 4 x d128, 64 tokens", "ids", (64,), 256),
    Net("vit", "ViT-Tiny/16, 224 px", "x", (3, 224, 224)),
    Net("gpt24", "GPT 24 x d256, 64 tokens", "ids", (64,), 256, False),
)
BY_NAME = {net.name: net for net in NETS}
BATCHES = (1, 8)
