"""Small names of the package, with PyTorch 2.13's numbers."""

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch.testing import assert_close


def test_windows():
    wanted = {
        "hann_window": ([0, 0.5, 1, 0.5], [0, 0.75, 0.75, 0]),
        "hamming_window": ([0.08, 0.54, 1, 0.54], [0.08, 0.77, 0.77, 0.08]),
        "blackman_window": ([0, 0.34, 1, 0.34], [0, 0.63, 0.63, 0]),
        "bartlett_window": ([0, 0.5, 1, 0.5], [0, 2 / 3, 2 / 3, 0]),
    }
    for name, (periodic, symmetric) in wanted.items():
        window = getattr(torch, name)
        np.testing.assert_allclose(window(4), periodic, atol=1e-6)
        np.testing.assert_allclose(window(4, periodic=False), symmetric, atol=1e-6)
        assert window(1).tolist() == [1] and window(0).shape == (0,)
    assert torch.hann_window(3, dtype=torch.float64).dtype is torch.float64
    assert torch.hamming_window(3, device="cpu", requires_grad=True).requires_grad
    for name in wanted:
        window = getattr(torch, name)
        for call, kind, text in (
            (lambda w=window: w(-1), RuntimeError, "from 0 on"),
            (lambda w=window: w(2.5), TypeError, "window_length is an integer, got 2.5"),
            (lambda w=window: w(3, dtype=torch.int64), RuntimeError, "floating point"),
            (lambda w=window: w(3, size=3), TypeError, "size"),
        ):
            with pytest.raises(kind, match=text):
                call()


def test_places_and_facts():
    rows, columns = torch.unravel_index(torch.tensor([5, 7, 0]), (3, 4))
    assert rows.tolist() == [1, 1, 0] and columns.tolist() == [1, 3, 0]
    for call in (
        lambda: torch.unravel_index(torch.tensor([1.5]), (3, 4)),
        lambda: torch.unravel_index(torch.tensor([1]), (3, 4.5)),
    ):
        with pytest.raises(TypeError, match="integer"):
            call()
    assert torch.is_same_size(torch.ones(2), torch.zeros(2))
    assert torch.is_signed(torch.ones(1)) and not torch.is_signed(torch.ones(1).byte())
    x = torch.ones(2)
    assert torch.fill_(x, 3) is x and x.tolist() == [3, 3]
    assert torch.zero_(x).tolist() == [0, 0] and x[torch.newaxis].shape == (1, 2)


def test_tensors_are_compared():
    one = torch.tensor([1.0, 2.0])
    assert_close(one, one + 1e-7)
    assert_close({"a": [one, 1]}, {"a": [one, 1]})
    assert_close(one * np.nan, one * np.nan, equal_nan=True)
    for actual, expected, text in (
        (one, one + 1e-3, "Mismatched elements: 2 / 2"),
        (one, one[:1], "shape"),
        (one, one.double(), "dtype"),
        ([one], [one, one], "lengths"),
        ({"a": one}, {"b": one}, "keys"),
        (one, one * np.nan, "not close"),
    ):
        with pytest.raises(AssertionError, match=text):
            torch.testing.assert_close(actual, expected)
    with pytest.raises(ValueError, match="Both rtol and atol"):
        assert_close(one, one, rtol=1e-3)
    with pytest.raises(AssertionError, match="weights: Tensor-likes"):
        assert_close(one, one + 1, msg=lambda text: f"weights: {text}")
    for call, kind in (
        (lambda: assert_close(one, one, rtoll=1), TypeError),
        (lambda: assert_close(one, {"a": one}), TypeError),
        (lambda: assert_close(3.0, [one]), TypeError),
        (lambda: assert_close(one, one, check_stride=True), NotImplementedError),
    ):
        with pytest.raises(kind, match=r"rtoll|like with like|stride\(\)"):
            call()


def test_places_in_a_sequence_that_is_not_sorted():
    x, v = (
        np.array([[3.0, 1.0, 2.0], [9.0, 7.0, 8.0]], "f4"),
        np.array([[2.5, 0.0], [8.0, 9.5]], "f4"),
    )
    given = torch.tensor(x)
    found = torch.searchsorted(given, torch.tensor(v), sorter=given.argsort(-1))
    wanted = [
        np.searchsorted(row, some, sorter=row.argsort()) for row, some in zip(x, v, strict=True)
    ]
    assert found.tolist() == np.array(wanted).tolist()


def test_ones_with_one_probability():
    torch.manual_seed(0)
    drawn = torch.bernoulli(torch.zeros(100, 100), 0.25)
    assert drawn.dtype == torch.float32 and set(drawn.unique().tolist()) == {0, 1}
    assert abs(drawn.mean().item() - 0.25) < 0.03
