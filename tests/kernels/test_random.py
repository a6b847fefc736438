"""Random numbers of many places: the generator's published answers, and the distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dyn.kernels import philox, random
from dyn.kernels.runtime import threads

COUNT = 100_003
ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""Counter, key and result of philox4x32-10 in the test vectors of Random123 1.09."""


def block(counter: Any, key: Any) -> list[int]:
    """The words of one block, as the paper has them."""
    words, key = list(counter), list(key)
    for turn in range(10):
        if turn:
            key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
        a, b = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57
        first, third = b >> 32 ^ words[1] ^ key[0], a >> 32 ^ words[3] ^ key[1]
        words = [first, b % 2**32, third, a % 2**32]
    return words


def generator(seed: int = 5) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize(("counter", "key", "result"), ANSWERS)
def test_the_oracle_gives_the_published_answers(counter: Any, key: Any, result: Any) -> None:
    assert tuple(block(counter, key)) == result


def test_words_are_those_of_numbered_blocks() -> None:
    key = [word % 2**32 for word in generator().bit_generator.random_raw(2).tolist()]
    u = philox.uniform(generator(), (3, 4000), 0.0, 1.0).reshape(-1)
    k = philox.integers(generator(), (12_000,), -3, 994)
    for place in (0, 1, 1023, 1024, 4095, 4096, 9000, 11_999):
        row, inside = divmod(place, 4096)
        words = block((row * 1024 + inside % 1024, 0, 0, 0), key)
        assert u[place] == (words[inside // 1024] >> 8) * 2.0**-24
        words = block((row * 2048 + inside % 2048, 0, 0, 0), key)
        wide = (words[inside // 2048 * 2] << 32) + words[inside // 2048 * 2 + 1]
        assert k[place] == -3 + (wide * 997 >> 64)


def test_normal_numbers() -> None:
    z = np.sort(random.normal(generator(), (COUNT,), 2.0, 3.0, np.dtype(np.float32)))
    wanted = [0.5 * math.erfc(-(x - 2) / 3 / math.sqrt(2)) for x in z]
    distance = np.abs(np.array(wanted) - (np.arange(COUNT) + 0.5) / COUNT).max()
    assert distance * math.sqrt(COUNT) < 1.95  # Kolmogorov: exceeded once in a thousand


def test_numbers_between_bounds() -> None:
    u = random.uniform(generator(), (COUNT,), 0.1, 0.3, np.dtype(np.float32))
    assert u.min() >= np.float32(0.1) and u.max() < np.float32(0.3)
    distance = np.abs((np.sort(u) - 0.1) / 0.2 - (np.arange(COUNT) + 0.5) / COUNT).max()
    assert distance * math.sqrt(COUNT) < 1.95


@pytest.mark.parametrize(("low", "high"), [(-2, 3), (0, 1), (7, 7 + (1 << 32))])
def test_integers(low: int, high: int) -> None:
    k = random.integers(generator(), (COUNT,), low, high, np.dtype(np.int64))
    assert k.min() >= low and k.max() < high
    shares = np.histogram(k, min(high - low, 5), (low, high))[0] / COUNT
    assert np.abs(shares - 1 / len(shares)).max() < 5 / math.sqrt(COUNT)


@pytest.mark.parametrize(
    "draw",
    [
        lambda g, n: random.uniform(g, n, 0.0, 1.0, np.dtype(np.float32)),
        lambda g, n: random.normal(g, n, 0.0, 1.0, np.dtype(np.float32)),
        lambda g, n: random.integers(g, n, 0, 9, np.dtype(np.int32)),
    ],
)
def test_the_state_of_the_generator_decides(draw: Callable[..., Any]) -> None:
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            g = generator()
            found.append((draw(g, (COUNT,)), draw(g, (50, 90))))
    finally:
        threads.set_num_threads(before)
    for first, second in found[1:]:
        np.testing.assert_array_equal(first, found[0][0])
        np.testing.assert_array_equal(second, found[0][1])
    assert not np.array_equal(found[0][0][:4500], found[0][1].reshape(-1))


@pytest.mark.parametrize("shape", [(), (4, 10), (COUNT,)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_draws_by_probability(shape: tuple[int, ...], dtype: str) -> None:
    share = np.full(shape, 0.25, dtype)
    drawn = random.bernoulli(generator(), share)
    assert drawn.dtype == share.dtype and drawn.shape == shape
    assert set(np.unique(drawn)) <= {0, 1}
    if drawn.size == COUNT:
        assert abs(drawn.mean(dtype=np.float64) - 0.25) < 5 / math.sqrt(COUNT)
    assert not random.bernoulli(generator(), share * 0).any()
    assert random.bernoulli(generator(), share * 4).all()


@pytest.mark.parametrize("n", [0, 1, 7, 9000, COUNT])
def test_permutations(n: int) -> None:
    order = random.permutation(generator(), n, np.dtype(np.int64))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n > 1000:
        # Where a place goes does not depend on where it comes from.
        assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 5 / math.sqrt(n)
        assert abs((order < n // 2)[: n // 2].mean() - 0.5) < 5 / math.sqrt(n)
