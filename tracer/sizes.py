"""Sizes in their three forms: `Dim` while a model runs, `Expr` in a graph, int when it is run.

The functions here turn one into another, also inside attribute values.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from dyn.core.dim import Dim, SizeScope, make
from dyn.core.errors import AttributeValueError
from dyn.core.expr import Atom, Expr, function_of, is_unknown
from dyn.core.op import Type

COMPARE = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less_than",
    "<=": "less_equal",
    ">": "greater_than",
    ">=": "greater_equal",
}
"""The op that compares two sizes as tensors."""


def to_expr(value: Any) -> Any:
    """`value` with every Dim in it (also inside tuples) replaced by its expression."""
    if isinstance(value, Dim):
        return value.expr
    if isinstance(value, tuple):
        return tuple(to_expr(item) for item in value)
    return value


def to_int(value: Any, sizes: Mapping[str, int]) -> Any:
    """`value` with every expression in it replaced by its number."""
    if isinstance(value, Expr):
        return value.value(sizes)
    if isinstance(value, tuple):
        return tuple(to_int(item, sizes) for item in value)
    return value


def to_dim(value: Any, sizes: Mapping[str, int], scope: SizeScope) -> Any:
    """`value` with every expression in it replaced by a Dim."""
    if isinstance(value, Expr):
        return make(value.value(sizes), value, scope)
    if isinstance(value, tuple):
        return tuple(to_dim(item, sizes, scope) for item in value)
    return value


def is_symbolic(value: Any) -> bool:
    """Whether a Dim or an expression occurs in `value`."""
    if isinstance(value, tuple):
        return any(is_symbolic(item) for item in value)
    return isinstance(value, (Expr, Dim))


def symbol_of(size: Any) -> str | None:
    """The symbol that a size is, if it is nothing but a symbol."""
    if not isinstance(size, Expr) or len(size.terms) != 1:
        return None
    ((monomial, coefficient),) = size.terms.items()
    bare = coefficient == 1 and len(monomial) == 1 and not monomial[0].args
    return monomial[0].name if bare else None


def unknown_sizes(*values: Any) -> set[str]:
    """Symbols in `values` that stand for sizes which depend on values."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, Expr):
            found.update(filter(is_unknown, value.symbols()))
        elif isinstance(value, tuple):
            found |= unknown_sizes(*value)
    return found


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with other names for some symbols, also inside tuples; itself if it has none."""
    if isinstance(value, tuple):
        items = tuple(renamed(item, names) for item in value)
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if not isinstance(value, Expr) or names.keys().isdisjoint(value.symbols()):
        return value
    total = Expr.of(0)
    for monomial, coefficient in value.terms.items():
        term = Expr.of(coefficient)
        for atom in monomial:
            parts = [renamed(arg, names) for arg in atom.args]
            term = term * (
                function_of(atom.name, *parts)
                if parts
                else Expr.symbol(names.get(atom.name, atom.name))
            )
        total = total + term
    return total


def new_unknown_size(sizes: dict[str, int], sample: int) -> Expr:
    """A new symbol for a size that depends on values; its sample is added to `sizes`."""
    name = f"_{sum(map(is_unknown, sizes)) + 1}"
    sizes[name] = sample
    return Expr.symbol(name)


def type_of_dims(type_: Type) -> Type:
    """A type over Dims as a type over expressions."""
    return Type(tuple(to_expr(size) for size in type_.shape), type_.dtype)


_OPERATORS: dict[type, Callable[[Expr, Expr], Expr]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def parse_size(text: str) -> int | Expr:
    """A size from its text: `3`, `N`, `2*h+1`, `(h)//(2)`, `max(n, 4)`.

    Raises:
        AttributeValueError: the text is not an integer expression over names.
    """
    try:
        found = _size(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, KeyError, ValueError):
        raise AttributeValueError(
            f"{text!r} is not a size; sizes are numbers, names, + - * // % and max, min of them"
        ) from None
    return found if found.constant is None else found.constant


def _size(tree: ast.AST) -> Expr:
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return Expr.of(tree.value)
    if isinstance(tree, ast.Name):
        return Expr.symbol(tree.id)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_size(tree.operand)
    if isinstance(tree, ast.BinOp):
        return _OPERATORS[type(tree.op)](_size(tree.left), _size(tree.right))
    if isinstance(tree, ast.Call) and getattr(tree.func, "id", "") in ("max", "min"):
        a, b = tree.args
        return Expr({(Atom(tree.func.id, (_size(a), _size(b))),): 1})  # type: ignore[attr-defined]
    raise ValueError
