"""Layers and parameters held in lists and dictionaries, registered under their index or key.

A plain Python list of layers is not registered: its parameters would be neither trained nor saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dyn.core.errors import DTypeError, IndexRangeError
from dyn.nn.layer import Layer
from dyn.nn.state import Parameter

Self = TypeVar("Self", bound="_ListLike")


class _ListLike(Layer):
    """The list protocol over registered attributes named "0", "1" ..."""

    _item_kind = "layer"

    def _items(self) -> list[Any]:
        values = self.__dict__
        return [values[name] for name, kind in self._kinds.items() if kind == self._item_kind]

    def _names(self) -> list[str]:
        return [name for name, kind in self._kinds.items() if kind == self._item_kind]

    def _set_items(self, items: Iterable[Any]) -> None:
        """Register `items` anew as 0, 1 ..."""
        items = list(items)
        for name in self._names():
            delattr(self, name)
        for i, item in enumerate(items):
            self._add(str(i), item)

    def _add(self, name: str, item: Any) -> None:
        self.add_sublayer(name, item)

    def _position(self, index: Any) -> int:
        n = len(self._names())
        i = index.__index__()
        if not -n <= i < n:
            raise IndexRangeError(f"index {i} is out of range for {n} items")
        return i % n

    def __len__(self) -> int:
        return len(self._names())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __contains__(self, item: Any) -> bool:
        return any(item is held for held in self._items())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._like(self._items()[index])
        if isinstance(index, str):
            return self._items()[self._names().index(index)]
        return self._items()[self._position(index)]

    def _like(self: Self, items: list[Any]) -> Self:
        return type(self)(items)  # type: ignore[call-arg]

    def __setitem__(self, index: Any, item: Any) -> None:
        if isinstance(index, slice):
            items = self._items()
            items[index] = item
            self._set_items(items)
        else:
            self._add(
                index if isinstance(index, str) else self._names()[self._position(index)], item
            )

    def __delitem__(self, index: Any) -> None:
        items = self._items()
        del items[index if isinstance(index, slice) else self._position(index)]
        self._set_items(items)

    def append(self: Self, item: Any) -> Self:
        """Add an item at the end; returns the list."""
        self._add(str(len(self)), item)
        return self

    def extend(self: Self, items: Iterable[Any]) -> Self:
        """Add items at the end; returns the list."""
        for item in items:
            self.append(item)
        return self

    def insert(self, index: int, item: Any) -> None:
        """Put an item before position `index`; the later ones are renumbered."""
        n = len(self)
        if not -n <= index <= n:
            raise IndexRangeError(f"index {index} is out of range for {n} items")
        items = self._items()
        items.insert(index, item)
        self._set_items(items)

    def pop(self, index: int = -1) -> Any:
        """Take an item out and return it; the later ones are renumbered."""
        item = self[index]
        del self[index]
        return item

    def __iadd__(self: Self, items: Iterable[Any]) -> Self:
        return self.extend(items)

    def __add__(self: Self, items: Iterable[Any]) -> Self:
        return self._like([*self._items(), *items])


class LayerList(_ListLike):
    """A list of layers whose parameters count. It has no `forward`: index or iterate it."""

    def __init__(self, sublayers: Iterable[Layer] | None = None):
        super().__init__()
        self.extend(sublayers or ())


class Sequential(_ListLike):
    """Layers called one after the other.

    Args:
        layers: layers, named "0", "1" ...; or pairs of a name and a layer.
    """

    def __init__(self, *layers: Any):
        super().__init__()
        for i, item in enumerate(layers):
            if (
                isinstance(item, (tuple, list))
                and len(item) == 2
                and not isinstance(item[0], Layer)
            ):
                self.add_sublayer(str(item[0]), item[1])
            elif isinstance(item, Layer):
                self.add_sublayer(str(i), item)
            else:
                raise DTypeError(
                    f"Sequential takes layers or (name, layer) pairs, got {type(item).__name__}; "
                    "unpack a list with Sequential(*layers)"
                )

    def _like(self, items: list[Any]) -> Sequential:
        return Sequential(*items)

    def forward(self, x: Any) -> Any:
        values = self.__dict__
        for name, kind in self._kinds.items():
            if kind == "layer":
                x = values[name](x)
        return x


class ParameterList(_ListLike):
    """A list of parameters that count."""

    _item_kind = "parameter"

    def __init__(self, parameters: Iterable[Parameter] | None = None):
        super().__init__()
        self.extend(parameters or ())

    def _add(self, name: str, item: Any) -> None:
        self.add_parameter(name, item)


class _DictLike(Layer):
    """The dictionary protocol over registered attributes."""

    _item_kind = "layer"

    def _add(self, name: str, item: Any) -> None:
        self.add_sublayer(name, item)

    def _names(self) -> list[str]:
        return [name for name, kind in self._kinds.items() if kind == self._item_kind]

    def __len__(self) -> int:
        return len(self._names())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __contains__(self, key: Any) -> bool:
        return self._kinds.get(key) == self._item_kind

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return self.__dict__[key]

    def __setitem__(self, key: str, item: Any) -> None:
        self._add(key, item)

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def keys(self) -> list[str]:
        """The keys in order of registration."""
        return self._names()

    def values(self) -> list[Any]:
        """The items in order of registration."""
        return [self.__dict__[name] for name in self._names()]

    def items(self) -> list[tuple[str, Any]]:
        """Pairs of key and item in order of registration."""
        return [(name, self.__dict__[name]) for name in self._names()]

    def pop(self, key: str) -> Any:
        """Take an item out and return it."""
        item = self[key]
        delattr(self, key)
        return item

    def clear(self) -> None:
        """Take all items out."""
        for name in self._names():
            delattr(self, name)

    def update(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add the items of a mapping, or pairs of key and item."""
        for key, item in dict(items).items():
            self[key] = item


class LayerDict(_DictLike):
    """A dictionary of layers whose parameters count. It has no `forward`."""

    def __init__(self, sublayers: Mapping[str, Layer] | Iterable[tuple[str, Layer]] | None = None):
        super().__init__()
        self.update(sublayers or {})


class ParameterDict(_DictLike):
    """A dictionary of parameters that count."""

    _item_kind = "parameter"

    def __init__(
        self, parameters: Mapping[str, Parameter] | Iterable[tuple[str, Parameter]] | None = None
    ):
        super().__init__()
        self.update(parameters or {})

    def _add(self, name: str, item: Any) -> None:
        self.add_parameter(name, item)
