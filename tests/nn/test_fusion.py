"""Convolution, batch norm and activation in one pass: the same numbers, nothing left pending."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.errors import GradError
from dyn.core.op import OPS
from dyn.nn import functional as F


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that run, in order, for shapes not seen before."""
    names: list[str] = []
    for name in ("conv", "batch_norm_infer", "relu"):
        op = OPS[name]
        kernel = op.kernel

        def noted(*arrays: Any, _name: str = name, _kernel: Any = kernel, **attrs: Any) -> Any:
            names.append(_name)
            return _kernel(*arrays, **attrs)

        monkeypatch.setattr(op, "kernel", noted)
        monkeypatch.setattr(op, "plans", {})
        monkeypatch.setattr(op, "prompt", set())
        monkeypatch.setattr(op, "shortcut", None)
    return names


def statistics(norm: nn.BatchNorm2D, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = norm._mean.shape[0]
    norm._mean.set_value(rng.normal(0, 1, n))
    norm._variance.set_value(rng.uniform(0.5, 2, n))
    norm.weight.set_value(rng.uniform(0.5, 2, n))
    norm.bias.set_value(rng.normal(0, 1, n))


class Block(nn.Layer):
    def __init__(self, bias: bool = True, **options: Any):
        super().__init__()
        self.conv = nn.Conv2D(4, 8, 3, bias_attr=None if bias else False, **options)
        self.norm = nn.BatchNorm2D(8)
        statistics(self.norm, 3)
        self.eval()

    def forward(self, x: Any) -> Any:
        return F.relu(self.norm(self.conv(x)))


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"groups": 4}, {"stride": 2}], ids=str)
def test_one_kernel_does_all_three(options: dict[str, Any], calls: list[str]) -> None:
    net = Block(**options)
    x = dyn.to_tensor(np.random.default_rng(0).normal(size=(2, 4, 9, 9)).astype(np.float32))
    wanted = net(x).numpy()
    assert calls == ["conv", "batch_norm_infer", "relu"]
    with dyn.no_grad():
        for _ in range(3):
            calls.clear()
            got = net(x)
            assert calls == ["conv"]
            np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert calls == ["conv"]


def test_new_statistics_are_seen(calls: list[str]) -> None:
    net = Block()
    x = dyn.randn([1, 4, 6, 6])
    with dyn.no_grad():
        for seed in (1, 2, 1):
            statistics(net.norm, seed)
            for _ in range(3):
                np.testing.assert_allclose(
                    net(x).numpy(),
                    np.maximum(F.batch_norm(
                        net.conv(x), net.norm._mean, net.norm._variance, net.norm.weight,
                        net.norm.bias,
                    ).numpy(), 0),
                    rtol=1e-4, atol=1e-5,
                )  # fmt: skip


def test_a_value_that_is_read_twice_is_not_computed_twice_again(calls: list[str]) -> None:
    class Residual(Block):
        def __init__(self) -> None:
            super().__init__(padding=1)

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            assert y.shape == [1, 8, 5, 5] and y.dtype == dyn.float32 and y.ndim == 4
            return {"sum": [F.relu(self.norm(y)) + y], "count": 1}

    net = Residual()
    x = dyn.randn([1, 4, 5, 5])
    wanted = net(x)["sum"][0].numpy()
    with dyn.no_grad():
        net(x)
        calls.clear()
        got = net(x)["sum"][0].numpy()
    assert calls.count("conv") == 1
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_nothing_is_pending_outside_of_the_outermost_layer(calls: list[str]) -> None:
    class Keeps(Block):
        def forward(self, x: Any) -> Any:
            self.kept = [self.conv(x)]
            return x, (self.conv(x), {"y": self.conv(x)})

    net = Keeps()
    with dyn.no_grad():
        _, (a, rest) = net(dyn.ones([1, 4, 3, 3]))
        assert calls == ["conv"] * 2
        np.testing.assert_array_equal(a.numpy(), rest["y"].numpy())
        np.testing.assert_array_equal(net.kept[0].numpy(), a.numpy())
        calls.clear()
        F.conv2d(dyn.ones([1, 4, 3, 3]), net.conv.weight)
        assert calls == ["conv"]


def test_hooks_see_values_and_errors_name_the_layer(calls: list[str]) -> None:
    net = Block()
    seen: list[np.ndarray] = []
    net.conv.register_forward_post_hook(lambda layer, inputs, y: seen.append(y.numpy()))
    x = dyn.ones([1, 4, 3, 3])
    with dyn.no_grad():
        got = net(x).numpy()
        assert np.isfinite(seen[0]).all() and np.isfinite(got).all()
        with pytest.raises(dyn.ShapeError, match="channels"):
            net(dyn.ones([1, 5, 3, 3]))
        net.norm = nn.BatchNorm2D(7)
        net.eval()
        with pytest.raises(dyn.ShapeError, match="norm"):
            net(x)


def test_a_pending_value_may_be_written_copied_and_viewed(calls: list[str]) -> None:
    class Writes(Block):
        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            y[:, 0] = 0.0
            z = self.conv(x)
            z += 1
            return y, z, self.conv(x)[:, 1:].detach(), self.conv(x).clone()

    net = Writes()
    x = dyn.ones([1, 4, 3, 3])
    with dyn.no_grad():
        y, z, view, clone = (t.numpy() for t in net(x))
        plain = F.conv2d(x, net.conv.weight, net.conv.bias).numpy()
    assert (y[:, 0] == 0).all()
    np.testing.assert_array_equal(y[:, 1:], plain[:, 1:])
    np.testing.assert_array_equal(z, plain + 1)
    np.testing.assert_array_equal(view, plain[:, 1:])
    np.testing.assert_array_equal(clone, plain)


def test_a_weight_may_have_several_batch_norms() -> None:
    net, x = Block(), dyn.randn([2, 4, 16, 16])
    others = [nn.BatchNorm2D(8) for _ in range(2)]
    for seed, norm in enumerate(others):
        statistics(norm, seed)
        norm.eval()

    class Shared(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.first, self.second = net.conv, *others

        def forward(self, x: Any) -> Any:
            # Both are pending at once: the second fold must leave the first as it is.
            return self.first(self.conv(x)), self.second(self.conv(x))

    shared = Shared()
    wanted = [y.numpy() for y in shared(x)]
    with dyn.no_grad():
        for _ in range(3):
            for got, expected in zip(shared(x), wanted, strict=True):
                np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_threads_share_a_model() -> None:
    net = Block()
    x = dyn.randn([2, 4, 16, 16])
    wanted = net(x).numpy()
    wrong: list[Any] = []

    def work() -> None:
        with dyn.no_grad():
            for _ in range(20):
                if not np.allclose(net(x).numpy(), wanted, rtol=1e-4, atol=1e-5):
                    wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_convolution_that_clips_keeps_nothing_for_a_gradient():
    x, w = dyn.randn([1, 2, 4, 4]), dyn.randn([3, 2, 1, 1])
    x.stop_gradient = False
    attrs = {"stride": (1, 1), "padding": (0,) * 4, "dilation": (1, 1), "groups": 1}
    y = OPS["conv"](x, w, None, **attrs, activation="relu")
    with pytest.raises(GradError, match=r"activation='relu' has no gradient; call relu\(\)"):
        y.sum().backward()
