"""Arguments by PyTorch's names give what they give by place."""

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn

X = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
Y = torch.tensor([[2.0, 1.0], [4.0, -1.0]])
V = torch.tensor([1.0, 2.0])
WHOLE = torch.tensor([3, 1])

CALLS = [
    (lambda: torch.pow(input=X, exponent=2), lambda: X**2),
    (lambda: X.pow(exponent=2), lambda: X**2),
    (lambda: torch.maximum(X, other=Y), lambda: torch.maximum(X, Y)),
    (lambda: X.atan2(other=Y), lambda: torch.atan2(X, Y)),
    (lambda: torch.remainder(input=X, other=2), lambda: X % 2),
    (lambda: (X > 0).logical_and(other=Y > 0), lambda: (X > 0) & (Y > 0)),
    (lambda: torch.bitwise_and(WHOLE, other=WHOLE), lambda: WHOLE),
    (lambda: torch.bmm(input=X[None], mat2=Y[None]), lambda: (X @ Y)[None]),
    (lambda: torch.lerp(input=X, end=Y, weight=0.5), lambda: (X + Y) / 2),
    (lambda: X.lerp_(end=Y, weight=0.0), lambda: X),
    (lambda: torch.outer(V, vec2=V), lambda: V[:, None] * V),
    (lambda: torch.dot(V, tensor=V), lambda: (V * V).sum()),
    (lambda: torch.isclose(X, other=X), lambda: torch.ones(2, 2, dtype=torch.bool)),
    (lambda: torch.where(condition=X > 0, input=X, other=Y), lambda: torch.where(X > 0, X, Y)),
    (lambda: torch.heaviside(V - 1, values=V), lambda: V * 0 + 1),
    (lambda: torch.cdist(x1=X, x2=X), lambda: torch.cdist(X, X)),
    (lambda: torch.gather(X, 1, WHOLE[:, None] % 2, sparse_grad=False), lambda: X[:, 1:]),
    (lambda: X.split(split_size=1, dim=1)[1], lambda: X[:, 1:]),
    (lambda: torch.split(tensor=X, split_size_or_sections=[1, 1])[1], lambda: X[1:]),
    (lambda: torch.tensor_split(X, sections=2)[1], lambda: X[1:]),
    (lambda: V.expand(size=(2, 2)), lambda: torch.stack([V, V])),
    (lambda: V.repeat(repeats=(2, 1)), lambda: torch.stack([V, V])),
    (lambda: V.tile(dims=(2, 1)), lambda: torch.stack([V, V])),
    (lambda: X.view(size=(4,)), lambda: X.reshape(-1)),
    (lambda: V.repeat_interleave(WHOLE, output_size=4), lambda: V[torch.tensor([0, 0, 0, 1])]),
    (lambda: torch.searchsorted(sorted_sequence=V, input=V), lambda: torch.tensor([0, 1])),
    (lambda: torch.isin(elements=V, test_elements=V[:1], assume_unique=True), lambda: V < 2),
    (lambda: torch.zeros(2).copy_(src=V, non_blocking=True), lambda: V),
    (lambda: V.new_zeros(size=(2, 1)) + V.new_ones(size=(1, 2)), lambda: torch.ones(2, 2)),
    (lambda: torch.arange(end=3), lambda: torch.tensor([0, 1, 2])),
    (lambda: torch.randint(high=1, size=(2,)), lambda: torch.tensor([0, 0])),
]


@pytest.mark.parametrize(("named", "wanted"), CALLS, ids=range(len(CALLS)))
def test_arguments_have_pytorchs_names(named, wanted):
    found, wanted = named(), wanted()
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(TypeError, match="vec3"):
        torch.outer(V, vec3=V)


# What PyTorch 2.13 gives: the mean of the last is over the number of elements, not the weights.
WEIGHED = {
    "mse_loss": ([[1.0, 18.0], [0.0, 8.0]], 27.0, 7.714286),
    "l1_loss": ([[1.0, 6.0], [0.0, 2.0]], 9.0, 2.571429),
    "huber_loss": ([[0.5, 5.0], [0.0, 1.75]], 7.25, 1.8125),
}


@pytest.mark.parametrize("name", WEIGHED)
def test_losses_of_elements_take_weights(name):
    function, weight = getattr(nn.functional, name), torch.tensor([[1.0, 2.0], [0.0, 0.5]])
    for reduction, wanted in zip(("none", "sum", "mean"), WEIGHED[name], strict=True):
        found = function(X, Y, reduction=reduction, weight=weight)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    with pytest.raises(ValueError, match=r"same size, got \[2\] and \[2, 2\]"):
        function(X, Y, weight=weight[0])
