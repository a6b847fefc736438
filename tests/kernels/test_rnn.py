"""Recurrent layers against a plain float64 loop: sizes, lengths, NaN, threads, bounds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import rnn
from dyn.kernels.rnn import general as rnn_general
from dyn.kernels.runtime import threads
from dyn.kernels.vector.lanes import LANES
from tests.kernels import guard

GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}
NOTHING = (None, None, None, None)


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def plain_loop(mode, x, w, r, b, rb, h, c, lengths, reverse):
    """Outputs, last state and last cell of one direction, sample by sample, in float64."""
    steps, batch, _ = x.shape
    hidden = r.shape[1]
    x, w, r, b, rb = (v.astype(np.float64) for v in (x, w, r, b, rb))
    y = np.zeros((steps, batch, hidden))
    last, cells = h.astype(np.float64), c.astype(np.float64)
    for n in range(batch):
        running = range(min(steps, max(0, int(lengths[n]))))
        for t in reversed(running) if reverse else running:
            a, back = w @ x[t, n] + b, r @ last[n] + rb
            if mode == "lstm":
                i, f, g, o = np.split(a + back, 4)
                cells[n] = sigmoid(f) * cells[n] + sigmoid(i) * np.tanh(g)
                last[n] = sigmoid(o) * np.tanh(cells[n])
            elif mode == "gru":
                reset, z = sigmoid((a + back)[: 2 * hidden]).reshape(2, -1)
                n_gate = np.tanh(a[2 * hidden :] + reset * back[2 * hidden :])
                last[n] = (1 - z) * n_gate + z * last[n]
            else:
                last[n] = np.tanh(a + back) if mode == "tanh" else np.maximum(a + back, 0)
            y[t, n] = last[n]
    return y, last, cells


def make(mode, steps, batch, inputs, hidden, seed=0, directions=1):
    """x, the weights of each direction, h and c."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    wide = GATES[mode] * hidden
    scale = 1 / np.sqrt(hidden)
    weights = [
        (normal(wide, inputs, scale=scale), normal(wide, hidden, scale=scale), normal(wide),
         normal(wide))
        for _ in range(directions)
    ]  # fmt: skip
    x = normal(steps, batch, inputs)
    h, c = normal(directions, batch, hidden), normal(directions, batch, hidden)
    return x, weights, h, c


def gradients(mode, x, weights, h, c, lengths, reverse, seeds):
    """What `run_grad` gives for the one direction that `run` does here, and the gradient of x."""
    y, _, *kept = rnn.run(mode, x, weights, NOTHING, h, c, lengths, reverse)
    gy, gh, gc = (s.astype(x.dtype) for s in seeds)
    is_lstm = mode == "lstm"
    gates, *extra = kept[1:] if is_lstm else kept
    ga, *others = rnn.run_grad(
        mode, gy, gh[None], gc[None] if is_lstm else None, x, weights[0], weights[1], h,
        c if is_lstm else None, lengths, y, gates, extra[0] if extra else None, 0, reverse,
    )  # fmt: skip
    return ga @ weights[0], *others[:4], *(state[0] for state in others[4:])


def lengths_of(steps, batch, seed):
    return np.random.default_rng(seed).integers(0, steps + 2, batch)


sizes = st.tuples(
    st.sampled_from(sorted(GATES)), st.integers(1, 6), st.integers(1, 20), st.integers(1, 9),
    st.one_of(st.integers(1, 5), st.integers(LANES - 1, 4 * LANES + 3)),
)  # fmt: skip


@given(sizes, st.booleans(), st.booleans(), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_forward_is_the_plain_loop(size, reverse, with_lengths, seed):
    mode, steps, batch, *_ = size
    x, (weights,), h, c = make(*size, seed=seed)
    lengths = lengths_of(steps, batch, seed) if with_lengths else None
    got = rnn.run(mode, x, weights, NOTHING, h, c, lengths, reverse)
    alive = np.full(batch, steps) if lengths is None else lengths
    y, last, cells = plain_loop(mode, x, *weights, h[0], c[0], alive, reverse)
    bound = 1e-5 * max(1, np.abs(y).max()) * steps
    np.testing.assert_allclose(got[0], y, rtol=0, atol=bound)
    np.testing.assert_allclose(got[1][0], last, rtol=0, atol=bound)
    if mode == "lstm":
        np.testing.assert_allclose(got[2][0], cells, rtol=0, atol=bound)


@given(sizes, st.booleans(), st.booleans(), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_gradients_are_those_of_float64(size, reverse, with_lengths, seed):
    mode, steps, batch, _, hidden = size
    x, (weights,), h, c = make(*size, seed=seed)
    lengths = lengths_of(steps, batch, seed) if with_lengths else None
    rng = np.random.default_rng(seed + 1)
    shapes = ((steps, batch, hidden), (batch, hidden), (batch, hidden))
    seeds = [rng.standard_normal(shape) for shape in shapes]
    got = gradients(mode, x, weights, h, c, lengths, reverse, seeds)
    x, h, c, *weights = (v.astype(np.float64) for v in (x, h, c, *weights))
    wanted = gradients(mode, x, weights, h, c, lengths, reverse, seeds)
    for g, v in zip(got, wanted, strict=True):
        assert g.dtype == np.float32
        np.testing.assert_allclose(g, v, rtol=0, atol=2e-5 * steps * max(1, np.abs(v).max()))


@pytest.mark.parametrize("mode", sorted(GATES))
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_gradients_are_slopes_of_the_plain_loop(mode, reverse, with_lengths):
    x, (weights,), h, c = make(mode, 3, 4, 3, 5, seed=3)
    lengths = np.array([3, 0, 1, 2]) if with_lengths else np.full(4, 3)
    rng = np.random.default_rng(4)
    seeds = [rng.standard_normal(s) for s in ((3, 4, 5), (4, 5), (4, 5))]
    got = gradients(mode, x, weights, h, c, lengths, reverse, seeds)
    place = {"x": 0, "w": 1, "r": 2, "b": 3, "rb": 4, "h": 5, "c": 6}
    names = list(place)[: 7 if mode == "lstm" else 6]
    inputs = [v.astype(np.float64) for v in (x, *weights, h[0], c[0])]

    def total(moved: Any):
        y, last, cells = plain_loop(mode, *moved[:7], lengths=lengths, reverse=reverse)
        found = (y * seeds[0]).sum() + (last * seeds[1]).sum()
        return found + (cells * seeds[2]).sum() if mode == "lstm" else found

    for number, name in enumerate(names):
        direction = rng.standard_normal(inputs[number].shape)
        ends = []
        for sign in (1, -1):
            moved = list(inputs)
            moved[number] = moved[number] + sign * 1e-6 * direction
            ends.append(total(moved))
        slope = (ends[0] - ends[1]) / 2e-6
        assert (got[place[name]] * direction).sum() == pytest.approx(slope, rel=2e-4, abs=2e-4)


@pytest.mark.parametrize("mode", sorted(GATES))
def test_both_directions_are_two_single_ones(mode):
    x, weights, h, c = make(mode, 5, 7, 3, 9, directions=2)
    lengths = np.array([5, 4, 0, 1, 5, 2, 3])
    both = rnn.run(mode, x, weights[0], weights[1], h, c, lengths, False)
    for d in range(2):
        one = rnn.run(
            mode, x, weights[d], NOTHING, h[d : d + 1], c[d : d + 1], lengths, bool(d)
        )  # fmt: skip
        np.testing.assert_array_equal(both[0][:, :, 9 * d : 9 * d + 9], one[0])
        for whole, part in zip(both[1:], one[1:], strict=True):
            if whole.ndim == 3:  # states; of what is kept, gates past a sample's end are arbitrary
                np.testing.assert_array_equal(whole[d], part[0])


@pytest.mark.parametrize("mode", sorted(GATES))
@pytest.mark.parametrize("batch, hidden", [(1, 40), (3, 40), (33, 40), (1, 220), (3, 220)])
def test_threads_change_nothing(mode, batch, hidden):
    x, (weights,), h, c = make(mode, 20, batch, 16, hidden)
    rng = np.random.default_rng(1)
    state = (batch, hidden)
    seeds = [rng.standard_normal(s) for s in ((20, *state), state, state)]
    before, found = threads.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            made = rnn.run(mode, x, weights, NOTHING, h, c, None, False)
            found.append((*made, *gradients(mode, x, weights, h, c, None, False, seeds)))
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", sorted(GATES))
def test_nan_stays_in_its_sample(mode):
    x, (weights,), h, c = make(mode, 4, 9, 3, 10)
    x[2, 5, 1] = np.nan
    y, last, *_ = rnn.run(mode, x, weights, NOTHING, h, c, None, False)
    assert np.isnan(y[2:, 5]).all() and np.isnan(last[0, 5]).all()
    assert np.isfinite(y[:2]).all() and np.isfinite(np.delete(y, 5, axis=1)).all()
    seeds = [np.ones(s) for s in ((4, 9, 10), (9, 10), (9, 10))]
    gx, gw, *_ = gradients(mode, x, weights, h, c, None, False, seeds)
    assert np.isfinite(np.delete(gx, 5, axis=1)).all() and np.isnan(gw).any()
    if mode != "relu":
        assert np.isnan(gx[2, 5]).all()


@pytest.mark.parametrize("mode", sorted(GATES))
def test_saturated_gates_are_finite(mode):
    x, (weights,), h, c = make(mode, 3, 5, 3, 8)
    y, *_ = rnn.run(mode, 1e4 * x, weights, NOTHING, h, c, None, False)
    wanted, *_ = plain_loop(mode, 1e4 * x, *weights, h[0], c[0], np.full(5, 3), False)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.skipif(not guard.AVAILABLE, reason="needs mmap")
@pytest.mark.parametrize("mode", sorted(GATES))
@pytest.mark.parametrize("side", ["end", "start"])
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (3, 5, 3, LANES + 1), (2, 7, 2, 2 * LANES)])
def test_nothing_is_touched_beyond_the_arrays(mode, side, size):
    x, (weights,), h, c = make(mode, *size)
    x, h, c, *weights = (guard.guarded(v, side) for v in (x, h, c, *weights))
    steps, batch, _, hidden = size
    seeds = [np.ones(s) for s in ((steps, batch, hidden), (batch, hidden), (batch, hidden))]
    with guard.guarded_results(side):
        gradients(mode, x, weights, h, c, np.arange(batch), True, seeds)


@pytest.mark.parametrize("mode", sorted(GATES))
@pytest.mark.parametrize("size", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0)])
def test_empty_arrays(mode, size):
    x, (weights,), h, c = make(mode, *(max(n, 1) for n in size))
    steps, batch, inputs, hidden = size
    wide = GATES[mode] * hidden
    w, r, b, rb = weights
    weights = (w[:wide, :inputs], r[:wide, :hidden], b[:wide], rb[:wide])
    x, h, c = x[:steps, :batch, :inputs], h[:, :batch, :hidden], c[:, :batch, :hidden]
    y, last, *_ = rnn.run(mode, x, weights, NOTHING, h, c, None, False)
    wanted = rnn_general.forward(mode, x, *weights, h[0], c[0], None, False)
    np.testing.assert_array_equal(y, wanted[0])
    np.testing.assert_array_equal(last[0], wanted[1])
    seeds = [np.ones(s) for s in ((steps, batch, hidden), (batch, hidden), (batch, hidden))]
    gx, gw, *_ = gradients(mode, x, weights, h, c, None, False, seeds)
    assert gx.shape == x.shape and gw.shape == weights[0].shape
