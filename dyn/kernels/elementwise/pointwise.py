"""Kernels from formulas: a Python function of Values becomes a loop over contiguous arrays.

    add = formula_kernel("add_f4", lambda x, y: x + y, ("f4", "f4"), "f4")

is a compiled function of addresses that adds two arrays. Which formulas there are is said in
`formulas.py`; how whole arrays of any shape are put through such a kernel, in `nest.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from dyn.kernels.runtime.jit import Microkernel, instance, intrinsic
from dyn.kernels.vector.rows import word_at
from dyn.kernels.vector.simd import (
    BIT,
    BYTE,
    F32,
    F64,
    INT16,
    INT32,
    LANES,
    WORD,
    Emitter,
    Value,
    loop,
)

ELEMENTS = {
    "f4": F32, "f8": F64, "f2": INT16, "i1": BYTE, "i4": INT32, "i8": WORD, "b1": BYTE
}  # fmt: skip
"""LLVM types of array elements by numpy's code."""

UNROLL = 2
"""Vectors per turn of the loop."""
NUMBERS = 3
"""How many numbers a formula may have."""
ASIDE = 3
"""The bit behind those of the inputs that repeat: the output is written past the cache."""
FLAGS, ROWS, STEPS = range(NUMBERS, NUMBERS + 3)
"""Words of the parameters behind the numbers; steps are those of three inputs."""
PARAMETERS = STEPS + 3
"""How many words the parameters are."""


class FormulaKernel:
    """A formula over contiguous arrays of certain dtypes, compiled when first used.

    Attributes:
        kernel: takes addresses `(a, b, c, out, count, params)`; unused inputs are ignored. It does
            rows of `count` elements, one behind the other in the output. Behind the three numbers,
            `params` has a word that says which of several inputs repeat, a bit for each: such a one
            has one element for a row. The bit ASIDE says that the output need not stay in the
            cache. Then come the number of rows and, for each input, the bytes from row to row.
        inputs: how many arrays it reads.
        dtype: of the output.
        sizes: bytes per element of a, b, c and out, four bits each.
        numbers: names of the formula's numbers, in the order in which `params` has them.
    """

    def __init__(
        self, kernel: Microkernel, inputs: Sequence[str], output: str, numbers: Sequence[str] = ()
    ) -> None:
        self.kernel = kernel
        self.numbers = tuple(numbers)
        self.inputs = len(inputs)
        self.dtype = np.dtype(output)
        codes = (*inputs, *["b1"] * (3 - len(inputs)), output)
        self.sizes = sum(int(code[1]) << 4 * place for place, code in enumerate(codes))

    @cached_property
    def address(self) -> int:
        """Address of the compiled code."""
        return self.kernel.address


class _Array:
    """`lanes` elements at a time of an array at an address; the same ones where it repeats."""

    def __init__(self, builder: Any, code: str, address: Any, lanes: int) -> None:
        self.code = code
        self.builder = builder
        self.emit = Emitter(builder, ELEMENTS[code], lanes)
        self.address = address
        self.step: Any = WORD(self.emit.size)
        self.aside: Any = None

    def repeated(self, repeats: Any) -> _Array:
        """The same; where `repeats` holds, the first element for all."""
        slot = cgutils.alloca_once(self.builder, self.emit.vector)
        slot.align = self.emit.bytes
        room = self.builder.ptrtoint(slot, WORD)
        with self.builder.if_then(repeats):
            self.emit.store(self.emit.splat_at(self.address), room)
        address = self.builder.select(repeats, room, self.address)
        found = _Array(self.builder, self.code, address, self.emit.lanes)
        found.step = self.builder.select(repeats, WORD(0), self.step)
        return found

    def at(self, index: Any) -> Any:
        return self.builder.add(self.address, self.builder.mul(index, self.step))

    def load(self, index: Any, mask: Any) -> Value:
        value = self.emit.load(self.at(index), mask)
        return value != 0 if self.code == "b1" else value

    def store(self, value: Value, index: Any, mask: Any) -> None:
        if value.element is BIT:
            value = value.to(BYTE)
        self.emit.store(value, self.at(index), mask, self.aside)


def parameters_of(formula: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of a formula's arguments, and of its numbers, which are keyword-only.

    `inspect.signature` says the same in twenty times the time, of hundreds at every import.
    """
    taken = 0
    if isinstance(formula, partial):
        formula, taken = formula.func, len(formula.args)
    code = formula.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names[taken : code.co_argcount], names[code.co_argcount :]


def _emitted(
    formula: Callable[..., Any], names: Sequence[str], inputs: Sequence[str], output: str
) -> Any:
    """The intrinsic `(a, b, c, out, count, params)` that runs the formula with numbers by name."""
    wide = ELEMENTS[next((code for code in inputs if code != "b1"), output)]
    lanes = LANES if any(int(code[1]) > 1 for code in (*inputs, output)) else LANES * 4

    @intrinsic
    def run(typing: Any, a: Any, b: Any, c: Any, out: Any, count: Any, params: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            *addresses, out, count, params = arguments
            numbers = Emitter(builder, F64, 1)
            spread = Emitter(builder, wide, lanes)
            given = {
                name: spread.splat(numbers.number_at(builder.add(params, WORD(8 * i))).to(wide))
                for i, name in enumerate(names)
            }
            flags, rows = (word_at(builder, params, place) for place in (FLAGS, ROWS))
            steps = [word_at(builder, params, STEPS + i) for i in range(len(inputs))]
            steps.append(builder.mul(count, WORD(int(output[1]))))

            def row(_: Any, carried: list[Value]) -> list[Value]:
                places = [value.value for value in carried]
                arrays = [
                    _Array(builder, code, at, lanes)
                    for code, at in zip((*inputs, output), places, strict=True)
                ]
                _row(arrays, partial(formula, **given), count, flags, spread.mask_below)
                after = [builder.add(at, step) for at, step in zip(places, steps, strict=True)]
                return [Value(builder, at) for at in after]

            starts = [*addresses[: len(inputs)], out]
            loop(builder, WORD(0), rows, WORD(1), row, [Value(builder, at) for at in starts])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return run


def _row(
    arrays: Sequence[_Array],
    formula: Callable[..., Any],
    count: Any,
    flags: Any,
    mask_below: Callable[[Any], Any],
) -> None:
    """`count` elements of the last array; of those whose bits of `flags` are set, one for all."""
    *sources, target = arrays
    builder, emit = target.builder, target.emit
    if len(sources) > 1:
        sources = [x.repeated(_bit(builder, flags, i)) for i, x in enumerate(sources)]
    # Only whole vectors of the output are written past the cache: first come those before one.
    target.aside = _bit(builder, flags, ASIDE)
    shift = builder.and_(builder.neg(target.address), WORD(emit.bytes - 1))
    before = builder.sdiv(shift, WORD(emit.size))
    before = builder.select(builder.icmp_signed("<", before, count), before, count)
    before = builder.select(target.aside, before, WORD(0))

    def step(places: Sequence[Any], mask: Any = None) -> None:
        loaded = [[source.load(at, mask) for source in sources] for at in places]
        made = [formula(*values) for values in loaded]
        for value, at in zip(made, places, strict=True):
            target.store(value, at, mask)

    def part(number: Any, _: Any) -> Sequence[Value]:
        first = builder.icmp_signed("==", number, WORD(0))
        start = builder.select(first, WORD(0), before)
        stop = builder.select(first, before, count)
        done = _loop(builder, start, stop, UNROLL, emit.lanes, step)

        def rest(index: Any, _: Any) -> Sequence[Value]:
            step([index], mask_below(builder.sub(stop, index)))
            return []

        loop(builder, done, stop, WORD(emit.lanes), rest)
        return []

    none = builder.icmp_signed("==", before, WORD(0))
    loop(builder, builder.select(none, WORD(1), WORD(0)), WORD(2), WORD(1), part)


def _bit(builder: Any, word: Any, place: int) -> Any:
    return builder.trunc(builder.lshr(word, WORD(place)), BIT)


def _loop(
    builder: Any,
    start: Any,
    stop: Any,
    unroll: int,
    lanes: int,
    step: Callable[[Sequence[Any]], None],
) -> Any:
    """`step(places)` over whole turns of `unroll` vectors; where they end."""
    turn = WORD(unroll * lanes)
    whole = builder.mul(builder.sdiv(builder.sub(stop, start), turn), turn)
    whole = builder.add(start, whole)

    def several(index: Any, _: Any) -> Sequence[Value]:
        step([builder.add(index, WORD(i * lanes)) for i in range(unroll)])
        return []

    loop(builder, start, whole, turn, several)
    return whole


def _body(a, b, c, out, count, params):
    run(a, b, c, out, count, params)  # type: ignore[name-defined]  # noqa: F821


def formula_kernel(
    name: str, formula: Callable[..., Any], inputs: Sequence[str], output: str
) -> FormulaKernel:
    """The kernel of a formula.

    Args:
        name: unique; under it the machine code is kept on disk.
        formula: takes one Value per input and, keyword-only, the numbers that it is given as
            `params` (float64, one after the other); gives a Value.
        inputs: numpy's codes of the inputs' dtypes, up to three.
        output: numpy's code of the output's dtype; "b1" for a formula that gives truth values.
    """
    numbers = parameters_of(formula)[1]
    code = instance(name, _body, run=_emitted(formula, numbers, inputs, output))
    return FormulaKernel(code, inputs, output, numbers)
