"""The models whose printed graphs stand in `tests/golden/`, which quote the lines of `forward`."""

from __future__ import annotations

from typing import Any

import dyn
from dyn import nn
from tracer import Graph, InputSpec, optimize, trace


class Mlp(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        x = self.fc1(x).relu()
        return self.fc2(x)


class LeNet(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2D(1, 6, 5, padding=2, bias_attr=False),
            nn.BatchNorm2D(6),
            nn.ReLU(),
            nn.MaxPool2D(2),
        )
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6 * 14 * 14, 10)

    def forward(self, image: Any) -> Any:
        x = self.features(image)
        x = dyn.flatten(x, 1)
        return {"logits": self.fc(self.drop(x)), "features": x}


class Attention(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, x: Any) -> Any:
        n, t, d = x.shape
        heads = self.query_key_value(x).reshape([n, t, 3, 2, d // 2]).transpose([2, 0, 3, 1, 4])
        q, k, v = heads[0], heads[1], heads[2]
        scores = q @ k.transpose([0, 1, 3, 2]) * 0.25
        mask = dyn.tril(dyn.ones([t, t])) > 0
        scores = dyn.where(mask, scores, dyn.full([1], -1e9))
        y = nn.functional.softmax(scores) @ v
        return self.out(y.transpose([0, 2, 1, 3]).reshape([n, t, d]))


class Stateful(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.register_buffer("calls", dyn.zeros([1], "int64"))
        self.table = dyn.to_tensor([1.0, 2.0, 3.0])

    def forward(self, x: Any, limit: Any) -> Any:
        self.calls += 1
        if x.shape[0] > 100:
            raise ValueError("too many rows")
        if x.isnan().any():
            raise ValueError("not a number")
        if x.sum() > limit:
            x = self.fc(x) * self.table

        def halve(i: Any, y: Any) -> Any:
            return i + 1, dyn.cond(y.max() > 8, lambda: y / 4, lambda: y / 2)

        steps, x = dyn.while_loop(lambda i, y: y.max() > 1, halve, [0, x])
        rows = x[x.sum(axis=1) > 0]
        return rows, steps


def graphs() -> dict[str, Graph]:
    """The graph for each text, by the name of its file."""
    spec = InputSpec
    image = spec(["batch", 1, 28, 28], name="image")
    return {
        "mlp": trace(Mlp(), spec(["N", 784])),
        "lenet": trace(LeNet(), image),
        "lenet_optimized": optimize(trace(LeNet(), image))[0],
        "lenet_training": trace(LeNet(), image, training=True),
        "attention": optimize(trace(Attention(), spec(["n", "t", 16])))[0],
        "stateful": trace(Stateful(), spec(["n", 3]), spec([])),
    }
