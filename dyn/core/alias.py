"""How a view follows the tensor it is a view of, and how a write to it reaches that tensor.

A view keeps an alias; nothing is copied and nobody is told of a write: the view notices when it is
read that its base has another version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dyn.core.errors import GradError
from dyn.core.op import Op

if TYPE_CHECKING:
    from dyn.core.tensor import Tensor


class Alias:
    """How a view follows its base: `view = op(base, **attrs)[index]`, derived anew when stale."""

    __slots__ = ("attrs", "base", "index", "op", "version")

    deferred = False

    def __init__(self, base: Tensor, op: Op, attrs: tuple[Any, ...], index: int):
        self.base = base
        self.op = op
        self.attrs = attrs
        self.index = index
        self.version = base._version

    def refresh(self, view: Tensor) -> None:
        """Derive the view anew if its base was written since."""
        _follow(self, view)

    def derive(self) -> Tensor:
        """The view of the base as it is now."""
        made = self.op(self.base, **dict(zip(self.op.attrs, self.attrs, strict=True)))
        self.version = self.base._version
        return made[self.index] if isinstance(made, tuple) else made

    def write(self, value: Tensor) -> None:
        """Give the base a new value, with `value` in the place of this view."""
        if self.op.writer is None:
            raise GradError(f"a result of {self.op.name} cannot be written in place; clone() it")
        named = dict(zip(self.op.attrs, self.attrs, strict=True))
        if self.op.public != 1:
            named["index"] = self.index
        self.base._write(self.op.writer(self.base, value, **named))


class DetachedAlias:
    """How a detached tensor follows its base: the same array, never the same history."""

    __slots__ = ("base", "version")

    deferred = False

    def __init__(self, base: Tensor):
        self.base = base
        self.version = base._version

    def refresh(self, view: Tensor) -> None:
        """Take over the array of the base if it was written since."""
        _follow(self, view)

    def derive(self) -> Tensor:
        """The value of the base as it is now."""
        self.version = self.base._version
        return self.base._of(self.base._read())

    def write(self, value: Tensor) -> None:
        """Give the base a new value; as state if it is a leaf that wants a gradient."""
        if self.base._is_wanted_leaf():
            self.base._assign(value)
        else:
            self.base._write(value)


def _follow(alias: Alias | DetachedAlias, view: Tensor) -> None:
    base = alias.base
    if base._alias is not None:
        base._refresh()
    if alias.version != base._version:
        view._bind(alias.derive())
        view._version += 1
