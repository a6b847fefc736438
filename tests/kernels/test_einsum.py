"""Einstein sums against numpy's, which contracts element by element."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels.einsum import _steps, einsum

BOUNDS = {"f4": 1e-5, "f8": 1e-13, "i8": 0}
SIZES = dict(zip("abcdef", (3, 4, 5, 2, 6, 1), strict=True))


@st.composite
def equations(draw):
    """One to three operands of up to four letters each, and some of their letters as a result."""
    letters = st.lists(st.sampled_from("abcdef"), max_size=4, unique=True).map("".join)
    terms = draw(st.lists(letters, min_size=1, max_size=3))
    known = sorted({c for term in terms for c in term})
    out = draw(st.permutations(known))[: draw(st.integers(0, len(known)))]
    return f"{','.join(terms)}->{''.join(out)}"


@given(equations(), st.sampled_from(["f4", "f8", "i8"]), st.booleans(), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_against_numpy(equation, dtype, turned, seed):
    rng = np.random.default_rng(seed)
    xs = []
    for term in equation.split("->")[0].split(","):
        shape = [SIZES[c] for c in term]
        x = (10 * rng.standard_normal(shape[::-1] if turned else shape)).astype(dtype)
        xs.append(x.T if turned else x)
    got, wanted = einsum(equation, *xs), np.einsum(equation, *xs)
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    assert got.flags.c_contiguous and not any(np.shares_memory(got, x) for x in xs)
    scale = np.einsum(equation, *(np.abs(x.astype("f8")) for x in xs)).max(initial=1)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=BOUNDS[dtype] * scale)


@pytest.mark.parametrize("equation", ["bi,ijk,bk->bj", "bj,bi,bk->ijk", "ab,bc,cd,de->ae"])
def test_operands_are_taken_in_pairs_whatever_lies_between(equation):
    sizes = dict(zip("abcdeijk", (9, 64, 8, 7, 6, 30, 40, 20), strict=True))
    shapes = [tuple(sizes[c] for c in term) for term in equation.split("->")[0].split(",")]
    steps = _steps(equation, tuple(shapes))
    assert [len(step.places) for step in steps] == [2] * (len(shapes) - 1)
    xs = [np.random.default_rng(1).standard_normal(shape) for shape in shapes]
    np.testing.assert_allclose(einsum(equation, *xs), np.einsum(equation, *xs), atol=1e-10)


def test_an_axis_of_one_repeats():
    x, y = np.ones((1, 4), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(einsum("ab,ab->ab", x, y), y)


@pytest.mark.parametrize("size", [0, 1, 300])
def test_sizes(size):
    x = np.ones((2, size, 7), np.float32)
    np.testing.assert_array_equal(einsum("abc,adc->abd", x, x), np.full((2, size, size), 7.0))
