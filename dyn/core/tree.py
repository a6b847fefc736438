"""Nested tuples, lists and dicts with tensors in them: taken apart, named, put together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Leaf:
    """Stands in a structure for the leaf of that number."""

    index: int


def flatten(
    value: Any, is_leaf: Callable[[Any], bool], path: str = ""
) -> tuple[Any, list[tuple[str, Any]]]:
    """Take the leaves out of nested containers.

    Args:
        value: tuples (named ones too), lists, dicts, dataclass objects and what is in them.
        is_leaf: whether something is a leaf. What is neither leaf nor container stays in place.
        path: put before the names of the leaves.

    Returns:
        The structure with a `Leaf` in each leaf's place, and (path, leaf) pairs. A path joins
        positions and keys with dots.
    """
    leaves: list[tuple[str, Any]] = []

    def visit(item: Any, path: str) -> Any:
        if is_leaf(item):
            leaves.append((path, item))
            return Leaf(len(leaves) - 1)
        children = _children(item)
        if children is None:
            return item
        return _like(item, [visit(child, join(path, key)) for key, child in children])

    return visit(value, path), leaves


def rebuild(structure: Any, leaves: Any) -> Any:
    """The structure with every `Leaf` replaced by what `leaves` holds at its index."""
    if isinstance(structure, Leaf):
        return leaves[structure.index]
    children = _children(structure)
    if children is None:
        return structure
    return _like(structure, [rebuild(child, leaves) for _, child in children])


def join(path: str, key: str) -> str:
    """Two parts of a path with a dot between them."""
    return f"{path}.{key}" if path and key else path or key


def _children(item: Any) -> list[tuple[str, Any]] | None:
    names = getattr(item, "_fields", None)
    if isinstance(item, tuple) and names is not None:
        return list(zip(names, item, strict=True))
    if isinstance(item, (tuple, list)):
        return [(str(i), child) for i, child in enumerate(item)]
    if isinstance(item, dict):
        return [(str(key), child) for key, child in item.items()]
    if dataclasses.is_dataclass(item) and not isinstance(item, (type, Leaf)):
        return [(f.name, getattr(item, f.name)) for f in dataclasses.fields(item)]
    return None


def _like(item: Any, children: list[Any]) -> Any:
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*children)
    if isinstance(item, dict):
        return dict(zip(item, children, strict=True))
    if isinstance(item, (tuple, list)):
        return type(item)(children)
    names = [f.name for f in dataclasses.fields(item)]
    return dataclasses.replace(item, **dict(zip(names, children, strict=True)))
