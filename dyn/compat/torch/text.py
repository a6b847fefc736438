"""The text of tensors as PyTorch prints them: `tensor([1., 2.], requires_grad=True)`.

Only looks at values and never computes with them, so printing is not an event for observers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dyn.compat.torch.tensor import Tensor
from dyn.core.dtype import default_float
from dyn.nn.state import Parameter
from dyn.printing import edges


@dataclass(frozen=True)
class PrintOptions:
    """How numbers are shown; the same meanings as in `dyn.set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = PrintOptions()
_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors are printed; what is None stays as it is.

    Args:
        precision: digits after the point.
        threshold: tensors of more elements are summarised.
        edgeitems: items shown at either end of a summarised axis.
        linewidth: characters a line may have.
        profile: "default", "short" or "full": the settings to start from.
        sci_mode: whether floats are shown as `1.5000e+00`; None lets their range decide.
    """
    global _options
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    start = _options if profile is None else _PROFILES[profile]
    changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    _options = replace(start, **changes, sci_mode=sci_mode)


class _Format:
    """One width and one style for all numbers of a tensor, worked out from those shown."""

    def __init__(self, values: np.ndarray):
        self.style = "text"
        self.width = 1
        if values.dtype.kind == "f":
            self._of_floats(values)
        else:
            self.width = max((len(str(item)) for item in values.ravel().tolist()), default=1)

    def _of_floats(self, values: np.ndarray) -> None:
        finite = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        self.style = "fixed"
        if finite.size == 0:
            self.style = "whole"
        else:
            size = np.abs(finite)
            low, high = float(size.min()), float(size.max())
            if bool((finite == np.ceil(finite)).all()):
                self.style = "sci" if high / low > 1000.0 or high > 1.0e8 else "whole"
            elif high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4:
                self.style = "sci"
        if _options.sci_mode is not None:
            whole = self.style == "whole"
            self.style = "sci" if _options.sci_mode else ("whole" if whole else "fixed")
        if self.style == "whole":
            # Whole numbers are measured as integers, and a point is added to all of them.
            self.width = max([1, *(len(f"{item:.0f}") + 1 for item in finite)])
        else:
            self.width = max([1, *(len(self.bare(item)) for item in finite)])

    def bare(self, item: Any) -> str:
        """A number without padding."""
        if self.style == "text":
            return str(item)
        if not np.isfinite(item):
            return str(float(item))
        if self.style == "whole":
            return f"{item:.0f}."
        return f"{item:.{_options.precision}{'e' if self.style == 'sci' else 'f'}}"

    def padded(self, item: Any) -> str:
        """A number in the common width."""
        return self.bare(item).rjust(self.width)


class _Complex:
    """Complex numbers: a format for each part."""

    def __init__(self, values: np.ndarray):
        self.real, self.imag = _Format(np.real(values)), _Format(np.imag(values))
        self.width = self.real.width + self.imag.width + 1

    def padded(self, item: Any) -> str:
        """A number in the common width."""
        imaginary = self.imag.padded(item.imag).lstrip()
        sign = "" if imaginary.startswith("-") else "+"
        return f"{self.real.padded(item.real)}{sign}{imaginary}j"


def _row(array: np.ndarray, form: Any, indent: int, *, shorten: bool) -> str:
    n = _options.edgeitems
    items = [form.padded(item) for item in array]
    if shorten and len(items) > 2 * n:
        items = [*items[:n], " ...", *items[-n:]]
    per_line = max(1, int((_options.linewidth - indent) // (form.width + 2)))
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _block(array: np.ndarray, form: Any, shorten: bool, indent: int) -> str:
    if array.ndim == 0:
        return form.padded(array[()])
    n = _options.edgeitems
    if array.ndim == 1:
        # The middle is cut before numbers are written: a row may be long.
        if shorten and array.size > 2 * n:
            whole = np.concatenate([array[: n + 1], array[-n:]])
            return _row(whole, form, indent, shorten=True)
        return _row(array, form, indent, shorten=False)
    parts: list[Any] = list(array)
    cut = shorten and len(parts) > 2 * n
    if cut:
        parts = parts[:n] + parts[-n:]
    texts = [_block(part, form, shorten, indent + 1) for part in parts]
    if cut:
        texts.insert(n, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(texts) + "]"


def tensor_text(tensor: Tensor) -> str:
    """`tensor([[1., 2.]], dtype=torch.float64, grad_fn=<MulBackward0>)`."""
    array = tensor._read()
    if array.dtype.name == "bfloat16" or array.dtype == np.float16:
        array = array.astype(np.float32)
    prefix = "tensor("
    name = tensor.dtype.name
    usual = name in (default_float().name, "int64", "bool", "complex64")
    suffixes = []
    if array.size == 0:
        text = "[]"
        if array.ndim != 1:
            suffixes.append(f"size={tuple(array.shape)}")
        usual = name == default_float().name
    else:
        shorten = array.size > _options.threshold
        shown = edges(array, _options.edgeitems) if shorten else array
        form = _Complex(shown) if array.dtype.kind == "c" else _Format(shown)
        text = _block(array, form, shorten, len(prefix))
    if not usual:
        suffixes.append(f"dtype=torch.{name}")
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + text, suffixes, len(prefix))


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append what is to be said after the values, on a new line where it would be too long."""
    length = len(text) - text.rfind("\n")
    out = text
    for suffix in suffixes:
        if length + len(suffix) + 2 > _options.linewidth:
            out += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            out += ", " + suffix
            length += len(suffix) + 2
    return out + ")"


def _repr(self: Tensor) -> str:
    if self._array is None:
        return "tensor(Not initialized)"
    text = tensor_text(self)
    return f"Parameter containing:\n{text}" if isinstance(self, Parameter) else text


def _format(self: Tensor, spec: str) -> str:
    # A number of one element takes a format of its own; anything else is text.
    if self._read().ndim == 0:
        return format(self.item(), spec)
    return object.__format__(self, spec)


Tensor.__repr__ = _repr
Tensor.__format__ = _format  # type: ignore[method-assign]
