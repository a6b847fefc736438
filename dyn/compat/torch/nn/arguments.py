"""How functions of dyn take PyTorch's arguments: its words, and those that it has given up.

What must not go in here are the functions themselves, nor anything that computes.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from dyn.compat.torch.nn.loss_functions import use_reduction
from dyn.compat.torch.tensor import flavoured

BEFORE_INPLACE = {
    "celu": 2, "elu": 2, "hardsigmoid": 1, "hardswish": 1, "leaky_relu": 2, "mish": 1, "relu6": 1,
    "rrelu": 4, "selu": 1, "silu": 1,
}  # fmt: skip
"""How many arguments PyTorch has before `inplace`."""
_RENAMED = {
    "lambd": "threshold", "return_indices": "return_mask", "input1": "x1", "input2": "x2",
}  # fmt: skip
"""dyn's words for arguments that PyTorch calls otherwise."""


def renamed(function: Any) -> Any:
    """A function under PyTorch's words for its arguments; the same one where they do not differ."""
    if not {*_RENAMED.values()} & {*inspect.signature(function).parameters}:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{_RENAMED.get(name, name): kwargs[name] for name in kwargs})

    return call


def lenient(function: Any, most: int | None = None) -> Any:
    """A function with results of our class and the arguments that PyTorch has given up.

    `size_average` and `reduce` are brought into `reduction`. Nothing is changed in place: `inplace`
    is dropped, by name or behind `most` arguments.
    """
    made = flavoured(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs.pop("inplace", None)
            if "size_average" in kwargs or "reduce" in kwargs:
                use_reduction(kwargs)
        if most is not None and len(args) == most + 1:
            args = args[:most]
        return made(*args, **kwargs)

    return call
