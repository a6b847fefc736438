"""dyn, in Python as a user writes it."""

import itertools

import numpy as np

import dyn
import dyn.nn.functional as F
from dyn import nn
from dyn.vision import resnet18

VERSION = dyn.__version__
dyn.seed(0)
RNG = np.random.default_rng(0)


def adam(model):
    return dyn.optimizer.Adam(learning_rate=1e-3, parameters=model.parameters())


def sgd(model):
    return dyn.optimizer.SGD(learning_rate=0.01, parameters=model.parameters())


def train(model, loss, optimiser, *batch):
    def step():
        value = loss(model(*batch[:-1]), batch[-1])
        value.backward()
        optimiser.step()
        optimiser.clear_grad(set_to_zero=False)

    return step


def mlp(*sizes):
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class CivilNet(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(3, 6, 5)
        self.pool = nn.MaxPool2D(2, 2)
        self.conv2 = nn.Conv2D(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.reshape([-1, 16 * 5 * 5])
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def vgg():
    return nn.Sequential(
        nn.Conv2D(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2),
        nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


def lenet():
    return nn.Sequential(
        nn.Conv2D(1, 16, 5, padding=2), nn.BatchNorm2D(16), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(16, 32, 5), nn.BatchNorm2D(32), nn.ReLU(), nn.MaxPool2D(2),
        nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, 10),
    )  # fmt: skip


class GPTBlock(nn.Layer):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).reshape([b, t, 3, self.heads, -1]).unbind(2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.reshape([b, t, d]))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class GPT(nn.Layer):
    def __init__(self, vocab=256, d=128, heads=4, layers=4, length=64):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab, d), nn.Embedding(length, d)
        self.blocks = nn.LayerList([GPTBlock(d, heads) for _ in range(layers)])
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias_attr=False)

    def forward(self, ids):
        x = self.token(ids) + self.position(dyn.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


class LSTM(nn.Layer):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(64, 128, 2)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def randn(*shape):
    return dyn.to_tensor(RNG.standard_normal(shape, dtype=np.float32))


def labels(classes, *shape):
    return dyn.to_tensor(RNG.integers(0, classes, shape))


def training(make, batch, loss, optimiser):
    def build():
        model = make()
        return train(model, loss, optimiser(model), *batch())

    def compiled():
        import tracer  # not above: start and memory of this module are measured, too

        model, values = make(), batch()
        step = tracer.compile_training(
            lambda *given: loss(model(*given[:-1]), given[-1]), optimizer=optimiser(model)
        )
        return lambda: step(*values)

    return {"default": build, "compiled": compiled}


def images(n, c, size, classes):
    return lambda: [randn(n, c, size, size), labels(classes, n)]


def infer(batch):
    def build():
        model, x = resnet18(), randn(batch, 3, 224, 224)
        model.eval()

        def step():
            with dyn.no_grad():
                model(x)

        return step

    return {"default": build}


def language_loss(logits, target):
    return F.cross_entropy(logits.reshape([-1, 256]), target.reshape([-1]))


def plain(function):
    def build():
        x = randn(4096, 1024)
        return lambda: function(x)

    return {"default": build}


def with_backward(function):
    def build():
        x, g = randn(4096, 1024), dyn.ones([4096, 1024])
        x.stop_gradient = False

        def step():
            x.clear_grad(set_to_zero=False)
            function(x).backward(g)

        return step

    return {"default": build}


def tiny(grad):
    def build():
        x, y = dyn.ones([4]), dyn.ones([4])
        x.stop_gradient = not grad
        return lambda: x + y

    return {"default": build}


def square():
    a = randn(1000, 1000)
    return lambda: a @ a


NORM = nn.LayerNorm(1024)


def no_grad_norm(x):
    with dyn.no_grad():
        return NORM(x)


WORKS = {
    "mlp_sgd": training(
        lambda: mlp(128, 256, 256, 1), lambda: [randn(64, 128), randn(64, 1)], F.mse_loss, sgd
    ),
    "mlp_adam": training(
        lambda: mlp(784, 512, 512, 10),
        lambda: [randn(128, 784), labels(10, 128)],
        F.cross_entropy,
        adam,
    ),
    "civil_sgd": training(CivilNet, images(64, 3, 32, 10), F.cross_entropy, sgd),
    "civil_adam": training(CivilNet, images(64, 3, 32, 10), F.cross_entropy, adam),
    "vgg_adam": training(vgg, images(32, 3, 32, 10), F.cross_entropy, adam),
    "lenet_adam": training(lenet, images(64, 1, 28, 10), F.cross_entropy, adam),
    "resnet_adam": training(resnet18, images(10, 3, 224, 1000), F.cross_entropy, adam),
    "resnet_infer_1": infer(1),
    "resnet_infer_10": infer(10),
    "gpt_adam": training(
        GPT, lambda: [labels(256, 16, 64), labels(256, 16, 64)], language_loss, adam
    ),
    "lstm_adam": training(LSTM, lambda: [randn(32, 50, 64), labels(10, 32)], F.cross_entropy, adam),
    "add": plain(lambda x: x + x),
    "mul": plain(lambda x: x * x),
    "exp": plain(dyn.exp),
    "tanh": plain(dyn.tanh),
    "gelu": plain(F.gelu),
    "sum": plain(dyn.sum),
    "max_rows": plain(lambda x: dyn.max(x, 1)),
    "softmax": plain(F.softmax),
    "softmax_backward": with_backward(F.softmax),
    "layer_norm": plain(no_grad_norm),
    "layer_norm_backward": with_backward(NORM),
    "matmul_1000": {"default": square},
    "tiny": tiny(False),
    "tiny_grad": tiny(True),
    "start": training(CivilNet, images(64, 3, 32, 10), F.cross_entropy, sgd),
}
