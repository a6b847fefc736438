"""PyTorch: every work in its best settings (eager, channels-last, fused optimiser)."""

import itertools

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

VERSION = torch.__version__
torch.manual_seed(0)


def adam(model, fused):
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)


def sgd(model, fused):
    return torch.optim.SGD(model.parameters(), lr=0.01, fused=fused)


def train(model, loss, optimiser, *batch):
    def step():
        optimiser.zero_grad(set_to_none=True)
        value = loss(model(*batch[:-1]), batch[-1])
        value.backward()
        optimiser.step()

    return step


def mlp(*sizes):
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class CivilNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.reshape(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def vgg():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, 10),
    )  # fmt: skip


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(b)
        self.down = None
        if stride != 1 or a != b:
            self.down = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.down is None else self.down(x)))


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    for a, b, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [Block(a, b, stride), Block(b, b, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


class GPTBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self, vocab=256, d=128, heads=4, layers=4, length=64):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab, d), nn.Embedding(length, d)
        self.blocks = nn.ModuleList(GPTBlock(d, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)

    def forward(self, ids):
        x = self.token(ids) + self.position(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(64, 128, 2, batch_first=True)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def both(make, batch, loss, optimiser, channels_last=False):
    def setting(fused, last):
        def build():
            model, data = make(), batch()
            if last:
                model = model.to(memory_format=torch.channels_last)
                data = [data[0].contiguous(memory_format=torch.channels_last), *data[1:]]
            return train(model, loss, optimiser(model, fused), *data)

        return build

    found = {"default": setting(None, False), "fused": setting(True, False)}
    if channels_last:
        found["fused, channels last"] = setting(True, True)
    return found


def images(n, c, size, classes):
    return lambda: [torch.randn(n, c, size, size), torch.randint(0, classes, (n,))]


def features(n, k, classes):
    return lambda: [torch.randn(n, k), torch.randint(0, classes, (n,))]


def infer(batch):
    def setting(last):
        def build():
            model, x = resnet18().eval(), torch.randn(batch, 3, 224, 224)
            if last:
                model = model.to(memory_format=torch.channels_last)
                x = x.contiguous(memory_format=torch.channels_last)

            def step():
                with torch.inference_mode():
                    model(x)

            return step

        return build

    return {"default": setting(False), "channels last": setting(True)}


def language_loss(logits, target):
    return F.cross_entropy(logits.view(-1, 256), target.view(-1))


def tokens():
    return [torch.randint(0, 256, (16, 64)), torch.randint(0, 256, (16, 64))]


X = torch.from_numpy(np.random.default_rng(0).standard_normal((4096, 1024), dtype=np.float32))


def plain(function):
    return {"default": lambda: lambda: function(X)}


def with_backward(function):
    def build():
        x = X.clone().requires_grad_()
        g = torch.ones_like(X)

        def step():
            x.grad = None
            function(x).backward(g)

        return step

    return {"default": build}


def tiny(grad):
    def build():
        x, y = torch.ones(4, requires_grad=grad), torch.ones(4)
        return lambda: x + y

    return {"default": build}


def layer_norm(x):
    return F.layer_norm(x, (1024,), W, B)


W, B = torch.ones(1024, requires_grad=True), torch.zeros(1024, requires_grad=True)
A = torch.randn(1000, 1000)
MSE = F.mse_loss
CE = F.cross_entropy

WORKS = {
    "mlp_sgd": both(
        lambda: mlp(128, 256, 256, 1), lambda: [torch.randn(64, 128), torch.randn(64, 1)], MSE, sgd
    ),
    "mlp_adam": both(lambda: mlp(784, 512, 512, 10), features(128, 784, 10), CE, adam),
    "civil_sgd": both(CivilNet, images(64, 3, 32, 10), CE, sgd, True),
    "civil_adam": both(CivilNet, images(64, 3, 32, 10), CE, adam, True),
    "vgg_adam": both(vgg, images(32, 3, 32, 10), CE, adam, True),
    "lenet_adam": both(lenet, images(64, 1, 28, 10), CE, adam, True),
    "resnet_adam": both(resnet18, images(10, 3, 224, 1000), CE, adam, True),
    "resnet_infer_1": infer(1),
    "resnet_infer_10": infer(10),
    "gpt_adam": both(GPT, tokens, language_loss, adam),
    "lstm_adam": both(
        LSTM, lambda: [torch.randn(32, 50, 64), torch.randint(0, 10, (32,))], CE, adam
    ),
    "add": plain(lambda x: x + x),
    "mul": plain(lambda x: x * x),
    "exp": plain(torch.exp),
    "tanh": plain(torch.tanh),
    "gelu": plain(F.gelu),
    "sum": plain(torch.sum),
    "max_rows": plain(lambda x: torch.amax(x, 1)),
    "softmax": plain(lambda x: torch.softmax(x, -1)),
    "softmax_backward": with_backward(lambda x: torch.softmax(x, -1)),
    "layer_norm": plain(lambda x: F.layer_norm(x, (1024,), W.detach(), B.detach())),
    "layer_norm_backward": with_backward(layer_norm),
    "matmul_1000": {"default": lambda: lambda: A @ A},
    "tiny": tiny(False),
    "tiny_grad": tiny(True),
    "start": {"default": lambda: both(CivilNet, images(64, 3, 32, 10), CE, sgd)["default"]()},
}
