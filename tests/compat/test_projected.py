"""`LSTM(proj_size=)` against PyTorch 2.13, and its way into compiled steps and files."""

import numpy as np
import pytest

import dyn.compat.torch as torch
import tracer
from dyn.compat.torch import nn
from exporter import InputSpec, export

OUT = [0.14145, -0.25184, 0.07825, -0.04854, 0.15102, -0.22353, 0.10124, -0.01508]
LAST = [
    -0.06842,
    0.06847,
    -0.13353,
    0.16858,
    -0.08991,
    -0.39585,
    0.12196,
    -0.42219,
    0.12202,
    -0.28805,
    0.15102,
    -0.22353,
    0.02829,
    -0.09905,
    0.05424,
    -0.10458,
]
CELLS = [0.02336, 0.27699, -0.2153, 0.2803, -0.30633, 0.29324, -0.17554, 0.39766]
SLOPE = [0.21012, -0.15781, 0.05017, -0.36677, 0.05453, -0.12198, 0.0943, -0.23742]
"""Outputs of the third step, last states, cells of a direction, slopes of weight_hr_l0."""


def filled(**settings):
    draws = np.random.default_rng(0)
    layer = nn.LSTM(3, 4, proj_size=2, **settings)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.tensor(draws.normal(size=tuple(p.shape)).astype("float32") * 0.5))
    return layer, torch.tensor(draws.normal(size=(5, 2, 3)).astype("float32"))


def test_both_directions_of_sequences_of_different_lengths():
    layer, x = filled(num_layers=2, bidirectional=True)
    assert str(layer) == "LSTM(3, 4, proj_size=2, num_layers=2, bidirectional=True)"
    names = list(layer.state_dict())
    assert names[4] == "weight_hr_l0" and names[9] == "weight_hr_l0_reverse"
    assert layer.weight_ih_l1.shape == (16, 4) and layer.weight_hh_l1.shape == (16, 2)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]))
    out, (h, c) = layer(packed)
    out, _ = nn.utils.rnn.pad_packed_sequence(out)
    np.testing.assert_allclose(out[2].detach().numpy().ravel(), OUT, atol=2e-5)
    assert (out[3:, 1] == 0).all()
    np.testing.assert_allclose(h.detach().numpy().ravel(), LAST, atol=2e-5)
    np.testing.assert_allclose(c[0].detach().numpy().ravel(), CELLS, atol=2e-5)
    (out.square().sum() + c.sum()).backward()
    np.testing.assert_allclose(layer.weight_hr_l0.grad.numpy().ravel(), SLOPE, rtol=1e-4, atol=1e-4)


def test_states_are_given_and_given_back():
    layer, x = filled(batch_first=True, bias=False)
    first, (h, c) = layer(x[:, :1])
    second, _ = layer(x[:, 1:], (h, c))
    whole, _ = layer(x)
    joined = torch.cat([first, second], 1).detach()
    np.testing.assert_allclose(joined, whole.detach(), rtol=1e-5, atol=1e-6)
    assert h.shape == (1, 5, 2) and c.shape == (1, 5, 4)


@pytest.mark.parametrize("steps", ["steps", 5])
def test_it_exports(steps, tmp_path):
    layer, _ = filled(bidirectional=True)
    spec = InputSpec([steps, "batch", 3], "float32", name="x")
    assert "verified" in str(export(layer, tmp_path / "m.onnx", [spec]))


def test_it_is_trained_by_compiled_steps():
    (layer, x), (other, _) = filled(), filled()
    opt, its = (torch.optim.SGD(m.parameters(), 0.1) for m in (layer, other))
    step = tracer.compile_training(lambda x: layer(x)[0].square().sum(), optimizer=opt)
    for _ in range(3):
        step(x)
        its.zero_grad()
        other(x)[0].square().sum().backward()
        its.step()
    for ours, wanted in zip(layer.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), wanted.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [4, 5, -1])
def test_projections_that_do_not_shrink_the_state_are_refused(size):
    with pytest.raises(ValueError, match="proj_size has to be smaller than hidden_size"):
        nn.LSTM(3, 4, proj_size=size)


def test_other_layers_have_none():
    with pytest.raises(ValueError, match="only supported for LSTM"):
        nn.GRU(3, 4, proj_size=2)
