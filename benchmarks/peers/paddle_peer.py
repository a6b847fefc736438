"""Paddle, eager: the small works (its large ones take minutes)."""

import itertools

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

VERSION = paddle.__version__
RNG = np.random.default_rng(0)


def mlp(*sizes):
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def civil():
    return nn.Sequential(
        nn.Conv2D(3, 6, 5), nn.ReLU(), nn.MaxPool2D(2, 2),
        nn.Conv2D(6, 16, 5), nn.ReLU(), nn.MaxPool2D(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def training(make, batch, loss, optimiser):
    def build():
        model, data = make(), [paddle.to_tensor(a) for a in batch]
        step_by = optimiser(learning_rate=1e-3, parameters=model.parameters())

        def step():
            loss(model(data[0]), data[1]).backward()
            step_by.step()
            step_by.clear_grad()

        return step

    return {"default": build}


def normal(*shape):
    return RNG.standard_normal(shape, dtype=np.float32)


X = paddle.to_tensor(normal(4096, 1024))
SGD, Adam = paddle.optimizer.SGD, paddle.optimizer.Adam
IMAGES = (normal(64, 3, 32, 32), RNG.integers(0, 10, 64))


def plain(function):
    return {"default": lambda: lambda: function(X)}


WORKS = {
    "mlp_sgd": training(
        lambda: mlp(128, 256, 256, 1), (normal(64, 128), normal(64, 1)), F.mse_loss, SGD
    ),
    "mlp_adam": training(
        lambda: mlp(784, 512, 512, 10),
        (normal(128, 784), RNG.integers(0, 10, 128)),
        F.cross_entropy,
        Adam,
    ),
    "civil_sgd": training(civil, IMAGES, F.cross_entropy, SGD),
    "civil_adam": training(civil, IMAGES, F.cross_entropy, Adam),
    "add": plain(lambda x: x + x),
    "exp": plain(paddle.exp),
    "tanh": plain(paddle.tanh),
    "gelu": plain(F.gelu),
    "softmax": plain(F.softmax),
}
