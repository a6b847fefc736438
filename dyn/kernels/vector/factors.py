"""The numbers of a tile's rows: each is read, put into all lanes, and multiplied with vectors.

A tile of a product holds rows of sums in registers. At every step each row has one number, and all
rows meet the same vectors. This is how the numbers are found, in as few instructions as can be:
processors that run two threads on a core hand out instructions, not multiplications.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from dyn.kernels.vector.simd import LANES, WORD, Emitter, Value, fma, opaque, reread

EMBEDS = LANES == 16
"""Whether a multiplication can itself read a number for all lanes (AVX-512). Half of the rows do so
where they can, and meet two vectors: with more, memory could not give as many numbers in a step."""

SET_STEP, WAYS = 4096, 8
"""Bytes from a line to the next one of its set in the first-level cache, and lines of a set (8 to
12 in today's processors)."""


def meet(apart: int, rows: int) -> bool:
    """Whether rows that begin `apart` bytes from one another are more than a cache can keep.

    They are in one set then, and every step of a tile reads them from the second-level cache.
    """
    return apart % SET_STEP == 0 and rows > WAYS


class Rows(NamedTuple):
    """How a tile finds the number of each row.

    Attributes:
        count: rows.
        first: what is carried to the first step.
        address: of the number of a row at the step to which something was carried.
        following: what is carried to the next step.
        embedded: whether the multiplications of a row each read its number.
    """

    count: int
    first: list[Value]
    address: Callable[[list[Value], int], Any]
    following: Callable[[list[Value]], list[Value]]
    embedded: Callable[[int], bool]


def scattered(emit: Emitter, starts: list[Any], offset: Any, step: Any) -> Rows:
    """Rows that lie anywhere: pointers to bytes, and an offset in bytes that moves by `step`."""
    builder = emit.builder

    def address(carried: list[Value], r: int) -> Any:
        return builder.ptrtoint(builder.gep(starts[r], [carried[0].value]), WORD)

    first = [Value(builder, offset)]
    return Rows(len(starts), first, address, _moving(step), lambda r: False)


def paired(emit: Emitter, starts: list[Any], apart: Any, step: Any) -> Rows:
    """Two rows at each of some addresses, the second one `apart` bytes behind the first."""
    builder = emit.builder

    def address(carried: list[Value], r: int) -> Any:
        pair = carried[r // 2].value
        return builder.add(pair, apart) if r % 2 else pair

    first = [Value(builder, start) for start in starts]
    # What is read at a sum of two registers is no part of a multiplication.
    return Rows(2 * len(starts), first, address, _moving(step), lambda r: EMBEDS and r % 2 == 0)


def adjacent(emit: Emitter, count: int, start: Any, step: Any) -> Rows:
    """Rows whose numbers are neighbours, from an address on that moves by `step` bytes."""
    builder = emit.builder

    def address(carried: list[Value], r: int) -> Any:
        return builder.add(carried[0].value, WORD(r * emit.size))

    first = [Value(builder, start)]
    return Rows(count, first, address, _moving(step), lambda r: EMBEDS and r % 2 == 0)


def _moving(step: Any) -> Callable[[list[Value]], list[Value]]:
    """Places move by `step` bytes, each in a register of its own."""

    def following(carried: list[Value]) -> list[Value]:
        return [opaque(place + place.made(step)) for place in carried]

    return following


def accumulate(
    emit: Emitter, rows: Rows, carried: list[Value], vectors: list[Value], sums: list[Value]
) -> list[Value]:
    """sums[r * len(vectors) + v] + number of row r * vectors[v], for all r and v."""
    found = []
    for r in range(rows.count):
        factor = emit.splat_at(rows.address(carried, r))
        for v, vector in enumerate(vectors):
            if v and len(vectors) == 2 and rows.embedded(r):
                reread(emit.builder)
                factor = emit.splat_at(rows.address(carried, r))
            found.append(fma(factor, vector, sums[r * len(vectors) + v]))
    return found
