"""The parameters that a user gives to an optimiser: what they may be, and what is said if not."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError, DynError
from dyn.core.tensor import Tensor


class NoParametersError(DynError, AttributeError):
    """An optimiser was made without parameters."""


def checked(parameters: Any) -> list[Any]:
    """The parameters or groups as a list; errors as told in `Optimizer`."""
    if parameters is None:
        raise NoParametersError(
            "parameters argument given to the Optimizer should not be None in dygraph mode."
        )
    if isinstance(parameters, (Tensor, dict)) or not isinstance(parameters, Iterable):
        raise DTypeError(
            "`parameters` argument given to the optimizer should be an iterable of Tensors, but "
            f"got argument type is `{type(parameters)}`."
        )
    listed = list(parameters)
    if not listed:
        raise AttributeValueError(
            "optimizer got an empty parameter list; layers kept in a plain Python list are not "
            "registered, use dyn.nn.LayerList"
        )
    runs = [entry["params"] if isinstance(entry, dict) else [entry] for entry in listed]
    for p in itertools.chain.from_iterable(runs):
        if not isinstance(p, Tensor):
            raise DTypeError(
                f"an optimizer trains Tensors, but the parameter list holds a {type(p).__name__}"
            )
        if not p.is_leaf:
            raise AttributeValueError(
                f"{p.name} is the result of an op; an optimizer trains leaf tensors only"
            )
    return listed


def need_distinct(parameters: list[Any]) -> None:
    """AttributeValueError for a parameter that is listed twice, or a name that two have."""
    known: dict[str, Any] = {}
    for p in parameters:
        other = known.get(p.name)
        if other is p:
            raise AttributeValueError(f"{p.name!r} is given to the optimizer twice; list it once")
        if other is not None:
            raise AttributeValueError(f"several parameters are named {p.name!r}; rename them")
        known[p.name] = p
