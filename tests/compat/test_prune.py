"""`torch.nn.utils.prune`, with values of PyTorch 2.13."""

import numpy as np
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.utils.prune as P
from dyn.compat.torch import nn


def linear(inputs=4, outputs=3, seed=0):
    layer = nn.Linear(inputs, outputs)
    values = np.random.default_rng(seed).normal(size=(outputs, inputs)).astype("float32")
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values))
    return layer


def test_masks_add_up_and_become_the_weight():
    layer = P.l1_unstructured(linear(), "weight", 5)
    assert list(layer.state_dict()) == ["bias", "weight_orig", "weight_mask"]
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight_orig"]
    first = [[0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 0]]
    assert layer.weight_mask.tolist() == first and P.is_pruned(nn.Sequential(layer))
    layer(torch.ones(1, 4)).sum().backward()
    assert layer.weight_orig.grad.tolist() == first
    P.ln_structured(layer, "weight", 1, 2, 0)
    assert layer.weight_mask.tolist() == [[0] * 4, *first[1:]]
    P.l1_unstructured(layer, "weight", 0.5)
    assert layer.weight_mask.tolist() == [[0] * 4, [0, 0, 1, 1], [0, 1, 0, 0]]
    assert len(layer._forward_pre_hooks) == 1
    kept, values = layer.weight_orig, (layer.weight_orig * layer.weight_mask).tolist()
    P.remove(layer, "weight")
    assert layer.weight is kept and layer.weight.tolist() == values and not P.is_pruned(layer)


def test_weights_of_several_modules_are_pruned_as_one():
    pairs = [(linear(), "weight"), (linear(3, 2, 1), "weight")]
    P.global_unstructured(pairs, P.L1Unstructured, amount=0.4)
    first, second = (module.weight_mask.tolist() for module, _ in pairs)
    assert first == [[0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 0]]
    assert second == [[0, 1, 0], [1, 1, 1]]
    P.global_unstructured(pairs, P.L1Unstructured, amount=3)
    first, second = (module.weight_mask.tolist() for module, _ in pairs)
    assert first == [[0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]]
    assert second == [[0, 1, 0], [1, 1, 0]]


def test_other_ways_to_prune():
    layer = P.custom_from_mask(linear(), "weight", torch.tensor([[1, 0, 1, 0]] * 3))
    assert (layer.weight[:, 1::2] == 0).all() and (layer.weight[:, ::2] != 0).all()
    layer = P.random_unstructured(linear(), "weight", 0.5)
    assert layer.weight_mask.sum() == 6
    P.random_structured(layer, "weight", 2, 1)
    assert (layer.weight_mask.sum(0) == 0).sum() >= 2
    scores = torch.arange(12.0).reshape(3, 4)
    layer = P.l1_unstructured(linear(), "weight", 2, importance_scores=scores)
    assert layer.weight_mask.flatten().tolist() == [0, 0] + [1] * 10
    assert P.identity(layer, "bias").bias_mask.tolist() == [1] * 3
    assert P.L1Unstructured(1).prune(torch.tensor([3.0, -1.0])).tolist() == [3, 0]


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: P.l1_unstructured(linear(), "weight", 1.5), ValueError, "amount=1.5"),
        (lambda: P.l1_unstructured(linear(), "weight", 13), ValueError, "prune=12"),
        (lambda: P.l1_unstructured(linear(), "weight", "a"), TypeError, "amount: a"),
        (lambda: P.remove(linear(), "weight"), ValueError, "has to be pruned"),
        (lambda: P.ln_structured(linear(), "bias", 1, 2, 0), ValueError, "1 dims"),
        (lambda: P.ln_structured(linear(), "weight", 1, 2, 3), IndexError, "index 3"),
        (
            lambda: P.custom_from_mask(linear(), "weight", torch.ones(2)),
            AssertionError,
            "must match",
        ),
        (
            lambda: P.global_unstructured([(linear(), "weight")], P.LnStructured, amount=1, n=2),
            TypeError,
            "unstructured",
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused_and_left_as_it_was(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_a_refused_pruning_changes_nothing():
    layer = linear()
    with pytest.raises(ValueError, match="prune=12"):
        P.l1_unstructured(layer, "weight", 13)
    assert list(layer.state_dict()) == ["weight", "bias"] and not P.is_pruned(layer)
