"""`load_state_dict`: values by name, and PyTorch's words where names or shapes do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dyn.compat.torch.types import Size
from dyn.core.tensor import Tensor


class _IncompatibleKeys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )

    __str__ = __repr__


def load(
    module: Any, own: Mapping[str, Tensor], given: Mapping[str, Any], strict: bool
) -> _IncompatibleKeys:
    """Give the tensors in `own` the values in `given`; see `Module.load_state_dict`.

    What fits is loaded, also when the rest raises, as PyTorch does.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(given)}.")
    missing, misfits = [], []
    for name, target in own.items():
        if name not in given:
            # Files from before PyTorch 0.4.1 do not count the batches.
            if not name.endswith("num_batches_tracked"):
                missing.append(name)
            continue
        value = given[name]
        shape = tuple(value._read().shape if isinstance(value, Tensor) else np.shape(value))
        wanted = target._array.shape if target._array is not None else shape
        if shape == (1,) and wanted == ():
            value, shape = np.asarray(value).reshape(()), ()
        if shape != wanted:
            misfits.append(
                f"size mismatch for {name}: copying a param with shape {Size(shape)} from "
                f"checkpoint, the shape in current model is {Size(wanted)}."
            )
        else:
            target.set_value(value)
    unexpected = [name for name in given if name not in own]
    errors = misfits
    if strict:
        errors = [*_listed("Missing", missing), *_listed("Unexpected", unexpected), *misfits]
    if errors:
        text = "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{text}")
    return _IncompatibleKeys(missing, unexpected)


def _listed(what: str, names: list[str]) -> list[str]:
    quoted = ", ".join(f'"{name}"' for name in names)
    return [f"{what} key(s) in state_dict: {quoted}. "] if names else []


def without_prefix(state_dict: Mapping[str, Any], prefix: str = "module.") -> dict[str, Any]:
    """The same values under names without `prefix`, as `DataParallel` puts before them.

    Names that do not begin with it are kept.
    """
    return {name.removeprefix(prefix): value for name, value in state_dict.items()}
