"""What a file takes and gives, and the one check that stands between a caller and onnxruntime.

Everything wrong with a call is found before it runs and told in a single `PredictorError`.
Nothing here opens a file or a session. Sizes are numbers, names (symbolic) or None (anonymous).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple["int | str | None", ...]

STRING = np.dtype(object)
"""The numpy dtype of ONNX string tensors."""

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}
"""Numpy's kinds of number; Python numbers of one kind become those of the same or a higher rank."""


class PredictorError(ValueError):
    """A file that cannot be served, or a call that it cannot answer: what was wanted, what came."""


@dataclass(frozen=True)
class TensorInfo:
    """One input, output or state of a file.

    Attributes:
        name: the name in the file.
        dtype: numpy dtype; `object` for strings.
        shape: one entry an axis: a size, the name of a symbolic size, or None where the file
            gives neither. None instead of a tuple means that even the rank is open.
        optional: the file holds a default, so a call may leave the input out.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape | None
    optional: bool = False

    @property
    def is_static(self) -> bool:
        """Whether every size is a number."""
        return self.shape is not None and all(isinstance(size, int) for size in self.shape)

    def __str__(self) -> str:
        word = "string" if self.dtype == STRING else self.dtype.name
        sizes = ["..."] if self.shape is None else ["?" if n is None else n for n in self.shape]
        return f"{word}[{', '.join(map(str, sizes))}]"


def show(array: np.ndarray) -> str:
    """dtype and shape of an array: `float32[2, 3]`."""
    return f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"


class Signature:
    """Turns the arguments of a call into onnxruntime's feeds, or says all that is wrong."""

    def __init__(self, inputs: Sequence[TensorInfo], subject: str):
        """Check against `inputs` (in file order); `subject` opens every message."""
        self._inputs = tuple(inputs)
        self._required = tuple(info.name for info in inputs if not info.optional)
        self._subject = subject

    def feeds(self, args: tuple[Any, ...]) -> dict[str, np.ndarray]:
        """The arrays of one call by input name.

        Args:
            args: one mapping of names to values, or one value for every required input, in order.

        Raises:
            PredictorError: names, number, dtypes, ranks or sizes differ from what the file wants.
        """
        if len(args) == 1 and isinstance(args[0], Mapping):
            return self.check(args[0])
        if len(args) != len(self._required):
            wanted = ", ".join(f"{i.name}: {i}" for i in self._inputs if not i.optional)
            raise PredictorError(
                f"{self._subject}: wanted {len(self._required)} inputs ({wanted}), "
                f"given {len(args)}"
            )
        return self.check(dict(zip(self._required, args, strict=True)))

    def check(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The arrays of one call, from values by name. Raises as `feeds` does."""
        feeds: dict[str, np.ndarray] = {}
        symbols: dict[str, tuple[int, str]] = {}
        problems: list[str] = []
        for info in self._inputs:
            if info.name not in given:
                if not info.optional:
                    problems.append(f"{info.name}: wanted {info}, given nothing")
                continue
            value = given[info.name]
            feeds[info.name], reasons = _convert(value, info, symbols)
            if reasons:
                problems.append(f"{info.name}: wanted {info}, given {'; '.join(reasons)}")
        if len(feeds) != len(given):
            names = ", ".join(info.name for info in self._inputs) or "none"
            problems += [
                f"{name}: no such name (there is {names})" for name in given if name not in feeds
            ]
        if problems:
            raise PredictorError("\n  ".join([f"{self._subject} cannot take this:", *problems]))
        return feeds


def _convert(
    value: Any, info: TensorInfo, symbols: dict[str, tuple[int, str]]
) -> tuple[np.ndarray, list[str]]:
    """`value` as the array to feed; or any array, what `value` is and all that is wrong with it."""
    try:
        given = np.asarray(value)
    except (ValueError, TypeError) as error:
        return np.empty(0), [f"a {type(value).__name__} that is no array", str(error)]
    array, reasons = _cast(given, info.dtype, loose=not hasattr(value, "dtype"))
    reasons += _size_reasons(info, given.shape, symbols)
    return array, [show(given), *reasons] if reasons else []


def _cast(array: np.ndarray, dtype: np.dtype[Any], loose: bool) -> tuple[np.ndarray, list[str]]:
    """`array` as `dtype`, or as it came and the reason why not.

    Arrays convert where numpy calls the conversion safe, whatever their values: a call must not
    work for one request and fail for the next. Python numbers (`loose`) have no width of their
    own, so they take the wanted one as long as they fit and no fraction is lost.
    """
    if dtype == STRING:
        if array.dtype.kind in "UT" or all(isinstance(item, str) for item in array.flat):
            return array.astype(object), []
        return array, ["not all of it strings"]
    if array.dtype == dtype:
        return array, []
    if loose:
        return _cast_numbers(array, dtype)
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype), []
    return array, [f'not safely {dtype.name}: pass x.astype("{dtype.name}") if that is meant']


def _cast_numbers(array: np.ndarray, dtype: np.dtype[Any]) -> tuple[np.ndarray, list[str]]:
    """Nested lists of Python numbers, which numpy has made an array, as `dtype`."""
    if array.size == 0:
        return array.astype(dtype), []
    if _RANK.get(array.dtype.kind, len(_RANK)) > _RANK[dtype.kind]:
        return array, [f"not {dtype.name}"]
    if dtype.kind in "iu" and array.dtype.kind != "b":
        bounds = np.iinfo(dtype)
        if int(array.min()) < bounds.min or int(array.max()) > bounds.max:
            return array, [f"beyond the range of {dtype.name}"]
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if dtype.kind == "f" and not np.array_equal(np.isfinite(result), np.isfinite(array)):
        return array, [f"beyond the range of {dtype.name}"]
    return result, []


def _size_reasons(
    info: TensorInfo, sizes: tuple[int, ...], symbols: dict[str, tuple[int, str]]
) -> list[str]:
    """What is wrong with `sizes`; `symbols` collects the value and first place of each name."""
    wanted = info.shape
    if wanted is None:
        return []
    if len(sizes) != len(wanted):
        return [f"rank {len(sizes)} instead of {len(wanted)}"]
    reasons = []
    for axis, (size, want) in enumerate(zip(sizes, wanted, strict=True)):
        if isinstance(want, str):
            known, place = symbols.setdefault(want, (size, f"{info.name} axis {axis}"))
            if known != size:
                reasons.append(f"{want} is {size} at axis {axis} but {known} at {place}")
        elif want is not None and want != size:
            reasons.append(f"axis {axis} is {size} instead of {want}")
    return reasons
