"""Large models and several threads: work grows with the model and no faster; nothing is shared."""

import sys
import threading

import numpy as np
import pytest

import dyn
from dyn import nn


class Tree(nn.Layer):
    """A linear layer and three smaller trees."""

    def __init__(self, depth):
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.branches = nn.LayerList([Tree(depth - 1) for _ in range(3)] if depth else [])

    def forward(self, x):
        x = self.fc(x)
        for branch in self.branches:
            x = branch(x)
        return x


def wide(count):
    return nn.Sequential(*[Tree(2) for _ in range(count)])


def deep(count):
    model = nn.Sequential(nn.Linear(2, 2))
    for _ in range(count * 10):
        model = nn.Sequential(model, nn.ReLU(), nn.Linear(2, 2, bias_attr=False))
    return model


def calls(make, count, path):
    """How many functions run to build, name, save and load a model; and how many layers it has."""
    found = 0

    def watch(frame, event, argument):
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(watch)
    try:
        model = make(count)
        names = [name for name, _ in model.named_sublayers()]
        assert len(set(names)) == len(names)
        list(model.named_parameters())
        dyn.save(model.state_dict(), path)
        missing, unexpected = model.set_state_dict(dyn.load(path))
    finally:
        sys.setprofile(None)
    assert not missing and not unexpected
    return found, len(names)


@pytest.mark.parametrize("make", [wide, deep])
def test_the_work_grows_with_the_number_of_layers_and_no_faster(tmp_path, make):
    few, layers = calls(make, 7, tmp_path / "few")
    many, more = calls(make, 28, tmp_path / "many")
    assert more > 800
    # Walking a chain costs two calls for each level; a square would make it sixteen times as much.
    assert many / few < 1.5 * more / layers
    assert many < 400 * more


def test_a_thousand_nested_layers_come_back_from_a_file(tmp_path):
    model, other = wide(28), wide(28)
    assert len(model.sublayers()) >= 1000
    dyn.save(model.state_dict(), tmp_path / "m")
    assert other.set_state_dict(dyn.load(tmp_path / "m")) == ([], [])
    for (name, a), (again, b) in zip(
        model.named_parameters(), other.named_parameters(), strict=True
    ):
        assert name == again and np.array_equal(a.numpy(), b.numpy())


def trained(seed, steps=4):
    """The loss of each step of a small network, from its own data and initial values."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Conv2D(1, 4, 3), nn.BatchNorm2D(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )
    start = {
        name: rng.standard_normal(p.shape).astype("float32") * 0.2
        for name, p in model.named_parameters()
    }
    model.set_state_dict({**model.state_dict(), **start})
    optimizer = dyn.optimizer.Adam(0.01, parameters=model.parameters())
    x = dyn.to_tensor(rng.standard_normal((4, 1, 8, 8)).astype("float32"))
    label = dyn.to_tensor([0, 1, 2, 0])
    losses = []
    for _ in range(steps):
        with dyn.no_grad():
            assert model(x).stop_gradient
        loss = nn.functional.cross_entropy(model(x), label)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    return losses


def test_two_threads_build_and_train_models_as_one_would():
    alone = [trained(seed) for seed in range(2)]
    found: dict[int, list] = {0: [], 1: []}
    ready = threading.Barrier(2)

    def work(seed):
        ready.wait(timeout=60)
        for _ in range(8):
            found[seed].append(trained(seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(2):
        assert found[seed] == [alone[seed]] * 8


def test_names_stay_unique_when_threads_build_layers():
    names: list[str] = []

    def work():
        layers = [nn.Linear(1, 1) for _ in range(200)]
        names.extend(name for layer in layers for name in (layer.full_name(), layer.weight.name))

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(set(names)) == len(names) == 1600
