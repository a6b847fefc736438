"""Element types: their names, numpy twins, and Paddle's promotion rules.

Inside the library an element type is a `numpy.dtype`; `DType` is what users see and pass.
bfloat16 is storage (`ml_dtypes`, loaded only when it is used): arithmetic goes through float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from dyn.core.errors import AttributeValueError, DTypeError

LARGE, LINE = 16_384, 64
"""Bytes of an array from which on it matters where it lies; bytes of a cache line."""


class DType:
    """An element type such as `dyn.float32`. Compares equal to its name and its numpy dtype."""

    __slots__ = ("name",)
    _known: ClassVar[dict[str, DType]] = {}

    def __init__(self, name: str):
        self.name = name
        DType._known[name] = self

    @property
    def numpy(self) -> np.dtype:
        """The numpy dtype that stores this type."""
        return _numpy_of(self.name)

    @property
    def is_floating_point(self) -> bool:
        """Whether it is float16, bfloat16, float32 or float64."""
        return "float" in self.name

    def __repr__(self) -> str:
        return f"dyn.{self.name}"

    def __str__(self) -> str:
        return f"dyn.{self.name}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other
        try:
            return as_numpy(other) == self.numpy
        except (TypeError, ValueError):
            return False

    def __hash__(self) -> int:
        return hash(self.numpy)

    def __reduce__(self):
        return (of_name, (self.name,))


float16 = DType("float16")
bfloat16 = DType("bfloat16")
float32 = DType("float32")
float64 = DType("float64")
int8 = DType("int8")
int16 = DType("int16")
int32 = DType("int32")
int64 = DType("int64")
uint8 = DType("uint8")
bool_ = DType("bool")
complex64 = DType("complex64")
complex128 = DType("complex128")

_ALIASES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "int": "int64",
    "long": "int64",
    "bool_": "bool",
}
F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)
I64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)
_default: np.dtype = F32


@cache
def _numpy_of(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


@lru_cache(256)
def of_name(name: str) -> DType:
    """The DType called `name` (Paddle's or numpy's name, with or without a package prefix)."""
    short = name.rsplit(".", 1)[-1]
    short = _ALIASES.get(short, short)
    found = DType._known.get(short)
    if found is None:
        known = ", ".join(DType._known)
        raise AttributeValueError(f"there is no dtype {name!r}; the dtypes are {known}")
    return found


@cache
def of_numpy(dtype: np.dtype) -> DType:
    """The DType stored as `dtype`; DTypeError where dyn has none (uint16, str, object ...)."""
    found = DType._known.get(dtype.name)
    if found is None:
        known = ", ".join(DType._known)
        raise DTypeError(f"numpy dtype {dtype} has no counterpart in dyn; it has {known}")
    return found


@cache
def name_of(dtype: np.dtype) -> str:
    """The name of a dtype, which numpy puts together anew each time it is asked."""
    return dtype.name


def as_numpy(dtype: Any) -> np.dtype:
    """The numpy dtype meant by a DType, a name, a numpy dtype, or a Python type."""
    if isinstance(dtype, DType):
        return dtype.numpy
    if isinstance(dtype, np.dtype):
        return dtype
    if isinstance(dtype, str):
        return of_name(dtype).numpy
    if dtype is float:
        return _default
    if dtype is int:
        return I64
    if dtype is bool:
        return BOOL
    try:
        return np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{dtype!r} is not a dtype; pass dyn.float32 or 'float32'") from None


def finfo(dtype: Any) -> SimpleNamespace:
    """The limits of a floating-point dtype: `min`, `max`, `eps`, `tiny`, `resolution`, `bits` ...

    Raises:
        DTypeError: the dtype is not floating point.
    """
    import ml_dtypes

    own = as_numpy(dtype)
    if not is_float(own):
        raise DTypeError(f"finfo is of floating-point dtypes, not {own.name}; use iinfo")
    found = ml_dtypes.finfo(own)
    names = ("min", "max", "eps", "tiny", "smallest_normal", "resolution")
    limits = {name: float(getattr(found, name)) for name in names}
    return SimpleNamespace(**limits, bits=found.bits, dtype=own.name)


def iinfo(dtype: Any) -> SimpleNamespace:
    """The limits of an integer dtype: `min`, `max`, `bits`, and its name `dtype`.

    Raises:
        DTypeError: the dtype is not one of integers.
    """
    own = as_numpy(dtype)
    if own.kind not in "iu":
        raise DTypeError(f"iinfo is of integer dtypes, not {own.name}; use finfo")
    found = np.iinfo(own)
    return SimpleNamespace(min=int(found.min), max=int(found.max), bits=found.bits, dtype=own.name)


def get_default_dtype() -> str:
    """Name of the dtype of parameters and of Python floats: "float32" unless it was changed."""
    return _default.name


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of new parameters and of Python floats (a floating-point dtype)."""
    global _default
    chosen = as_numpy(dtype)
    if not is_float(chosen):
        raise DTypeError(f"the default dtype must be a floating-point dtype, not {chosen.name}")
    _default = chosen


def default_float() -> np.dtype:
    """The default dtype as numpy knows it."""
    return _default


@cache
def rank(dtype: np.dtype) -> int:
    """Kind of number: 0 bool, 1 integer, 2 floating point, 3 complex."""
    if dtype.kind == "b":
        return 0
    if dtype.kind in "iu":
        return 1
    if dtype.kind == "c":
        return 3
    if dtype.kind == "f" or dtype.name == "bfloat16":
        return 2
    raise DTypeError(f"dtype {dtype} is not a number")


def is_float(dtype: np.dtype) -> bool:
    """Whether `dtype` is a floating-point type (bfloat16 included)."""
    return rank(dtype) == 2


def is_inexact(dtype: np.dtype) -> bool:
    """Whether gradients can flow through values of `dtype` (floating point or complex)."""
    return rank(dtype) >= 2


@cache
def promote(a: np.dtype, b: np.dtype) -> np.dtype:
    """Common dtype of two tensors: the higher kind wins, within a kind the wider type.

    Source: Paddle's tensor promotion (int with float gives the float's dtype, whatever the width).
    """
    if a == b:
        return a
    ra, rb = rank(a), rank(b)
    if {ra, rb} == {2, 3}:
        real, comp = (a, b) if ra == 2 else (b, a)
        return np.promote_types(comp, np.complex128) if real == F64 else comp
    if ra != rb:
        return a if ra > rb else b
    if ra == 2 and "bfloat16" in (a.name, b.name):
        other = b if a.name == "bfloat16" else a
        return other if other.itemsize > 2 else F32
    return np.promote_types(a, b)


def common_dtype(operands: Iterable[tuple[tuple[Any, ...], np.dtype]]) -> np.dtype:
    """Common dtype of operands given as (shape, dtype): a 0-d one does not widen the others.

    0-d operands only count where their kind of number is higher, as in PyTorch's promotion and in
    that of Paddle's arithmetic: float32 of shape [2] with 0-d float64 is float32.
    """
    sized: np.dtype | None = None
    single: np.dtype | None = None
    for shape, dtype in operands:
        if shape:
            sized = dtype if sized is None else promote(sized, dtype)
        else:
            single = dtype if single is None else promote(single, dtype)
    if sized is None or single is None:
        found = single if sized is None else sized
        assert found is not None
        return found
    if rank(single) <= rank(sized):
        return sized
    # Real numbers keep their width beside a complex one.
    wide = rank(sized) == 2 and rank(single) == 3
    return promote(sized, _numpy_of("complex64") if wide else single)


def scalar_dtype(value: bool | int | float | complex, other: np.dtype) -> np.dtype:
    """Dtype a Python scalar takes beside a tensor of dtype `other`: the tensor's if it can."""
    if isinstance(value, (bool, np.bool_)):
        kind = 0
    elif isinstance(value, (int, np.integer)):
        kind = 1
    elif isinstance(value, complex):
        kind = 3
    else:
        kind = 2
    if kind <= rank(other):
        return other
    return (BOOL, I64, _default, _numpy_of("complex64"))[kind]


def need_kind(own: np.dtype, found: np.dtype) -> None:
    """See to it that a tensor of dtype `own` can be bound to a result of dtype `found`.

    Raises:
        DTypeError: the result is of a higher kind, such as fractions for integers.
    """
    if rank(found) > rank(own):
        raise DTypeError(
            f"a result of {name_of(found)} does not go into a tensor of {name_of(own)} without a "
            "loss; write x = x * y in place of x *= y, or cast() the tensor or the result first"
        )


def of_data(array: np.ndarray, typed: bool) -> np.dtype:
    """The dtype of a tensor of what numpy made of data, which has dtypes of its own or not.

    Raises:
        AttributeValueError: an integer is too large for int64.
        DTypeError: the data are no numbers.
    """
    dtype = array.dtype
    if not typed and dtype == F64:
        return _default
    if not typed and dtype == np.complex128:
        return _numpy_of("complex64")
    if not typed and dtype.kind in "uO":
        large = _large(array)
        if large is not None:
            raise _too_large(large, I64)
    if dtype.kind in "OSU":
        raise DTypeError(f"data of type {dtype} cannot become a tensor; numbers or booleans can")
    of_numpy(dtype)
    return dtype


def copied(data: Any) -> np.ndarray:
    """Data as an array of its own, which begins with a cache line if it is large.

    Its bytes are in the order of this machine: those of files may be in the other one.

    numpy leaves large arrays 16 bytes behind one: vectors of 64 bytes then take twice as long.
    """
    if data.__class__ is not np.ndarray or data.nbytes < LARGE or data.dtype.hasobject:
        array = np.array(data, order="C")
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    dtype = data.dtype if data.dtype.isnative else data.dtype.newbyteorder("=")
    memory = np.empty(data.nbytes + LINE, np.uint8)
    array = np.ndarray(data.shape, dtype, memory, -memory.ctypes.data % LINE)
    array[...] = data
    return array


def convert(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Data of a user as another dtype."""
    try:
        return array.astype(dtype)
    except OverflowError:
        raise _too_large(_large(array), dtype) from None


def _large(array: np.ndarray) -> int | None:
    """The first integer that int64 cannot hold."""
    whole = (n for n in array.reshape(-1).tolist() if isinstance(n, int))
    return next((n for n in whole if not -(2**63) <= n < 2**63), None)


def _too_large(number: int | None, dtype: np.dtype) -> AttributeValueError:
    return AttributeValueError(
        f"the number {number} does not fit into {dtype.name}; a floating-point dtype can hold it"
    )
