"""L-BFGS: minima that are known, states that go on, what is refused. Steps are PyTorch's, compared
in `tests/peers/torch_training.py`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dyn
import dyn.compat.torch as torch
from dyn import nn, optimizer
from dyn.core.errors import AttributeValueError, DTypeError, StateError
from dyn.optimizer.line_search import C1, C2, Point, strong_wolfe
from exporter import export_training
from tracer import InputSpec, compile_training, trace

RNG = np.random.default_rng(5)
SQUARE = RNG.standard_normal((6, 6))
SQUARE = SQUARE @ SQUARE.T + np.eye(6)
TARGET = RNG.standard_normal(6)


class Valley:
    """A quadratic of two parameters, and how often it was evaluated."""

    def __init__(self, dtype: str = "float64", **settings: Any):
        self.parameters = [nn.Parameter(np.zeros(shape), dtype=dtype) for shape in ((2, 2), (2,))]
        self.dtype, self.count = dtype, 0
        self.optimizer = optimizer.LBFGS(parameters=self.parameters, **settings)

    def closure(self) -> Any:
        self.count += 1
        self.optimizer.clear_grad()
        x = dyn.concat([p.reshape([-1]) for p in self.parameters])
        square, target = (dyn.to_tensor(v, dtype=self.dtype) for v in (SQUARE, TARGET))
        loss = (x @ (square @ x)) / 2 - (x * target).sum()
        loss.backward()
        return loss

    def steps(self, count: int) -> np.ndarray:
        for _ in range(count):
            self.optimizer.step(self.closure)
        return np.concatenate([p.numpy().reshape(-1) for p in self.parameters])


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_minimum_of_a_quadratic_is_found(dtype: str, search: str | None) -> None:
    valley = Valley(dtype, max_iter=100, line_search_fn=search, tolerance_change=1e-14)
    found = valley.steps(2)
    tolerance = {"float64": 1e-6, "float32": 1e-3}[dtype]
    np.testing.assert_allclose(found, np.linalg.solve(SQUARE, TARGET), atol=tolerance)
    assert valley.parameters[0].dtype == dtype and valley.count < 100
    assert valley.optimizer.state_dict()["state"]["func_evals"] == valley.count


@pytest.mark.parametrize("slope", [-1.0, -30.0])
@pytest.mark.parametrize("t", [1e-3, 0.1, 1.0, 40.0])
def test_a_search_finds_what_it_promises(t: float, slope: float) -> None:
    def evaluate(t: float) -> Point:
        value = slope * np.sin(t) + 0.05 * t * t + 0.3 * np.cos(7 * t)
        steep = slope * np.cos(t) + 0.1 * t - 2.1 * np.sin(7 * t)
        return Point(t, float(value), float(steep), np.zeros(1))

    start = evaluate(0.0)
    found, count = strong_wolfe(evaluate, start, t, 1.0, 1e-9, 25)
    assert found == evaluate(found.t) and 1 <= count <= 26
    assert found.value <= start.value + C1 * found.t * start.slope
    assert abs(found.slope) <= -C2 * start.slope


def test_a_search_that_is_cut_short_gives_the_lowest_point() -> None:
    def evaluate(t: float) -> Point:
        return Point(t, (t - 1) ** 2, 2 * (t - 1), np.zeros(1))

    found, count = strong_wolfe(evaluate, evaluate(0.0), 100.0, 1.0, 1e-9, 0)
    assert found.t == 0 and count == 1
    # Values beyond what floats hold are too high, and no reason to stop.
    wide = lambda t: evaluate(t) if t < 2 else Point(t, np.inf, np.nan, np.zeros(1))  # noqa: E731
    assert strong_wolfe(wide, evaluate(0.0), 100.0, 1.0, 1e-9, 25)[0].value < 1


def test_a_saved_state_goes_on_as_if_nothing_had_been(tmp_path: Any) -> None:
    settings = {"max_iter": 2, "line_search_fn": "strong_wolfe"}
    whole, first, second = Valley(**settings), Valley(**settings), Valley(**settings)
    wanted = whole.steps(3)
    first.steps(2)
    file = str(tmp_path / "optimizer.pdopt")
    dyn.save(first.optimizer.state_dict(), file)
    for p, other in zip(second.parameters, first.parameters, strict=True):
        p.set_value(other.numpy())
    second.optimizer.set_state_dict(dyn.load(file))
    np.testing.assert_array_equal(second.steps(1), wanted)
    np.testing.assert_array_equal(copy.deepcopy(second).steps(1), whole.steps(1))


def test_a_state_of_other_parameters_is_refused() -> None:
    valley = Valley()
    valley.steps(1)
    other = optimizer.LBFGS(parameters=[nn.Parameter([1.0])])
    with pytest.raises(StateError, match="kept for 6 numbers, its parameters have 1"):
        other.set_state_dict(valley.optimizer.state_dict())
    with pytest.raises(StateError, match=r"an entry 'state', this one has \['w_moment_0'\]"):
        other.set_state_dict({"w_moment_0": 1})
    ours = torch.optim.LBFGS([torch.nn.Parameter(torch.ones(3))])
    entry = {"n_iter": 1, "d": torch.ones(2), "prev_flat_grad": torch.ones(2)}
    saved = {"state": {0: entry}, "param_groups": ours.state_dict()["param_groups"]}
    with pytest.raises(StateError, match="kept for 2 numbers"):
        ours.load_state_dict(saved)


def test_what_has_no_gradient_stays_and_schedules_count() -> None:
    still, moved = nn.Parameter([3.0]), nn.Parameter([2.0, -1.0])
    rate = optimizer.lr.StepDecay(0.5, 1, 0.5)
    opt = optimizer.LBFGS(rate, max_iter=1, parameters=[still, moved])

    def closure() -> Any:
        opt.clear_grad(set_to_zero=False)
        loss = (moved * moved).sum() / 2
        loss.backward()
        return loss

    # The first step: the gradient, by a rate that is divided by the sum of its sizes.
    assert float(opt.step(closure)) == 2.5
    np.testing.assert_allclose(moved.numpy(), np.array([2, -1]) * (1 - 0.5 / 3), rtol=1e-6)
    rate.step()
    before = moved.numpy()
    # The curvature is known from now on, so half of the rate is half of the way to the minimum.
    opt.step(closure)
    np.testing.assert_allclose(moved.numpy(), before * 0.75, rtol=1e-6)
    assert still.numpy() == [3.0] and still.grad is None
    assert "LR_Scheduler" in opt.state_dict()
    opt.set_state_dict(opt.state_dict())


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "decay": ({"weight_decay": 0.1}, "no weight_decay"),
    "clipping": ({"grad_clip": nn.ClipGradByNorm(1.0)}, "no weight_decay, grad_clip"),
    "a search": ({"line_search_fn": "armijo"}, "only 'strong_wolfe'"),
    "iterations": ({"max_iter": -1}, "max_iter must not be negative, got -1"),
    "a size": ({"history_size": -2}, "history_size"),
    "a rate": ({"learning_rate": -1.0}, "from 0 on"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_no_step_can_be_taken_with(name: str) -> None:
    given, text = SETTINGS[name]
    with pytest.raises(AttributeValueError, match=text):
        optimizer.LBFGS(parameters=[nn.Parameter([1.0])], **given)


def test_rates_of_single_parameters_are_refused() -> None:
    groups = [{"params": [nn.Parameter([1.0])], "learning_rate": 0.5}]
    with pytest.raises(AttributeValueError, match="rates of single parameters"):
        optimizer.LBFGS(parameters=groups)


def test_what_is_no_closure_is_refused() -> None:
    p = nn.Parameter([1.0])
    opt = optimizer.LBFGS(parameters=[p])
    for call in (opt.step, lambda: opt.step((p * p).sum())):
        with pytest.raises(DTypeError, match="needs a function that clears the gradients"):
            call()
    with pytest.raises(StateError, match="not minimize"):
        opt.minimize((p * p).sum())


MAKERS: list[Callable[[Any], Any]] = [
    lambda p: optimizer.LBFGS(parameters=p),
    torch.optim.LBFGS,
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_step_that_cannot_be_recorded_says_so(make: Any, tmp_path: Any) -> None:
    net = nn.Linear(2, 1)
    opt = make(net.parameters())

    def loss(x: Any) -> Any:
        return (net(x) ** 2).mean()

    x = dyn.ones([3, 2])
    with pytest.raises(StateError, match="cannot be recorded, compiled or exported"):
        compile_training(loss, optimizer=opt)(x)
    file = tmp_path / "step.onnx"
    spec = InputSpec([3, 2], "float32", name="x")
    with pytest.raises(StateError, match="cannot be recorded, compiled or exported"):
        export_training(loss, file, [spec], optimizer=opt)
    assert not file.exists()

    def step(x: Any) -> Any:
        def closure() -> float:
            opt.clear_grad()
            value = loss(x)
            value.backward()
            return 1.0

        return opt.step(closure)

    with pytest.raises(Exception, match="numpy"):
        trace(step, spec, training=True, layers={"net": net})


def test_a_network_learns_with_groups_of_pytorchs() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    opt = torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe")
    scheduler = torch.optim.lr_scheduler.StepLR(opt, 5, 0.5)
    x = torch.randn(32, 3)
    y = (x[:, :1] * x[:, 1:2]).detach()
    calls: list[int] = []
    opt.register_step_post_hook(lambda *_: calls.append(1))

    def closure() -> Any:
        opt.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    losses = []
    for _ in range(10):
        losses.append(opt.step(closure).item())
        scheduler.step()
    assert losses[-1] < 1e-2 * losses[0] and len(calls) == 10
    assert opt.param_groups[0]["lr"] == 0.25
    entry = opt.state[opt.param_groups[0]["params"][0]]
    assert entry["func_evals"] >= entry["n_iter"] > 10 and type(entry["d"]) is torch.Tensor
    opt.param_groups[0]["line_search_fn"] = "none"
    with pytest.raises(ValueError, match="only 'strong_wolfe'"):
        opt.step(closure)
