"""Expressions over sizes, in one normal form: a sum of products with integer coefficients.

Equal sizes compare equal however they were written, and `decide` answers comparisons that hold for
all sizes. What a size does in user code is in `dim.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

Monomial = tuple["Atom", ...]


class Atom:
    """An indivisible factor: a symbol, or a function (floordiv, mod, max, min) of two Exprs."""

    __slots__ = ("args", "key", "name")

    def __init__(self, name: str, args: tuple[Expr, ...] = ()):
        self.name = name
        self.args = args
        self.key = (name, *(a.key for a in args))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def value(self, sizes: Mapping[str, int]) -> int:
        """The number this factor stands for, given the size of every symbol."""
        if not self.args:
            return sizes[self.name]
        a, b = (arg.value(sizes) for arg in self.args)
        return FUNCTIONS[self.name](a, b)

    def __str__(self) -> str:
        if not self.args:
            return self.name
        a, b = (str(arg) for arg in self.args)
        if self.name == "floordiv":
            return f"({a})//({b})"
        if self.name == "mod":
            return f"({a})%({b})"
        return f"{self.name}({a}, {b})"


FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "max": max,
    "min": min,
}


class Expr:
    """An integer expression over sizes: {product of atoms: coefficient}, zero terms left out."""

    __slots__ = ("key", "terms")

    def __init__(self, terms: Mapping[Monomial, int]):
        self.terms = {m: c for m, c in sorted(terms.items(), key=_order) if c}
        self.key = tuple((tuple(a.key for a in m), c) for m, c in self.terms.items())

    @staticmethod
    def symbol(name: str) -> Expr:
        """The expression that is just the size called `name`."""
        return Expr({(Atom(name),): 1})

    @staticmethod
    def of(value: int | Expr) -> Expr:
        """An int as an expression; an expression as itself."""
        return value if isinstance(value, Expr) else Expr({(): value})

    @property
    def constant(self) -> int | None:
        """The number, if the expression has no symbols; else None."""
        if not self.terms:
            return 0
        return self.terms[()] if len(self.terms) == 1 and () in self.terms else None

    def symbols(self) -> set[str]:
        """Names of all sizes that occur."""
        found: set[str] = set()
        for monomial in self.terms:
            for atom in monomial:
                found |= (
                    {atom.name} if not atom.args else set().union(*(a.symbols() for a in atom.args))
                )
        return found

    def value(self, sizes: Mapping[str, int]) -> int:
        """The number, given the size of every symbol."""
        total = 0
        for monomial, coefficient in self.terms.items():
            for atom in monomial:
                coefficient *= atom.value(sizes)
            total += coefficient
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __add__(self, other: int | Expr) -> Expr:
        terms = dict(self.terms)
        for monomial, coefficient in Expr.of(other).terms.items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return Expr(terms)

    def __neg__(self) -> Expr:
        return Expr({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: int | Expr) -> Expr:
        return self + -Expr.of(other)

    def __rsub__(self, other: int | Expr) -> Expr:
        return Expr.of(other) - self

    def __mul__(self, other: int | Expr) -> Expr:
        terms: dict[Monomial, int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in Expr.of(other).terms.items():
                product = tuple(sorted(m1 + m2, key=str))
                terms[product] = terms.get(product, 0) + c1 * c2
        return Expr(terms)

    __radd__ = __add__
    __rmul__ = __mul__

    def divide_exactly(self, other: Expr) -> Expr | None:
        """The quotient if `other` divides the expression for all sizes; else None.

        Division of polynomials in several variables (Cox, Little & O'Shea, Ideals, Varieties, and
        Algorithms, section 2.3); it ends because what is left has ever lower terms in front.
        """
        if not other.terms:
            return None
        divisor, coefficient = other._leading()
        quotient: dict[Monomial, int] = {}
        rest, last = self, None
        while rest.terms:
            monomial, c = rest._leading()
            if last is not None and _degree(monomial) <= last:
                return None
            last = _degree(monomial)
            left = _without(monomial, divisor)
            if left is None or c % coefficient:
                return None
            quotient[left] = c // coefficient
            rest = rest - other * Expr({left: c // coefficient})
        return Expr(quotient)

    def _leading(self) -> tuple[Monomial, int]:
        """The term that comes first in an order which products keep (graded lexicographic)."""
        return min(self.terms.items(), key=lambda item: _degree(item[0]))

    def __floordiv__(self, other: int | Expr) -> Expr:
        other = Expr.of(other)
        if other.constant == 0:
            raise ZeroDivisionError("a size is divided by zero")
        exact = self.divide_exactly(other)
        if exact is not None:
            return exact
        return function_of("floordiv", self, other)

    def __mod__(self, other: int | Expr) -> Expr:
        other = Expr.of(other)
        if other.constant == 0:
            raise ZeroDivisionError("a size is divided by zero")
        if self.divide_exactly(other) is not None:
            return Expr({})
        return function_of("mod", self, other)

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        parts = []
        for monomial, coefficient in self.terms.items():
            alone = coefficient == 1 and len(monomial) == 1
            # -a//b and 2*a//b mean something else than -(a//b) and 2*(a//b).
            factors = "*".join(
                f"({atom})" if atom.name in ("floordiv", "mod") and not alone else str(atom)
                for atom in monomial
            )
            sign = "-" if coefficient < 0 else "+"
            size = abs(coefficient)
            body = factors if factors and size == 1 else f"{size}*{factors}" if factors else size
            parts.append(f"{sign} {body}")
        text = " ".join(parts)
        text = text[2:] if text.startswith("+ ") else "-" + text[2:]
        return text.replace(" + ", "+").replace(" - ", "-")

    __repr__ = __str__


def _order(item: tuple[Monomial, int]) -> tuple[int, str]:
    return (-len(item[0]), "*".join(map(str, item[0])))


def _degree(monomial: Monomial) -> tuple[int, tuple[str, ...]]:
    return (-len(monomial), tuple(map(str, monomial)))


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    """The monomial divided by another; None where that does not divide it."""
    rest = list(monomial)
    for atom in divisor:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def function_of(name: str, a: Expr, b: Expr) -> Expr:
    """`name(a, b)` as one factor, or the number if both are numbers."""
    left, right = a.constant, b.constant
    if left is not None and right is not None:
        return Expr.of(FUNCTIONS[name](left, right))
    return Expr({(Atom(name, (a, b)),): 1})


def decide(difference: Expr, relation: str) -> bool | None:
    """Whether `difference relation 0` holds for all sizes; None if it depends.

    Declared sizes are at least one, sizes that depend on values at least zero, and products of
    sizes grow, so the sign of every coefficient bounds the difference from one side.
    """
    value = difference.constant
    low, high = (value, value) if value is not None else _bounds(difference)
    if relation in ("==", "!="):
        if value is not None:
            return (value == 0) == (relation == "==")
        if (low is not None and low > 0) or (high is not None and high < 0):
            return relation == "!="
        return None
    if relation in (">", ">="):
        shift = 1 if relation == ">" else 0
        if low is not None and low >= shift:
            return True
        return False if high is not None and high < shift else None
    flipped = decide(-difference, {"<": ">", "<=": ">="}[relation])
    return flipped


def _bounds(expr: Expr) -> tuple[int | None, int | None]:
    """Lowest and highest value over all sizes; None where it is unbounded or unknown."""
    constant = expr.terms.get((), 0)
    low: int | None = constant
    high: int | None = constant
    for monomial, coefficient in expr.terms.items():
        if not monomial:
            continue
        if any(atom.args for atom in monomial):
            # floordiv, mod, max, min of sizes: non-negative here, no useful upper bound.
            if not all(_non_negative(atom) for atom in monomial):
                return None, None
            smallest = 0
        else:
            smallest = 0 if any(is_unknown(atom.name) for atom in monomial) else 1
        if coefficient > 0:
            low = None if low is None else low + coefficient * smallest
            high = None
        else:
            high = None if high is None else high + coefficient * smallest
            low = None
    return low, high


def is_unknown(symbol: str) -> bool:
    """Whether a symbol stands for a size that depends on values: its name starts with "_"."""
    return symbol.startswith("_")


def _non_negative(atom: Atom) -> bool:
    return not atom.args or all((_bounds(a)[0] or 0) >= 0 and _has_low(a) for a in atom.args)


def _has_low(expr: Expr) -> bool:
    return expr.constant is not None or _bounds(expr)[0] is not None
