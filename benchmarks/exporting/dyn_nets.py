"""The networks in dyn, and its export."""

import time

import numpy as np
from peers.dyn_peer import GPT, CivilNet, mlp

import dyn
import exporter
from dyn import nn
from dyn.nn import functional as F
from dyn.vision import models

VERSION = dyn.__version__


def conv_norm(a, b, size):
    return nn.Sequential(
        nn.Conv2D(a, b, size, padding=size // 2, bias_attr=False), nn.BatchNorm2D(b), nn.ReLU()
    )


def double(a, b):
    return nn.Sequential(conv_norm(a, b, 3), conv_norm(b, b, 3))


class UNet(nn.Layer):
    def __init__(self, widths=(32, 64, 128, 256)):
        super().__init__()
        self.pool = nn.MaxPool2D(2)
        pairs = list(zip((3, *widths), widths, strict=False))
        self.down = nn.LayerList([double(a, b) for a, b in pairs])
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.LayerList([nn.Conv2DTranspose(a, b, 2, 2) for a, b in ups])
        self.merge = nn.LayerList([double(2 * b, b) for _, b in ups])
        self.out = nn.Conv2D(widths[0], 2, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(self.pool(x) if i else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(dyn.concat([up(x), skip], 1))
        return self.out(x)


class LSTM(nn.Layer):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(64, 128, 2)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Block(nn.Layer):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).reshape([b, t, 3, self.heads, -1]).unbind(2)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(y.reshape([b, t, d]))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class ViT(nn.Layer):
    def __init__(self, d=192, heads=3, layers=12, patch=16, size=224, classes=1000):
        super().__init__()
        self.patches = nn.Conv2D(3, d, patch, patch)
        self.cls = nn.Parameter(np.zeros((1, 1, d), np.float32))
        rng = np.random.default_rng(0)
        count = (size // patch) ** 2 + 1
        self.position = nn.Parameter(rng.normal(0, 0.02, (1, count, d)).astype(np.float32))
        self.blocks = nn.LayerList([Block(d, heads) for _ in range(layers)])
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose([0, 2, 1])
        x = dyn.concat([self.cls.expand([x.shape[0], -1, -1]), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x)[:, 0])


MAKERS = {
    "mlp": lambda: mlp(784, 512, 512, 10),
    "civilnet": CivilNet,
    "resnet18": models.resnet18,
    "resnet50": models.resnet50,
    "mobilenet_v2": models.mobilenet_v2,
    "unet": UNet,
    "lstm": LSTM,
    "gpt": GPT,
    "vit": ViT,
    "gpt24": lambda: GPT(d=256, heads=4, layers=24),
}


def export(net, path):
    """Export times: of the first call in this process, of a later one, and without verification."""
    model = MAKERS[net.name]()
    model.eval()
    dtype = "int64" if net.high else "float32"
    spec = exporter.InputSpec(["batch", *net.shape], dtype, name=net.input)
    times = []
    for verify in (True, True, False):
        start = time.perf_counter()
        exporter.export(model, path, spec, verify=verify)
        times.append(time.perf_counter() - start)
    return {"first": times[0], "again": times[1], "unverified": times[2]}
