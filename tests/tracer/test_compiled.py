"""`compile_training`: the step that runs as recorded is the step that runs as written."""

import copy
import gc
import itertools
import warnings
import weakref

import numpy as np
import pytest

import dyn
import tracer
from dyn import nn, optimizer
from dyn.compat import torch
from dyn.core.errors import DTypeError, GradError, IndexRangeError
from tracer import TraceError, compile_training

F = nn.functional

SCALE = 1.0
"""What `scaled` reads as a global variable."""


def randn(rng, *shape):
    return dyn.to_tensor(rng.standard_normal(shape).astype(np.float32))


def eagerly(loss, *optimizers):
    """One step as a user writes it."""

    def step(*args, **kwargs):
        result = loss(*args, **kwargs)
        value = result[0] if isinstance(result, tuple) else result
        (value["loss"] if isinstance(value, dict) else value).backward()
        for one in optimizers:
            one.step()
        for one in optimizers:
            one.clear_grad(set_to_zero=False)
        return result

    return step


def twins(make, seed=0):
    """Two equal models."""
    dyn.seed(seed)
    model = make()
    return model, copy.deepcopy(model)


def same_state(a, b, tolerance=1e-6):
    for (name, x), (_, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        np.testing.assert_allclose(
            x.detach().numpy(), y.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=name
        )


def same_steps(make, opt, batch, loss=F.cross_entropy, steps=5, tolerance=1e-6):
    """Take steps with both and compare losses, parameters, buffers, and what optimisers keep."""
    plain, other = twins(make)
    opts = opt(plain.parameters()), opt(other.parameters())
    eager = eagerly(lambda x, y: loss(plain(x), y), opts[0])
    compiled = compile_training(lambda x, y: loss(other(x), y), optimizer=opts[1])
    rng = np.random.default_rng(0)
    for _ in range(steps):
        x, y = batch(rng)
        dyn.seed(7)
        wanted = eager(x, y)
        dyn.seed(7)
        found = compiled(x, y)
        np.testing.assert_allclose(found.numpy(), wanted.detach().numpy(), tolerance, tolerance)
    same_state(plain, other, tolerance)
    for a, b in zip(*(one.state_dict().values() for one in opts), strict=True):
        if isinstance(a, dyn.Tensor):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance)
    (record,) = compiled._records.values()
    assert record.program is not None
    assert all(p.grad is None for p in other.parameters())
    return plain, other


def mlp():
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))


def rows(rng, n=6):
    return randn(rng, n, 8), dyn.to_tensor(rng.integers(0, 3, n))


OPTIMIZERS = {
    "SGD": lambda p: optimizer.SGD(0.1, p, weight_decay=0.01),
    "L1": lambda p: optimizer.SGD(0.1, p, weight_decay=dyn.regularizer.L1Decay(0.01)),
    "Momentum": lambda p: optimizer.Momentum(0.1, parameters=p, use_nesterov=True),
    "Adam": lambda p: optimizer.Adam(0.01, parameters=p),
    "AdamW": lambda p: optimizer.AdamW(0.01, parameters=p),
    "RMSProp": lambda p: optimizer.RMSProp(0.01, parameters=p, centered=True),
    "Lamb": lambda p: optimizer.Lamb(0.01, parameters=p),
    "clipped": lambda p: optimizer.Adam(0.01, parameters=p, grad_clip=nn.ClipGradByGlobalNorm(0.1)),
    "torch SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.5),
    "torch AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "torch RAdam": lambda p: torch.optim.RAdam(p, 0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name):
    same_steps(mlp, OPTIMIZERS[name], rows)


def convolutional():
    return nn.Sequential(
        nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(8, 12, 3), nn.GELU(), nn.AdaptiveAvgPool2D(1), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(12, 3),
    )  # fmt: skip


def of_instances():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.InstanceNorm2d(8, 1e-5, 0.3, True, True),
        torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3),
    )  # fmt: skip


def images(rng):
    return randn(rng, 4, 3, 12, 12), dyn.to_tensor(rng.integers(0, 3, 4))


class Recurrent(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.rnn = nn.LSTM(8, 12, 2)
        self.out = nn.Linear(12, 3)

    def forward(self, ids):
        return self.out(self.rnn(self.embed(ids))[0][:, -1])


class Attentive(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1)
        self.out = nn.Linear(8, 3)

    def forward(self, ids):
        return self.out(self.block(self.embed(ids)).mean(1))


def sentences(rng):
    return dyn.to_tensor(rng.integers(0, 11, (4, 5))), dyn.to_tensor(rng.integers(0, 3, 4))


class Limited(nn.Layer):
    """Rows that the forward shortens and the step moves."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8, 3, max_norm=0.5, scale_grad_by_freq=True)
        self.out = nn.Linear(8, 3)

    def forward(self, ids):
        return self.out(self.embed(ids).mean(1))


@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (convolutional, images),
        (of_instances, images),
        (Recurrent, sentences),
        (Attentive, sentences),
        (Limited, sentences),
    ],
    ids=["convolutions", "instances", "lstm", "attention", "limited"],
)
def test_networks(make, batch):
    """Statistics of batches and random numbers, too, are those of the step as it is written."""
    same_steps(make, OPTIMIZERS["Adam"], batch, tolerance=2e-5)


def test_values_are_written_over():
    """Large parameters are updated where they lie, as in eager mode; nothing old is kept."""
    dyn.seed(0)
    model = nn.Linear(128, 128)
    first = weakref.ref(model.weight._array)
    opt = optimizer.Adam(0.01, parameters=model.parameters())
    step = compile_training(lambda x: model(x).square().mean(), optimizer=opt)
    x = randn(np.random.default_rng(0), 4, 128)
    step(x)
    step(x)
    gc.collect()
    assert first() is None
    place, before = model.weight._array.ctypes.data, model.weight._array.copy()
    step(x)
    assert model.weight._array.ctypes.data == place
    assert not np.array_equal(model.weight._array, before)


def test_values_that_others_refer_to_stay():
    dyn.seed(0)
    model = nn.Linear(128, 128)
    step = compile_training(
        lambda x: model(x).square().mean(), optimizer=optimizer.SGD(0.1, model.parameters())
    )
    x = randn(np.random.default_rng(0), 4, 128)
    for _ in range(3):
        kept = model.weight._array
        copied, seen = kept.copy(), model.weight.detach()
        step(x)
        np.testing.assert_array_equal(kept, copied)
        # As in PyTorch, what is detached sees the step.
        np.testing.assert_array_equal(seen.numpy(), model.weight.detach().numpy())


def test_what_comes_back():
    """Results are nested as the loss nests them; its tensors have the class of the inputs."""
    model = mlp()

    def loss(x, y):
        out = model(x)
        return {"loss": F.cross_entropy(out, y), "seen": [out, 3]}

    step = compile_training(loss, optimizer=optimizer.SGD(0.1, model.parameters()))
    x, y = rows(np.random.default_rng(0))
    wanted = model(x).numpy()
    for _ in range(2):
        made = step(x, y)
    assert made["loss"].shape == [] and made["seen"][1].item() == 3
    assert made["seen"][0].shape == [6, 3] and not np.array_equal(made["seen"][0].numpy(), wanted)

    net = torch.nn.Linear(8, 3)
    step = compile_training(
        lambda x: net(x).pow(2).mean(), optimizer=torch.optim.Adam(net.parameters(), lr=0.1)
    )
    for _ in range(2):
        assert type(step(torch.randn(4, 8))) is torch.Tensor


def test_arguments():
    """Arrays, nested containers, keywords and constants, each with a record of its own."""
    model = nn.Linear(4, 4)
    runs = itertools.count()

    def loss(batch, factor=1.0, *, power=2):
        next(runs)
        return ((model(batch["x"]) * factor) ** power).mean()

    step = compile_training(loss, optimizer=optimizer.SGD(0.0, model.parameters()))
    x = np.ones((2, 4), np.float32)
    y = model(dyn.to_tensor(x)).numpy()
    for _ in range(3):
        np.testing.assert_allclose(step({"x": x}).numpy(), (y**2).mean(), rtol=1e-6)
        np.testing.assert_allclose(step({"x": x}, 3.0).numpy(), (9 * y**2).mean(), rtol=1e-6)
        np.testing.assert_allclose(
            step(batch={"x": dyn.to_tensor(x)}, power=4).numpy(), (y**4).mean(), rtol=1e-5
        )
    assert len(step._records) == 3
    before = next(runs)
    step({"x": x}, 3.0)
    assert next(runs) == before + 1  # nothing of it runs in Python
    with pytest.raises(DTypeError, match="an argument of a compiled step is"):
        step({"x": x}, factor=bytearray(b"3"))


def test_shapes_are_recorded_once_each():
    model = mlp()
    step = compile_training(
        lambda x, y: F.cross_entropy(model(x), y),
        optimizer=optimizer.SGD(0.1, model.parameters()),
    )
    rng = np.random.default_rng(0)
    for n in (6, 2, 6, 1, 2, 6):
        x, y = rows(rng, n)
        wanted = F.cross_entropy(model(x), y).numpy()
        np.testing.assert_allclose(step(x, y).numpy(), wanted, rtol=1e-6)
    assert len(step._records) == 3


def test_schedules_and_saved_states():
    """Learning rates are read at every step; states may be saved and loaded between steps."""
    plain, other = twins(mlp)
    rates = [optimizer.lr.StepDecay(0.1, 2), optimizer.lr.StepDecay(0.1, 2)]
    opts = [
        optimizer.Adam(rate, parameters=m.parameters())
        for rate, m in zip(rates, (plain, other), strict=True)
    ]
    eager = eagerly(lambda x, y: F.cross_entropy(plain(x), y), opts[0])
    step = compile_training(lambda x, y: F.cross_entropy(other(x), y), optimizer=opts[1])
    rng = np.random.default_rng(0)
    for i in range(9):
        if i == 6:
            saved = {
                k: v.numpy().copy() for k, v in opts[1].state_dict().items() if k != "LR_Scheduler"
            }
            weights = {k: v.numpy().copy() for k, v in other.state_dict().items()}
            opts[1].set_state_dict(saved)
            other.set_state_dict(weights)
        x, y = rows(rng)
        eager(x, y)
        step(x, y)
        for rate in rates:
            rate.step()
    same_state(plain, other)
    assert len(step._records) == 1


def test_torch_settings_and_counts():
    """`param_groups` count at the next step, and the number of steps is kept."""
    nets = twins(lambda: torch.nn.Linear(4, 2))
    opts = [torch.optim.AdamW(net.parameters(), lr=0.1) for net in nets]

    def loss_of(net):
        return lambda x: net(x).pow(2).mean()

    eager, step = (
        eagerly(loss_of(nets[0]), opts[0]),
        compile_training(loss_of(nets[1]), optimizer=opts[1]),
    )
    for i in range(8):
        for opt in opts:
            opt.param_groups[0]["lr"] = 0.1 / (i + 1)
            opt.param_groups[0]["weight_decay"] = 0.5 if i > 3 else 0.01
            opt.param_groups[0]["betas"] = (0.9, 0.99) if i > 5 else (0.9, 0.999)
        x = torch.randn(3, 4)
        eager(x)
        step(x)
        same_state(*nets)
    states = [opt.state_dict()["state"][0] for opt in opts]
    assert states[0]["step"] == states[1]["step"] == 8


class Changing(nn.Layer):
    """A layer with everything that may change between steps."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(4, 4), nn.BatchNorm1D(4), nn.Dropout(0.5)
        self.factor, self.options, self.mask = 1.0, {"power": 2}, dyn.ones([4])

    def forward(self, x):
        x = self.drop(self.norm(self.fc(x * self.mask)))
        return (x * self.factor) ** self.options["power"]


def _set_attribute(model, opt):
    model.factor = 2.0


def _set_item(model, opt):
    model.options["power"] = 3


def _evaluate(model, opt):
    model.eval()


def _evaluate_part(model, opt):
    model.norm.eval()


def _freeze(model, opt):
    model.fc.weight.stop_gradient = True


def _replace(model, opt):
    dyn.seed(3)
    model.drop = nn.Sequential(nn.Linear(4, 4), nn.ReLU())


def _bind(model, opt):
    model.mask = dyn.to_tensor([1.0, 0.0, 2.0, 1.0])


def _hook_layer(model, opt):
    model.fc.register_forward_post_hook(lambda layer, inputs, out: out * 2)


def _hook_gradient(model, opt):
    model.fc.weight.register_hook(lambda g: g * 0.5)


def _rate(model, opt):
    opt.set_lr(0.01)


def _assign(model, opt):
    model.fc.weight.set_value(np.eye(4, dtype=np.float32))


@pytest.mark.parametrize(
    "change",
    [_set_attribute, _set_item, _evaluate, _evaluate_part, _freeze, _replace, _bind, _hook_layer,
     _hook_gradient, _rate, _assign],
)  # fmt: skip
def test_changes_are_seen(change):
    """What a user changes between two steps counts at the next one."""
    models = twins(Changing)
    opts = [optimizer.Momentum(0.05, parameters=m.parameters()) for m in models]
    steps = [
        eagerly(lambda x: models[0](x).mean(), opts[0]),
        compile_training(lambda x: models[1](x).mean(), optimizer=opts[1]),
    ]
    rng = np.random.default_rng(0)
    for i in range(6):
        if i == 3:
            for model, opt in zip(models, opts, strict=True):
                change(model, opt)
        x = randn(rng, 5, 4)
        made = []
        for step in steps:
            dyn.seed(i)
            made.append(step(x).detach().numpy())
        np.testing.assert_allclose(made[1], made[0], rtol=1e-6)
        same_state(*models)


def test_variables_are_seen(monkeypatch):
    """Globals and variables around the loss, and tensors among them."""
    model = nn.Linear(4, 4)
    weight = dyn.ones([4])
    power = 2.0

    def loss(x):
        return (model(x) * weight * SCALE).abs().pow(power).mean()

    step = compile_training(loss, optimizer=optimizer.SGD(0.0, model.parameters()))
    x = randn(np.random.default_rng(0), 3, 4)
    for i in range(4):
        np.testing.assert_allclose(step(x).numpy(), loss(x).numpy(), rtol=1e-6)
        if i == 0:
            monkeypatch.setitem(globals(), "SCALE", 3.0)
        elif i == 1:
            power = 3.0
        elif i == 2:
            weight = dyn.full([4], 5.0 + i)


def test_too_many_changes():
    """What changes with every step is not recorded for ever."""
    model = Changing()
    step = compile_training(
        lambda x: model(x).mean(), optimizer=optimizer.SGD(0.0, model.parameters())
    )
    model.eval()
    x = randn(np.random.default_rng(0), 5, 4)
    with pytest.warns(UserWarning, match=r"has changed 9 times") as seen:
        for i in range(14):
            model.factor = float(i)
            np.testing.assert_allclose(step(x).numpy(), model(x).mean().numpy(), rtol=1e-6)
    assert len(seen) == 1 and seen[0].filename == __file__


def test_branches_run_as_written():
    """A condition on a value goes both ways."""
    plain, other = twins(mlp)

    def loss_of(model):
        def loss(x):
            out = model(x).mean()
            return out if out > 0 else out * out

        return loss

    opts = [optimizer.SGD(0.5, m.parameters()) for m in (plain, other)]
    eager = eagerly(loss_of(plain), opts[0])
    step = compile_training(loss_of(other), optimizer=opts[1])
    rng = np.random.default_rng(0)
    signs = set()
    for _ in range(12):
        x = randn(rng, 2, 8)
        wanted = eager(x)
        signs.add(float(plain(x).mean()) > 0)
        np.testing.assert_allclose(step(x).detach().numpy(), wanted.detach().numpy(), rtol=1e-5)
        same_state(plain, other)
    assert signs == {True, False}


def test_branches_that_train_different_layers_run_as_written():
    """The other side of a condition may need slots that the optimizer has not made yet."""

    class TwoHeads(nn.Layer):
        def __init__(self):
            super().__init__()
            self.stem, self.small, self.large = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            x = self.stem(x)
            return (self.small if x.abs().mean() < 1 else self.large)(x)

    plain, other = twins(TwoHeads)
    opts = [optimizer.Adam(0.01, parameters=m.parameters()) for m in (plain, other)]
    eager = eagerly(lambda x: plain(x).square().mean(), opts[0])
    step = compile_training(lambda x: other(x).square().mean(), optimizer=opts[1])
    for scale in (0.1, 9.0, 9.0, 0.1):
        x = randn(np.random.default_rng(1), 3, 4) * scale
        np.testing.assert_allclose(step(x).numpy(), eager(x).numpy(), rtol=1e-5)
        same_state(plain, other)


def test_loops_that_end_by_a_value_run_as_written():
    model = nn.Linear(4, 4)

    def loss(x):
        x = model(x)
        while x.abs().max() > 0.1:
            x = x * 0.97
        return x.square().mean()

    step = compile_training(loss, optimizer=optimizer.SGD(0.1, model.parameters()))
    x = randn(np.random.default_rng(0), 3, 4)
    assert float(loss(x)) == float(step(x)) != float(step(x))


def test_what_cannot_be_recorded_before_a_branch_is_still_refused():
    model = nn.Linear(4, 4)

    def loss(x):
        x = model(x) * float(x.mean())
        return x.mean() if x.mean() > 0 else -x.mean()

    step = compile_training(loss, optimizer=optimizer.SGD(0.1, model.parameters()))
    with pytest.raises(TraceError, match=r"float\(\) takes a value"):
        step(randn(np.random.default_rng(0), 3, 4))


def test_gradients_of_inputs_are_left():
    """A step on an input that wants a gradient runs as it is written."""
    model = nn.Linear(4, 4)
    step = compile_training(
        lambda x: model(x).square().sum(), optimizer=optimizer.SGD(0.1, model.parameters())
    )
    x = randn(np.random.default_rng(0), 3, 4)
    x.stop_gradient = False
    step(x)
    assert x.grad is not None


def test_it_can_be_traced_itself():
    """Within a trace, the step is what it records."""
    model = nn.Linear(4, 2)
    opt = optimizer.SGD(0.1, model.parameters())
    step = compile_training(lambda x: model(x).square().mean(), optimizer=opt)
    x = randn(np.random.default_rng(0), 3, 4)
    step(x)
    graph = tracer.trace(
        lambda x: step(x), x, training=True, layers={"net": model}, optimizers={"opt": opt}
    )
    assert any(node.op == "sgd_update" for node in graph.nodes)


def test_two_optimizers():
    models = twins(mlp)

    def opts(model):
        return [
            optimizer.SGD(0.1, model[0].parameters()),
            optimizer.Adam(0.01, parameters=model[2].parameters()),
        ]

    both = [opts(model) for model in models]
    eager = eagerly(lambda x, y: F.cross_entropy(models[0](x), y), *both[0])
    step = compile_training(lambda x, y: F.cross_entropy(models[1](x), y), optimizer=both[1])
    rng = np.random.default_rng(0)
    for _ in range(4):
        x, y = rows(rng)
        eager(x, y)
        step(x, y)
    same_state(*models)


def test_unused_parameters_stay():
    """What gets no gradient is not stepped, and joins when it gets one."""

    class Halves(nn.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.both = nn.Linear(4, 4), nn.Linear(4, 4), False

        def forward(self, x):
            return self.a(x) + self.b(x) if self.both else self.a(x)

    models = twins(Halves)
    opts = [optimizer.Adam(0.05, parameters=m.parameters()) for m in models]
    eager = eagerly(lambda x: models[0](x).square().mean(), opts[0])
    step = compile_training(lambda x: models[1](x).square().mean(), optimizer=opts[1])
    rng = np.random.default_rng(0)
    for i in range(8):
        for model in models:
            model.both = i in (3, 4, 6)
        x = randn(rng, 3, 4)
        np.testing.assert_allclose(step(x).numpy(), eager(x).detach().numpy(), rtol=1e-5)
        same_state(*models)


@pytest.mark.parametrize("flavour", ["paddle", "torch"])
def test_every_group_keeps_its_rate_when_part_of_one_is_frozen(flavour):
    def rated(model):
        first, second = model[0].parameters(), model[2].parameters()
        if flavour == "torch":
            return torch.optim.SGD([{"params": first}, {"params": second, "lr": 0.02}], lr=0.5)
        listed = [{"params": first}, {"params": second, "learning_rate": 0.04}]
        return optimizer.SGD(0.5, listed)

    models = twins(mlp)
    opts = [rated(model) for model in models]
    eager = eagerly(lambda x, y: F.cross_entropy(models[0](x), y), opts[0])
    step = compile_training(lambda x, y: F.cross_entropy(models[1](x), y), optimizer=opts[1])
    rng = np.random.default_rng(0)
    for i in range(8):
        for model in models:
            model[0].weight.stop_gradient = 2 <= i < 4
            model[2].bias.stop_gradient = 3 <= i < 6
        batch = rows(rng)
        np.testing.assert_allclose(step(*batch).numpy(), eager(*batch).detach().numpy(), rtol=1e-5)
        same_state(*models)


def test_errors(capsys):
    model = mlp()
    opt = optimizer.SGD(0.1, model.parameters())
    step = compile_training(lambda x, y: F.cross_entropy(model(x), y), optimizer=opt)
    x, y = rows(np.random.default_rng(0))
    step(x, y)
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    with pytest.raises(IndexRangeError, match=r"test_compiled.py") as raised:
        step(x, y + 5)
    assert "cross_entropy" in str(raised.value)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    with pytest.raises(DTypeError, match="optimizer is str"):
        compile_training(model, optimizer="Adam")
    with pytest.raises(GradError):
        compile_training(lambda x: x.mean(), optimizer=opt)(x)
    with pytest.raises(TraceError, match="float"):
        compile_training(lambda x: model(x).mean() * float(model(x).sum()), optimizer=opt)(x)
    with pytest.raises(DTypeError, match="the loss is NoneType"):
        compile_training(lambda x: None, optimizer=opt)(x)


def test_an_optimizer_with_a_step_of_its_own():
    class Mine(optimizer.SGD):
        def step(self):
            super().step()

    model = mlp()
    with pytest.raises(DTypeError, match="Mine has a step of its own"):
        compile_training(model, optimizer=Mine(0.1, model.parameters()))


def test_hooks_of_optimizers_run():
    net = torch.nn.Linear(4, 2)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    step = compile_training(lambda x: net(x).pow(2).mean(), optimizer=opt)
    x, calls = torch.randn(3, 4), []
    step(x)
    opt.register_step_post_hook(lambda *args: calls.append(1))
    step(x)
    step(x)
    assert len(calls) == 2


def test_no_warnings_of_numpy():
    model = nn.Linear(2, 2)
    step = compile_training(
        lambda x: (model(x) / x.sum()).mean(), optimizer=optimizer.SGD(0.0, model.parameters())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert not np.isfinite(step(dyn.zeros([3, 2])).numpy())
