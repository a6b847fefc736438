"""The networks in PyTorch, and its export with dynamo."""

import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from peers.torch_peer import GPT, LSTM, CivilNet, mlp

VERSION = torch.__version__
torch.manual_seed(0)


def conv_norm(a, b, size, stride=1, groups=1, act=nn.ReLU):
    layers = [
        nn.Conv2d(a, b, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(b),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class Basic(nn.Module):
    expansion = 1

    def __init__(self, a, b, stride):
        super().__init__()
        self.body = nn.Sequential(conv_norm(a, b, 3, stride), conv_norm(b, b, 3, act=None))
        same = stride == 1 and a == b
        self.down = nn.Identity() if same else conv_norm(a, b, 1, stride, act=None)

    def forward(self, x):
        return F.relu(self.body(x) + self.down(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, a, b, stride):
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(a, b, 1), conv_norm(b, b, 3, stride), conv_norm(b, 4 * b, 1, act=None)
        )
        same = stride == 1 and a == 4 * b
        self.down = nn.Identity() if same else conv_norm(a, 4 * b, 1, stride, act=None)

    def forward(self, x):
        return F.relu(self.body(x) + self.down(x))


def resnet(block, depths):
    layers, a = [conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for i, depth in enumerate(depths):
        for j in range(depth):
            layers.append(block(a, 64 << i, 2 if i and not j else 1))
            a = (64 << i) * block.expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(a, 1000))


class Inverted(nn.Module):
    def __init__(self, a, b, stride, ratio):
        super().__init__()
        hidden = a * ratio
        layers = [conv_norm(a, hidden, 1, act=nn.ReLU6)] if ratio != 1 else []
        layers.append(conv_norm(hidden, hidden, 3, stride, hidden, nn.ReLU6))
        layers.append(conv_norm(hidden, b, 1, act=None))
        self.body = nn.Sequential(*layers)
        self.same = stride == 1 and a == b

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


def mobilenet_v2():
    layers, a = [conv_norm(3, 32, 3, 2, act=nn.ReLU6)], 32
    for ratio, b, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for i in range(count):
            layers.append(Inverted(a, b, stride if i == 0 else 1, ratio))
            a = b
    layers += [conv_norm(a, 1280, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(1280, 1000))


def double(a, b):
    return nn.Sequential(conv_norm(a, b, 3), conv_norm(b, b, 3))


class UNet(nn.Module):
    def __init__(self, widths=(32, 64, 128, 256)):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip((3, *widths), widths, strict=False))
        self.down = nn.ModuleList(double(a, b) for a, b in pairs)
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in ups)
        self.merge = nn.ModuleList(double(2 * b, b) for _, b in ups)
        self.out = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(self.pool(x) if i else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return self.out(x)


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class ViT(nn.Module):
    def __init__(self, d=192, heads=3, layers=12, patch=16, size=224, classes=1000):
        super().__init__()
        self.patches = nn.Conv2d(3, d, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, d) * 0.02)
        self.blocks = nn.ModuleList(Block(d, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x)[:, 0])


MAKERS = {
    "mlp": lambda: mlp(784, 512, 512, 10),
    "civilnet": CivilNet,
    "resnet18": lambda: resnet(Basic, (2, 2, 2, 2)),
    "resnet50": lambda: resnet(Bottleneck, (3, 4, 6, 3)),
    "mobilenet_v2": mobilenet_v2,
    "unet": UNet,
    "lstm": LSTM,
    "gpt": GPT,
    "vit": ViT,
    "gpt24": lambda: GPT(d=256, heads=4, layers=24),
}


def export(net, path):
    """Export times: of the first call in this process, of a later one, and without verification."""
    model = MAKERS[net.name]().eval()
    shape = (2, *net.shape)
    x = torch.randint(0, net.high, shape) if net.high else torch.randn(shape)
    batch = torch.export.Dim("batch")
    times = []
    for _ in range(2):
        start = time.perf_counter()
        torch.onnx.export(
            model, (x,), path, input_names=[net.input], dynamo=True, dynamic_shapes=[{0: batch}],
            external_data=False, verbose=False,
        )  # fmt: skip
        times.append(time.perf_counter() - start)
    return {"first": times[0], "again": times[1], "unverified": times[1]}
