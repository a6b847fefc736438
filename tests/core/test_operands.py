"""What is no tensor, or no integer, where one is wanted: it is refused, and the message says so."""

import numpy as np
import pytest

import dyn
import dyn.nn.functional as F
from dyn import nn
from dyn.core.errors import AttributeValueError, DTypeError

X = dyn.ones([2, 4, 6, 6])

FUNCTIONS = {
    "softmax": lambda x: F.softmax(x),
    "layer_norm": lambda x: F.layer_norm(x, 6),
    "sum": lambda x: dyn.sum(x),
    "max": lambda x: dyn.max(x, 1),
    "std": lambda x: dyn.std(x),
    "reshape": lambda x: dyn.reshape(x, [2, -1]),
    "flatten": lambda x: dyn.flatten(x, 1),
    "transpose": lambda x: dyn.transpose(x, [0, 1]),
    "squeeze": lambda x: dyn.squeeze(x, 0),
    "split": lambda x: dyn.split(x, 2),
    "stack": lambda x: dyn.stack([x, x]),
    "gather": lambda x: dyn.gather(x, dyn.to_tensor([0])),
    "topk": lambda x: dyn.topk(x, 1),
    "cumsum": lambda x: dyn.cumsum(x, 0),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2),
    "pool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "cross_entropy": lambda x: F.cross_entropy(x, dyn.to_tensor([0])),
    "mse_loss": lambda x: F.mse_loss(x, X),
    "attention": lambda x: F.scaled_dot_product_attention(x, X, X),
    "layer": lambda x: nn.LayerNorm(6)(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("given", [None, "abc", [1.0], (X, X)], ids=["none", "text", "list", "two"])
def test_what_is_no_tensor_is_refused(name, given):
    with pytest.raises(DTypeError, match=f"a Tensor is wanted, got {type(given).__name__} "):
        FUNCTIONS[name](given)


@pytest.mark.parametrize("run", [F.relu, lambda x: X + x, nn.Linear(6, 2)])
def test_tensors_in_a_tuple_are_not_joined_without_their_gradients(run):
    h = dyn.ones([1, 4, 6, 6])
    h.stop_gradient = False
    with pytest.raises(DTypeError, match=r"a tuple of tensors; .* join them by stack or concat"):
        run((h, h))


@pytest.mark.parametrize(
    ("run", "word"),
    [
        (lambda n: F.adaptive_avg_pool2d(X, n), "output_size"),
        (lambda n: F.adaptive_max_pool2d(X, [n, 1]), "output_size"),
        (lambda n: F.interpolate(X, size=[n, 3]), "size"),
        (lambda n: F.pixel_shuffle(X, n), "the factor"),
        (lambda n: dyn.tril(X[0, 0], n), "diagonal"),
        (lambda n: dyn.diagonal(X, n), "offset"),
        (lambda n: dyn.randint(n, 5, [2]), "low"),
        (lambda n: dyn.reshape(X, [n, -1]), "a size"),
        (lambda n: dyn.zeros(n), "a size"),
        (lambda n: dyn.sum(X, n), "an axis"),
        (
            lambda n: F.cross_entropy(dyn.ones([2, 3]), dyn.to_tensor([0, 1]), ignore_index=n),
            "ignore_index",
        ),
    ],
)
@pytest.mark.parametrize("given", [1.5, 2.0])
def test_what_is_no_integer_is_refused(run, word, given):
    with pytest.raises(DTypeError, match=f"{word} is an integer, got {given}"):
        run(given)


@pytest.mark.parametrize("two", [2, np.int64(2), np.array(2), dyn.to_tensor(2)])
def test_whatever_is_an_integer_will_do(two):
    assert F.adaptive_avg_pool2d(X, two).shape == [2, 4, 2, 2]
    assert F.interpolate(X, size=[two, 3]).shape == [2, 4, 2, 3]
    assert F.pixel_shuffle(X, two).shape == [2, 1, 12, 12]
    assert dyn.tril(X[0, 0], two).sum().item() == 6 * 6 - 6


def test_an_empty_list_is_not_joined():
    for join in (dyn.concat, dyn.stack):
        with pytest.raises(AttributeValueError, match="needs at least one tensor"):
            join([])


@pytest.mark.parametrize(
    "make",
    [
        lambda n: nn.Conv2D(n, 3, 3),
        lambda n: nn.LSTM(4, n),
        lambda n: nn.Embedding(n, 4),
        lambda n: nn.MultiHeadAttention(8, n),
        lambda n: nn.GroupNorm(n, 4),
        lambda n: nn.LayerNorm(n),
    ],
)
@pytest.mark.parametrize("given", [None, 2.0, "2"])
def test_sizes_of_layers_are_integers(make, given):
    with pytest.raises(DTypeError, match=f"is an integer, got {given!r}"):
        make(given)
