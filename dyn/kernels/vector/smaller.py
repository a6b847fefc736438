"""How many elements of a short row are smaller than each of them: its rank, but for equal ones."""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.runtime.jit import intrinsic
from dyn.kernels.vector.simd import INT32, LANES, WORD, Emitter, Value, loop

VECTORS = 2
"""Vectors whose elements are counted for at a time."""


def _counted(element: Any) -> Any:
    """The intrinsic `(keys, n, out)`: addresses of n integers and of their counts, of 64 bits.

    Whole vectors are read and written: behind the keys and behind the counts there is room for
    VECTORS * LANES of them.
    """

    @intrinsic
    def smaller(typing: Any, keys: Any, n: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            keys, n, out = arguments
            emit, wide = Emitter(builder, element, LANES), Emitter(builder, WORD, LANES)

            def at(address: Any, place: Any, size: int) -> Any:
                return builder.add(address, builder.mul(place, WORD(size)))

            def several(first: Any, _: Any) -> list[Value]:
                places = [builder.add(first, WORD(LANES * v)) for v in range(VECTORS)]
                own = [emit.load(at(keys, place, emit.size)) for place in places]

                def other(j: Any, counts: list[Value]) -> list[Value]:
                    key = emit.splat_at(at(keys, j, emit.size))
                    pairs = zip(counts, own, strict=True)
                    return [count + (key < x).to(element) for count, x in pairs]

                counts = loop(builder, WORD(0), n, WORD(1), other, [emit.numbers(0)] * VECTORS)
                for count, place in zip(counts, places, strict=True):
                    wide.store(count.to(WORD), at(out, place, wide.size))
                return []

            loop(builder, WORD(0), n, WORD(VECTORS * LANES), several)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    return smaller


smaller_i4, smaller_i8 = _counted(INT32), _counted(WORD)
"""For integers of 32 and of 64 bits."""
