"""The one ambient mode: whether gradients are recorded. A context variable, so thread-safe.

Train and eval are not modes: they are `layer.training`, and nothing else.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar, Token
from typing import Any

_GRAD: ContextVar[bool] = ContextVar("dyn.grad_enabled", default=True)

is_grad_enabled = _GRAD.get
"""`is_grad_enabled()`: whether ops run now are put on the tape."""

switch_grad = _GRAD.set
"""`token = switch_grad(flag)`, with `restore_grad(token)` afterwards, is `set_grad_enabled(flag)`
at a third of its cost: for what every step runs."""

restore_grad = _GRAD.reset


class _GradMode:
    """Sets the mode inside a `with` block or, as a decorator, inside a function."""

    def __init__(self, enabled: bool):
        self.enabled = enabled
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> None:
        self._tokens.append(_GRAD.set(self.enabled))

    def __exit__(self, *exc: object) -> None:
        _GRAD.reset(self._tokens.pop())

    def __call__(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(self.enabled):
                return function(*args, **kwargs)

        return wrapped


def _mode(function: Any, *, enabled: bool) -> Any:
    return _GradMode(enabled) if function is None else _GradMode(enabled)(function)


def no_grad(function: Any = None) -> Any:
    """Record no gradients: `with no_grad():`, `@no_grad` or `@no_grad()`."""
    return _mode(function, enabled=False)


def enable_grad(function: Any = None) -> Any:
    """Record gradients again inside a `no_grad` region."""
    return _mode(function, enabled=True)


def set_grad_enabled(enabled: bool) -> _GradMode:
    """`with set_grad_enabled(flag):` records gradients or not, as `flag` says."""
    return _GradMode(bool(enabled))


def in_dynamic_mode() -> bool:
    """Whether ops run when they are called: always True, while a model is traced, too."""
    return True


def disable_static(place: Any = None) -> None:
    """Nothing: ops always run when they are called."""
