"""`torch.autograd.detect_anomaly`: an observer that looks for NaN in the gradients of a walk.

PyTorch keeps the traceback of every call; here the first call that made a NaN of numbers on the way
forward is remembered, for most NaN in gradients come from there.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.compat.torch.graph import GradFn
from dyn.core.errors import user_line
from dyn.core.observe import Observer, current, observing, set_observers


class _Finder(Observer):
    """Raises where a gradient rule makes NaN."""

    first = ""

    def on_op(
        self, op: Any, inputs: Sequence[Any], attrs: dict[str, Any], outputs: Sequence[Any]
    ) -> None:
        if not self.first and any(map(_has_nan, outputs)) and not any(map(_has_nan, inputs)):
            line = user_line()
            self.first = f"{op.name} at {line}" if line is not None else op.name

    def on_gradient(self, node: Any, position: int, gradient: Any) -> None:
        if _has_nan(gradient):
            seen = f" The first NaN of all was made by {self.first}." if self.first else ""
            raise RuntimeError(
                f"Function '{GradFn(node).name()}' returned nan values in its {position}th output."
                f"{seen}"
            )


def _has_nan(tensor: Any) -> bool:
    array = None if tensor is None else tensor._read()
    return array is not None and array.dtype.kind == "f" and bool(np.isnan(array).any())


class detect_anomaly:
    """A `with` block in which a NaN in a gradient is an error that names the function.

    Args:
        check_nan: whether to look at all.
    """

    def __init__(self, check_nan: bool = True):
        self._check = check_nan
        self._block: Any = None
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        if self._check:
            self._block = observing(_Finder())
            self._block.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self._block is not None:
            self._block.__exit__(None, None, None)


class set_detect_anomaly:
    """Look for NaN in gradients from now on, or no more; as a `with` block, for its length.

    It holds for this thread or task, as observers do.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        self._before = is_anomaly_enabled()
        _switch(mode and check_nan)

    def __enter__(self) -> None:
        """Nothing: it was done when this was made."""

    def __exit__(self, *error: Any) -> None:
        _switch(self._before)


def _switch(mode: bool) -> None:
    if mode != is_anomaly_enabled():
        others = [o for o in current() if not isinstance(o, _Finder)]
        set_observers([*others, _Finder()] if mode else others)


def is_anomaly_enabled() -> bool:
    """Whether NaN in gradients are looked for in this thread or task."""
    return any(isinstance(observer, _Finder) for observer in current())
