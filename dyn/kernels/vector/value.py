"""Values in registers: numbers or vectors of them, with operators that emit LLVM instructions.

A formula written with operators serves vectors of any width and single numbers alike. No
instruction of a processor is named, so LLVM serves x86 and ARM. Memory and loops are in `simd.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

BIT, BYTE, INT16, INT32, WORD = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()

_FLOATS = (F32, F64)
NAMES = {F32: "f32", F64: "f64", INT32: "i32", WORD: "i64", INT16: "i16", BYTE: "i8",
         BIT: "i1"}  # fmt: skip
_FUSE = ("contract",)
"""Lets a product and a sum become one instruction with one rounding, and nothing else."""


def vector_type(element: Any, lanes: int) -> Any:
    """LLVM's type of `lanes` elements; the element itself for one."""
    return ir.VectorType(element, lanes) if lanes > 1 else element


def constant(kind: Any, number: Any) -> Any:
    """A constant with the same number in every lane."""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    if element in _FLOATS:
        # LLVM takes only what the type holds exactly.
        number = float(np.float32(number)) if element is F32 else float(number)
    else:
        number = int(number)
    return ir.Constant(kind, [number] * kind.count if kind is not element else number)


def call_llvm(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    """A call of one of LLVM's own functions."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, list(arguments))


class Value:
    """Numbers or truth values in a register, a vector of them or a single one.

    Operators emit instructions; the other operand is a Value of the same type or a Python number.
    Comparisons give truth values and are false for NaN, except "!=". Integers are signed.
    """

    __slots__ = ("builder", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    @property
    def lanes(self) -> int:
        """How many numbers: 1 for a single one."""
        kind = self.value.type
        return kind.count if isinstance(kind, ir.VectorType) else 1

    @property
    def element(self) -> Any:
        """LLVM's type of one number."""
        kind = self.value.type
        return kind.element if isinstance(kind, ir.VectorType) else kind

    def made(self, value: Any) -> Value:
        """An LLVM value of the same function as a Value."""
        return Value(self.builder, value)

    def like(self, number: Any) -> Value:
        """A Python number in every lane, of this Value's type; Values as they are."""
        if isinstance(number, Value):
            return number
        return self.made(constant(self.value.type, number))

    def call(self, name: str, *others: Any) -> Value:
        """One of LLVM's functions on Values of this type: x.call("rint")."""
        values = [self.value, *(self.like(other).value for other in others)]
        shape = f"v{self.lanes}" if self.lanes > 1 else ""
        full = f"llvm.{name}.{shape}{NAMES[self.element]}"
        return self.made(call_llvm(self.builder, full, self.value.type, values))

    def _binary(self, name: str, other: Any, *, swapped: bool = False) -> Value:
        a, b = self.value, self.like(other).value
        if swapped:
            a, b = b, a
        if self.element in _FLOATS:
            return self.made(getattr(self.builder, "f" + name)(a, b, flags=_FUSE))
        return self.made(getattr(self.builder, name)(a, b))

    def __add__(self, other: Any) -> Value:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Value:
        return self._binary("add", other, swapped=True)

    def __sub__(self, other: Any) -> Value:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._binary("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._binary("mul", other)

    def __rmul__(self, other: Any) -> Value:
        return self._binary("mul", other, swapped=True)

    def __truediv__(self, other: Any) -> Value:
        return self._binary("div", other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._binary("div", other, swapped=True)

    def __neg__(self) -> Value:
        return self.made(self.builder.fneg(self.value))

    def __abs__(self) -> Value:
        return self.call("fabs")

    def __lshift__(self, count: int) -> Value:
        return self.made(self.builder.shl(self.value, self.like(count).value))

    def __rshift__(self, count: int) -> Value:
        return self.made(self.builder.ashr(self.value, self.like(count).value))

    def __and__(self, other: Any) -> Value:
        return self.made(self.builder.and_(self.value, self.like(other).value))

    def __or__(self, other: Any) -> Value:
        return self.made(self.builder.or_(self.value, self.like(other).value))

    def __xor__(self, other: Any) -> Value:
        return self.made(self.builder.xor(self.value, self.like(other).value))

    def __invert__(self) -> Value:
        return self.made(self.builder.not_(self.value))

    def _compare(self, relation: str, other: Any) -> Value:
        other = self.like(other).value
        if self.element not in _FLOATS:
            return self.made(self.builder.icmp_signed(relation, self.value, other))
        compare = self.builder.fcmp_unordered if relation == "!=" else self.builder.fcmp_ordered
        return self.made(compare(relation, self.value, other))

    def __lt__(self, other: Any) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Value:
        return self._compare(">=", other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("!=", other)

    def to(self, element: Any) -> Value:
        """The same numbers as another element type; floats become integers toward zero."""
        old, kind, build = self.element, vector_type(element, self.lanes), self.builder
        if old == element:
            return self
        if old in _FLOATS and element in _FLOATS:
            convert = build.fpext if element is F64 else build.fptrunc
        elif old in _FLOATS:
            convert = build.fptosi
        elif element in _FLOATS:
            convert = build.uitofp if old == BIT else build.sitofp
        elif element.width > old.width:
            convert = build.zext if old == BIT else build.sext
        else:
            convert = build.trunc
        return self.made(convert(self.value, kind))

    def bits(self, element: Any) -> Value:
        """The same bits read as another element type of equal size."""
        return self.made(self.builder.bitcast(self.value, vector_type(element, self.lanes)))

    def at(self, lane: int) -> Value:
        """The number in one lane."""
        return self.made(self.builder.extract_element(self.value, INT32(lane)))

    def shuffled(self, lanes: Sequence[int], other: Value | None = None) -> Value:
        """The numbers of the named lanes, `other`'s being numbered after this Value's."""
        second = self.value if other is None else other.value
        order = ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes))
        return self.made(self.builder.shuffle_vector(self.value, second, order))

    def any(self) -> Any:
        """Whether a truth value holds in any lane, as an LLVM bit."""
        if self.lanes == 1:
            return self.value
        name = f"llvm.vector.reduce.or.v{self.lanes}i1"
        return call_llvm(self.builder, name, BIT, [self.value])

    def folded(self, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined to a single number, in halves."""
        found, lanes = self, self.lanes
        while lanes > 1:
            lanes //= 2
            order = [(lane + lanes) % self.lanes for lane in range(self.lanes)]
            found = combine(found, found.shuffled(order))
        return found.at(0) if self.lanes > 1 else found


def choose(condition: Value, a: Any, b: Any) -> Value:
    """a where the condition holds, else b; at least one of them is a Value."""
    kind = a if isinstance(a, Value) else b
    chosen = kind.builder.select(condition.value, kind.like(a).value, kind.like(b).value)
    return kind.made(chosen)


def branch(
    builder: Any,
    condition: Any,
    made: Callable[[], Sequence[Value]],
    otherwise: Callable[[], Sequence[Value]],
) -> list[Value]:
    """Values made in one of two ways, of which the other is not taken.

    Args:
        builder: where instructions go.
        condition: an LLVM bit.
        made: emits the way taken where the condition holds.
        otherwise: emits the other; gives Values of the same types.
    """
    with builder.if_else(condition) as (yes, no):
        with yes:
            first = made()
            after_first = builder.block
        with no:
            second = otherwise()
            after_second = builder.block
    joined = []
    for a, b in zip(first, second, strict=True):
        phi = builder.phi(a.value.type)
        phi.add_incoming(a.value, after_first)
        phi.add_incoming(b.value, after_second)
        joined.append(a.made(phi))
    return joined


def lookup(table: Sequence[float], index: Value) -> Value:
    """The float64 numbers of a constant table at integer places, which must be within it."""
    builder = index.builder
    kind = ir.ArrayType(F64, len(table))
    stored = cgutils.global_constant(builder, "table", ir.Constant(kind, list(table)))
    found = ir.Constant(vector_type(F64, index.lanes), ir.Undefined)
    for lane in range(index.lanes):
        place = index.at(lane).value if index.lanes > 1 else index.value
        number = builder.load(builder.gep(stored, [INT32(0), place]))
        found = builder.insert_element(found, number, INT32(lane)) if index.lanes > 1 else number
    return index.made(found)


def fma(a: Value, b: Any, c: Any) -> Value:
    """a * b + c, in one rounding where the processor can."""
    return a.call("fmuladd", b, c)


def maximum(a: Value, b: Any) -> Value:
    """The larger number, NaN if either is NaN."""
    b = a.like(b)
    return choose((a > b) | (a != a), a, b)


def minimum(a: Value, b: Any) -> Value:
    """The smaller number, NaN if either is NaN."""
    b = a.like(b)
    return choose((a < b) | (a != a), a, b)


def total(*values: Value) -> Value:
    """The sum of all lanes of all vectors, as a single number; vectors are added in pairs first."""
    left = list(values)
    while len(left) > 1:
        pairs = [left[i] + left[i + 1] for i in range(0, len(left) - 1, 2)]
        left = pairs + left[2 * len(pairs) :]
    return left[0].folded(lambda a, b: a + b)


def transpose(rows: Sequence[Value]) -> list[Value]:
    """The columns of a square of as many vectors as each has lanes."""
    lanes, found, half = len(rows), list(rows), 1
    while half < lanes:
        low = [i if not i & half else lanes + i - half for i in range(lanes)]
        high = [i + half if not i & half else lanes + i for i in range(lanes)]
        swapped = list(found)
        for i in range(lanes):
            if not i & half:
                a, b = found[i], found[i + half]
                swapped[i], swapped[i + half] = a.shuffled(low, b), a.shuffled(high, b)
        found, half = swapped, 2 * half
    return found


def interleaved(rows: Sequence[Value]) -> list[Value]:
    """The columns of rows, one after the other, in as many vectors."""
    count, lanes = len(rows), rows[0].lanes
    places = [divmod(i, count) for i in range(count * lanes)]
    return [
        _picked(rows, [(row, column) for column, row in places[start : start + lanes]])
        for start in range(0, count * lanes, lanes)
    ]


def apart(vectors: Sequence[Value]) -> list[Value]:
    """The other way round: the rows of columns that lie one after the other."""
    count, lanes = len(vectors), vectors[0].lanes
    return [
        _picked(vectors, [divmod(row + count * i, lanes) for i in range(lanes)])
        for row in range(count)
    ]


def _picked(vectors: Sequence[Value], places: Sequence[tuple[int, int]]) -> Value:
    """Numbers of vectors, each from a (vector, lane)."""
    lanes = vectors[0].lanes
    found = vectors[0].shuffled([lane for _, lane in places])
    for number, vector in enumerate(vectors[1:], 1):
        order = [lanes + at if of == number else i for i, (of, at) in enumerate(places)]
        found = found.shuffled(order, vector)
    return found
