"""Many random numbers at once: Philox4x32-10 in vectors, on all threads.

A key of 64 bits is drawn from the caller's generator, and blocks are numbered: what is drawn
depends on the state of the generator alone, neither on threads nor on the width of vectors. A row
of WIDTH places takes as many words; the four of a block go to places that lie far apart in it.

Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011); Box & Muller (1958).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir

from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector import vmath
from dyn.kernels.vector.rows import Row, RowKernel, word_at
from dyn.kernels.vector.simd import F32, INT32, WORD, Emitter, Value, loop, minimum

WIDTH = 4096
"""Places of a row."""
ROUNDS = 10
FACTORS = 0xD2511F53, 0xCD9E8D57
STEPS = 0x9E3779B9, 0xBB67AE85
"""By how much the key grows from round to round."""

# ---- words -------------------------------------------------------------------------------------


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _wide(words: Value) -> Value:
    """Words of 32 bits as numbers of 64 bits."""
    kind = ir.VectorType(WORD, words.lanes)
    return words.made(words.builder.zext(words.value, kind))


def _high(numbers: Value) -> Value:
    """The upper halves of numbers of 64 bits, as numbers of 64 bits."""
    return numbers.made(numbers.builder.lshr(numbers.value, numbers.like(32).value))


def _blocks(counter: list[Value], key: list[Value]) -> list[Value]:
    """Four random words for each counter of four words."""
    for turn in range(ROUNDS):
        if turn:
            key = [k + _signed(step) for k, step in zip(key, STEPS, strict=True)]
        products = [_wide(counter[2 * i]) * FACTORS[i] for i in (0, 1)]
        low = [p.to(INT32) for p in products]
        high = [_high(p).to(INT32) for p in products]
        counter = [high[1] ^ counter[1] ^ key[0], low[1], high[0] ^ counter[3] ^ key[1], low[0]]
    return counter


# ---- rows --------------------------------------------------------------------------------------

ARRAYS = ROW, RESULT, STATE = 0, 1, 2
"""The row; the result from its beginning; words that say where to begin."""
BASE, KEY = 0, 1
"""Of STATE: places before the result; the key's two words, of which the low halves count."""
FIRST, SECOND, THIRD = 0, 1, 2
"""Parameters: three numbers of the distribution."""


class _Draw:
    """One turn of a row: random words, and where what is made of them goes.

    Attributes:
        row: the row.
        words: four vectors of them.
        parts: how many vectors are made of them; their places lie WIDTH / parts apart.
    """

    def __init__(self, row: Row, words: list[Value], parts: int, at: Any):
        self.row, self.words, self.parts, self.at = row, words, parts, at
        self.emit = Emitter(row.emit.builder, row.emit.element, words[0].lanes)

    def unit(self, number: int, bits: int) -> Value:
        """The upper `bits` of a word as a number of [0, 1)."""
        word = self.words[number]
        kept = word.made(word.builder.lshr(word.value, word.like(32 - bits).value))
        return kept.to(F32) * 2.0**-bits

    def put(self, part: int, value: Value) -> None:
        """Store a vector."""
        size, builder = self.emit.size, self.emit.builder
        start = WORD(part * (WIDTH // self.parts) * size)
        offset = builder.add(builder.mul(self.at, WORD(size)), start)
        self.emit.store(value, self.row.address(ROW, offset))

    def numbers(self, *places: int) -> list[Value]:
        """Numbers of the distribution, in every lane."""
        return [self.emit.splat(self.row.parameter(place)) for place in places]


def _each(make: Callable[[_Draw], None], parts: int) -> Callable[[Row], None]:
    """A row kernel that makes `parts` vectors of every four of words."""

    def write(row: Row) -> None:
        builder, words = row.emit.builder, Emitter(row.emit.builder, INT32)
        begun = builder.sdiv(builder.sub(row.at[ROW], row.at[RESULT]), WORD(row.emit.size))
        base, *key = (word_at(builder, row.at[STATE], k) for k in (BASE, KEY, KEY + 1))
        before = builder.sdiv(builder.add(begun, base), WORD(parts))
        key = [words.splat(builder.trunc(k, INT32)) for k in key]
        lanes = ir.Constant(ir.VectorType(INT32, words.lanes), list(range(words.lanes)))
        none = words.numbers(0)

        def turn(at: Any, carried: Any) -> Sequence[Value]:
            block = builder.add(before, at)
            low = words.splat(builder.trunc(block, INT32)) + none.made(lanes)
            high = words.splat(builder.trunc(builder.ashr(block, WORD(32)), INT32))
            make(_Draw(row, _blocks([low, high, none, none], key), parts, at))
            return []

        loop(builder, WORD(0), WORD(WIDTH // parts), WORD(words.lanes), turn)

    return write


def _uniform(draw: _Draw) -> None:
    scale, shift, top = draw.numbers(FIRST, SECOND, THIRD)
    for part in range(4):
        draw.put(part, minimum(draw.unit(part, 24) * scale + shift, top))


def _normal(draw: _Draw) -> None:
    mean, std = draw.numbers(FIRST, SECOND)
    for pair in (0, 2):
        # 31 bits and a half step: never 0, and as far out as 6.6 standard deviations.
        radius = (vmath.log(draw.unit(pair, 31) + 2.0**-32) * -2.0).call("sqrt")
        angle = draw.unit(pair + 1, 24) * (2 * math.pi)
        draw.put(pair, radius * vmath.cos(angle) * std + mean)
        draw.put(pair + 1, radius * vmath.sin(angle) * std + mean)


def _integers(draw: _Draw) -> None:
    """low + floor(range * u) for u of 64 bits, in two products of 32 by 32 bits."""
    low, span = (draw.emit.splat(draw.row.word(place)) for place in (FIRST, SECOND))
    for half in (0, 1):
        coarse, fine = (_wide(draw.words[2 * half + i]) * span for i in (0, 1))
        draw.put(half, _high(coarse + _high(fine)) + low)


def _words(draw: _Draw) -> None:
    """64 random bits each."""
    for half in (0, 1):
        coarse, fine = (_wide(draw.words[2 * half + i]) for i in (0, 1))
        draw.put(half, (coarse << 32) | fine)


_KERNELS = {
    "uniform": RowKernel("uniform", F32, _each(_uniform, 4), len(ARRAYS)),
    "normal": RowKernel("normal", F32, _each(_normal, 4), len(ARRAYS)),
    "integers": RowKernel("integers", WORD, _each(_integers, 2), len(ARRAYS)),
    "words": RowKernel("words", WORD, _each(_words, 2), len(ARRAYS)),
}


@lru_cache(1024)
def _plan(name: str, rows: int, item: int, *words: int) -> Launch:
    """How rows of a result are drawn."""
    return _KERNELS[name].plan(rows, WIDTH, (WIDTH * item, 0, 0), *words)


def _drawn(
    name: str, generator: np.random.Generator, shape: tuple[int, ...], dtype: Any, *words: int
) -> np.ndarray:
    """An array of numbers of a distribution, given by the words of its parameters."""
    out = empty(shape, dtype)
    flat = out.reshape(-1)
    state = np.zeros(3, np.int64)
    state[KEY:] = generator.bit_generator.random_raw(2)
    rows = flat.size // WIDTH
    _plan(name, rows, out.itemsize, *words)(flat, flat, state)
    state[BASE] = rows * WIDTH
    if state[BASE] < flat.size:
        last = np.empty(WIDTH, dtype)
        _plan(name, 1, out.itemsize, *words)(last, last, state)
        flat[rows * WIDTH :] = last[: flat.size - rows * WIDTH]
    return out


def uniform(
    generator: np.random.Generator, shape: tuple[int, ...], low: float, high: float
) -> np.ndarray:
    """float32 numbers drawn evenly from [low, high)."""
    # Rounding may carry the largest draws up to `high`, which is left out.
    top = np.nextafter(np.float32(high), np.float32(low))
    numbers = (np.float32(high - low), low, top)
    return _drawn("uniform", generator, shape, np.float32, *(float_word(float(n)) for n in numbers))


def normal(
    generator: np.random.Generator, shape: tuple[int, ...], mean: float, std: float
) -> np.ndarray:
    """float32 numbers drawn from the normal distribution."""
    return _drawn("normal", generator, shape, np.float32, float_word(mean), float_word(std))


def integers(
    generator: np.random.Generator, shape: tuple[int, ...], low: int, high: int
) -> np.ndarray:
    """int64 numbers drawn evenly from low to high - 1, which are at most 2 ** 32."""
    return _drawn("integers", generator, shape, np.int64, low, high - low)


def words(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """64 random bits each, as int64."""
    return _drawn("words", generator, shape, np.int64)
