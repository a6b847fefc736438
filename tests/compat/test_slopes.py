"""Slopes of functions: `autograd.functional` and `torch.func`, with values of PyTorch 2.13."""

import numpy as np
import pytest

import dyn
import dyn.compat.torch as torch
from dyn.compat.torch import nn
from dyn.compat.torch.autograd import functional as F
from dyn.compat.torch.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacrev,
    stack_module_state,
    vjp,
    vmap,
)
from exporter import InputSpec, export

X, Y = torch.tensor([1.0, 2.0]), torch.tensor([[0.5], [3.0]])


def close(found, wanted):
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-4)


def test_jacobians_of_several_outputs_by_several_inputs():
    found = F.jacobian(lambda a, b: ((a[:, None] * b).sin().sum(1), a.sum() * b), (X, Y))
    close(found[0][0], [[0.43879, 0], [0, 2.88051]])
    close(found[0][1], [[[0.87758], [0]], [[0], [1.92034]]])
    close(found[1][0], [[[0.5, 0.5]], [[3, 3]]])
    assert found[1][1].shape == (2, 1, 2, 1)


def test_hessians_by_several_inputs():
    found = F.hessian(lambda a, b: (a[:, None] * b**2).sum() + (a**3).sum(), (X, Y))
    close(found[0][0], [[6, 0], [0, 12]])
    close(found[0][1][:, :, 0], [[1, 0], [0, 6]])
    close(found[1][1][:, 0, :, 0], [[2, 0], [0, 4]])
    close(F.hessian(lambda a: a.sum(), X), np.zeros((2, 2)))


def test_products_with_a_jacobian_and_a_hessian():
    close(F.jvp(lambda a, b: a[:, None] * b, (X, Y), (torch.tensor([1.0, -1.0]), Y))[1], [[1], [3]])
    close(F.jvp(lambda a: torch.ones(2), X, X)[1], [0, 0])
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    close(F.jvp(lambda a: w * 2, X, X)[1], [0, 0])
    close(F.vhp(lambda a: (a**3).sum(), X, torch.tensor([1.0, 2.0]))[1], [6, 24])


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.jacobian(lambda a: a, X, bogus=1), TypeError, "bogus"),
        (lambda: F.hessian(lambda a: a.sum(), X, bogus=1), TypeError, "bogus"),
        (lambda: F.jacobian(lambda a: 3, X), TypeError, "gives a int"),
        (lambda: F.jacobian(lambda a: a, X, strategy="x"), ValueError, "reverse-mode"),
        (
            lambda: F.jacobian(lambda a: a, X, strategy="forward-mode"),
            NotImplementedError,
            "vectorize",
        ),
        (lambda: F.jacobian(lambda a, b: a, (X, Y), strict=True), RuntimeError, r"inputs \[1\]"),
        (lambda: F.hessian(lambda a: a, X), RuntimeError, "sum"),
        (lambda: F.hessian(lambda a, b: a.sum(), (X, Y), strict=True), RuntimeError, "no part"),
        (lambda: F.jvp(lambda a: torch.ones(2), X, X, strict=True), RuntimeError, "no part"),
    ],
)
def test_what_is_not_understood_is_refused(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_paddles_jacobian_and_hessian_of_what_was_computed():
    x = dyn.to_tensor([1.0, 2.0, 3.0], stop_gradient=False)
    y = dyn.to_tensor([2.0, -1.0, 4.0], stop_gradient=False)
    found = dyn.autograd.jacobian(x * y * x, (x, y))
    np.testing.assert_allclose(found[0].numpy(), np.diag([4.0, -4.0, 24.0]))
    np.testing.assert_allclose(found[1].numpy(), np.diag([1.0, 4.0, 9.0]))
    second = dyn.autograd.hessian((x * x * y).sum(), (x, y))
    np.testing.assert_allclose(second[0][1].numpy(), np.diag([2.0, 4.0, 6.0]))
    np.testing.assert_allclose(second[1][1].numpy(), np.zeros((3, 3)))
    b = dyn.to_tensor([[1.0, 2.0], [3.0, 4.0]], stop_gradient=False)
    slopes = dyn.autograd.jacobian(b**2, b, batch_axis=0)
    np.testing.assert_allclose(slopes.numpy(), [np.diag([2.0, 4.0]), np.diag([6.0, 8.0])])
    curves = dyn.autograd.hessian((b**3).sum(-1), b, batch_axis=0)
    np.testing.assert_allclose(curves.numpy(), [np.diag([6.0, 12.0]), np.diag([18.0, 24.0])])
    none = dyn.autograd.jacobian(b[:, :0], b, batch_axis=0)
    assert none.shape == [2, 0, 2]
    for call in (
        lambda: dyn.autograd.jacobian(b**2, b),
        lambda: dyn.autograd.jacobian(b**2, b, batch_axis=1),
        lambda: dyn.autograd.hessian(x * x, x),
    ):
        with pytest.raises(ValueError, match=r"batch_axis|one number"):
            call()


W = {"w": torch.tensor([[1.0, 2.0], [3.0, -1.0]]), "b": torch.tensor([0.5, 0.1])}
SAMPLES = torch.tensor([[0.1, 0.2], [0.3, -0.4], [1.0, 0.5]])
TARGETS = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.5, 0.5]])


def loss(p, x, y):
    return ((p["w"] @ x + p["b"]).tanh() - y).square().sum()


def test_gradients_of_functions_of_dictionaries():
    found = grad(loss)(W, X, TARGETS[0])
    close(found["w"], [[0.0001, 0.0003], [-0.1433, -0.2866]])
    (slopes, by_x), value = grad_and_value(loss, argnums=(0, 1))(W, X, TARGETS[0])
    close(slopes["b"], [0.0001, -0.1433])
    close(by_x, [-0.4298, 0.1436])
    assert value.item() == pytest.approx(1.0397, abs=1e-4) and not value.requires_grad
    g, aux = grad(lambda x: (x.sin().sum(), {"a": x}), has_aux=True)(X)
    close(g, [0.5403, -0.4161])
    assert aux["a"].tolist() == [1, 2]


def test_gradients_of_gradients_and_of_what_is_around():
    assert grad(grad(lambda t: t**4))(torch.tensor(2.0)).item() == 48
    nested = grad(lambda t: grad(lambda u: (u * t) ** 3)(t))
    assert nested(torch.tensor(1.5)).item() == pytest.approx(75.9375)
    close(hessian(lambda x: (x**3).prod())(X), [[48, 36], [36, 12]])
    w = torch.tensor([2.0], requires_grad=True)
    grad(lambda t: (t * w).sum() ** 2)(torch.tensor([3.0])).sum().backward()
    assert w.grad.tolist() == [24]


def test_products_from_the_left_of_several_results():
    out, back = vjp(lambda a, b: (a * b, a.sum()), X, X * 3)
    assert [x.tolist() for x in out] == [[3, 12], 3]
    assert [g.tolist() for g in back((torch.ones(2), torch.tensor(2.0)))] == [[5, 8], [1, 2]]


def test_samples_one_by_one():
    slopes = vmap(grad(loss), in_dims=(None, 0, 0))(W, SAMPLES, TARGETS)
    close(slopes["b"], [[0.6397, -1.5427], [-2.0, -0.0496], [0.0259, 0.0213]])
    assert slopes["w"].shape == (3, 2, 2)
    first, second = vmap(lambda a, b: (a + b, a.sum()), in_dims=(1, None), out_dims=(1, 0))(
        SAMPLES, torch.arange(3.0)
    )
    close(first, [[0.1, 0.2], [1.3, 0.6], [3.0, 2.5]])
    close(second, [1.4, 0.3])
    close(vmap(jacrev(lambda x: x.sin() * x[0]))(SAMPLES)[1], [[0.5821, 0], [-0.3894, 0.2763]])
    close(torch.vmap(torch.vmap(lambda a: a * 2))(SAMPLES), 2 * SAMPLES.numpy())


def test_an_ensemble_is_one_call():
    nets = [nn.Linear(2, 1) for _ in range(3)]
    params, buffers = stack_module_state(nets)
    assert not buffers
    out = vmap(lambda p, x: functional_call(nets[0], p, (x,)), in_dims=(0, None))(params, SAMPLES)
    for one, net in zip(out, nets, strict=True):
        close(one, net(SAMPLES).detach().numpy())
    out.sum().backward()
    assert params["weight"].grad.shape == (3, 1, 2)
    with pytest.raises(RuntimeError, match="same class"):
        stack_module_state([nn.ReLU(), nn.Linear(1, 1)])


def test_a_dynamic_number_of_samples_is_a_loop_of_the_file(tmp_path):
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(2, 2)

        def forward(self, x):
            return vmap(lambda r: self.l(r).softmax(0) * r.sum())(x)

    spec = InputSpec(["n", 2], "float32", name="x")
    assert "verified" in str(export(Rows(), tmp_path / "m.onnx", [spec]))


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: grad(lambda x: x)(X), RuntimeError, "0-d"),
        (lambda: grad(lambda x: x.sum(), argnums=1)(X), RuntimeError, "argnums=1"),
        (lambda: grad(lambda x: x.sum(), has_aux=True)(X), RuntimeError, "pair"),
        (lambda: vmap(lambda a, b: a)(X, torch.ones(3)), ValueError, "numbers of samples"),
        (lambda: vmap(lambda a: a, in_dims=None)(X), ValueError, "numbers of samples"),
        (lambda: vmap(lambda a: a, in_dims=(0, 0))(X), ValueError, "in_dims"),
        (lambda: vmap(lambda a: a, randomness="same"), ValueError, "draw before"),
        (lambda: vmap(lambda a: a, randomness="some"), ValueError, "'different', got 'some'"),
        (lambda: vmap(lambda a: a.item())(X), TypeError, "gives is float 1.0"),
        (lambda: vmap(lambda a: a)(X[:0]), ValueError, "no samples"),
        (lambda: grad(lambda a: a * X.sum())(2.0), TypeError, "by is float 2.0"),
        (lambda: grad(lambda a: a["x"].sum())({"x": X, "n": 3}), TypeError, "int 3 at n"),
        (lambda: grad(lambda a: (a * 2.5).sum())(torch.tensor([1])), TypeError, r"float\(\)"),
        (lambda: jacrev(lambda a: a, chunks=3), TypeError, "chunks"),
    ],
)
def test_what_a_transform_cannot_do_is_refused(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
