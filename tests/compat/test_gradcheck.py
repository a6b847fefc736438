"""Gradients that are compared with slopes, and functions that give values of gradients alone."""

import pytest

import dyn.compat.torch as torch
from dyn.compat.torch.autograd import Function, gradcheck, gradgradcheck
from dyn.compat.torch.autograd.function import once_differentiable


class Cube(Function):
    """x ** 3 times `factor`, with the gradient times `wrong`."""

    wrong = 1

    @classmethod
    def forward(cls, ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x**3 * factor

    @classmethod
    def backward(cls, ctx, g):
        (x,) = ctx.saved_tensors
        return g * x**2 * 3 * ctx.factor * cls.wrong, None


class Wrong(Cube):
    wrong = 2


class Once(Cube):
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert not (x * 2).requires_grad
        return g * x**2 * 3 * ctx.factor, None


def point(*sizes):
    return torch.rand(*sizes, dtype=torch.float64).requires_grad_()


def test_slopes_are_compared():
    assert gradcheck(lambda x: Cube.apply(x, 2.0), point(2, 3))
    assert gradcheck(lambda x, y: ((x * y).sin(), x.sum(), x > y), (point(2, 3), point(3)))
    assert gradcheck(lambda x, y: x * y, (point(2), torch.ones(2, dtype=torch.float64)))
    with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input"):
        gradcheck(lambda x: Wrong.apply(x, 2.0), point(2))
    assert not gradcheck(lambda x: Wrong.apply(x, 2.0), point(2), raise_exception=False)
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(lambda x: x, torch.ones(2))
    with pytest.warns(UserWarning, match="not a double precision"):
        gradcheck(lambda x: x * 2, torch.ones(2, requires_grad=True), raise_exception=False)


def test_slopes_of_slopes_are_compared():
    assert gradgradcheck(lambda x: Cube.apply(x, 2.0), point(2))
    assert gradgradcheck(lambda x, y: (x * y).exp(), (point(2), point(2)))
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        # The detached factor is a constant to the second gradient alone.
        gradgradcheck(lambda x: Detached.apply(x), point(2))


class Detached(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].detach() * 2


def test_gradients_that_are_values_alone_are_not_differentiated():
    x, g = point(2), point(2)
    (found,) = torch.autograd.grad(Once.apply(x, 2.0), x, g, create_graph=True)
    assert torch.equal(found, g * x**2 * 6) and found.requires_grad
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        found.sum().backward()
