"""The one ambient mode: whether gradients are recorded. A context variable, so thread-safe.

Train and eval are not modes: they are `layer.training`, and nothing else.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextvars import ContextVar, Token
from typing import Any

_GRAD: ContextVar[bool] = ContextVar("dyn.grad_enabled", default=True)

is_grad_enabled = _GRAD.get
"""`is_grad_enabled()`: whether ops run now are put on the tape."""

switch_grad = _GRAD.set
"""`token = switch_grad(flag)`, with `restore_grad(token)` afterwards, is a block of that mode
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
        enabled = self.enabled
        if inspect.isgeneratorfunction(function):
            return _between_yields(function, enabled)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(enabled):
                return function(*args, **kwargs)

        return wrapped


def _between_yields(function: Callable[..., Any], enabled: bool) -> Callable[..., Any]:
    """The generator function, whose body runs in the mode and whose caller keeps its own."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = function(*args, **kwargs)
        step, given = body.send, (None,)
        while True:
            try:
                with _GradMode(enabled):
                    found = step(*given)
            except StopIteration as end:
                return end.value
            try:
                step, given = body.send, ((yield found),)
            except GeneratorExit:
                with _GradMode(enabled):
                    body.close()
                raise
            except BaseException as error:
                step, given = body.throw, (error,)

    return wrapped


class set_grad_enabled(_GradMode):
    """Record gradients or not, as `enabled` says, from this call on.

    In `with set_grad_enabled(flag):` and as a decorator it counts for the block or the function
    alone, as in Paddle and PyTorch.
    """

    def __init__(self, enabled: bool):
        super().__init__(bool(enabled))
        self._before = _GRAD.get()
        _GRAD.set(self.enabled)

    def __enter__(self) -> None:
        _GRAD.set(self.enabled)

    def __exit__(self, *exc: object) -> None:
        _GRAD.set(self._before)

    def __call__(self, function: Any) -> Any:
        _GRAD.set(self._before)
        return super().__call__(function)


def _mode(function: Any, *, enabled: bool) -> Any:
    return _GradMode(enabled) if function is None else _GradMode(enabled)(function)


def no_grad(function: Any = None) -> Any:
    """Record no gradients: `with no_grad():`, `@no_grad` or `@no_grad()`."""
    return _mode(function, enabled=False)


def enable_grad(function: Any = None) -> Any:
    """Record gradients again inside a `no_grad` region."""
    return _mode(function, enabled=True)


def in_dynamic_mode() -> bool:
    """Whether ops run when they are called: always True, while a model is traced, too."""
    return True


def disable_static(place: Any = None) -> None:
    """Nothing: ops always run when they are called."""
