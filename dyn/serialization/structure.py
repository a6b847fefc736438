"""Nested checkpoints as text: what surrounds the arrays of a saved object, and back again.

Arrays are put aside by name and the rest becomes JSON: dictionaries, lists, tuples, numbers, text.
Anything else is refused when it is saved, so a file never holds more than data.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from dyn.core.dtype import DType, of_name
from dyn.core.errors import StateError
from dyn.core.tensor import Tensor


class Taken:
    """Arrays put aside while an object is taken apart; one array object is stored once."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[int, str] = {}

    def add(self, array: np.ndarray, path: str) -> str:
        """Keep `array`, called `path` if that is free; returns its name in the file."""
        name = self._names.get(id(array))
        if name is None:
            name = path or "value"
            while name in self.arrays or name == "__metadata__":
                name += "_"
            self._names[id(array)] = name
            self.arrays[name] = array
        return name


def take_apart(value: Any) -> tuple[str, dict[str, np.ndarray]]:
    """An object as (JSON text, arrays by name).

    Raises:
        StateError: something in it is not data.
    """
    if _is_flat(value):
        return '{"tensors":null}', {name: tensor._read() for name, tensor in value.items()}
    taken = Taken()
    return json.dumps(_out(value, "", taken), separators=(",", ":")), taken.arrays


def _is_flat(value: Any) -> bool:
    """Whether a value is a dictionary of tensors that the names of the file describe fully."""
    if not isinstance(value, dict) or "__metadata__" in value:
        return False
    if not all(isinstance(k, str) and isinstance(t, Tensor) for k, t in value.items()):
        return False
    arrays = [tensor._array for tensor in value.values()]
    return all(a is not None for a in arrays) and len({id(a) for a in arrays}) == len(arrays)


def put_together(text: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """The object that `take_apart` was given; tensors are constants.

    Raises:
        StateError: the text was not written by `take_apart`.
    """
    try:
        return _in(json.loads(text), arrays)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise StateError("the description of the saved object is damaged") from None


def _out(value: Any, path: str, taken: Taken) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": repr(value)}
    if isinstance(value, complex):
        return {"complex": [repr(value.real), repr(value.imag)]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Tensor):
        if value._array is None:
            return {"tensor": None}
        return {"tensor": taken.add(value._read(), path)}
    if isinstance(value, np.ndarray):
        return {"array": taken.add(value, path)}
    if isinstance(value, np.generic):
        return {"number": taken.add(np.asarray(value), path)}
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, (list, tuple)):
        items = [_out(item, _join(path, i), taken) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        return {
            "dict": [
                [_key(key), _out(item, _join(path, key), taken)] for key, item in value.items()
            ]
        }
    where = f" at {path!r}" if path else ""
    raise StateError(
        f"a {type(value).__name__}{where} cannot be saved: a file holds tensors, arrays, numbers, "
        "text, lists, tuples and dictionaries; for a layer or optimiser save its state_dict()"
    )


def _key(key: Any) -> Any:
    if isinstance(key, (str, bool, int)) or key is None:
        return key
    if isinstance(key, (float, tuple)):
        return _out(key, "", Taken())
    raise StateError(f"a dictionary with the key {key!r:.60} cannot be saved; use text or numbers")


def _join(path: str, step: Any) -> str:
    return f"{path}/{step}" if path else str(step)


def _in(node: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(node, list):
        return [_in(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "dict":
        return {_in(key, arrays): _in(item, arrays) for key, item in content}
    if kind == "tensors":
        return {name: Tensor._of(array) for name, array in arrays.items()}
    if kind == "tensor":
        return Tensor() if content is None else Tensor._of(arrays[content])
    if kind == "array":
        return arrays[content]
    if kind == "number":
        return arrays[content][()]
    if kind == "tuple":
        return tuple(_in(item, arrays) for item in content)
    if kind == "float":
        return float(content)
    if kind == "complex":
        return complex(float(content[0]), float(content[1]))
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "dtype":
        return of_name(content)
    raise KeyError(kind)
