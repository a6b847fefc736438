"""Snippets about what surrounds a model: saving, summary, initialisers, data sets and loaders."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import tempfile
from typing import Any

import numpy as np

from tests.peers.snippets import kind, message, ramp, snippet, warned


def round_trip(paddle: Any, value: Any, name: str = "model.pdparams") -> Any:
    """What a file gives back."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "deep", name)
        paddle.save(value, path)
        return paddle.load(path)


@snippet()
def save_state(paddle):
    layer = paddle.nn.Linear(2, 2)
    layer.set_state_dict({"weight": ramp(2, 2), "bias": ramp(2)})
    found = round_trip(paddle, layer.state_dict())
    return {name: value.numpy() for name, value in found.items()}


@snippet()
def save_nested(paddle):
    value = {"epoch": 3, "rate": 0.5, "name": "a", "list": [1, (2, None)], "flag": True, "w": {}}
    return round_trip(paddle, value, "checkpoint.pdckpt")


@snippet()
def save_empty(paddle):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.pdparams")
        return [warned(lambda: paddle.save({}, path)), paddle.load(path)]


@snippet()
def save_tensor(paddle):
    return round_trip(paddle, paddle.to_tensor([1.0, 2.0]), "t.pdtensor").numpy()


@snippet()
def save_errors(paddle):
    with tempfile.TemporaryDirectory() as folder:
        return [
            kind(lambda: paddle.save({"a": object}, os.path.join(folder, ""))) != "nothing",
            kind(
                lambda: paddle.load(os.path.join(folder, "missing.pdparams")),
                FileNotFoundError,
                ValueError,
            ),
        ]


@snippet()
def load_as_numpy(paddle):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.pdparams")
        paddle.save({"w": paddle.ones([2])}, path)
        return paddle.load(path, return_numpy=True)


@snippet()
def resume(paddle):
    def step(layer, opt):
        layer(paddle.to_tensor(ramp(4, 3))).square().mean().backward()
        opt.step()
        opt.clear_grad()

    def make():
        layer = paddle.nn.Linear(3, 2, bias_attr=False)
        layer.set_state_dict({"weight": ramp(3, 2)})
        return layer, paddle.optimizer.Adam(0.1, parameters=layer.parameters())

    layer, opt = make()
    step(layer, opt)
    model_state = round_trip(paddle, layer.state_dict())
    slots = round_trip(paddle, opt.state_dict(), "opt.pdopt")
    step(layer, opt)
    opt.set_state_dict(slots)
    layer.set_state_dict(model_state)
    step(layer, opt)
    return layer.weight.numpy()


@snippet()
def pickled_tensor(paddle):
    x = pickle.loads(pickle.dumps(paddle.to_tensor([1.0, 2.0])))
    return [x.numpy(), x.stop_gradient]


def summary(paddle: Any, *args: Any, **kwargs: Any) -> Any:
    """`paddle.summary` with its table printed line by line, words parted by one blank.

    The number behind a layer's type counts all layers of the process, so it is left out.
    """
    table = io.StringIO()
    with contextlib.redirect_stdout(table):
        counts = paddle.summary(*args, **kwargs)
    for line in table.getvalue().splitlines():
        print(re.sub(r"^(\w+)-\d+ ", r"\1 ", " ".join(line.split())))
    return counts


@snippet()
def summary_linear(paddle):
    nn = paddle.nn
    return summary(paddle, nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), (2, 4))


@snippet()
def summary_lenet(paddle):
    return summary(paddle, paddle.vision.models.LeNet(), (1, 1, 28, 28))


@snippet()
def summary_two_inputs(paddle):
    class Two(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.a = paddle.nn.Linear(3, 2)
            self.b = paddle.nn.Linear(4, 2)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    return summary(paddle, Two(), [(1, 3), (1, 4)])


@snippet()
def summary_of_input(paddle):
    return summary(paddle, paddle.nn.Linear(4, 2), input=paddle.ones([3, 4]))


@snippet()
def summary_frozen(paddle):
    layer = paddle.nn.Linear(4, 2)
    layer.weight.stop_gradient = True
    return summary(paddle, layer, (1, 4))


@snippet()
def summary_nested(paddle):
    nn = paddle.nn
    inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    return summary(paddle, nn.Sequential(inner, nn.Dropout(), nn.LayerNorm(4)), (1, 4))


@snippet()
def summary_recurrent(paddle):
    return summary(paddle, paddle.nn.LSTM(3, 4), (2, 5, 3))


@snippet()
def summary_integers(paddle):
    return summary(paddle, paddle.nn.Embedding(10, 4), (2, 3), dtypes="int64")


def start(paddle: Any, initializer: Any, *shape: int) -> np.ndarray:
    """A parameter's first value."""
    return paddle.nn.Layer().create_parameter(shape, default_initializer=initializer).numpy()


@snippet()
def fixed_initializers(paddle):
    i = paddle.nn.initializer
    return [
        start(paddle, i.Constant(3.0), 2),
        start(paddle, i.Assign(np.array([1.0, 2.0], "float32")), 2),
        start(paddle, i.Dirac(), 2, 2, 3),
    ]


@snippet(differs="the weight is symmetric; Paddle forgets to round down when it finds the row")
def bilinear_initializer(paddle):
    return start(paddle, paddle.nn.initializer.Bilinear(), 1, 1, 4, 4)


@snippet()
def random_initializers(paddle):
    i = paddle.nn.initializer
    shape = (200, 300)
    kinds = [
        i.XavierUniform(),
        i.XavierNormal(),
        i.KaimingUniform(),
        i.KaimingNormal(),
        i.Uniform(-2, 2),
        i.Normal(1.0, 2.0),
        i.TruncatedNormal(0.0, 1.0),
    ]
    spreads = [float(start(paddle, k, *shape).std()) for k in kinds]
    return [
        round(2 * s / base)
        for s, base in zip(spreads, (0.063, 0.063, 0.1, 0.1, 1.155, 2, 0.88), strict=True)
    ]


@snippet()
def default_bounds(paddle):
    weight = paddle.nn.Linear(300, 200).weight.numpy()
    conv = paddle.nn.Conv2D(16, 32, 3).weight.numpy()
    return [round(float(abs(weight).max()), 2), round(float(conv.std()), 2)]


@snippet()
def orthogonal(paddle):
    w = start(paddle, paddle.nn.initializer.Orthogonal(), 4, 4)
    return np.round(w @ w.T, 4) + 0.0


@snippet()
def gains(paddle):
    gain = paddle.nn.initializer.calculate_gain
    names = ("sigmoid", "linear", "conv2d", "tanh", "relu", "leaky_relu", "selu")
    return [float(gain(name)) for name in names] + [gain("leaky_relu", 0.2)]


@snippet()
def dataset_and_loader(paddle):
    class Squares(paddle.io.Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return np.float32(i * i), i

    loader = paddle.io.DataLoader(Squares(), batch_size=2)
    return [len(loader), [list(batch) for batch in loader]]


@snippet()
def loader_drop_last(paddle):
    data = paddle.io.TensorDataset([paddle.arange(5), paddle.arange(5) * 2])
    loader = paddle.io.DataLoader(data, batch_size=2, drop_last=True)
    return [len(data), len(loader), [list(batch) for batch in loader]]


@snippet()
def loader_collate(paddle):
    class Words(paddle.io.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return {"x": np.full(2, i, "float32"), "n": i, "s": "ab"[i]}

    return [dict(batch) for batch in paddle.io.DataLoader(Words(), batch_size=2)]


@snippet()
def loader_own_collate(paddle):
    class Numbers(paddle.io.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return np.full(2, i)

    loader = paddle.io.DataLoader(Numbers(), batch_size=2, collate_fn=lambda items: sum(items))
    return [np.asarray(batch) for batch in loader]


@snippet()
def iterable_dataset(paddle):
    class Stream(paddle.io.IterableDataset):
        def __iter__(self):
            yield from (np.float32(i) for i in range(5))

    loader = paddle.io.DataLoader(Stream(), batch_size=2)
    return [
        [b.numpy() if hasattr(b, "numpy") else b[0].numpy() for b in loader],
        kind(lambda: len(Stream()), TypeError, RuntimeError),
    ]


@snippet()
def samplers(paddle):
    io = paddle.io
    data = io.TensorDataset([paddle.arange(6)])
    return [
        list(io.SequenceSampler(data)),
        sorted(io.RandomSampler(data)),
        len(list(io.WeightedRandomSampler(np.array([0.0, 1.0]), 4))),
        list(io.WeightedRandomSampler(np.array([0.0, 1.0]), 4)),
        list(io.BatchSampler(dataset=data, batch_size=4)),
        len(io.BatchSampler(data, batch_size=4, drop_last=True)),
    ]


@snippet()
def composed_datasets(paddle):
    io = paddle.io
    data = io.TensorDataset([paddle.arange(3)])
    both = io.ConcatDataset([data, data])
    part = io.Subset(both, [0, 4])
    pair = io.ComposeDataset([data, data])
    return [len(both), [int(part[i][0]) for i in range(len(part))], [int(v) for v in pair[2]]]


@snippet()
def random_split(paddle):
    data = paddle.io.TensorDataset([paddle.arange(6)])
    parts = paddle.io.random_split(data, [4, 2])
    return [[len(p) for p in parts], sorted(int(p[i][0]) for p in parts for i in range(len(p)))]


@snippet()
def dataset_errors(paddle):
    return [
        kind(lambda: paddle.io.Dataset()[0]),
        kind(lambda: len(paddle.io.Dataset())),
        kind(
            lambda: paddle.io.TensorDataset([paddle.ones([2]), paddle.ones([3])]),
            AssertionError,
            ValueError,
        ),
        message(lambda: list(paddle.io.Subset([1, 2], [0, 1]))),
    ]


@snippet()
def seeded(paddle):
    paddle.seed(7)
    a = paddle.randn([3])
    paddle.seed(7)
    return [bool((a == paddle.randn([3])).all()), a.shape, str(a.numpy().dtype)]


@snippet()
def random_kinds(paddle):
    return [
        [t.shape, str(t.numpy().dtype)]
        for t in (
            paddle.rand([2, 3]),
            paddle.randint(0, 5, [4]),
            paddle.randperm(5),
            paddle.uniform([2], min=-1.0, max=1.0),
            paddle.normal(0.0, 1.0, [2]),
            paddle.bernoulli(paddle.full([3], 0.5)),
        )
    ]


@snippet()
def transforms(paddle):
    t = paddle.vision.transforms
    image = (np.arange(2 * 3 * 3) * 9).reshape(2, 3, 3).astype("uint8")
    steps = t.Compose([t.ToTensor(), t.Normalize([0.5] * 3, [0.25] * 3)])
    return steps(image)
