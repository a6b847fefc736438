"""`data_format`: functions of images with channels second that take them with channels last too.

Such an image is turned before the function and its results are turned back; a traced model records
the turns as they are, and what follows one another cancels in the exported file.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.ops.shape import moveaxis

CHANNELS_FIRST = ("NC", "NCL", "NCW", "NCHW", "NCDHW")
CHANNELS_LAST = ("NLC", "NWC", "NHWC", "NDHWC")


def is_last(data_format: str | None) -> bool:
    """Whether a format has its channels last; None is channels second.

    Raises:
        AttributeValueError: there is no such format.
    """
    if data_format is None or data_format in CHANNELS_FIRST:
        return False
    if data_format in CHANNELS_LAST:
        return True
    raise AttributeValueError(
        f"data_format {data_format!r} is none of {', '.join(CHANNELS_FIRST + CHANNELS_LAST)}"
    )


def _back(found: Any) -> Any:
    if isinstance(found, Tensor):
        return moveaxis(found, 1, -1)
    return type(found)(_back(x) for x in found)


def of_any_layout(function: Callable[..., Any], place: int | None = None) -> Callable[..., Any]:
    """The function with one more argument `data_format`, such as "NHWC", for x and the results.

    Args:
        place: where it stands among arguments without names, in front of arguments of the function;
            it must be named where this is None.
    """
    signature = inspect.signature(function)
    first = next(iter(signature.parameters))

    @functools.wraps(function)
    def call(*args: Any, data_format: str | None = None, **kwargs: Any) -> Any:
        if place is not None and len(args) > place:
            data_format, args = args[place], (*args[:place], *args[place + 1 :])
        if data_format is None or not is_last(data_format):
            return function(*args, **kwargs)
        x, rest = (args[0], args[1:]) if args else (kwargs.pop(first), ())
        return _back(function(moveaxis(x, -1, 1), *rest, **kwargs))

    kind = inspect.Parameter.KEYWORD_ONLY
    if place is not None:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    word = inspect.Parameter("data_format", kind, default=None)
    parameters = list(signature.parameters.values())
    parameters.insert(len(parameters) if place is None else place, word)
    vars(call)["__signature__"] = signature.replace(parameters=parameters)
    return call
