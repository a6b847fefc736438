"""Products of few rows with a matrix whose columns lie together: dot products along both.

Tiles would have the matrix turned around first, which takes longer than multiplying by a few rows;
so it is when a small batch passes a layer backwards, and where weights are kept as PyTorch does.
Here vectors run along k, and a block of both operands' rows is summed in registers, lane by lane,
until the lanes are added up at the end. Either operand may be the one with few rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import call_address, instance, task
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, fma, intrinsic, total
from dyn.kernels.vector.value import branch

BLOCK = 4
"""Rows of either operand in a block: its sums take half of the registers there are."""
FEW = 16
"""Rows up to which turning the other operand takes longer."""
DEEP, SHALLOW = 96, 32
"""Steps of k from which on adding up the lanes does not count, or, beside rows of one block, takes
less than turning the other operand around."""
GRAIN = 1 << 17
"""Multiplications worth a chunk."""

Steps = tuple[int, ...]
"""Strides of a matrix, in bytes."""


def _block(element: ir.Type) -> Any:
    """The generator of a block: C[i, j] = sum of A[i, :] * B[j, :] (+ bias); `count` numbers a row.

    Steps are in bytes; `height` rows of A and `width` of B are there, at most BLOCK of each. `bias`
    is an address or 0, with steps like C.
    """

    @intrinsic
    def block(
        typing: Any, a: Any, a_row: Any, b: Any, b_row: Any, count: Any, c: Any, c_row: Any,
        c_column: Any, bias: Any, bias_row: Any, bias_column: Any, height: Any, width: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_row, b, b_row, count, c, c_row, c_column, *rest = arguments
            bias, bias_row, bias_column, height, width = rest
            emit = Emitter(builder, element)

            def rows(start: Any, step: Any, there: Any) -> list[Any]:
                """Where rows begin; those beyond read what the last one reads."""
                last = builder.sub(there, WORD(1))
                inside = [builder.icmp_signed("<", WORD(r), last) for r in range(BLOCK)]
                places = [builder.select(yes, WORD(r), last) for r, yes in enumerate(inside)]
                return [builder.add(start, builder.mul(place, step)) for place in places]

            def at(start: Any, row: Any, column: Any, i: int, j: int) -> Any:
                down, right = builder.mul(row, WORD(i)), builder.mul(column, WORD(j))
                return builder.add(start, builder.add(down, right))

            left, right = rows(a, a_row, height), rows(b, b_row, width)

            def step(offset: Any, sums: list[Value], mask: Any) -> list[Value]:
                numbers = [emit.load(builder.add(row, offset), mask) for row in right]
                made: list[Value] = []
                for i, row in enumerate(left):
                    x = emit.load(builder.add(row, offset), mask)
                    made += [fma(x, y, sums[i * BLOCK + j]) for j, y in enumerate(numbers)]
                return made

            sums = emit.row(count, step, [emit.numbers(0)] * BLOCK**2, unroll=1)
            biased = builder.icmp_signed("!=", bias, WORD(0))
            for i in range(BLOCK):
                with builder.if_then(builder.icmp_signed("<", WORD(i), height)):
                    for j in range(BLOCK):
                        with builder.if_then(builder.icmp_signed("<", WORD(j), width)):
                            place = at(bias, bias_row, bias_column, i, j)
                            (shift,) = branch(
                                builder,
                                biased,
                                lambda place=place: [emit.number_at(place)],
                                lambda: [emit.numbers(0).at(0)],
                            )
                            found = total(*sums[i * BLOCK + j]) + shift
                            emit.put_number(found, at(c, c_row, c_column, i, j))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 13), generate

    return block


def _body(
    a, a_row, b, b_row, count, c, c_row, c_column, bias, bias_row, bias_column, height, width
):
    block(  # type: ignore[name-defined]  # noqa: F821
        a, a_row, b, b_row, count, c, c_row, c_column, bias, bias_row, bias_column, height, width
    )


_BLOCKS = {
    np.dtype(name): instance(f"dots_{name}", _body, block=_block(element))
    for name, element in (("f4", F32), ("f8", F64))
}

IN_A, IN_B, IN_C, IN_BIAS, TABLE, ARRAYS = 0, 1, 2, 3, 5, 6
(
    FEW_IS_B, MATRICES, HEIGHT, WIDTH, COUNT, FEW_ROW, MANY_ROW, C_ROW, C_COLUMN, BIASED, BIAS_ROW,
    BIAS_COLUMN, CODE,
) = range(ARRAYS, ARRAYS + 13)  # fmt: skip
"""Words of the task: `id`s of the arrays, as in every product (`product.py`), the table being the
offsets of the matrices; which operand has the few rows, number of matrices; rows of the few and of
the many, numbers of a row; steps in bytes; whether there is a bias; address of the microkernel."""


@task
def dots(args, chunk, chunks):
    """Some blocks of rows of the operands with many, with all rows of those with few."""
    few, many = data(argument(args, IN_A)), data(argument(args, IN_B))
    first, second = 0, 1
    if argument(args, FEW_IS_B):
        few, many, first, second = many, few, 1, 0
    table, c = data(argument(args, TABLE)), data(argument(args, IN_C))
    height, width = argument(args, HEIGHT), argument(args, WIDTH)
    few_row, many_row = argument(args, FEW_ROW), argument(args, MANY_ROW)
    c_row, c_column = argument(args, C_ROW), argument(args, C_COLUMN)
    bias = data(argument(args, IN_BIAS)) if argument(args, BIASED) else 0
    bias_row, bias_column = argument(args, BIAS_ROW), argument(args, BIAS_COLUMN)
    blocks, matrices = (width + BLOCK - 1) // BLOCK, argument(args, MATRICES)
    start, stop = bounds(matrices * blocks, chunk, chunks, 1)
    for unit in range(start, stop):
        j, a, b, to = unit % blocks * BLOCK, few, many, c
        if matrices > 1:
            offsets = table + 24 * (unit // blocks)
            a += argument(offsets, first)
            b += argument(offsets, second)
            to += argument(offsets, 2)
        for i in range(0, height, BLOCK):
            shift = bias + i * bias_row + j * bias_column if bias else 0
            call_address(
                argument(args, CODE), a + i * few_row, few_row, b + j * many_row, many_row,
                argument(args, COUNT), to + i * c_row + j * c_column, c_row, c_column,
                shift, bias_row, bias_column, min(BLOCK, height - i), min(BLOCK, width - j),
            )  # fmt: skip


def dots_launch(
    m: int, n: int, k: int, a_steps: Steps, b_steps: Steps, biased: bool, dtype: np.dtype,
    matrices: int = 1,
) -> Launch | None:  # fmt: skip
    """What runs products of (m, k) and (k, n) into dense rows, if dot products are the best way."""
    element = dtype.itemsize
    along_k = a_steps[1] == element == b_steps[0]
    rows = min(m, n)
    deep = SHALLOW if rows <= BLOCK else DEEP
    if not along_k or k < deep or not 1 < rows <= FEW:
        return None
    # Of each: rows, bytes from one to the next, from its results to the next's, and biases alike.
    few, many = (m, a_steps[0], n * element, 0), (n, b_steps[1], element, element)
    if n < m:
        few, many = many, few
    chunks = min(chunks_of(m * n * k * matrices, GRAIN), matrices * -(-many[0] // BLOCK))
    words = (
        int(n < m), matrices, few[0], many[0], k, few[1], many[1], few[2], many[2], int(biased),
        few[3], many[3],
    )  # fmt: skip
    return Launch([(dots, chunks)], ARRAYS, *words, _BLOCKS[dtype].address)
