"""`compile_training`: what the program around a compiled step changes counts at the next step."""

import copy
import dataclasses
import functools
import itertools
import pickle
import types
import warnings

import numpy as np
import pytest

import dyn
from dyn import nn, optimizer
from dyn.compat import torch
from dyn.core.errors import DTypeError, GradError, StateError
from tracer import TraceError, compile_training

FACTOR = 1.0
NAMED = types.SimpleNamespace(factor=1.0)


def scaled(x):
    """A function that a loss calls."""
    return x * FACTOR * NAMED.factor


class Settings:
    """An object with attributes of its class, of its own, and in a slot."""

    factor = 1.0


@dataclasses.dataclass(slots=True)
class Slotted:
    factor: float = 1.0


class Cubed(dyn.autograd.PyLayer):
    power = 3

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**Cubed.power

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensor()
        return 3 * x * x * g


class Trainer:
    """What many programs look like: a method is the loss, and objects hold settings."""

    kind = 1.0

    def __init__(self):
        dyn.seed(0)
        self.net = nn.Linear(4, 1)
        self.factor = 1.0
        self.nested = {"a": [{"b": 1.0}]}
        self.settings, self.slotted = Settings(), Slotted()
        self.array = np.ones(1, np.float32)
        self.tensors = {"all": (dyn.ones([4]),)}
        self.row = dyn.ones([2, 4])[1]
        self.hooked = {"factor": 1.0}
        self.net.register_forward_post_hook(lambda layer, inputs, out: out * self.hooked["factor"])
        self.steps = 0

    def weight(self):
        return self.factor * self.nested["a"][0]["b"] * self.kind * self.settings.factor

    def loss(self, x):
        x = x * self.tensors["all"][0] * self.row * dyn.to_tensor(self.array)
        out = scaled(Cubed.apply(self.net(x)).square().mean())
        return out * self.weight() * self.slotted.factor * getattr(self, "late", 1.0)


def _base(t, i):
    t.row._alias.base.set_value(np.full((2, 4), i, np.float32))


CHANGES = {
    "attribute": lambda t, i, patch: patch.setattr(t, "factor", i),
    "new attribute": lambda t, i, patch: setattr(t, "late", i),
    "nested": lambda t, i, patch: t.nested["a"][0].update(b=i),
    "class": lambda t, i, patch: patch.setattr(Trainer, "kind", i),
    "hides the class's": lambda t, i, patch: setattr(t.settings, "factor", i),
    "slot": lambda t, i, patch: setattr(t.slotted, "factor", i),
    "global": lambda t, i, patch: patch.setitem(globals(), "FACTOR", i),
    "namespace": lambda t, i, patch: patch.setattr(NAMED, "factor", i),
    "array": lambda t, i, patch: t.array.fill(i),
    "tensor": lambda t, i, patch: t.tensors.update(all=(dyn.full([4], i),)),
    "base of a view": lambda t, i, patch: _base(t, i),
    "hook": lambda t, i, patch: t.hooked.update(factor=i),
    "custom gradient": lambda t, i, patch: patch.setattr(Cubed, "power", int(i)),
    "method": lambda t, i, patch: patch.setattr(Trainer, "weight", lambda self: i),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_code_reads(name, monkeypatch):
    trainer = Trainer()
    step = compile_training(trainer.loss, optimizer=optimizer.SGD(0.0, trainer.net.parameters()))
    x = dyn.to_tensor(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))
    for i in range(4):
        np.testing.assert_allclose(step(x).numpy(), trainer.loss(x).numpy(), rtol=1e-5)
        CHANGES[name](trainer, 2.0 + i, monkeypatch)
        trainer.steps += 1  # nothing of the loss reads it
    (record,) = step._records.values()
    assert record.program is not None and record.changes == 3


def test_what_is_not_read_may_change():
    trainer = Trainer()
    step = compile_training(trainer.loss, optimizer=optimizer.SGD(0.0, trainer.net.parameters()))
    for _ in range(12):
        step(dyn.ones([3, 4]))
        trainer.steps += 1
    (record,) = step._records.values()
    assert record.changes == 0 and record.runs == 12


def test_callables_and_arguments():
    """Partial functions, decorated ones, callable objects, and objects that are passed."""
    net = nn.Linear(4, 1)

    class Loss:
        factor = 1.0

        def __call__(self, x):
            return net(x).square().mean() * self.factor

    def plain(factors, x, given=None):
        return net(x).square().mean() * factors["a"] * (1.0 if given is None else given.factor)

    def decorated(function):
        @functools.wraps(function)
        def inner(*args):
            return function(*args) * factors["a"]

        return inner

    factors, loss, given = {"a": 1.0}, Loss(), Settings()
    x = dyn.ones([2, 4])
    for one, args in (
        (loss, (x,)), (functools.partial(plain, factors), (x,)),
        (decorated(lambda x: net(x).square().mean()), (x,)),
        (functools.partial(plain, {"a": 1.0}), (x, given)),
    ):  # fmt: skip
        step = compile_training(one, optimizer=optimizer.SGD(0.0, net.parameters()))
        for _ in range(4):
            np.testing.assert_allclose(step(*args).numpy(), one(*args).numpy(), rtol=1e-5)
            factors["a"] += 1.0
            loss.factor += 1.0
            given.factor += 1.0


def test_an_interpreter():
    """What is typed in is the user's code, though it comes from no file."""
    typed = """
import dyn, tracer
net = dyn.nn.Linear(4, 1)
factor = 1.0
loss = lambda x: net(x).square().mean() * factor
class Mine(dyn.optimizer.SGD):
    def step(self):
        pass
"""
    names = {"__name__": "__main__"}
    exec(compile(typed, "<stdin>", "exec"), names)
    opt = optimizer.SGD(0.0, names["net"].parameters())
    step = compile_training(names["loss"], optimizer=opt)
    x = dyn.ones([2, 4])
    for i in range(3):
        np.testing.assert_allclose(step(x).numpy(), names["loss"](x).numpy(), rtol=1e-5)
        names["factor"] = 2.0 + i
    with pytest.raises(DTypeError, match="Mine has a step of its own"):
        compile_training(names["loss"], optimizer=names["Mine"](0.1, names["net"].parameters()))


def test_what_python_counts_is_refused():
    """Where it changes the result; otherwise it is as if it had been printed."""
    net, draw, calls = nn.Linear(4, 1), np.random.default_rng(0), []
    opt = optimizer.SGD(0.1, net.parameters())
    x = dyn.ones([2, 4])

    def counted(x):
        calls.append(1)
        return net(x).square().mean() * 0.5 ** len(calls)

    def harmless(x):
        calls.append(1)
        return net(x).square().mean()

    for loss in (counted, lambda x: net(x).square().mean() * float(draw.random())):
        with pytest.raises(TraceError, match=r"(?s)is not the same twice.*test_compiled_around.py"):
            compile_training(loss, optimizer=opt)(x)
    compile_training(harmless, optimizer=opt)(x)


def test_parameters_that_join():
    nets = [torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    opts = [torch.optim.Adam(net[1].parameters(), lr=0.1) for net in nets]
    step = compile_training(lambda x: nets[1](x).pow(2).mean(), optimizer=opts[1])
    for i in range(6):
        for net, opt in zip(nets, opts, strict=True):
            if i == 2:
                opt.add_param_group({"params": list(net[0].parameters()), "lr": 0.01})
            net[1].requires_grad_(i != 4)
        x = torch.randn(3, 4)
        opts[0].zero_grad()
        nets[0](x).pow(2).mean().backward()
        opts[0].step()
        step(x)
        for (name, a), b in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True):
            np.testing.assert_allclose(
                b.detach().numpy(), a.detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=name
            )
    counts = [{k: int(s["step"]) for k, s in o.state_dict()["state"].items()} for o in opts]
    assert counts[0] == counts[1] == {0: 5, 1: 5, 2: 4, 3: 4}


def test_clipping_of_one_parameter():
    dyn.seed(0)
    a = nn.Linear(4, 4)
    b = copy.deepcopy(a)
    opts = [
        optimizer.SGD(0.1, net.parameters(), grad_clip=nn.ClipGradByGlobalNorm(0.01))
        for net in (a, b)
    ]
    step = compile_training(lambda x: b(x).square().mean(), optimizer=opts[1])
    for i in range(4):
        a.weight.need_clip = b.weight.need_clip = i < 2
        x = dyn.randn([3, 4])
        a(x).square().mean().backward()
        opts[0].step()
        opts[0].clear_grad()
        step(x)
        np.testing.assert_allclose(b.weight.numpy(), a.weight.numpy(), rtol=1e-6)


def test_ambient_settings():
    net = nn.Linear(4, 1)
    step = compile_training(
        lambda x: (net(x) * dyn.ones([1])).mean(), optimizer=optimizer.SGD(0.0, net.parameters())
    )
    x = dyn.ones([2, 4])
    step(x)
    dyn.set_default_dtype("float64")
    try:
        assert step(x).dtype == dyn.float64
    finally:
        dyn.set_default_dtype("float32")
    step(x)
    with dyn.no_grad(), pytest.raises(GradError):
        step(x)


def test_arrays_stay_the_users():
    """What a step keeps or returns is not in the memory of what it was given."""

    class Last(nn.Layer):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 1)
            self.register_buffer("last", dyn.zeros([64, 64]))

        def forward(self, x):
            self.last.set_value(x)
            return self.fc(x).mean(), x

    net = Last()
    step = compile_training(net, optimizer=optimizer.SGD(0.1, net.parameters()))
    x = np.empty((64, 64), np.float32)
    for i in range(4):
        x[:] = i
        _, same = step(x)
        x[:] = -1
        assert (net.last.numpy() == i).all() and (same.numpy() == i).all()


def test_arrays_of_any_layout():
    """Memory order and byte order are no matter; numbers need not round alike in each."""
    dyn.seed(0)
    a = nn.Conv2D(3, 4, 3)
    b = copy.deepcopy(a)
    opts = [optimizer.SGD(0.1, net.parameters()) for net in (a, b)]
    step = compile_training(lambda x: b(x).square().mean(), optimizer=opts[1])
    base = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    for x in (
        base.transpose(0, 1, 3, 2), np.asfortranarray(base), base[:, ::-1],
        np.broadcast_to(base[:1], base.shape), base.astype(">f4"),
        dyn.to_tensor(base).transpose([0, 1, 3, 2]), base.astype(">f4").repeat(99, 0),
    ):  # fmt: skip
        a(dyn.to_tensor(x)).square().mean().backward()
        opts[0].step()
        opts[0].clear_grad()
        step(x)
        np.testing.assert_allclose(b.weight.numpy(), a.weight.numpy(), rtol=1e-5, atol=1e-6)


def test_constants():
    """Zeros of both signs are two, and NaN is one; what always changes is written."""
    net = nn.Linear(4, 1)
    calls = itertools.count()

    def loss(x, number):
        next(calls)
        return net(x).square().mean() / number

    step = compile_training(loss, optimizer=optimizer.SGD(0.0, net.parameters()))
    for _ in range(3):
        assert np.isnan(step(dyn.ones([2, 4]), float("nan")).numpy())
    assert len(step._records) == 1
    net = nn.Linear(4, 1)
    step = compile_training(
        lambda x, number: (net(x) * 0 + 1 / dyn.to_tensor(number)).mean(),
        optimizer=optimizer.SGD(0.0, net.parameters()),
    )
    assert step(dyn.ones([2, 4]), 0.0).numpy() == np.inf
    assert step(dyn.ones([2, 4]), -0.0).numpy() == -np.inf
    step = compile_training(loss, optimizer=optimizer.SGD(0.0, net.parameters()))
    with pytest.warns(UserWarning, match="more than 16 combinations") as seen:
        for i in range(60):
            step(dyn.ones([2, 4]), 1.0 + i)
    assert len(seen) == 1 and len(step._records) == 16
    before = next(calls)
    step(dyn.ones([2, 4]), 1.0)
    assert next(calls) == before + 1  # as recorded
    step(dyn.ones([2, 4]), 60.0)
    assert next(calls) == before + 3  # as written


def test_changes_now_and_then():
    """Changes are too many only where a recording is not used; it is said what changed."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    opt = optimizer.SGD(0.0, net.parameters())
    step = compile_training(lambda x: net(x).mean(), optimizer=opt)
    x = dyn.ones([2, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(12):
            net[0].weight.stop_gradient = i % 2 == 0
            for _ in range(40):
                step(x)
    with pytest.warns(UserWarning, match=f"at last stop_gradient of {net[0].weight.name};"):
        for i in range(12):
            net[0].weight.stop_gradient = i % 2 == 0
            step(x)


def test_a_step_is_not_copied():
    net = nn.Linear(4, 1)
    step = compile_training(net, optimizer=optimizer.SGD(0.1, net.parameters()))
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(StateError, match="compile_training for the copies"):
            make(step)


def test_arguments_of_compile_training():
    opt = optimizer.SGD(0.1, nn.Linear(4, 1).parameters())
    for loss, given in ((3, "int"), (nn.Linear, "the class Linear")):
        with pytest.raises(DTypeError, match=f"loss is {given}"):
            compile_training(loss, optimizer=opt)
    with pytest.raises(DTypeError, match="empty list"):
        compile_training(nn.Linear(4, 1), optimizer=[])


def test_tensors_of_functions_may_be_state():
    """One that is written between steps is watched, and may be state under a name of its own."""
    net, weight = nn.Linear(4, 1), dyn.ones([1])

    def weighted(x):
        return x * weight

    def loss(x):
        return weighted(net(x)).mean()

    opt, x = optimizer.SGD(0.0, net.parameters()), dyn.ones([2, 4])
    weight[0] = 2.0
    with pytest.raises(TraceError, match=r"two tensors of .* are called 'weight'"):
        compile_training(loss, optimizer=opt, state={"weight": weight})(x)
    for state, changes in ((None, 2), ({"factor": weight}, 0)):
        step = compile_training(loss, optimizer=opt, state=state)
        for i in range(3):
            np.testing.assert_allclose(step(x).numpy(), loss(x).numpy(), rtol=1e-6)
            if i < 2:
                weight[0] = 3.0 + i
        (record,) = step._records.values()
        assert record.program is not None and record.changes == changes


def test_what_holds_itself():
    net = nn.Linear(4, 1)
    net.around = [net]
    net.around.append(net.around)
    step = compile_training(lambda x: net(x).mean(), optimizer=optimizer.SGD(0.1, net.parameters()))
    for _ in range(2):
        step(dyn.ones([2, 4]))


class Damped:
    """A hook that is an object."""

    def __init__(self, settings):
        self.settings = settings

    def __call__(self, g):
        return g * self.settings["factor"]


HOOKS = {
    "gradient": lambda net, s: net.weight.register_hook(lambda g: g * s["factor"]),
    "object": lambda net, s: net.weight.register_hook(Damped(s)),
    "partial": lambda net, s: net.weight.register_hook(
        functools.partial(Damped.__call__, Damped(s))
    ),
    "forward": lambda net, s: net.register_forward_hook(lambda m, x, y: y * s["factor"]),
    "before": lambda net, s: net.register_forward_pre_hook(lambda m, x: (x[0] * s["factor"],)),
    "by name": lambda net, s: net.register_forward_hook(
        lambda m, x, named, y: y * s["factor"], with_kwargs=True
    ),
    "before, by name": lambda net, s: net.register_forward_pre_hook(
        lambda m, x, named: ((x[0] * s["factor"],), named), with_kwargs=True
    ),
    "backward": lambda net, s: net.register_full_backward_hook(
        lambda m, gx, gy: tuple(None if g is None else g * s["factor"] for g in gx)
    ),
    "before backward": lambda net, s: net.register_full_backward_pre_hook(
        lambda m, gy: (gy[0] * s["factor"],)
    ),
}


@pytest.mark.parametrize("name", HOOKS)
def test_what_hooks_in_the_flavour_of_torch_read(name):
    torch.manual_seed(0)
    inner = torch.nn.Linear(4, 4)
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), inner, torch.nn.Tanh())
    settings = {"factor": 1.0}
    HOOKS[name](inner, settings)
    written = copy.deepcopy(net.state_dict())
    x = torch.linspace(-1, 1, 12).reshape(3, 4)

    def loss():
        return net(x).square().mean()

    steps = []
    for compiled in (False, True):
        net.load_state_dict(written)
        sgd = torch.optim.SGD(net.parameters(), lr=0.5)
        step = compile_training(loss, optimizer=sgd)
        found = []
        for i in range(4):
            settings["factor"] = 1.0 + i
            if compiled:
                step()
            else:
                sgd.zero_grad()
                loss().backward()
                sgd.step()
            found.append([p.detach().numpy().copy() for p in net.parameters()])
        steps.append(found)
    for wanted, given in zip(*steps, strict=True):
        for a, b in zip(wanted, given, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
