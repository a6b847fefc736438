"""Lazy modules: parameters at the first call, and what is said before it.

What they become is compared with PyTorch in `tests/peers/torch_modules.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn import optimizer
from dyn.compat.torch import nn
from dyn.core.errors import ShapeError, StateError
from exporter import InputSpec, Predictor, export
from tracer import trace

LAYERS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "LazyLinear": (lambda: nn.LazyLinear(4), lambda: nn.Linear(6, 4), (2, 3, 6)),
    "LazyConv1d": (lambda: nn.LazyConv1d(4, 3), lambda: nn.Conv1d(6, 4, 3), (2, 6, 7)),
    "LazyConv2d": (
        lambda: nn.LazyConv2d(4, 3, 2, 1, groups=2, bias=False),
        lambda: nn.Conv2d(6, 4, 3, 2, 1, groups=2, bias=False), (2, 6, 7, 5),
    ),
    "LazyConv3d": (lambda: nn.LazyConv3d(4, 2), lambda: nn.Conv3d(6, 4, 2), (1, 6, 3, 4, 3)),
    "LazyConvTranspose1d": (
        lambda: nn.LazyConvTranspose1d(4, 3), lambda: nn.ConvTranspose1d(6, 4, 3), (2, 6, 5),
    ),
    "LazyConvTranspose2d": (
        lambda: nn.LazyConvTranspose2d(4, 3, 2, groups=2),
        lambda: nn.ConvTranspose2d(6, 4, 3, 2, groups=2), (2, 6, 4, 3),
    ),
    "LazyConvTranspose3d": (
        lambda: nn.LazyConvTranspose3d(4, 2), lambda: nn.ConvTranspose3d(6, 4, 2), (1, 6, 2, 2, 3),
    ),
    "LazyBatchNorm1d": (lambda: nn.LazyBatchNorm1d(), lambda: nn.BatchNorm1d(6), (4, 6)),
    "LazyBatchNorm2d": (
        lambda: nn.LazyBatchNorm2d(momentum=0.3), lambda: nn.BatchNorm2d(6, momentum=0.3),
        (2, 6, 3, 3),
    ),
    "LazyBatchNorm3d": (
        lambda: nn.LazyBatchNorm3d(affine=False), lambda: nn.BatchNorm3d(6, affine=False),
        (2, 6, 2, 2, 2),
    ),
    "LazyInstanceNorm1d": (
        lambda: nn.LazyInstanceNorm1d(), lambda: nn.InstanceNorm1d(6, 1e-5, 0.1, True, True),
        (6, 4),
    ),
    "LazyInstanceNorm2d": (
        lambda: nn.LazyInstanceNorm2d(affine=False),
        lambda: nn.InstanceNorm2d(6, track_running_stats=True), (2, 6, 3, 3),
    ),
    "LazyInstanceNorm3d": (
        lambda: nn.LazyInstanceNorm3d(momentum=0.3, bias=False),
        lambda: nn.InstanceNorm3d(6, 1e-5, 0.3, True, True, bias=False), (2, 6, 2, 2, 2),
    ),
}  # fmt: skip
"""How each is made, what it becomes, and an input."""


def drawn(*shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(1).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", LAYERS)
def test_the_first_call_makes_the_module_that_was_meant(name: str) -> None:
    lazily, plainly, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, plain = lazily(), plainly()
    assert type(layer).__name__ == name and isinstance(layer, type(plain))
    assert layer.has_uninitialized_params()
    held = list(layer.parameters()) + list(layer.buffers())
    x = drawn(*shape)
    layer(x)
    assert type(layer) is type(plain) and repr(layer) == repr(plain)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    for tensor, now in zip(held, [*layer.parameters(), *layer.buffers()], strict=True):
        assert tensor is now
        assert type(now) in (torch.nn.Parameter, nn.Buffer, torch.Tensor)
    plain.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(
        layer.eval()(x).detach().numpy(), plain.eval()(x).detach().numpy()
    )


@pytest.mark.parametrize("name", LAYERS)
def test_a_loaded_state_makes_the_module_as_well(name: str) -> None:
    lazily, plainly, shape = LAYERS[name]
    plain, layer = plainly(), lazily()
    assert repr(layer.load_state_dict(plain.state_dict())) == "<All keys matched successfully>"
    assert repr(layer) == repr(plain)
    for key, value in plain.state_dict().items():
        np.testing.assert_array_equal(layer.state_dict()[key].numpy(), value.numpy())
    assert layer(drawn(*shape)).shape == plain(drawn(*shape)).shape


def small() -> Any:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))


IMAGE = InputSpec([2, 3, 5, 5], "float32", name="x")
EARLY: dict[str, Callable[[Any], Any]] = {
    "state": lambda net: net.state_dict(),
    "optimizer": lambda net: torch.optim.SGD(net.parameters(), lr=0.1),
    "dyn's optimizer": lambda net: optimizer.Adam(parameters=list(net.parameters())),
    "groups": lambda net: torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1).add_param_group(
        {"params": net.parameters()}
    ),
    "shape": lambda net: net[3].weight.shape,
    "sum": lambda net: net[3].weight + 1,
    "product": lambda net: torch.ones(2, 2) @ net[3].weight,
    "count": lambda net: sum(p.numel() for p in net.parameters()),
    "start": lambda net: nn.init.zeros_(net[0].weight),
    "statistics": lambda net: net[1].running_mean * 2,
    "forward": lambda net: net[3].forward(torch.ones(2, 3)),
}


@pytest.mark.parametrize("name", EARLY)
def test_what_comes_before_the_first_call_is_told_to_wait(name: str) -> None:
    net = small()
    with pytest.raises(StateError, match="has no shape before the first call: call the model once"):
        EARLY[name](net)
    net(drawn(2, 3, 5, 5))
    if name not in ("product", "forward"):
        EARLY[name](net)


def test_a_model_that_was_not_called_is_not_traced(tmp_path: Any) -> None:
    net, path = small(), tmp_path / "net.onnx"
    for call in (lambda: trace(net, IMAGE), lambda: export(net, path, [IMAGE])):
        with pytest.raises(StateError, match="call the model once with an example before"):
            call()
    assert type(net[0]) is nn.LazyConv2d and not path.exists()
    x = drawn(2, 3, 5, 5)
    wanted = net.eval()(x).detach().numpy()
    export(net, path, [IMAGE])
    np.testing.assert_allclose(Predictor(path).run(x.numpy())[0], wanted, rtol=1e-4, atol=1e-5)


def test_what_was_set_before_the_first_call_is_kept() -> None:
    net = small().double().eval()
    calls: list[int] = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    net[1].momentum = 0.25
    net[3].weight.requires_grad = False
    net.requires_grad_(False)[3].bias.requires_grad = True
    other = copy.deepcopy(net)
    assert net(drawn(2, 3, 5, 5).double()).dtype is torch.float64 and calls == [1]
    assert net[1].momentum == 0.25 and not net[1].training
    assert [p.requires_grad for p in net[3].parameters()] == [False, True]
    assert type(other[0]) is nn.LazyConv2d and repr(other[3].weight) == "<UninitializedParameter>"
    other(drawn(2, 5, 4, 4).double())
    assert (other[0].in_channels, net[0].in_channels) == (5, 3)


def test_a_network_learns_after_its_first_call() -> None:
    net, x = small(), drawn(2, 3, 5, 5)
    net(x)
    opt = torch.optim.SGD(net.parameters(), lr=0.003)
    losses = []
    for _ in range(5):
        opt.zero_grad()
        loss = net(x).square().sum()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_sizes_that_cannot_be_told_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[N, C\] or \[C\] and 2 axes behind them, got \[3\]"):
        nn.LazyConv2d(4, 3)(torch.ones(3))
    assert nn.LazyConv2d(4, 3)(torch.ones(2, 5, 5)).shape == (4, 3, 3)
    with pytest.raises(StateError, match="a bias alone does not tell it"):
        nn.LazyLinear(2).load_state_dict({"bias": torch.ones(2)}, strict=False)
    with pytest.raises(TypeError, match="nonsense"):
        nn.LazyLinear(2, nonsense=1)

    class Mine(nn.LazyLinear):
        def __init__(self) -> None:
            super().__init__(3)

    mine = Mine()
    mine(torch.ones(1, 2))
    assert type(mine) is nn.Linear and mine.in_features == 2


def test_what_waits_says_so():
    waiting = nn.LazyLinear(2)
    assert nn.parameter.is_lazy(waiting.weight) and not nn.parameter.is_lazy(torch.ones(1))
    waiting(torch.ones(1, 3))
    assert not nn.parameter.is_lazy(waiting.weight)
