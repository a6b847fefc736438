"""Files of PaddlePaddle: `.pdparams` and `.pdopt`, pickles of dictionaries of arrays."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from dyn.core.dtype import as_numpy
from dyn.core.errors import StateError
from dyn.core.tensor import Tensor
from dyn.serialization.unpickle import NUMPY, Array, ArrayUnpickler, Resolver, StandIn

_NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"
_OLD_PYTORCH = 0x1950A86A20F9469CFC6C
"""The number with which files of PyTorch began before they were zip archives."""


def _evaluate(source: Any, names: Any = None) -> Any:
    """Paddle spells an array `eval('data', {'data': array})`; nothing is evaluated here."""
    if source != "data" or not isinstance(names, dict) or not isinstance(names.get("data"), Array):
        raise StateError(f"the file asks to evaluate {source!r:.60}; it is not loaded")
    return names["data"]


def _tuple(items: Any = ()) -> tuple[Any, ...]:
    return tuple(items)


_NAMES = {
    **NUMPY,
    ("builtins", "tuple"): StandIn("tuple", _tuple),
    ("__builtin__", "tuple"): StandIn("tuple", _tuple),
    ("builtins", "eval"): StandIn("eval", _evaluate),
    ("__builtin__", "eval"): StandIn("eval", _evaluate),
}


class _Resolver(Resolver):
    """Paddle writes a tensor inside nested objects as a pair of its name and its array.

    It has no uint16: arrays of that dtype are the bits of bfloat16, which numpy lacks.
    """

    def tensor(self, array: np.ndarray) -> Tensor:
        return Tensor._of(array.view(as_numpy("bfloat16")) if array.dtype == np.uint16 else array)

    def whole(self, items: tuple[Any, ...]) -> Any:
        if len(items) == 2 and isinstance(items[0], str) and isinstance(items[1], Tensor):
            named = Tensor._of(items[1]._read())
            named.name = items[0]
            return named
        return items


def read(path: str | os.PathLike[str]) -> Any:
    """The object in a pickle of arrays, with Tensors in the place of arrays.

    Raises:
        StateError: the file is damaged, or asks for anything but arrays and containers.
    """
    with open(path, "rb") as file:
        found = ArrayUnpickler(file, _NAMES, str(path)).result(_Resolver())
    if found == _OLD_PYTORCH:
        raise StateError(
            f"{path} has the format of PyTorch before 1.6; load it there and save it again, "
            "torch.save(torch.load(path), path)"
        )
    if isinstance(found, dict):
        found.pop(_NAME_TABLE, None)
        try:
            _join_slices(found)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise StateError(f"{path} is damaged: its sliced parameters do not fit") from None
    return found


def _join_slices(state: dict[Any, Any]) -> None:
    """Put arrays above 1 GiB together again, which old pickle protocols had to cut."""
    for name, info in (state.pop(_SLICES, None) or {}).items():
        parts = [state.pop(part)._read() for part in info["slices"]]
        state[name] = Tensor._of(np.concatenate(parts).reshape(info["OriginShape"]))
