"""Recurrent layers against loops in numpy."""

import numpy as np
import pytest

import dyn
from dyn import nn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(kind, x, h, c, w, r, b, rb):
    """One step of a cell: the next h and c."""
    n = h.shape[1]
    if kind in ("tanh", "relu"):
        z = x @ w.T + b + h @ r.T + rb
        return (np.tanh(z) if kind == "tanh" else np.maximum(z, 0)), c
    a, d = x @ w.T + b, h @ r.T + rb
    if kind == "lstm":
        i, f, g, o = (a[:, k * n : (k + 1) * n] + d[:, k * n : (k + 1) * n] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    s = sigmoid(a[:, :n] + d[:, :n])
    z = sigmoid(a[:, n : 2 * n] + d[:, n : 2 * n])
    new = np.tanh(a[:, 2 * n :] + s * d[:, 2 * n :])
    return (1 - z) * new + z * h, c


def reference(kind, layer, x, h, c):
    """Outputs and last states of stacked layers in all directions; x is (batch, steps, width)."""
    ends_h, ends_c = [], []
    for number in range(layer.num_layers):
        ways = []
        for d, suffix in enumerate(("", "_reverse")[: layer.num_directions]):
            k = number * layer.num_directions + d
            weights = [
                getattr(layer, f"{name}_l{number}{suffix}").numpy().astype(np.float64)
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            hk, ck, out = h[k], c[k], {}
            times = range(x.shape[1])
            for t in reversed(times) if d else times:
                hk, ck = step(kind, x[:, t], hk, ck, *weights)
                out[t] = hk
            ways.append(np.stack([out[t] for t in times], 1))
            ends_h.append(hk)
            ends_c.append(ck)
        x = np.concatenate(ways, -1)
    return x, np.stack(ends_h), np.stack(ends_c)


MAKE = {
    "lstm": lambda **k: nn.LSTM(3, 4, **k),
    "gru": lambda **k: nn.GRU(3, 4, **k),
    "tanh": lambda **k: nn.SimpleRNN(3, 4, **k),
    "relu": lambda **k: nn.SimpleRNN(3, 4, activation="relu", **k),
}


@pytest.mark.parametrize("direction", ["forward", "bidirect"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", MAKE)
def test_sequences(kind, layers, direction, rng):
    layer = MAKE[kind](num_layers=layers, direction=direction)
    count = layers * layer.num_directions
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    h, c = (rng.standard_normal((count, 2, 4)).astype(np.float32) for _ in range(2))
    states = (dyn.to_tensor(h), dyn.to_tensor(c)) if kind == "lstm" else dyn.to_tensor(h)
    y, last = layer(dyn.to_tensor(x), states)
    wanted = reference(kind, layer, x, h, c)
    found = [y, *(last if kind == "lstm" else (last, None))]
    for a, b in zip(found, wanted, strict=True):
        if a is not None:
            np.testing.assert_allclose(a.numpy(), b, rtol=2e-4, atol=2e-5)
    zeros = layer(dyn.to_tensor(x))[0]
    plain = reference(kind, layer, x, np.zeros_like(h), np.zeros_like(c))[0]
    np.testing.assert_allclose(zeros.numpy(), plain, rtol=2e-4, atol=2e-5)


def test_time_major_lengths_and_gradients(rng):
    layer = nn.LSTM(3, 4, time_major=True)
    x = dyn.to_tensor(rng.standard_normal((5, 2, 3)).astype(np.float32))
    y, (h, _) = layer(x, sequence_length=dyn.to_tensor([5, 2]))
    assert y.shape == [5, 2, 4] and not y.numpy()[2:, 1].any()
    short = layer(x[:2])[1][0].numpy()
    np.testing.assert_allclose(h.numpy()[0, 1], short[0, 1], rtol=1e-6)
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_names_initial_values_and_printing():
    layer = nn.GRU(3, 4, num_layers=2, direction="bidirectional", dropout=0.5)
    names = [name for name, _ in layer.named_parameters()]
    assert names[:5] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0",
                         "weight_ih_l0_reverse"]  # fmt: skip
    assert layer.weight_ih_l1.shape == [12, 8] and layer.weight_hh_l1.shape == [12, 4]
    assert max(np.abs(p.numpy()).max() for p in layer.parameters()) <= 0.5
    assert repr(layer) == "GRU(3, 4, num_layers=2, dropout=0.5)"
    assert repr(nn.LSTM(3, 4, time_major=True)) == "LSTM(3, 4, time_major=True)"
    bare = nn.LSTM(3, 4, bias_ih_attr=False, bias_hh_attr=False)
    assert len(bare.parameters()) == 2 and bare(dyn.ones([1, 2, 3]))[0].shape == [1, 2, 4]


def test_dropout_between_layers_in_training_only():
    dyn.seed(0)
    layer = nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    x = dyn.ones([1, 4, 3])
    a, b = layer(x)[0].numpy(), layer(x)[0].numpy()
    assert not np.array_equal(a, b)
    layer.eval()
    assert np.array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())


CELLS = {
    "lstm": lambda: nn.LSTMCell(3, 4),
    "gru": lambda: nn.GRUCell(3, 4),
    "tanh": lambda: nn.SimpleRNNCell(3, 4),
    "relu": lambda: nn.SimpleRNNCell(3, 4, activation="relu"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_cells(kind, rng):
    cell = CELLS[kind]()
    x, h, c = (rng.standard_normal((2, n)).astype(np.float32) for n in (3, 4, 4))
    states = (dyn.to_tensor(h), dyn.to_tensor(c)) if kind == "lstm" else dyn.to_tensor(h)
    out, after = cell(dyn.to_tensor(x), states)
    weights = [p.numpy() for p in cell.parameters()]
    wanted_h, wanted_c = step(kind, x, h, c, *weights)
    np.testing.assert_allclose(out.numpy(), wanted_h, rtol=1e-4, atol=1e-5)
    if kind == "lstm":
        assert after[0] is out
        np.testing.assert_allclose(after[1].numpy(), wanted_c, rtol=1e-4, atol=1e-5)
    zeros = cell.get_initial_states(dyn.to_tensor(x))
    assert np.array_equal(
        cell(dyn.to_tensor(x))[0].numpy(), cell(dyn.to_tensor(x), zeros)[0].numpy()
    )
    assert repr(cell).endswith("Cell(3, 4)")


@pytest.mark.parametrize("time_major", [False, True])
def test_initial_states_have_the_shapes_that_are_asked_for(time_major):
    ids = dyn.zeros([5, 2] if time_major else [2, 5], dtype="int64")
    cell, axis = nn.LSTMCell(3, 4), int(time_major)
    one = cell.get_initial_states(ids, [6], batch_dim_idx=axis)
    assert one.shape == [2, 6] and one.dtype == dyn.float32
    made = cell.get_initial_states([ids], [((7,), [-1, 8]), [9]], "float64", 0.5, axis)
    assert isinstance(made, list) and isinstance(made[0], tuple)
    assert [state.shape for state in (*made[0], made[1])] == [[2, 7], [2, 8], [2, 9]]
    assert made[1].dtype == dyn.float64 and (made[1].numpy() == 0.5).all()
    by_cell = cell.get_initial_states(ids, init_value=2.0, batch_dim_idx=axis)
    assert [state.numpy().tolist() for state in by_cell] == [[[2.0] * 4] * 2] * 2


def test_loops_over_cells_equal_the_layers(rng):
    x = dyn.to_tensor(rng.standard_normal((2, 5, 3)).astype(np.float32))
    cell = nn.LSTMCell(3, 4)
    layer = nn.LSTM(3, 4)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(layer, f"{name}_l0").set_value(getattr(cell, name))
    loop, (h, _) = nn.RNN(cell)(x)
    whole, (end, _) = layer(x)
    np.testing.assert_allclose(loop.numpy(), whole.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(h.numpy(), end.numpy()[0], rtol=1e-4, atol=1e-6)
    back = nn.RNN(cell, is_reverse=True, time_major=True)(x.transpose([1, 0, 2]))[0]
    flipped = nn.RNN(cell)(x.flip([1]))[0].flip([1]).transpose([1, 0, 2])
    np.testing.assert_allclose(back.numpy(), flipped.numpy(), rtol=1e-5, atol=1e-6)
    both, (forth, start) = nn.BiRNN(cell, nn.GRUCell(3, 4))(x)
    assert both.shape == [2, 5, 8] and len(forth) == 2 and start.shape == [2, 4]
    np.testing.assert_allclose(both.numpy()[..., :4], loop.numpy(), rtol=1e-6)


@pytest.mark.parametrize("time_major", [False, True])
def test_loops_over_cells_stop_at_the_length_of_a_sample(time_major, rng):
    x, lengths = rng.standard_normal((3, 5, 3)).astype(np.float32), [5, 1, 3]
    net = nn.BiRNN(nn.LSTMCell(3, 4), nn.GRUCell(3, 4), time_major=time_major)
    given = dyn.to_tensor(x.transpose(1, 0, 2) if time_major else x)
    out, ((h, c), start) = net(given, sequence_length=dyn.to_tensor(lengths))
    out = out.numpy().transpose(1, 0, 2) if time_major else out.numpy()
    alone = nn.BiRNN(net.cell_fw, net.cell_bw)
    for i, n in enumerate(lengths):
        one, ((end, cell), begin) = alone(dyn.to_tensor(x[i : i + 1, :n]))
        np.testing.assert_allclose(out[i, :n], one.numpy()[0], rtol=1e-5, atol=1e-6)
        for many, single in ((h, end), (c, cell), (start, begin)):
            np.testing.assert_allclose(many.numpy()[i], single.numpy()[0], rtol=1e-5, atol=1e-6)


class Squashed(nn.Layer):
    """A cell that is no RNNCellBase, with an option."""

    def forward(self, x, states, factor=1.0):
        y = dyn.tanh(x * factor + (0.0 if states is None else states))
        return y, y


def test_loops_over_cells_give_options_and_need_states_for_lengths(rng):
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    wanted = np.zeros((2, 4), np.float32)
    for t in range(3):
        wanted = np.tanh(0.5 * x[:, t] + wanted)
    _, last = nn.RNN(Squashed())(dyn.to_tensor(x), factor=0.5)
    np.testing.assert_allclose(last.numpy(), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(dyn.ShapeError, match="initial_states are needed"):
        nn.RNN(Squashed())(dyn.to_tensor(x), sequence_length=dyn.to_tensor([1, 3]))


def test_loops_over_two_cells_have_the_names_of_paddle():
    keys = list(nn.BiRNN(nn.GRUCell(3, 4), nn.GRUCell(3, 4)).state_dict())
    assert keys[0] == "cell_fw.weight_ih" and keys[-1] == "cell_bw.bias_hh" and len(keys) == 8


@pytest.mark.parametrize("kind", CELLS)
def test_gradients_of_a_loop_over_a_cell_equal_those_of_the_layer(kind, rng):
    cell, layer = CELLS[kind](), MAKE[kind]()
    for p, q in zip(layer.parameters(), cell.parameters(), strict=True):
        p.set_value(q)
    data = rng.standard_normal((2, 5, 3)).astype(np.float32)
    seed = dyn.to_tensor(rng.standard_normal((2, 5, 4)).astype(np.float32))
    found = []
    for module in (nn.RNN(cell), layer):
        x = dyn.to_tensor(data, stop_gradient=False)
        (module(x)[0] * seed).sum().backward()
        found.append([x.grad, *(p.grad for p in module.parameters())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CELLS)
def test_states_of_another_batch_are_an_error(kind):
    h = dyn.zeros([3, 4])
    with pytest.raises(dyn.ShapeError, match=r"must have shape \[2, \d+\](?s:.*)in layer"):
        CELLS[kind]()(dyn.ones([2, 3]), (h, h) if kind == "lstm" else h)
    with pytest.raises(dyn.ShapeError, match="in layer"):
        CELLS[kind]()(dyn.ones([2, 5]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LSTM(3, 4, direction="backward"),
        lambda: nn.LSTM(3, 0),
        lambda: nn.LSTMCell(3, 0),
        lambda: nn.SimpleRNN(3, 4, activation="gelu"),
        lambda: nn.SimpleRNNCell(3, 4, activation="gelu"),
    ],
)
def test_bad_settings(make):
    with pytest.raises(dyn.AttributeValueError):
        make()


def test_wrong_widths_name_the_layer():
    with pytest.raises(dyn.ShapeError, match=r"has 5 features(?s:.*)wants 3(?s:.*)in layer LSTM"):
        nn.LSTM(3, 4)(dyn.ones([1, 2, 5]))
    with pytest.raises(dyn.ShapeError, match="3 axes or more"):
        nn.RNN(nn.GRUCell(3, 4))(dyn.ones([2, 3]))
    with pytest.raises(NotImplementedError, match="state_shape"):
        nn.RNNCellBase().get_initial_states(dyn.ones([2, 3]))
