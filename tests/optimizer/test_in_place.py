"""Steps write over old values where nobody can see them, and nowhere else."""

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.kernels.groups import GroupKernel
from dyn.ops import sole

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_values_too(monkeypatch):
    monkeypatch.setattr(sole, "WORTHWHILE", 1)


def randn(*shape):
    return dyn.to_tensor(RNG.standard_normal(shape).astype(np.float32))


def stepped(layer, optimizer, x):
    layer(x).square().sum().backward()
    optimizer.step()
    optimizer.clear_grad()


def addresses(layer):
    # Not `numpy()`, which copies.
    return [p._array.ctypes.data for p in layer.parameters()]


@pytest.mark.parametrize("name", ["SGD", "Momentum", "Adam", "AdamW", "RMSProp", "Adagrad"])
def test_values_stay_where_they_are(name):
    layer = nn.Linear(200, 300)
    optimizer = getattr(dyn.optimizer, name)(learning_rate=0.01, parameters=layer.parameters())
    stepped(layer, optimizer, randn(4, 200))
    before, values = addresses(layer), [p.numpy().copy() for p in layer.parameters()]
    stepped(layer, optimizer, randn(4, 200))
    assert addresses(layer) == before
    for p, old in zip(layer.parameters(), values, strict=True):
        assert not np.array_equal(p.numpy(), old)


@pytest.mark.parametrize(
    "hold",
    [
        lambda weight: dyn.Tensor._of(weight._array),
        lambda weight: dyn.to_tensor(weight._array[3]),
        lambda weight: weight * 1.0,
        lambda weight: weight.clone(),
    ],
    ids=["array", "row", "product", "clone"],
)
def test_what_others_hold_keeps_its_numbers(hold):
    layer = nn.Linear(30, 40)
    optimizer = dyn.optimizer.Adam(learning_rate=0.1, parameters=layer.parameters())
    stepped(layer, optimizer, randn(4, 30))
    before = layer.weight.numpy()
    held = hold(layer.weight)
    kept = held.numpy()
    stepped(layer, optimizer, randn(4, 30))
    np.testing.assert_array_equal(held.numpy(), kept)
    assert not np.array_equal(layer.weight.numpy(), before)


def test_a_graph_that_is_kept_has_the_weights_it_was_made_with():
    layer = nn.Linear(5, 6)
    x = randn(3, 5)
    x.stop_gradient = False
    optimizer = dyn.optimizer.SGD(learning_rate=0.5, parameters=layer.parameters())
    weight = layer.weight.numpy().copy()
    loss = layer(x).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    x.clear_grad()
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.tile(weight.sum(1), (3, 1)), rtol=1e-6)


def test_what_was_derived_from_a_weight_is_derived_anew():
    # A convolution in inference keeps its weight packed from the second call on.
    layer = nn.Conv2D(3, 6, 5)
    optimizer = dyn.optimizer.SGD(learning_rate=0.1, parameters=layer.parameters())
    x = randn(2, 3, 12, 12)
    for _ in range(3):
        with dyn.no_grad():
            for _ in range(3):
                seen = layer(x).numpy()
        fresh = nn.Conv2D(3, 6, 5)
        fresh.set_state_dict({k: v.clone() for k, v in layer.state_dict().items()})
        np.testing.assert_array_equal(seen, fresh(x).numpy())
        stepped(layer, optimizer, x)


def test_weights_in_another_order_than_their_slots():
    layer = nn.Linear(20, 30)
    twin = nn.Linear(20, 30)
    twin.set_state_dict({k: v.clone() for k, v in layer.state_dict().items()})
    pair = [
        dyn.optimizer.Adam(learning_rate=0.1, parameters=one.parameters()) for one in (layer, twin)
    ]
    for _ in range(4):
        x = randn(4, 20)
        for one, optimizer in zip((layer, twin), pair, strict=True):
            stepped(one, optimizer, x)
        turned = np.ascontiguousarray(layer.weight.numpy().T).T
        layer.weight.set_value(dyn.to_tensor(turned))
        layer.weight._array = turned
        np.testing.assert_allclose(layer.weight.numpy(), twin.weight.numpy(), rtol=1e-5, atol=1e-6)


def test_results_over_their_inputs_are_those_of_new_memory():
    kernel = GroupKernel("halved_in_a_test", lambda v, _, own: [v[0] * 0.5 + v[1], v[1]], 2, 2)
    runs = [RNG.standard_normal(n).astype(np.float32) for n in (7, 70_000, 7, 70_000)]
    wanted = [x.copy() for x in kernel.run(runs)]
    over = [runs[0], None, None, runs[3]]
    made = kernel.run(runs, (), None, over)
    assert made[0] is runs[0]
    assert made[3] is runs[3]
    for x, y in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(x, y)
