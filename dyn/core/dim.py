"""Symbolic sizes: `Dim`, a size known by an expression.

While a model is traced, a size declared dynamic reads as a `Dim`: it behaves as an integer, stays
symbolic under arithmetic, reports comparisons as guards, and refuses to turn silently into a plain
number. The expressions are in `expr.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.core.expr import FUNCTIONS, Expr, decide, function_of


class SizeScope:
    """What a Dim tells when it is compared or leaves the symbolic world. The tracer overrides it.

    Args to the methods are the Dims concerned; the base class is silent.
    """

    def on_guard(
        self, left: Expr, relation: str, right: Expr, answer: bool, *, needed: bool = False
    ) -> bool:
        """A comparison was decided by the sample sizes: the graph is valid where it holds.

        Args:
            needed: whether nothing can be computed where it does not hold, as sizes do not fit.

        Returns:
            The answer that the code shall go on with.
        """
        return answer

    def on_size_escape(self, dim: Dim, how: str) -> None:
        """A Dim is turned into a plain number ("int", "float", "range" ...); may raise."""

    def lift(self, dim: Dim) -> Any:
        """A Dim meets a float or a Tensor: the 0-d int64 Tensor that stands for it."""
        raise AttributeValueError(
            f"the symbolic size {dim.expr} left the trace in which it has a meaning; take sizes "
            "of a tensor anew in each call instead of keeping them"
        )


class Dim:
    """A size with a value in this run (`sample`) and an expression that holds for every run.

    Not a subclass of int: CPython reads an int subclass's value without asking, which would bake
    the sample's size into the graph (`range(n)`, `math.sqrt(n)`). A Dim is asked (`__index__`).
    """

    __slots__ = ("expr", "sample", "scope")

    def __init__(self, sample: int, expr: Expr, scope: SizeScope):
        self.sample = sample
        self.expr = expr
        self.scope = scope

    def _binary(
        self, other: Any, function: Callable[[Any, Any], Any], *, flip: bool = False
    ) -> Any:
        if isinstance(other, (float, complex)):
            lifted = self.scope.lift(self)
            return function(other, lifted) if flip else function(lifted, other)
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        a, b = (other, self) if flip else (self, other)
        expr = function(expr_of(a), expr_of(b))
        return make(function(plain(a), plain(b)), expr, self.scope)

    def __add__(self, other: Any) -> Any:
        return self._binary(other, operator.add)

    def __radd__(self, other: Any) -> Any:
        return self._binary(other, operator.add, flip=True)

    def __sub__(self, other: Any) -> Any:
        return self._binary(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return self._binary(other, operator.sub, flip=True)

    def __mul__(self, other: Any) -> Any:
        return self._binary(other, operator.mul)

    def __rmul__(self, other: Any) -> Any:
        return self._binary(other, operator.mul, flip=True)

    def __floordiv__(self, other: Any) -> Any:
        return self._binary(other, operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._binary(other, operator.floordiv, flip=True)

    def __mod__(self, other: Any) -> Any:
        return self._binary(other, operator.mod)

    def __rmod__(self, other: Any) -> Any:
        return self._binary(other, operator.mod, flip=True)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __truediv__(self, other: Any) -> Any:
        return self.scope.lift(self) / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.scope.lift(self)

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int) and other >= 0:
            result: Any = 1
            for _ in range(other):
                result = self * result
            return result
        return self.scope.lift(self) ** other

    def __lshift__(self, other: Any) -> Any:
        return self * (1 << operator.index(other))

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << operator.index(other))

    def __and__(self, other: Any) -> Any:
        mask = operator.index(other)
        # The low bits are a remainder; other masks have no expression.
        return self % (mask + 1) if mask >= 0 and mask & mask + 1 == 0 else self._escape("&") & mask

    __rand__ = __and__

    def __abs__(self) -> Any:
        return maximum(self, -self)

    def __round__(self, digits: int | None = None) -> Any:
        return self if digits is None or digits >= 0 else round(self._escape("round"), digits)

    def __neg__(self) -> Any:
        return make(-self.sample, -self.expr, self.scope)

    def __pos__(self) -> Dim:
        return self

    __ceil__ = __floor__ = __trunc__ = __pos__

    def fits(self, other: Any) -> bool:
        """Whether a size is equal, as an op needs it to be."""
        return bool(self._compare(other, "==", operator.eq, needed=True))

    def _compare(
        self,
        other: Any,
        relation: str,
        function: Callable[[Any, Any], bool],
        *,
        needed: bool = False,
    ) -> Any:
        if isinstance(other, float) and other.is_integer():
            other = int(other)
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        left, right = self.expr, expr_of(other)
        known = decide(left - right, relation)
        if known is not None:
            return known
        answer = function(self.sample, plain(other))
        if relation in ("==", "!=") and 1 in (left.constant, right.constant):
            # A size declared dynamic is not the size 1, whatever the sample: broadcasting between
            # an unknown size and 1 is decided by the declaration.
            answer = relation == "!="
        return self.scope.on_guard(left, relation, right, answer, needed=needed)

    def __eq__(self, other: object) -> Any:
        return self._compare(other, "==", operator.eq)

    def __ne__(self, other: object) -> Any:
        return self._compare(other, "!=", operator.ne)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, "<", operator.lt)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, "<=", operator.le)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, ">", operator.gt)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, ">=", operator.ge)

    def __hash__(self) -> int:
        return hash(self.expr)

    def __bool__(self) -> bool:
        return bool(self != 0)

    def _escape(self, how: str) -> int:
        self.scope.on_size_escape(self, how)
        return self.sample

    def __int__(self) -> int:
        return self._escape("int")

    def __index__(self) -> int:
        return self._escape("index")

    def __float__(self) -> float:
        return float(self._escape("float"))

    def __repr__(self) -> str:
        return str(self.expr)

    def __format__(self, spec: str) -> str:
        return format(str(self.expr), spec) if not spec else format(self._escape("format"), spec)


def make(sample: int, expr: Expr, scope: SizeScope) -> int | Dim:
    """A Dim, or a plain int where the expression turned out to be a constant."""
    return sample if expr.constant is not None else Dim(sample, expr, scope)


def expr_of(size: int | Dim) -> Expr:
    """The expression of a size."""
    return size.expr if isinstance(size, Dim) else Expr.of(int(size))


def plain(value: Any) -> Any:
    """`value` with every Dim in it (also inside tuples and lists) replaced by its sample."""
    if isinstance(value, Dim):
        return value.sample
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _extreme(name: str, a: Any, b: Any) -> Any:
    dims = [size for size in (a, b) if isinstance(size, Dim)]
    if not dims:
        return FUNCTIONS[name](a, b)
    difference = expr_of(a) - expr_of(b)
    for larger, smaller, sign in ((a, b, difference), (b, a, -difference)):
        if decide(sign, ">="):
            return larger if name == "max" else smaller
    expr = function_of(name, expr_of(a), expr_of(b))
    return make(FUNCTIONS[name](plain(a), plain(b)), expr, dims[0].scope)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two sizes, without a guard."""
    return _extreme("max", a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two sizes, without a guard."""
    return _extreme("min", a, b)
