"""`export_training`: the file trains as the live model does, and leaves the model as it was."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest

import dyn
import exporter
import tracer
from dyn import nn, optimizer
from dyn.compat import torch
from dyn.core.errors import DTypeError, GradError
from exporter import InputSpec, Predictor, export_training
from exporter.nudges import NUDGES, nudged
from tracer import TraceError

F = nn.functional

ROWS = [InputSpec(["batch", 8], name="x"), InputSpec(["batch"], "int64", name="y")]


def rows(rng):
    return rng.standard_normal((6, 8)).astype(np.float32), rng.integers(0, 3, 6)


def mlp():
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))


def trained_alike(path, net, loss, opt, specs, batch, steps=4, but=(), tolerance=1e-5, **options):
    """Export a step, then take steps in onnxruntime and in the live model on the same batches.

    Parameters named in `but` have a gradient of zero up to rounding, of which Adam makes a step.
    """
    report = export_training(loss, path, specs, optimizer=opt, **options)
    session = Predictor(path)
    rng = np.random.default_rng(0)
    net.train()
    for _ in range(steps):
        arrays = batch(rng)
        served = session.run(*arrays)
        made = loss(*map(dyn.to_tensor, arrays))
        made[0].backward() if isinstance(made, tuple) else made.backward()
        opt.step()
        opt.clear_grad()
        wanted = [t.detach().numpy() for t in (made if isinstance(made, tuple) else (made,))]
        for a, b in zip(served, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    state = session.state
    for name, tensor in net.state_dict().items():
        if name in state and name not in but:
            np.testing.assert_allclose(
                state[name], tensor.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=name
            )
    return report, session


OPTIMIZERS = [
    "SGD",
    "Momentum",
    "Adam",
    "AdamW",
    "Adamax",
    "RMSProp",
    "Adagrad",
    "Adadelta",
    "NAdam",
    "RAdam",
    "Lamb",
    "Rprop",
]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_in_the_file(tmp_path, name):
    net = mlp()
    opt = getattr(optimizer, name)(learning_rate=0.01, parameters=net.parameters())
    report, session = trained_alike(
        tmp_path / "step.onnx", net, lambda x, y: F.cross_entropy(net(x), y), opt, ROWS, rows
    )
    slots = {kind for kind, p, _ in opt.state_buffers() if p is not None}
    for parameter in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert {parameter, *(f"{parameter}.{slot}" for slot in slots)} <= set(report.states)
    # Rprop starts its step sizes from the learning rate, and never reads it again.
    assert ("learning_rate" in report.states) == (name != "Rprop")
    assert [info.name for info in session.outputs] == ["loss"]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.AdamW([{"params": list(p)[:2], "lr": 0.1}], lr=0.01),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, maximize=True),
        lambda p: torch.optim.Adagrad(p, 0.1, lr_decay=0.5, initial_accumulator_value=0.1),
        lambda p: torch.optim.NAdam(p, 0.01, weight_decay=0.3, decoupled_weight_decay=True),
    ],
)
def test_optimizers_of_pytorch(tmp_path, make):
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    opt = make(net.parameters())
    loss = torch.nn.CrossEntropyLoss()
    before = copy.deepcopy(opt.state_dict())
    trained_alike(tmp_path / "a.onnx", net, lambda x, y: loss(net(x), y), opt, ROWS, rows)
    assert before["state"] == {}
    steps = {int(entry["step"]) for entry in opt.state_dict()["state"].values() if "step" in entry}
    assert steps <= {4}, "tracing and verifying count no steps"


class Tagger(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.rnn = nn.GRU(8, 12)
        self.out = nn.Linear(12, 5)

    def forward(self, words, tag):
        return F.cross_entropy(self.out(self.rnn(self.embed(words))[0][:, -1]), tag)


class Reader(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.out = nn.Linear(16, 5)

    def forward(self, words, tag):
        return F.cross_entropy(self.out(self.encoder(self.embed(words)).mean(1)), tag)


@pytest.mark.parametrize("layer", [Tagger, Reader])
def test_a_layer_that_returns_its_loss(tmp_path, layer):
    net = layer()
    but = [name for name in net.state_dict() if name.endswith("k_proj.bias")]
    trained_alike(
        tmp_path / "step.onnx",
        net,
        net,
        optimizer.AdamW(0.01, parameters=net.parameters()),
        [InputSpec(["batch", "time"], "int64"), InputSpec(["batch"], "int64")],
        lambda rng: (rng.integers(0, 20, (4, 6)), rng.integers(0, 5, 4)),
        but=but,
        tolerance=1e-4,
    )


def test_running_statistics_go_along(tmp_path):
    net = nn.Sequential(
        nn.Conv2D(3, 8, 3, padding=1, bias_attr=False),
        nn.BatchNorm2D(8),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(8, 8, 3, stride=2, groups=2),
        nn.Flatten(),
        nn.Linear(8 * 3 * 3, 3),
    )
    net.eval()
    statistics = net[1]._mean.numpy()
    report, session = trained_alike(
        tmp_path / "step.onnx",
        net,
        lambda x, y: F.cross_entropy(net(x), y),
        optimizer.Momentum(0.01, parameters=net.parameters()),
        [InputSpec(["batch", 3, 16, 16], name="x"), InputSpec(["batch"], "int64", name="y")],
        lambda rng: (
            rng.standard_normal((4, 3, 16, 16)).astype(np.float32),
            rng.integers(0, 3, 4),
        ),
    )
    assert "1._mean" in report.states
    assert not np.array_equal(session.state["1._mean"], statistics)


def test_settings_of_the_optimizer_are_in_the_file(tmp_path):
    net = mlp()
    opt = optimizer.Adam(
        0.01,
        parameters=net.parameters(),
        weight_decay=dyn.regularizer.L1Decay(0.01),
        grad_clip=nn.ClipGradByGlobalNorm(0.1),
    )
    trained_alike(
        tmp_path / "step.onnx",
        net,
        lambda x, y: (F.cross_entropy(net(x), y), net(x)),
        opt,
        ROWS,
        rows,
    )


def test_the_learning_rate_is_set_by_name(tmp_path):
    net = mlp()
    schedule = optimizer.lr.StepDecay(0.1, step_size=1, gamma=0.5)
    opt = optimizer.SGD(schedule, parameters=net.parameters())
    path = tmp_path / "step.onnx"
    export_training(lambda x, y: F.cross_entropy(net(x), y), path, ROWS, optimizer=opt)
    session = Predictor(path)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, y = rows(rng)
        session.run({"x": x, "y": y, "learning_rate": schedule()})
        F.cross_entropy(net(dyn.to_tensor(x)), dyn.to_tensor(y)).backward()
        opt.step()
        opt.clear_grad()
        schedule.step()
    for name, tensor in net.state_dict().items():
        np.testing.assert_allclose(session.state[name], tensor.numpy(), rtol=1e-5, atol=1e-6)
    assert session.state["learning_rate"] == np.float32(0.025), "it stays as it was set"


def test_parameters_without_a_gradient_stay_out_of_the_file(tmp_path):
    net = mlp()
    net[0].weight.stop_gradient = True
    unused = nn.Linear(3, 3)
    opt = optimizer.Adam(0.01, parameters=[*net.parameters(), *unused.parameters()])
    report, _ = trained_alike(
        tmp_path / "step.onnx", net, lambda x, y: F.cross_entropy(net(x), y), opt, ROWS, rows
    )
    assert not any(name.startswith("0.weight") for name in report.states)
    assert sum(name.startswith("learning_rate") for name in report.states) == 1
    assert len([name for name in report.states if name.endswith("moment1")]) == 3


def test_any_runtime_runs_it(tmp_path):
    """No operator of a domain of its own, no training build of onnxruntime."""
    net = mlp()
    opt = optimizer.Adam(0.01, parameters=net.parameters())
    path = tmp_path / "step.onnx"
    export_training(lambda x, y: F.cross_entropy(net(x), y), path, ROWS, optimizer=opt)
    model = onnx.load(path)
    assert {node.domain for node in model.graph.node} == {""}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x, y = rows(np.random.default_rng(0))
    names = [output.name for output in session.get_outputs()]
    state, losses = {}, []
    for _ in range(30):
        results = dict(zip(names, session.run(names, {"x": x, "y": y} | state), strict=True))
        losses.append(float(results.pop("loss")))
        state = {name.removesuffix(".next"): array for name, array in results.items()}
    assert losses[-1] < 0.7 * losses[0]


def test_a_step_of_ones_own_with_two_optimizers(tmp_path):
    """A step that is written out exports as any function does; its optimisers are found."""
    maker = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
    judge = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    for_maker = optimizer.Adam(0.01, parameters=maker.parameters())
    for_judge = optimizer.SGD(0.1, parameters=judge.parameters())

    def step(real, noise):
        ones, zeros = dyn.ones_like(real[:, :1]), dyn.zeros_like(real[:, :1])
        fake = maker(noise)
        judged = F.binary_cross_entropy_with_logits(judge(real), ones)
        judged = judged + F.binary_cross_entropy_with_logits(judge(fake.detach()), zeros)
        judged.backward()
        for_judge.step()
        for_judge.clear_grad(False)
        fooled = F.binary_cross_entropy_with_logits(judge(fake), ones)
        fooled.backward()
        for_maker.step()
        for_maker.clear_grad(False)
        for_judge.clear_grad(False)
        return judged, fooled

    path = tmp_path / "gan.onnx"
    specs = [InputSpec(["batch", 8], name="real"), InputSpec(["batch", 4], name="noise")]
    report = exporter.export(step, path, specs, training=True)
    assert {"for_maker.learning_rate", "for_judge.learning_rate"} <= set(report.states)
    session = Predictor(path)
    rng = np.random.default_rng(0)
    for _ in range(3):
        real, noise = (rng.standard_normal((5, n)).astype(np.float32) for n in (8, 4))
        served = session.run(real, noise)
        wanted = step(dyn.to_tensor(real), dyn.to_tensor(noise))
        for a, b in zip(served, wanted, strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-4)


def test_model_and_optimizer_are_left_as_they_were(tmp_path):
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1D(16), nn.Linear(16, 3))
    opt = optimizer.Adam(0.01, parameters=net.parameters())

    def loss(x, y):
        return F.cross_entropy(net(x), y)

    x, y = map(dyn.to_tensor, rows(np.random.default_rng(0)))
    loss(x, y).backward()
    opt.step()
    net.eval()
    grads = [p.grad.numpy() for p in net.parameters()]
    before = {k: np.array(v) for k, v in {**net.state_dict(), **opt.state_dict()}.items()}
    drawn = dyn.get_rng_state()
    export_training(loss, tmp_path / "step.onnx", ROWS, optimizer=opt)
    after = {k: np.array(v) for k, v in {**net.state_dict(), **opt.state_dict()}.items()}
    assert list(before) == list(after)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    for p, g in zip(net.parameters(), grads, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)
    assert not any(layer.training for layer in net.sublayers(include_self=True))
    assert str(drawn) == str(dyn.get_rng_state())


def test_an_optimizer_that_only_lies_near_is_not_touched(tmp_path):
    net = mlp()
    opt = optimizer.Adam(0.01, parameters=net.parameters())
    before = dict(opt.__dict__), [dict(group.__dict__) for group in opt._groups]

    def evaluate(x):
        return net(x) if opt is not None else x

    report = exporter.export(evaluate, tmp_path / "net.onnx", ROWS[:1])
    assert not report.states
    assert before == (opt.__dict__, [group.__dict__ for group in opt._groups])

    def step(x):
        opt.clear_grad()
        loss = net(x).sum()
        loss.backward()
        opt.step()
        return loss

    with pytest.raises(TraceError, match="an optimiser steps here, pass training=True"):
        exporter.export(step, tmp_path / "step.onnx", ROWS[:1])
    exporter.export(step, tmp_path / "step.onnx", ROWS[:1], training=True)


class Step:
    """A step written by hand; gradients are cleared where `clears` says."""

    def __init__(self, clears):
        self.clears, self.net = clears, mlp()
        # The first layer is not trained, and its gradients add up for ever.
        self.opt = optimizer.SGD(0.1, self.net[2].parameters())

    def __call__(self, x):
        if self.clears == "first":
            self.opt.clear_grad()
        self.net(x).sum().backward()
        loss = self.net(x).square().mean()
        loss.backward()
        self.opt.step()
        if self.clears == "last":
            self.opt.clear_grad()
        return loss


@pytest.mark.parametrize("clears", ["first", "last"])
def test_steps_by_hand_may_clear_first_or_last(tmp_path, clears):
    step, path = Step(clears), tmp_path / "step.onnx"
    report = exporter.export(step, path, ROWS[:1], training=True)
    assert {name for name in report.states if "weight" in name} == {"2.weight"}
    served = Predictor(path)
    for _ in range(3):
        x, _ = rows(np.random.default_rng(0))
        np.testing.assert_allclose(served.run(x)[0], step(dyn.to_tensor(x)).numpy(), rtol=1e-5)


def test_gradients_that_add_up_from_call_to_call_are_refused(tmp_path):
    with pytest.raises(TraceError, match=r"2.\w+.grad is read .* clear them first") as caught:
        exporter.export(Step(""), tmp_path / "step.onnx", ROWS[:1], training=True)
    assert "self.net(x).sum().backward()" in str(caught.value)
    step = Step("last")
    step.net(dyn.ones([2, 8])).sum().backward()
    with pytest.raises(TraceError, match=r"2.\w+.grad is read as an earlier call"):
        exporter.export(step, tmp_path / "step.onnx", ROWS[:1], training=True)


def test_dropout_stays_random(tmp_path):
    net = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 3))
    opt = optimizer.SGD(0.1, parameters=net.parameters())
    path = tmp_path / "step.onnx"
    report = export_training(lambda x, y: F.cross_entropy(net(x), y), path, ROWS, optimizer=opt)
    assert report.verified.unchecked == ("loss",)
    x, y = rows(np.random.default_rng(0))
    losses = set()
    session = Predictor(path)
    for _ in range(4):
        session.reset()
        losses.add(float(session.run(x, y)[0]))
    assert len(losses) == 4


def test_what_is_wrong_is_told(tmp_path):
    net = mlp()
    path = tmp_path / "step.onnx"
    opt = optimizer.SGD(0.1, parameters=net.parameters())
    with pytest.raises(DTypeError, match="optimizer is float; pass a dyn"):
        export_training(lambda x, y: F.cross_entropy(net(x), y), path, ROWS, optimizer=0.1)
    with pytest.raises(DTypeError, match="the loss is float; return a Tensor"):
        export_training(lambda x, y: 1.0, path, ROWS, optimizer=opt)
    with pytest.raises(GradError, match="does not depend on anything that wants a gradient"):
        export_training(lambda x, y: x.sum(), path, ROWS, optimizer=opt)
    assert not path.exists()
    assert all(p.grad is None for p in net.parameters())


def test_gradients_that_cancel_are_judged_once(tmp_path, monkeypatch):
    """Biases before a batch norm have gradients of rounding alone, of which Adam makes steps."""
    layers = [(nn.Linear(8, 8), nn.BatchNorm1D(8), nn.ReLU()) for _ in range(3)]
    net = nn.Sequential(*(layer for block in layers for layer in block), nn.Linear(8, 3))
    adam = optimizer.Adam(learning_rate=0.01, parameters=net.parameters())
    runs = []
    run = tracer.Interpreter.run
    monkeypatch.setattr(tracer.Interpreter, "run", lambda *a, **k: runs.append(1) or run(*a, **k))

    def loss(x, y):  # the gradient of a sum starts from a number without axes
        return F.nll_loss(F.log_softmax(net(x), axis=1), y, reduction="sum")

    trained_alike(
        tmp_path / "step.onnx", net, loss, adam, ROWS, rows, steps=1,
        but=["0.bias", "3.bias", "6.bias", "1._mean", "4._mean", "7._mean"],
    )  # fmt: skip
    assert len(runs) <= 3 * (1 + 2) * NUDGES  # 3 sets of sizes, 2 calls at each


def test_numbers_without_axes_stay_arrays_when_nudged():
    moved = nudged(np.array(2.0, np.float32), np.random.default_rng(0))
    assert isinstance(moved, np.ndarray)
    assert (moved.shape, moved.dtype) == ((), np.float32)
    assert moved != 2


def test_a_graph_that_is_not_the_model_is_no_noise(tmp_path):
    """Rounding is measured on the graph, too; what the graph does otherwise is not rounding."""

    class Swapped(optimizer.SGD):
        """Its groups have each other's names after the first time."""

        calls = 0

        def state_buffers(self):
            self.calls += 1
            found = list(super().state_buffers())
            return iter(found if self.calls == 1 else found[::-1])

    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    groups = [
        {"params": net[0].parameters()},
        {"params": net[2].parameters(), "learning_rate": 0.1},
    ]
    with pytest.raises(exporter.VerificationError, match="learning_rate"):
        exporter.export_training(
            lambda x: net(x).square().mean(),
            tmp_path / "t.onnx",
            InputSpec(["n", 4], name="x"),
            optimizer=Swapped(0.5, groups),
        )
