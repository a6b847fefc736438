"""Symbolic sizes: arithmetic against plain integers, decisions, guards, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyn.core.dim import Dim, SizeScope, expr_of, maximum, minimum, plain
from dyn.core.expr import Expr, decide

NAMES = ("n", "h", "w")


class Recording(SizeScope):
    def __init__(self):
        self.guards = []
        self.escapes = []

    def on_guard(self, left, relation, right, answer, *, needed=False):
        self.guards.append((str(left), relation, str(right), answer))
        return answer

    def on_size_escape(self, dim, how):
        self.escapes.append(how)


def dims(**sizes):
    scope = Recording()
    return scope, [Dim(size, Expr.symbol(name), scope) for name, size in sizes.items()]


def trees():
    leaves = st.one_of(st.sampled_from(NAMES), st.integers(-4, 9))
    binary = st.sampled_from(["+", "-", "*", "//", "%", "max", "min"])
    return st.recursive(leaves, lambda inner: st.tuples(binary, inner, inner), max_leaves=8)


def evaluate(tree, leaf):
    """The tree over whatever `leaf` gives for a name; division is by a positive number."""
    if not isinstance(tree, tuple):
        return leaf(tree) if isinstance(tree, str) else tree
    op, a, b = tree[0], evaluate(tree[1], leaf), evaluate(tree[2], leaf)
    if op in ("//", "%"):
        b = b * b + 1
        return a // b if op == "//" else a % b
    if op in ("max", "min"):
        return maximum(a, b) if op == "max" else minimum(a, b)
    return a + b if op == "+" else a - b if op == "-" else a * b


SIZES = st.fixed_dictionaries({name: st.integers(1, 40) for name in NAMES})


@given(trees(), SIZES, SIZES)
def test_expression_of_one_run_holds_for_every_other(tree, first, second):
    scope = Recording()
    made = {n: Dim(first[n], Expr.symbol(n), scope) for n in NAMES}
    symbolic = evaluate(tree, made.__getitem__)
    assert plain(symbolic) == evaluate(tree, first.__getitem__)
    assert expr_of(symbolic).value(second) == evaluate(tree, second.__getitem__)
    assert not scope.guards


@given(trees(), SIZES, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
def test_a_decision_is_true_for_every_size(tree, sizes, relation):
    scope = Recording()
    made = {n: Dim(2, Expr.symbol(n), scope) for n in NAMES}
    expr = expr_of(evaluate(tree, made.__getitem__))
    answer = decide(expr, relation)
    if answer is not None:
        value = expr.value(sizes)
        truth = {
            "==": value == 0, "!=": value != 0, "<": value < 0,
            "<=": value <= 0, ">": value > 0, ">=": value >= 0,
        }  # fmt: skip
        assert truth[relation] == answer


def test_equal_sizes_written_differently_are_equal_without_a_guard():
    scope, (n, h) = dims(n=3, h=8)
    assert 2 * n + n == 3 * n
    assert (n * h * 6) // (2 * h) == 3 * n
    assert n * h - h * n == 0
    assert n >= 1 and n > 0 and n != 0
    assert not scope.guards


@given(trees(), trees(), SIZES)
def test_a_product_divided_by_a_factor_is_the_other_factor(first, second, sizes):
    scope = Recording()
    made = {n: Dim(2, Expr.symbol(n), scope) for n in NAMES}
    a, b = (Expr.of(expr_of(evaluate(tree, made.__getitem__))) for tree in (first, second))
    if b.constant != 0:
        assert (a * b).divide_exactly(b) == a
    quotient = a.divide_exactly(b)
    if quotient is not None:
        assert quotient.value(sizes) * b.value(sizes) == a.value(sizes)


def test_a_factor_of_several_terms_divides():
    scope, (n, h, w) = dims(n=3, h=8, w=5)
    rows, columns = (h - 1) // 2 + 1, (w - 1) // 2 + 1
    assert (n * 16 * rows * columns) // (n * 2 * rows * columns) == 8
    assert (h * h - w * w) // (h + w) == h - w
    assert (n * (h + 1)) % (h + 1) == 0
    assert not scope.guards
    assert str((h * h + 1) // (h + 1)) == "(h*h+1)//(h+1)"


def test_comparison_is_a_guard_with_its_answer():
    scope, (h,) = dims(h=8)
    assert h % 2 == 0
    assert not h > 10
    assert scope.guards == [("(h)%(2)", "==", "0", True), ("h", ">", "10", False)]


@pytest.mark.parametrize("sample", [1, 5])
def test_a_dynamic_size_is_never_one(sample):
    scope, (n,) = dims(n=sample)
    assert n != 1
    assert bool(n == 1) is False
    assert len(scope.guards) == 2


def test_every_way_to_a_plain_number_is_reported():
    scope, (n,) = dims(n=4)
    assert list(range(n)) == [0, 1, 2, 3]
    assert math.sqrt(n) == 2.0
    assert [10, 11, 12, 13, 14][n] == 14
    assert int(n) == 4
    assert f"{n:03d}" == "004"
    assert scope.escapes == ["index", "float", "index", "int", "format"]


def test_printing_shows_the_expression_and_escapes_nothing():
    scope, (n, h) = dims(n=4, h=9)
    assert f"{(h + 2 - 3) // 2 + 1}" == "(h-1)//(2)+1"
    assert repr(n * h - 2) == "h*n-2"
    assert not scope.escapes


def test_division_by_zero_is_pythons_error():
    _, (n,) = dims(n=4)
    with pytest.raises(ZeroDivisionError):
        n // 0
