"""The microkernels of convolutions with few output channels, which are the rows of a tile.

A tile holds some output channels of a few vectors, which follow each other in memory or lie at
equal distances: of pixels (`planes`), or of numbers of the window (`weight_rows`). At every step of
the reduction one number per channel, all neighbours, meets all vectors. There is a kernel for every
number of channels and of vectors, so that none is computed in vain.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.conv.tile import WIDE
from dyn.kernels.runtime.jit import Microkernel, instance
from dyn.kernels.vector.factors import accumulate, adjacent
from dyn.kernels.vector.simd import F32, LANES, WORD, Emitter, Value, intrinsic, repeat
from dyn.kernels.vector.value import branch

MOST = WIDE
"""Channels of the tallest tile: two vectors of each just fit the registers."""
VECTORS = 4
"""Most vectors of a tile."""

(
    STEPS, STEP_TABLE, RUN, A, A_STEP, B, B_STEP, B_BETWEEN, C, C_ROW, C_BETWEEN, ACCUMULATE,
) = range(12)  # fmt: skip
"""Words of a job, at the address that the kernel gets."""
WORDS = 12


def vectors_of(channels: int) -> int:
    """Vectors of a tile: as many as give it eight sums, which keep the units busy."""
    return 4 if channels <= (3 if LANES == 16 else 2) else 2


def parts_of(vectors: int, channels: int) -> list[int]:
    """So many vectors of some channels, in tiles of about the same size."""
    count = -(-vectors // max(1, min(VECTORS, 2 * MOST // channels)))
    return [vectors // count + (i < vectors % count) for i in range(count)]


def _tile(channels: int, vectors: int) -> Any:
    """The generator of one kernel.

    C[r * C_ROW + v * C_BETWEEN :] =
        sum over t < STEPS, i < RUN of
            A[(t * RUN + i) * A_STEP + 4 * r] * B[STEP_TABLE[t] + i * B_STEP + v * B_BETWEEN :]
        (+ C if ACCUMULATE)

    for r < channels and all vectors v. Steps are in bytes; STEPS and RUN are at least 1.
    """

    @intrinsic
    def tile(typing: Any, job: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = Emitter(builder, F32)

            def word_at(address: Any) -> Any:
                return builder.load(builder.inttoptr(address, WORD.as_pointer()))

            def word(number: int) -> Any:
                return word_at(builder.add(arguments[0], WORD(8 * number)))

            between, a_step, b_step = word(B_BETWEEN), word(A_STEP), word(B_STEP)

            def step(carried: list[Value]) -> list[Value]:
                entry, a, *sums = carried
                b = a.made(builder.add(word(B), word_at(entry.value)))
                weights = adjacent(emit, channels, a.value, a_step)

                def run(carried: list[Value]) -> list[Value]:
                    a, b, *sums = carried
                    at, pixels = b.value, []
                    for v in range(vectors):
                        at = builder.add(at, between) if v else at
                        pixels.append(emit.load(at))
                    found = accumulate(emit, weights, [a], pixels, sums)
                    return [*weights.following([a]), b + b.made(b_step), *found]

                a, _, *sums = repeat(builder, word(RUN), run, [*weights.first, b, *sums])
                return [entry + 8, a, *sums]

            places, row = [], word(C)
            for _ in range(channels):
                at = row
                for _ in range(vectors):
                    places.append(at)
                    at = builder.add(at, word(C_BETWEEN))
                row = builder.add(row, word(C_ROW))
            held = branch(
                builder,
                builder.icmp_signed("!=", word(ACCUMULATE), WORD(0)),
                lambda: [emit.load(at) for at in places],
                lambda: [emit.numbers(0)] * (channels * vectors),
            )
            first = [Value(builder, word(STEP_TABLE)), Value(builder, word(A)), *held]
            _, _, *sums = repeat(builder, word(STEPS), step, first)
            for total, at in zip(sums, places, strict=True):
                emit.store(total, at)
            return context.get_dummy_value()

        return types.void(types.int64), generate

    return tile


def _body(job):
    tile(job)  # type: ignore[name-defined]  # noqa: F821


TILES: dict[tuple[int, int], Microkernel] = {
    (channels, vectors): instance(
        f"pixels_{channels}_{vectors}", _body, tile=_tile(channels, vectors)
    )
    for channels in range(1, MOST + 1)
    for vectors in range(1, min(VECTORS, 2 * MOST // channels) + 1)
}
"""By channels and vectors."""
