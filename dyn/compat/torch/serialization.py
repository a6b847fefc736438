"""`torch.save` and `torch.load` over dyn's own files; see `dyn.serialization` for what they hold.

A file of PyTorch's is read without running anything in it, so a pickled whole model is refused.
"""

from __future__ import annotations

import warnings
from typing import Any

from dyn import serialization
from dyn.compat.torch.tensor import own
from dyn.compat.torch.types import device, need_cpu
from dyn.nn.layer import Layer


def save(obj: Any, f: serialization.Place, **_: Any) -> None:
    """Write tensors, numbers, text and containers of them to one file.

    Args:
        obj: a state_dict, a checkpoint, or any nesting of dictionaries, lists and tuples.
        f: the file, by name or open for writing bytes.

    Raises:
        RuntimeError: `obj` is a whole module or holds something that is not data.
    """
    if isinstance(obj, Layer):
        raise RuntimeError(
            f"torch.save(model): a whole {type(obj).__name__} is code, which dyn does not put into "
            "files; save model.state_dict() and load it with model.load_state_dict(torch.load(f))"
        )
    with warnings.catch_warnings():
        # PyTorch saves an empty dictionary without a word.
        warnings.filterwarnings("ignore", message="The input state dict is empty")
        serialization.save(_as_data(obj), f)


def _as_data(obj: Any) -> Any:
    """Sizes, dtypes and devices as plain tuples and text."""
    if isinstance(obj, dict):
        return {key: _as_data(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return (
            type(obj)(_as_data(item) for item in obj)
            if type(obj) in (list, tuple)
            else [_as_data(item) for item in obj]
        )
    return str(obj) if isinstance(obj, device) else obj


def load(
    f: serialization.Place,
    map_location: Any = None,
    weights_only: bool = True,
    **_: Any,
) -> Any:
    """Read what `save` wrote, or a `.pt` or `.pth` file of PyTorch's.

    Args:
        f: the file, by name or open for reading bytes.
        map_location: None, "cpu", `torch.device("cpu")`, or a function or dictionary that leads
            there.
        weights_only: has no effect: code in a file is never run.

    Raises:
        DeviceError: `map_location` names another device.
        FileNotFoundError: there is no such file.
        RuntimeError: the file is damaged, or holds more than data.
    """
    if isinstance(map_location, dict):
        for target in map_location.values():
            need_cpu(target)
    elif not callable(map_location):
        need_cpu(map_location)
    return own(serialization.load(f))
