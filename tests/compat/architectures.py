"""Whole networks written against PyTorch's names, built alike in PyTorch and here.

Each is made by a function of the package; `scale` widens it, so that the recorded ones are small
and those of the wide check (`python -m tests.peers.wide`) have their real size.
"""

import math
from typing import Any


def civil_net(torch: Any, scale: int = 1) -> Any:
    """Convolutions, pooling, and layers that are called through `functional` and `view`."""
    nn, F = torch.nn, torch.nn.functional

    class CivilNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 2 * scale, 5)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(2 * scale, 4 * scale, 5)
            self.fc1 = nn.Linear(4 * scale * 5 * 5, 6 * scale)
            self.fc2 = nn.Linear(6 * scale, 10)

        def forward(self, x: Any) -> Any:
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = x.view(-1, self.fc1.in_features)
            return self.fc2(F.relu(self.fc1(x)))

    return CivilNet()


def resnet18(torch: Any, scale: int = 1) -> Any:
    """The residual network of 18 layers, with the names of torchvision."""
    nn = torch.nn

    class BasicBlock(nn.Module):
        def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.downsample = None
            if stride != 1 or inplanes != planes:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
                )

        def forward(self, x: Any) -> Any:
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            out += x if self.downsample is None else self.downsample(x)
            return self.relu(out)

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = 2 * scale
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            for i, times in enumerate((1, 2, 4, 8), 1):
                before, after = max(width * times // 2, width), width * times
                self.add_module(
                    f"layer{i}",
                    nn.Sequential(
                        BasicBlock(before, after, 1 if i == 1 else 2), BasicBlock(after, after)
                    ),
                )
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(8 * width, 10)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(torch.flatten(self.avgpool(x), 1))

    return ResNet()


def gpt(torch: Any, scale: int = 1) -> Any:
    """Embeddings and a pre-norm block with causal attention, as in GPT-2."""
    nn, F = torch.nn, torch.nn.functional
    width, heads, context = 8 * scale, 2, 16

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.c_attn = nn.Linear(width, 3 * width)
            self.c_proj = nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )
            mask = torch.tril(torch.ones(context, context))
            self.register_buffer("mask", mask.view(1, 1, context, context))

        def forward(self, x: Any) -> Any:
            B, T, C = x.size()
            parts = self.c_attn(self.ln_1(x)).split(C, dim=2)
            q, k, v = (p.view(B, T, heads, C // heads).transpose(1, 2) for p in parts)
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = att.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
            y = (F.softmax(att, dim=-1) @ v).transpose(1, 2).contiguous().view(B, T, C)
            x = x + self.c_proj(y)
            return x + self.mlp(self.ln_2(x))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(20, width), nn.Embedding(context, width)
            self.h = nn.ModuleList([Block() for _ in range(2)])
            self.ln_f = nn.LayerNorm(width)
            self.head = nn.Linear(width, 20, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, ids: Any) -> Any:
            x = self.wte(ids) + self.wpe(torch.arange(ids.size(1)))
            for block in self.h:
                x = block(x)
            return self.head(self.ln_f(x))

    return Gpt()


def tagger(torch: Any, scale: int = 1) -> Any:
    """An embedding, a recurrent network in both directions, and a classifier of its ends."""
    nn = torch.nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 4 * scale, padding_idx=0)
            self.rnn = nn.LSTM(
                4 * scale, 3 * scale, 2, batch_first=True, bidirectional=True, dropout=0.3
            )
            self.dropout = nn.Dropout(0.5)
            self.fc = nn.Linear(6 * scale, 3)

        def forward(self, ids: Any) -> Any:
            out, (h, _) = self.rnn(self.embedding(ids))
            last = torch.cat([h[-2], h[-1]], dim=1)
            return self.fc(self.dropout(last)) + out.mean(dim=1)[:, :3]

    return Tagger()


ARCHITECTURES: dict[str, Any] = {
    "civil_net": (civil_net, lambda torch: torch.randn(2, 3, 32, 32)),
    "resnet18": (resnet18, lambda torch: torch.randn(2, 3, 40, 48)),
    "gpt": (gpt, lambda torch: torch.randint(0, 20, (2, 9))),
    "tagger": (tagger, lambda torch: torch.randint(0, 20, (3, 7))),
}
"""How each network is made, and what it is called with."""
