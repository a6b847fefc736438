"""What a snippet is: user code that runs unchanged in a peer and in dyn, and what it did as data.

This file is read by the peer's interpreter too: it imports neither dyn nor a peer. The snippets
stand in files of their own, one family each; comparing is in `compare.py`.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Snippet:
    """One snippet.

    Attributes:
        name: `family.function`.
        flavour: whose conventions it is written in: "paddle" or "torch".
        run: the code; it takes the framework as its module and returns what is compared.
        differs: why dyn differs on purpose; empty where it must agree.
    """

    name: str
    flavour: str
    run: Callable[[Any], Any]
    differs: str


SNIPPETS: dict[str, Snippet] = {}
"""All snippets that were imported, by name."""


def snippet(
    *, flavour: str = "paddle", differs: str = ""
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register a function as a snippet, named after its file and itself."""

    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        family = function.__module__.rsplit(".", 1)[-1].removeprefix(f"{flavour}_")
        name = f"{family}.{function.__name__}"
        if flavour != "paddle":
            name = f"{flavour}.{name}"
        if name in SNIPPETS:
            raise ValueError(f"two snippets are called {name}")
        SNIPPETS[name] = Snippet(name, flavour, function, differs)
        return function

    return register


def ramp(*shape: int, dtype: str = "float32", scale: float = 1.0) -> np.ndarray:
    """Numbers of both signs, the same in every process."""
    count = int(np.prod(shape))
    return (np.sin(1.7 * np.arange(count)) * scale).reshape(shape).astype(dtype)


def kind(call: Callable[[], Any], *wanted: type[Exception]) -> str:
    """The built-in class of what `call` raises; "nothing" if it returns.

    An error may belong to several built-in classes: of those that are `wanted` it is all the same
    which one it is.
    """
    try:
        call()
    except Exception as error:
        if isinstance(error, wanted):
            return " or ".join(c.__name__ for c in wanted)
        return next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")
    return "nothing"


def message(call: Callable[[], Any], *wanted: type[Exception]) -> str:
    """Class (see `kind`) and message of what `call` raises; "nothing" if it returns."""
    text = ""

    def noted() -> None:
        nonlocal text
        try:
            call()
        except Exception as error:
            text = f": {error.args[0] if error.args else ''}"
            raise

    return kind(noted, *wanted) + text


def warned(call: Callable[[], Any]) -> list[str]:
    """The messages of the warnings that `call` gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in caught]


def play(item: Snippet, framework: Any) -> dict[str, Any]:
    """Run one snippet: what it printed and what it returned, or what it raised, as plain data."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = encode(item.run(framework))
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"[:300]}
    return {"printed": printed.getvalue(), "value": value}


def encode(value: Any) -> Any:
    """A value as what JSON can hold, with its types, order, shape and dtype."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return {"float": repr(float(value))}
    if isinstance(value, Mapping):
        return {"dict": [[encode(k), encode(v)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [encode(v) for v in value]}
    if isinstance(value, list):
        return [encode(v) for v in value]
    if isinstance(value, np.ndarray):
        return _array(value)
    if "torch" in type(value).__module__:
        found = value.detach().numpy()
        return {**_array(found), "requires_grad": bool(value.requires_grad)}
    if hasattr(value, "stop_gradient"):
        return {**_array(value.numpy()), "stop_gradient": bool(value.stop_gradient)}
    raise TypeError(f"a snippet returns {type(value).__name__}, which cannot be compared")


def _array(array: np.ndarray) -> dict[str, Any]:
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], -1)
    flat = array.reshape(-1).tolist()
    numbers = [n if isinstance(n, (bool, int)) else float(f"{n:.9g}") for n in flat]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": numbers}
