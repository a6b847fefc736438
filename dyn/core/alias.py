"""How a view follows the tensor it is a view of, and how a write to it reaches that tensor.

A view keeps an alias; nothing is copied and nobody is told of a write: the view notices when it is
read that its base has another version. What is a view and what a copy is as in numpy and PyTorch:
it depends on where elements would lie if every tensor that is no view lay in row-major order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from dyn.core.dim import plain
from dyn.core.errors import GradError
from dyn.core.modes import is_grad_enabled, no_grad, set_grad_enabled
from dyn.core.op import Op

if TYPE_CHECKING:
    from dyn.core.tensor import Tensor


class Link:
    """What all aliases do: derive a view anew if its base was written since it was read."""

    __slots__ = ("version",)

    base: Tensor
    deferred = False

    def refresh(self, view: Tensor) -> None:
        """Bring the view up to date with its base."""
        base = self.base
        if base._alias is not None:
            base._refresh()
        if self.version == base._version:
            return
        if self.is_copy():
            view._alias = None
            return
        self.version = base._version
        # The view may first be read inside no_grad(): it has the history of its base all the same.
        recorded = base._node is not None or not view.stop_gradient
        with set_grad_enabled(recorded or is_grad_enabled()):
            view._bind(self.derive())
        view._version += 1

    def is_copy(self) -> bool:
        """Whether elements had to move, so that this is a view no more than a clone is."""
        return False

    def derive(self) -> Tensor:
        """The view of the base as it is now."""
        raise NotImplementedError

    def lay(self, base: np.ndarray) -> np.ndarray:
        """The view of an array that lies in memory as the base does."""
        return base

    def write(self, view: Tensor, value: Tensor) -> None:
        """Give the base a new value, with `value` in the place of this view."""
        raise NotImplementedError


class Alias(Link):
    """How the result of a view op follows: `view = op(base, **attrs)[index]`."""

    __slots__ = ("attrs", "base", "index", "may_copy", "op")

    def __init__(self, base: Tensor, op: Op, attrs: tuple[Any, ...], index: int):
        self.base = base
        self.version = base._version
        self.op = op
        self.attrs = attrs
        self.index = index
        # A view only if no element has to move for it: set by what is documented so (`reshape`).
        self.may_copy = False

    def is_copy(self) -> bool:
        """Whether elements had to move, so that this is a view no more than a clone is."""
        if not self.may_copy:
            return False
        base = layout(self.base)
        return not np.may_share_memory(self.lay(base), base)

    def derive(self) -> Tensor:
        """The view of the base as it is now."""
        made = self.op(self.base, **self._named(self.attrs))
        return made[self.index] if isinstance(made, tuple) else made

    def lay(self, base: np.ndarray) -> np.ndarray:
        """The view of an array that lies in memory as the base does."""
        made = self.op.kernel(base, **self._named(plain(self.attrs)))
        return made[self.index] if isinstance(made, tuple) else made

    def write(self, view: Tensor, value: Tensor) -> None:
        """Give the base a new value, with `value` in the place of this view."""
        if self.is_copy():
            view._alias = None
            view._bind(value)
            return
        if self.op.writer is None:
            raise GradError(f"a result of {self.op.name} cannot be written in place; clone() it")
        named = self._named(self.attrs)
        if self.op.public != 1:
            named["index"] = self.index
        self.base._write(self.op.writer(self.base, value, **named))
        self.refresh(view)

    def _named(self, attrs: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.op.attrs, attrs, strict=True))


class Followed:
    """The tensor that all that were detached from one follow: that one, until it is `parted`."""

    __slots__ = ("__weakref__", "base")

    def __init__(self, base: Tensor):
        self.base = base


class DetachedAlias(Link):
    """How a detached tensor follows its base: the same values, and a history of its own."""

    __slots__ = ("_followed",)

    def __init__(self, base: Tensor):
        followed = base._followed and base._followed()
        if followed is None:
            followed = Followed(base)
            # The base would live on in a cycle of references if it held more than a weak one.
            base._followed = ref(followed)
        self._followed = followed
        self.version = base._version

    @property
    def base(self) -> Tensor:
        """What it is detached from."""
        return self._followed.base

    def refresh(self, view: Tensor) -> None:
        """Bring the values up to date with those of the base."""
        array = self.base._read()
        if self.version != self.base._version:
            self.version = self.base._version
            view._array = array
            view._version += 1

    def write(self, view: Tensor, value: Tensor) -> None:
        """Give the base the values alone, and the view their history, too."""
        with no_grad():
            self.base._write(value)
        self.version = self.base._version
        view._bind(value)


def follows(x: Tensor, base: Tensor) -> bool:
    """Whether x was detached from a tensor, so that its value is that one's."""
    return isinstance(x._alias, DetachedAlias) and x._alias.base is base


def part(base: Tensor) -> None:
    """Let what was detached from a tensor keep its value, whatever the tensor is bound to next."""
    followed = base._followed and base._followed()
    if followed is not None:
        kept = type(base)._of(base._read())
        kept._version = base._version
        kept._followed, base._followed = base._followed, None
        followed.base = kept


class SharedAlias(Link):
    """How a view follows several elements of which are one element of the base: never written."""

    __slots__ = ("base", "derived", "laid")

    def __init__(
        self,
        base: Tensor,
        derived: Callable[[Tensor], Tensor],
        laid: Callable[[np.ndarray], np.ndarray],
    ):
        self.base = base
        self.version = base._version
        self.derived = derived
        self.laid = laid

    def derive(self) -> Tensor:
        """The view of the base as it is now."""
        return self.derived(self.base)

    def lay(self, base: np.ndarray) -> np.ndarray:
        """The view of an array that lies in memory as the base does."""
        return self.laid(base)

    def write(self, view: Tensor, value: Tensor) -> None:
        """Always a GradError."""
        raise GradError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location, as in what expand() or unfold() return. Please clone() the "
            "tensor before performing the operation"
        )


def shared(
    base: Tensor,
    derived: Callable[[Tensor], Tensor],
    laid: Callable[[np.ndarray], np.ndarray],
) -> Tensor:
    """`derived(base)` as a view that follows its base and cannot be written.

    Args:
        base: what it is a view of.
        derived: makes the view, of ops.
        laid: the same of an array, as a view of its memory.
    """
    out = derived(base)
    out._alias = SharedAlias(base, derived, laid)
    return out


def layout(x: Tensor) -> np.ndarray:
    """An array of no meaning that lies in memory as PyTorch would lay out the tensor."""
    alias = x._alias
    if alias is None or alias.deferred:
        return np.empty(x._array.shape, np.bool_)
    return alias.lay(layout(alias.base))
