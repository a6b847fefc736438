"""The end of a tile of sums: what is added to them, clamped, and stored.

Tiles of matrix products and of convolutions share it; how sums are made is the tile's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.kernels.vector.simd import WORD, Emitter, Value, choose
from dyn.kernels.vector.value import branch

ACCUMULATE, RELU = 1, 2
"""Bits of a tile's flags: add to what the target holds; replace negative results by zero."""


def store_sums(
    emit: Emitter,
    sums: list[list[Value]],
    end: Callable[[int], Any],
    height: Any,
    width: Any,
    bias: Any,
    flags: Any,
) -> None:
    """Add the target or a bias or both, clamp, store: whole vectors if they are, else masked ones.

    Args:
        emit: where instructions go.
        sums: the vectors of each row.
        end: emits the address of a row of the target.
        height: how many rows are stored, from the first on.
        width: how many numbers of each.
        bias: address of what is added to every row, or 0.
        flags: ACCUMULATE, RELU, both or none.
    """
    builder, vectors = emit.builder, len(sums[0])

    def has(flag: int) -> Any:
        return builder.icmp_signed("!=", builder.and_(flags, WORD(flag)), WORD(0))

    low = builder.select(has(RELU), emit.element(0.0), emit.element(float("-inf")))
    floor = emit.splat(low)

    def store_rows(masks: list[Any]) -> None:
        def places(address: Any) -> list[Any]:
            return [builder.add(address, WORD(v * emit.bytes)) for v in range(vectors)]

        def loaded(address: Any) -> list[Value]:
            return [emit.load(at, mask) for at, mask in zip(places(address), masks, strict=True)]

        def with_held(row: list[Value], address: Any) -> list[Value]:
            return [total + held for total, held in zip(row, loaded(address), strict=True)]

        shift = branch(
            builder,
            builder.icmp_signed("!=", bias, WORD(0)),
            lambda: loaded(bias),
            lambda: [emit.numbers(0)] * vectors,
        )
        for r, row in enumerate(sums):
            with builder.if_then(builder.icmp_signed(">", height, WORD(r))):
                start = end(r)
                found = branch(
                    builder,
                    has(ACCUMULATE),
                    lambda row=row, start=start: with_held(row, start),
                    lambda row=row: row,
                )
                for v, at in enumerate(places(start)):
                    shifted = found[v] + shift[v]
                    # A comparison with NaN is false, so NaN stays.
                    emit.store(choose(shifted < floor, floor, shifted), at, masks[v])

    whole = builder.icmp_signed(">=", width, WORD(vectors * emit.lanes))
    with builder.if_else(whole) as (yes, no):
        with yes:
            store_rows([None] * vectors)
        with no:
            widths = [builder.sub(width, WORD(v * emit.lanes)) for v in range(vectors)]
            store_rows([emit.mask_below(left) for left in widths])
