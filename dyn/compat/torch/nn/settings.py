"""Settings of modules under PyTorch's names: they may be changed after the module was made.

dyn's layers keep their settings under names of their own. A `Setting` holds what the program said
and puts what dyn's layer reads beside it, so that `dropout.p = 0.1`, `conv.stride = (1, 1)` and
`bn.momentum = 0.01` count from the next call on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _same(value: Any) -> Any:
    return value


def spacing_or(eps: float | None, dtype: Any = np.float32) -> float:
    """`eps`, or the spacing of numbers near one; half precision is computed in float32."""
    if eps is not None:
        return eps
    return float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps)


class Setting:
    """A public setting that a layer of dyn's reads from an attribute of another name.

    Args:
        attribute: the attribute that is read.
        meaning: the attribute's value for a value of the setting; the same by default.
    """

    def __init__(self, attribute: str, meaning: Callable[[Any], Any] = _same):
        self.attribute, self.meaning = attribute, meaning
        self.name = attribute

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        if layer is None:
            return self
        try:
            return layer.__dict__[self.name]
        except KeyError:
            text = f"'{type(layer).__name__}' object has no attribute '{self.name}'"
            raise AttributeError(text, name=self.name, obj=layer) from None

    def __set__(self, layer: Any, value: Any) -> None:
        layer.__dict__[self.name] = value
        layer.__dict__[self.attribute] = self.meaning(value)


class AxisSetting(Setting):
    """A setting with a value for each of a layer's `_axes`, or one for all; words stay words."""

    def __set__(self, layer: Any, value: Any) -> None:
        if isinstance(value, str):
            super().__set__(layer, value.upper())
            layer.__dict__[self.name] = value
        else:
            count = layer._axes
            several = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
            super().__set__(layer, several)
