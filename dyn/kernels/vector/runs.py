"""Moving runs of elements of 1, 2, 4, 8 or 16 bytes, whatever they mean: copied, gathered, filled.

Parts of kernels; addresses are integers. How runs make up arrays is said in `copy.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from dyn.kernels.runtime.jit import intrinsic, kernel
from dyn.kernels.vector.simd import BYTE, INT16, INT32, LANES, WORD, Emitter, Value, loop

_SHORT = (ir.VectorType(INT32, 4), 16), (WORD, 8), (INT32, 4), (ir.IntType(16), 2), (BYTE, 1)
MANY = 2048
"""Bytes from which on the system's memcpy is faster than a plain loop."""
_LONG = ir.VectorType(INT32, 8), 32
BEYOND = 4 * LANES
"""Bytes of a vector."""
PAGE, NEAR, SHORT = 4096, 64, 256
"""A processor compares the addresses of loads and of stores before them modulo PAGE: a run that is
copied to less than NEAR bytes behind its own place there waits for itself and takes ten times as
long, unless it is copied from its end. Runs up to SHORT bytes do not matter.
"""


@extending.intrinsic
def pointer(typing: Any, address: Any, sample: Any) -> Any:
    """An address as a pointer to elements of the type of `sample`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(sample)
        return builder.inttoptr(values[0], kind.as_pointer())

    return types.CPointer(sample)(types.int64, sample), generate


@intrinsic
def copy_run(typing: Any, source: Any, target: Any, count: Any) -> Any:
    """Copy `count` bytes between places that do not overlap.

    The rows of images are short: a call of memcpy would cost more than the copy, so that is left to
    long runs. The last piece reaches back over what has been copied instead of being cut.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target, count = arguments

        def move(kind: Any, at: Any) -> None:
            places = [
                builder.inttoptr(builder.add(a, at), kind.as_pointer()) for a in (source, target)
            ]
            value = builder.load(places[0])
            value.align = 1
            builder.store(value, places[1]).align = 1

        def several(at: Any, _: Any) -> list[Any]:
            move(_LONG[0], at)
            return []

        def short(kinds: Any) -> None:
            """A run shorter than twice the first kind, in two pieces that may overlap."""
            if not kinds:
                return
            (kind, size), *rest = kinds
            with builder.if_else(builder.icmp_signed(">=", count, WORD(size))) as (yes, no):
                with yes:
                    move(kind, WORD(0))
                    move(kind, builder.sub(count, WORD(size)))
                with no:
                    short(rest)

        def backwards() -> None:
            kind, size = _LONG
            last = builder.sub(count, WORD(size))

            def one(at: Any, _: Any) -> list[Any]:
                move(kind, builder.sub(last, at))
                return []

            loop(builder, WORD(0), last, WORD(size), one)
            move(kind, WORD(0))

        def some() -> None:
            kind, size = _LONG
            with builder.if_else(builder.icmp_signed(">", count, WORD(size))) as (yes, no):
                with yes:
                    last = builder.sub(count, WORD(size))
                    loop(builder, WORD(0), last, WORD(size), several)
                    move(kind, last)
                with no:
                    short(_SHORT)

        def forwards() -> None:
            with builder.if_else(builder.icmp_signed(">", count, WORD(MANY))) as (yes, no):
                with yes:
                    pointers = [builder.inttoptr(a, BYTE.as_pointer()) for a in (target, source)]
                    cgutils.raw_memcpy(builder, *pointers, count, 1)
                with no:
                    some()

        apart = builder.and_(builder.sub(target, source), WORD(PAGE - 1))
        near = builder.icmp_unsigned("<", builder.sub(apart, WORD(1)), WORD(NEAR - 1))
        near = builder.and_(near, builder.icmp_signed(">", count, WORD(SHORT)))
        with builder.if_else(near) as (yes, no):
            with yes:
                backwards()
            with no:
                forwards()
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def copy_runs(
    typing: Any, source: Any, target: Any, count: Any, source_step: Any, target_step: Any, runs: Any
) -> Any:
    """Copy `runs` runs of up to SHORT bytes, so many that the size is looked at once for all."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target, count, source_step, target_step, runs = arguments

        def moved(kind: Any, starts: list[Any], at: Any) -> None:
            source, target = starts
            value = builder.load(builder.inttoptr(builder.add(source, at), kind.as_pointer()))
            value.align = 1
            place = builder.inttoptr(builder.add(target, at), kind.as_pointer())
            builder.store(value, place).align = 1

        def all_of(kind: Any, size: int) -> None:
            """Runs of at least the size of a kind: pieces of it, of which the last reaches back."""
            last = builder.sub(count, WORD(size))

            def one(_: Any, carried: list[Value]) -> list[Value]:
                starts = [place.value for place in carried]

                def piece(at: Any, _: Any) -> list[Value]:
                    moved(kind, starts, at)
                    return []

                loop(builder, WORD(0), last, WORD(size), piece)
                moved(kind, starts, last)
                steps = zip(starts, (source_step, target_step), strict=True)
                return [Value(builder, builder.add(place, step)) for place, step in steps]

            places = [Value(builder, place) for place in (source, target)]
            loop(builder, WORD(0), runs, WORD(1), one, places)

        def any_of(kinds: Any) -> None:
            if kinds:
                (kind, size), *rest = kinds
                with builder.if_else(builder.icmp_signed(">=", count, WORD(size))) as (yes, no):
                    with yes:
                        all_of(kind, size)
                    with no:
                        any_of(rest)

        any_of((_LONG, *_SHORT))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def repeat_each(
    typing: Any, source: Any, step: Any, target: Any, size: Any, count: Any, elements: Any
) -> Any:
    """Write each of `elements` elements of 1, 2, 4 or 8 bytes, `step` bytes apart, `count` times.

    Whole vectors are written: up to BEYOND bytes after the last element are lost.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, step, target, size, count, elements = arguments
        run = builder.mul(count, size)

        def all_of(element: Any, bytes_: int) -> None:
            emit = Emitter(builder, element, BEYOND // bytes_)

            def one(_: Any, carried: list[Value]) -> list[Value]:
                at, to = (place.value for place in carried)
                number = emit.splat_at(at)

                def piece(offset: Any, _: Any) -> list[Value]:
                    emit.store(number, builder.add(to, offset))
                    return []

                loop(builder, WORD(0), run, WORD(BEYOND), piece)
                return [Value(builder, builder.add(at, step)), Value(builder, builder.add(to, run))]

            places = [Value(builder, place) for place in (source, target)]
            loop(builder, WORD(0), elements, WORD(1), one, places)

        for element, bytes_ in ((BYTE, 1), (INT16, 2), (INT32, 4), (WORD, 8)):
            with builder.if_then(builder.icmp_signed("==", size, WORD(bytes_))):
                all_of(element, bytes_)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def clear_run(typing: Any, target: Any, count: Any) -> Any:
    """Set `count` bytes to zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, count = arguments
        cgutils.memset(builder, builder.inttoptr(target, BYTE.as_pointer()), count, 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@kernel
def fill_elements(target, bits, size, count):
    """Write the low bytes of a word to `count` elements of up to 8 bytes."""
    if bits == 0:
        clear_run(target, size * count)
    elif size == 4:
        four = pointer(target, np.int32(0))
        for i in range(count):
            four[i] = np.int32(bits)
    elif size == 8:
        eight = pointer(target, np.int64(0))
        for i in range(count):
            eight[i] = bits
    elif size == 2:
        two = pointer(target, np.int16(0))
        for i in range(count):
            two[i] = np.int16(bits)
    else:
        one = pointer(target, np.int8(0))
        for i in range(count):
            one[i] = np.int8(bits)


@kernel
def _bits(source, size):
    """The element of 1, 2, 4 or 8 bytes at an address, as a word."""
    if size == 4:
        return np.int64(pointer(source, np.int32(0))[0])
    if size == 8:
        return pointer(source, np.int64(0))[0]
    if size == 2:
        return np.int64(pointer(source, np.int16(0))[0])
    return np.int64(pointer(source, np.int8(0))[0])


@kernel
def copy_elements(source, step, target, size, count):
    """Bring `count` elements, `step` bytes apart, together."""
    if step == size:
        copy_run(source, target, size * count)
    elif step == 0 and size <= 8:
        fill_elements(target, _bits(source, size), size, count)
    elif size == 4:
        to = pointer(target, np.int32(0))
        if step == -4:
            back = pointer(source - 4 * (count - 1), np.int32(0))
            for i in range(count):
                to[i] = back[count - 1 - i]
        else:
            for i in range(count):
                to[i] = pointer(source + i * step, np.int32(0))[0]
    elif size == 8:
        wide = pointer(target, np.int64(0))
        for i in range(count):
            wide[i] = pointer(source + i * step, np.int64(0))[0]
    elif size == 1:
        small = pointer(target, np.int8(0))
        for i in range(count):
            small[i] = pointer(source + i * step, np.int8(0))[0]
    else:
        for i in range(count):
            copy_run(source + i * step, target + i * size, size)


@kernel
def gather_elements(source, step, target, size, count):
    """Bring `count` elements of 4 or 8 bytes, `step` bytes apart, together."""
    if size == 4:
        four = pointer(target, np.int32(0))
        for i in range(count):
            four[i] = pointer(source + i * step, np.int32(0))[0]
    else:
        eight = pointer(target, np.int64(0))
        for i in range(count):
            eight[i] = pointer(source + i * step, np.int64(0))[0]


@kernel
def spread_elements(source, target, step, size, count):
    """Bring `count` neighbours of 4 or 8 bytes to places that are `step` bytes apart."""
    if size == 4:
        four = pointer(source, np.int32(0))
        for i in range(count):
            pointer(target + i * step, np.int32(0))[0] = four[i]
    else:
        eight = pointer(source, np.int64(0))
        for i in range(count):
            pointer(target + i * step, np.int64(0))[0] = eight[i]
