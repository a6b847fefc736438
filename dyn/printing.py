"""The text of tensors and layers, as Paddle prints them.

Only looks at values and never computes with them, so printing is not an event for observers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor


@dataclass(frozen=True)
class PrintOptions:
    """How numbers are shown.

    Attributes:
        precision: digits after the point.
        threshold: tensors of more elements are summarised.
        edgeitems: items shown at either end of a summarised axis.
        linewidth: characters a line may have.
        sci_mode: whether floats are shown as `1.5e+00`.
    """

    precision: int = 8
    threshold: int = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool = False


_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    sci_mode: bool | None = None,
    linewidth: int | None = None,
) -> None:
    """Change how tensors are printed; what is None stays as it is (see `PrintOptions`)."""
    global _options
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "sci_mode": sci_mode,
        "linewidth": linewidth,
    }
    for name, value in given.items():
        if value is not None and (not isinstance(value, int) or value < 0):
            raise AttributeValueError(f"{name} must be a non-negative integer, not {value!r}")
    _options = replace(_options, **{k: v for k, v in given.items() if v is not None})


def tensor_text(tensor: Tensor, prefix: str = "Tensor") -> str:
    """`Tensor(shape=[2], dtype=float32, place=CPUPlace, stop_gradient=True,` and the values."""
    if tensor._array is None:
        return f"{prefix}(Not initialized)"
    array = tensor._read()
    indent = len(prefix) + 1
    return (
        f"{prefix}(shape={list(array.shape)}, dtype={array.dtype.name}, place={tensor.place}, "
        f"stop_gradient={tensor.stop_gradient},\n{' ' * indent}{array_text(array, indent)})"
    )


def array_text(array: np.ndarray, indent: int = 0) -> str:
    """The values of an array in nested brackets; later lines start `indent` blanks in."""
    if array.size == 0:
        return "[]"
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    shorten = array.size > _options.threshold
    shown = edges(array, _options.edgeitems) if shorten else array
    items = [_number(item) for item in shown.ravel()]
    width = max(map(len, items))
    signed = array.dtype.kind in "if" and bool((shown < 0).any())
    return _block(array, shorten, indent, width, signed)


def edges(array: np.ndarray, n: int) -> np.ndarray:
    """What stays of an array when of every long axis the first and last n places are left."""
    for axis, size in enumerate(array.shape):
        if size > 2 * n:
            array = np.take(array, [*range(n), *range(size - n, size)], axis)
    return array


def _number(item: Any) -> str:
    if isinstance(item, np.complexfloating):
        return f"({item:.{_options.precision}f})"
    if not isinstance(item, np.floating):
        return str(item)
    if _options.sci_mode:
        return f"{item:.{_options.precision}e}"
    if np.ceil(item) == item:
        return f"{item:.0f}."
    return f"{item:.{_options.precision}f}"


def _padded(item: Any, width: int, signed: bool) -> str:
    text = _number(item)
    if len(text) >= width:
        return text
    if signed and not item < 0:
        text = " " + text
    return text.ljust(width)


def _block(array: np.ndarray, shorten: bool, indent: int, width: int, signed: bool) -> str:
    if array.ndim == 0:
        return _padded(array[()], width, signed)
    n = _options.edgeitems
    parts: list[Any] = list(array)
    cut = shorten and len(parts) > 2 * n
    if cut:
        parts = parts[:n] + parts[len(parts) - n :]
    if array.ndim == 1:
        texts = [_padded(item, width, signed) for item in parts]
    else:
        texts = [_block(part, shorten, indent + 1, width, signed) for part in parts]
    if cut:
        texts.insert(n, "...")
    if array.ndim > 1:
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(texts) + "]"
    per_line = max(1, (_options.linewidth - indent) // (width + 2))
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def layer_text(
    name: str, extra: str, children: Sequence[tuple[str, Any]], apart: bool = False
) -> str:
    """`Model(` extra `(fc): Linear(...)` `)`, two blanks in for every level.

    Args:
        name: the class.
        extra: what `extra_repr` says; may have several lines.
        children: attribute names and layers, in order.
        apart: put a single line of `extra` on a line of its own where layers follow.
    """
    lines = extra.split("\n") if extra else []
    text = name + "("
    if len(lines) == 1 and not (apart and children):
        text += lines[0]
    elif lines:
        text += "\n  " + "\n  ".join(lines) + ("" if children else "\n")
    if children:
        shown = [f"({key}): " + repr(child).replace("\n", "\n  ") for key, child in children]
        text += "\n  " + "\n  ".join(shown) + "\n"
    return text + ")"


def _tensor_repr(self: Tensor) -> str:
    return tensor_text(self)


Tensor.__repr__ = _tensor_repr
