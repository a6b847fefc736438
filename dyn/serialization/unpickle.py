"""Reading pickles of other frameworks without running anything: an unpickler that admits data only.

A pickle is a program that may call any function by name. Here every name is looked up in a short
table of stand-ins that build descriptions of arrays; every other name is refused. The stand-ins are
immutable objects, never functions or classes of ours, so that a pickle cannot change them either.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from dyn.core.dtype import as_numpy
from dyn.core.errors import StateError
from dyn.core.tensor import Tensor


class StandIn:
    """What a pickled name stands for: callable with data, and nothing else."""

    __slots__ = ("_function", "_name")

    def __init__(self, name: str, function: Callable[..., Any]):
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise StateError(f"the pickle tries to change {self._name}")

    def __setstate__(self, state: Any) -> None:
        raise StateError(f"the pickle tries to change {self._name}")

    def __repr__(self) -> str:
        return f"<{self._name}>"


_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_KEY_PARTS = 1000
"""How many parts a dictionary key may have; a tuple that holds one tuple twice has it twice."""


def check_key(key: Any) -> None:
    """Raise StateError unless hashing `key` is quick: nested tuples can make it take for ever."""
    waiting = [key]
    seen = 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if isinstance(item, tuple) and seen + len(waiting) + len(item) <= _KEY_PARTS:
            waiting.extend(item)
        elif not isinstance(item, (*_ATOMS, frozenset)):
            raise StateError(
                f"the pickle has a {type(item).__name__} for a key, or too large a one"
            )


class Dict(dict[Any, Any]):
    """An OrderedDict of the pickle; attributes put on it are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


def _ordered(items: Any = ()) -> Dict:
    """An OrderedDict; protocol 2 of Python 2 gives it its pairs at once."""
    found = Dict()
    for key, value in items:
        check_key(key)
        found[key] = value
    return found


class Dtype:
    """A pickled numpy dtype: numbers and booleans only."""

    __slots__ = ("order", "text")

    def __init__(self, text: Any, *rest: Any):
        self.text = text
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise StateError(f"a numpy dtype has byte order {order!r}")
        self.order = order

    def numpy(self) -> np.dtype:
        """The dtype; StateError unless it is a number or a boolean."""
        text = str(self.text)
        if text == "bfloat16":
            return as_numpy(text)
        kind, size = text[:1], text[1:]
        if kind not in "biufc" or size not in ("1", "2", "4", "8", "16"):
            raise StateError(f"an array of dtype {text!r} is not loaded; only numbers are")
        return np.dtype(f"{self.order if self.order in '<>' else '<'}{kind}{size}")


class Array:
    """A pickled numpy array: shape, dtype and raw bytes, checked against each other."""

    __slots__ = ("value",)

    def __init__(self, *args: Any):
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, columns_first, raw = state
        self.value = array_of(raw, dtype, shape, "F" if columns_first else "C")


def array_of(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array over raw bytes; StateError unless the bytes are exactly what shape and dtype say."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(raw, (bytes, bytearray)) or not isinstance(dtype, Dtype):
        raise StateError("an array in the pickle does not consist of numbers")
    found = dtype.numpy()
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise StateError(f"an array in the pickle has shape {shape!r:.60}")
    if math.prod(shape) * found.itemsize != len(raw):
        raise StateError(f"an array of shape {list(shape)} comes with {len(raw)} bytes")
    array = np.frombuffer(raw, found).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(found.newbyteorder("=")) if found.kind != "V" else array.copy()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    out = Array()
    out.value = array_of(bytes(raw), dtype, shape, order)
    return out


def _scalar(dtype: Any, raw: Any) -> Array:
    out = Array()
    out.value = array_of(raw, dtype, (), "C")
    return out


def _bytes(*args: Any) -> bytes:
    """How protocol 2 spells no bytes at all."""
    if args:
        raise StateError("the pickle makes bytes in an unknown way")
    return b""


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 spells bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise StateError("the pickle encodes something that is not bytes")
    return text.encode("latin1")


NUMPY: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): StandIn("OrderedDict", _ordered),
    ("__builtin__", "bytes"): StandIn("bytes", _bytes),
    ("_codecs", "encode"): StandIn("_codecs.encode", _encode),
    ("numpy", "ndarray"): StandIn("numpy.ndarray", Array),
    ("numpy", "dtype"): StandIn("numpy.dtype", Dtype),
}
"""Names that any file of arrays may ask for."""
for _package in ("numpy.core", "numpy._core"):
    NUMPY[_package + ".multiarray", "_reconstruct"] = StandIn("numpy array", Array)
    NUMPY[_package + ".multiarray", "scalar"] = StandIn("numpy scalar", _scalar)
    NUMPY[_package + ".numeric", "_frombuffer"] = StandIn("numpy array", _from_buffer)


# The interpreter written in C keeps its memo in an array as long as the largest index, which a file
# of ten bytes can choose, and hashes keys unseen; the one in Python lets us look.
_Interpreter: Any = pickle._Unpickler  # type: ignore[attr-defined]


class ArrayUnpickler(_Interpreter):
    """An unpickler that knows the names it was given, and refuses every other.

    Args:
        file: binary file.
        names: stand-in by (module, name).
        what: the file, for messages.
        persistent: what a persistent id stands for; refused if None.
    """

    def __init__(
        self,
        file: Any,
        names: Mapping[tuple[str, str], Any],
        what: str,
        persistent: Callable[[Any], Any] | None = None,
    ):
        super().__init__(file, encoding="latin1")
        self._names = names
        self._what = what
        self._persistent = persistent

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(_Interpreter.dispatch)
    """What each instruction does: as in any pickle, after a look at what will be hashed."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name; StateError if it has none."""
        found = self._names.get((module, name))
        if found is None:
            raise StateError(
                f"{self._what} asks for {module}.{name} while it is read; dyn.load takes arrays, "
                "numbers, text and containers from a pickle and runs nothing. Save a state_dict "
                "instead of a whole object"
            )
        return found

    def persistent_load(self, pid: Any) -> Any:
        """An object stored beside the pickle."""
        if self._persistent is None:
            raise StateError(f"{self._what} refers to data outside the pickle")
        return self._persistent(pid)

    def result(self, resolver: Resolver) -> Any:
        """The object, with Tensors in the place of arrays.

        Raises:
            StateError: the pickle is damaged or holds more than data.
        """
        try:
            return resolver.resolve(self.load())
        except StateError:
            raise
        except RecursionError:
            raise StateError(f"{self._what} is nested too deeply") from None
        except Exception as error:
            raise StateError(f"{self._what} is damaged: {error}") from None


def _checking_keys(code: bytes, keys: Callable[[ArrayUnpickler], Any]) -> None:
    """Let an instruction check what it is about to hash.

    Args:
        code: the instruction.
        keys: finds on the stack of the unpickler what will be hashed.
    """
    run = _Interpreter.dispatch[code[0]]

    def checked(self: ArrayUnpickler) -> None:
        for key in keys(self):
            check_key(key)
        run(self)

    ArrayUnpickler.dispatch[code[0]] = checked


def _load_bytearray(self: ArrayUnpickler) -> None:
    """Read first and allocate then: the length is whatever the file says."""
    size = int.from_bytes(self.read(8), "little")
    raw = self.read(size)
    if len(raw) != size:
        raise StateError(f"{self._what} is damaged: its end is missing")
    self.append(bytearray(raw))


ArrayUnpickler.dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray

# Items since the last mark lie in `stack`; instructions on one item find it there too.
_checking_keys(pickle.SETITEM, lambda self: self.stack[-2:-1])
_checking_keys(pickle.SETITEMS, lambda self: self.stack[::2])
_checking_keys(pickle.DICT, lambda self: self.stack[::2])
_checking_keys(pickle.ADDITEMS, lambda self: self.stack)
_checking_keys(pickle.FROZENSET, lambda self: self.stack)


class Resolver:
    """Turns what the stand-ins built into Tensors, in nested containers.

    What is shared is visited once and stays shared, so a file cannot make the walk explode.
    """

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}

    def tensor(self, array: np.ndarray) -> Tensor:
        """What an array becomes."""
        return Tensor._of(array)

    def whole(self, items: tuple[Any, ...]) -> Any:
        """What a tuple of resolved items becomes."""
        return items

    def resolve(self, value: Any) -> Any:
        """The value with Tensors in the place of arrays.

        Raises:
            StateError: it holds something that is not data.
        """
        if isinstance(value, _ATOMS):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        out: Any
        if isinstance(value, Array):
            if value.value is None:
                raise StateError("an array in the pickle has no data")
            out = self.tensor(value.value)
        elif isinstance(value, dict):
            out = self._done[id(value)] = {}
            for key, item in value.items():
                out[self.resolve(key)] = self.resolve(item)
        elif isinstance(value, list):
            out = self._done[id(value)] = []
            out.extend(self.resolve(item) for item in value)
        elif isinstance(value, tuple):
            out = self.whole(tuple(self.resolve(item) for item in value))
        elif isinstance(value, (set, frozenset)):
            out = type(value)(self.resolve(item) for item in value)
        elif isinstance(value, Dtype):
            out = value.numpy().name
        else:
            raise StateError(f"the pickle holds {value!r:.60}, which is not data")
        self._done[id(value)] = out
        return out
