"""Modules and functions as users of meta-learning and of products with Jacobians call them."""

import warnings

import numpy as np
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.functional as F
from dyn.compat.torch import nn
from dyn.compat.torch.func import functional_call
from dyn.core.errors import ShapeError


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
        self.head.weight = self.table.weight
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x, scale=1.0):
        return self.head(self.norm(self.table(x))) * scale


def test_a_module_is_called_with_other_tensors():
    net, x = Tied().eval(), torch.tensor([0, 2, 1])
    before = {name: p.detach().clone() for name, p in net.state_dict().items()}
    table = torch.arange(12.0).view(4, 3).requires_grad_()
    found = functional_call(net, {"table.weight": table}, x, {"scale": 2.0})
    wanted = table[x].detach().numpy() / np.sqrt(1 + 1e-5) @ table.detach().numpy().T * 2
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-5)
    found.sum().backward()
    assert table.grad is not None and net.table.weight.grad is None
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert net.head.weight is net.table.weight
    moved = functional_call(net, ({"norm.running_mean": torch.ones(3)}, {}), (x,))
    assert not torch.equal(moved, net(x))


def test_names_that_a_module_does_not_have():
    net = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match=r"Linear has no tensors called \['scale'\]"):
        functional_call(net, {"scale": torch.ones(1)}, torch.ones(1, 2))
    with pytest.raises(RuntimeError, match=r"no tensors are given for \['bias'\]"):
        functional_call(net, {"weight": torch.ones(2, 2)}, torch.ones(1, 2), strict=True)


def test_steps_of_an_inner_loop_are_differentiated():
    net, rate = nn.Linear(1, 1, bias=False), torch.tensor(0.1, requires_grad=True)
    x, y = torch.tensor([[2.0]]), torch.tensor([[1.0]])
    inner = dict(net.named_parameters())
    (g,) = torch.autograd.grad(
        F.mse_loss(functional_call(net, inner, x), y), list(inner.values()), create_graph=True
    )
    F.mse_loss(functional_call(net, {"weight": net.weight - rate * g}, x), y).backward()
    w = net.weight.item()
    slope = 2 * (2 * w - 1) * 2  # of (2 w - 1)^2
    moved = w - 0.1 * slope
    outer = 2 * (2 * moved - 1) * 2
    np.testing.assert_allclose(net.weight.grad.item(), outer * (1 - 0.1 * 8), rtol=1e-4)
    np.testing.assert_allclose(rate.grad.item(), -outer * slope, rtol=1e-4)


def test_products_with_jacobians_and_hessians():
    x, v = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    out, found = torch.autograd.functional.vjp(lambda x: x**3, x, v)
    assert out.tolist() == [1.0, 8.0] and found.tolist() == [9.0, -12.0]
    out, found = torch.autograd.functional.hvp(lambda x: (x**3).sum(), x, v)
    assert out.item() == 9.0 and found.tolist() == [18.0, -12.0]
    y = torch.tensor([2.0])
    _, both = torch.autograd.functional.hvp(lambda a, b: (a * b * b).sum(), (x[:1], y), (y, y))
    assert [one.tolist() for one in both] == [[8.0], [12.0]]
    slope = torch.tensor([5.0], requires_grad=True)
    _, found = torch.autograd.functional.hvp(lambda a: (slope * a * a).sum(), x, v, True)
    found.sum().backward()
    assert found.tolist() == [30.0, -10.0] and slope.grad.tolist() == [4.0]
    _, linear = torch.autograd.functional.hvp(lambda x: x.sum(), x, v)
    assert linear.tolist() == [0.0, 0.0]
    with pytest.raises(RuntimeError, match="v can only be None"):
        torch.autograd.functional.vjp(lambda x: x * x, x)
    with pytest.raises(RuntimeError, match="v can only be None"):
        torch.autograd.functional.hvp(lambda x: (x * x).sum(), x)


@pytest.mark.parametrize("product", ["vjp", "hvp"])
def test_products_refuse_what_they_would_get_wrong(product):
    call, x = getattr(torch.autograd.functional, product), torch.tensor([2.0])
    with pytest.raises(TypeError, match=r"gives a tuple, one tensor is wanted"):
        call(lambda x: (x, x), x)
    with pytest.raises(RuntimeError, match=r"inputs \[1\] have no part .* strict=False"):
        call(lambda a, b: (a * a).sum(), (x, x), strict=True)
    _, found = call(lambda a, b: (a * a).sum(), (x, x))
    assert found[1].tolist() == [0.0]
    with pytest.raises(RuntimeError, match=r"shape \[2\], a single element is wanted"):
        torch.autograd.functional.hvp(lambda x: x * x, torch.ones(2), torch.ones(2))


def test_hooks_are_shown_arguments_by_name():
    class Scaled(nn.Module):
        def forward(self, x, scale=1.0):
            return x * scale

    net, seen = Scaled(), []
    net.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"scale": kwargs["scale"] + 1}), with_kwargs=True
    )
    net.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    net.register_forward_hook(
        lambda module, args, kwargs, out: seen.append(kwargs) or out + 100, with_kwargs=True
    )
    assert net(torch.ones(1), scale=2.0).tolist() == [106.0] and seen == [{"scale": 3.0}]
    for answer in (lambda args, kwargs: args, lambda args, kwargs: (args[0], kwargs)):
        wrong = net.register_forward_pre_hook(
            lambda module, *given, answer=answer: answer(*given), with_kwargs=True
        )
        with pytest.raises(TypeError, match=r"\(inputs, kwargs\), a tuple and a dict, not"):
            net(torch.ones(1), scale=2.0)
        wrong.remove()
    assert nn.BatchNorm1d(2).get_buffer("running_var").tolist() == [1.0, 1.0]


def test_einsum_takes_numbered_axes_and_diagonals():
    x, y = torch.arange(24.0).view(2, 3, 4), torch.arange(20.0).view(4, 5).sin()
    for given in (
        (x, [0, 1, 30], y, [30, 2], [2, 0, 1]),
        (x, [..., 1], y, [1, 0]),
        (x, [51, 0, 26]),
        (torch.einsum("bij,jk->bik", x, y)[:, :, :3], [0, 1, 1], [1, 0]),
    ):
        plain = [g.numpy() if isinstance(g, torch.Tensor) else g for g in given]
        np.testing.assert_allclose(torch.einsum(*given), np.einsum(*plain), rtol=1e-5)
    np.testing.assert_array_equal(torch.einsum("ii", torch.eye(3)), 3.0)
    with pytest.raises(ValueError, match="numbers from 0 to 51"):
        torch.einsum(x, [0, 1, 52])
    with pytest.raises(ValueError, match="sizes 3 and 4 in one operand"):
        torch.einsum("bii->b", x)


def test_losses_that_broadcast_their_targets_without_a_word():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 0.9, (4, 3)), rng.uniform(0.1, 0.9, 3)
    given = torch.tensor(x), torch.tensor(y)
    divergence = y * (np.log(y) - x)
    margins = np.log1p(np.exp(-y * x))
    classes = np.log1p(np.exp(-x)) * y + np.log1p(np.exp(x)) * (1 - y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for made, wanted in (
            (F.kl_div(*given, reduction="batchmean"), divergence.sum() / 4),
            (F.kl_div(given[1], given[0], reduction="batchmean"), (x * (np.log(x) - y)).sum() / 3),
            (F.poisson_nll_loss(*given), (np.exp(x) - y * x).mean()),
            (F.soft_margin_loss(*given), margins.mean()),
            (F.multilabel_soft_margin_loss(*given), classes.mean()),
        ):
            np.testing.assert_allclose(made.numpy(), wanted, rtol=1e-9)
    for loss in (F.soft_margin_loss, F.multilabel_soft_margin_loss):
        with pytest.raises(ShapeError, match="cannot be expanded"):
            loss(given[1], given[0])
