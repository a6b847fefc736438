"""Element-wise kernels: every fast function against float64, all layouts, casts, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import elementwise
from dyn.kernels.elementwise import nest
from dyn.kernels.elementwise.apply import CASTS, FAST, GENERAL, UFUNC_SIZE
from dyn.kernels.elementwise.dtypes import CHOICES, KERNELS
from dyn.kernels.elementwise.pointwise import formula_kernel
from dyn.kernels.elementwise.ufuncs import UFUNCS
from dyn.kernels.runtime import memory, threads
from dyn.kernels.vector import half

F32 = np.dtype(np.float32)
PARAMS: dict[str, dict[str, float]] = {
    "addcdiv": {"value": 0.3},
    "addcmul": {"value": 0.3},
    "clip": {"low": -0.5, "high": 1.0},
    "clip_grad": {"low": -0.5, "high": 1.0},
    "elu": {"alpha": 1.5, "scale": 1.1, "rate": 0.7},
    "elu_grad": {"alpha": 1.5, "scale": 1.1, "rate": 0.7},
    "huber": {"delta": 1.5},
    "huber_grad": {"delta": 1.5},
    "huber_slope": {"delta": 1.5, "factor": 0.3},
    "margin_excess": {"margin": 0.5},
    "margin_excess_grad": {"margin": 0.5},
    "margin_excess_slope": {"margin": 0.5, "factor": 0.3},
    "margin_ranking": {"margin": 0.5},
    "margin_ranking_slope": {"margin": 0.5, "factor": 0.3},
    "poisson_nll_slope": {"factor": 0.3},
    "soft_margin_slope": {"factor": 0.3},
    "lerp_by": {"weight": 0.3},
    "nan_to_num": {"nan": 1.0, "high": 2.0, "low": -2.0},
    "scaled_difference": {"factor": 0.3},
    "hardsigmoid": {"slope": 0.2, "offset": 0.4},
    "hardsigmoid_grad": {"slope": 0.2},
    "leaky_relu": {"slope": 0.1},
    "leaky_relu_grad": {"slope": 0.1},
    "shrink": {"threshold": 0.5, "bias": 0.25},
    "softplus": {"beta": 2.0, "threshold": 3.0},
    "softplus_grad": {"beta": 2.0, "threshold": 3.0},
}
INVERSE = {"asin": 2.5, "acos": 2.5, "atan": 2, "sinh": 4, "cosh": 4, "asinh": 3.5,
           "acosh": 3.5, "atanh": 3.5}  # fmt: skip
"""The functions of `vmath_inverse.py`, and their bounds in units in the last place."""


def call(name: str, *arrays: np.ndarray) -> np.ndarray:
    """A function as the library calls it; never through numpy's ufunc."""
    params = PARAMS.get(name, {})
    out: Any = (nest.run_one, nest.run_two, nest.run_three)[len(arrays) - 1](
        FAST[name], *arrays, *params.values()
    )
    assert out is not None
    return out


def test_results_written_past_the_cache_are_the_same(monkeypatch, rng: np.random.Generator) -> None:
    size = 3 * 8192 + 77
    x, y = rng.standard_normal((2, size), dtype=np.float32)
    calls = [(FAST["add"], x, y), (FAST["exp"], x), (FAST["less_than"], x, y)]
    # Blocks of a row that repeats begin anywhere in a line.
    calls += [(CASTS[F32, np.dtype("f8")], x), (FAST["add"], x[:24500].reshape(500, 49), y[:49])]
    found = []
    for far in (1 << 60, 0):
        monkeypatch.setattr(memory, "FAR", far)
        nest._dense.cache_clear()
        nest._nest.cache_clear()
        run = (nest.run_one, nest.run_two, nest.run_three)
        found.append([run[len(given) - 1](kernel, *given) for kernel, *given in calls])
    for near, far in zip(*found, strict=True):
        np.testing.assert_array_equal(near, far)


@pytest.mark.parametrize("name", [name for name, numbers in PARAMS.items() if len(numbers) > 1])
def test_numbers_may_be_given_in_any_order(name: str) -> None:
    assert FAST[name].numbers == tuple(PARAMS[name])
    x = np.linspace(-3, 3, UFUNC_SIZE, dtype=np.float32)
    arrays = [x] * FAST[name].inputs
    function = (elementwise.unary, elementwise.binary, elementwise.ternary)[len(arrays) - 1]
    turned = dict(reversed(PARAMS[name].items()))
    np.testing.assert_array_equal(
        function(name, *arrays, **turned), function(name, *arrays, **PARAMS[name])
    )


def test_roots_are_rounded_correctly() -> None:
    # All mantissas, with an odd and an even exponent, and every size there is.
    mantissas = np.arange(0x3F800000, 0x40800000, 3, np.uint32).view(np.float32)
    sizes = np.arange(0, 1 << 32, 10007, np.uint64).astype(np.uint32).view(np.float32)
    for x in (mantissas, sizes):
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(call("sqrt", x), np.sqrt(x))


def exact(name: str, *arrays: np.ndarray) -> np.ndarray:
    """The same in float64 by numpy."""
    with np.errstate(all="ignore"):
        return GENERAL[name](*(a.astype(np.float64) for a in arrays), **PARAMS.get(name, {}))


def numbers(rng: np.random.Generator, size: int) -> np.ndarray:
    """float32 of all magnitudes, a third of them near 1, and special ones."""
    bits = rng.integers(0, 2**32, size, dtype=np.uint64).astype(np.uint32).view(np.float32)
    bits = bits[~np.isnan(bits)]
    x = np.concatenate([bits, rng.uniform(-5, 5, size), rng.uniform(-1, 1, size)])
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 88.8, -104.0, 1e-40, 3e38]
    return np.concatenate([x, special]).astype(np.float32)


def ulps(out: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The error in units in the last place of the result; NaN and infinities must agree."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(np.float32)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(rounded))
        at = np.isfinite(rounded) & np.isfinite(out)
        overflow = ~at & ~np.isnan(rounded)
        # Rounding may carry the very largest results to infinity or back.
        far = np.abs(wanted[overflow]) > 3.4e38
        assert np.all(far), wanted[overflow][~far]
        unit = np.spacing(np.abs(rounded[at])).astype(np.float64)
        return np.abs(out[at].astype(np.float64) - wanted[at]) / unit


@pytest.mark.parametrize("name", sorted(INVERSE))
def test_inverse_functions_keep_their_bounds(name: str, rng: np.random.Generator) -> None:
    x = numbers(rng, 100_000)
    error = ulps(call(name, x), exact(name, x))
    assert error.max() <= INVERSE[name], f"{error.max():.2f} ulp"


def test_atan2_keeps_its_bound_and_its_signs(rng: np.random.Generator) -> None:
    y, x = (rng.permutation(numbers(rng, 100_000))[:250_000] for _ in range(2))
    error = ulps(call("atan2", y, x), exact("atan2", y, x))
    assert error.max() <= 3, f"{error.max():.2f} ulp"
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], np.float32)
    y, x = (g.ravel() for g in np.meshgrid(special, special))
    out, wanted = call("atan2", y, x), np.arctan2(y, x)
    np.testing.assert_allclose(out, wanted, rtol=3e-7)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(out[known]), np.signbit(wanted[known]))


def test_powers_of_two_keep_their_bound(rng: np.random.Generator) -> None:
    x = np.concatenate([numbers(rng, 100_000), rng.uniform(-160, 140, 100_000).astype(F32)])
    error = ulps(call("exp2", x), exact("exp2", x))
    assert error.max() <= 1.1, f"{error.max():.2f} ulp"


@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_whole_quotients_are_those_of_numpy(name: str, rng: np.random.Generator) -> None:
    x, y = (rng.permutation(numbers(rng, 100_000))[:250_000] for _ in range(2))
    near = rng.integers(1, 40, x.size).astype(F32)
    special = np.array([0.0, -0.0, 1.0, -3.0, 7.0, np.inf, -np.inf, np.nan, 1e-45, 3e38], F32)
    a, b = (g.ravel() for g in np.meshgrid(special, special))
    with np.errstate(over="ignore"):
        whole = near * y
    for first, second in ((x, y), (x, near), (whole, y), (a, b), (-near, near[::-1] / 8)):
        with np.errstate(all="ignore"):
            wanted = UFUNCS[name](first, second)
        out = call(name, first, second)
        np.testing.assert_array_equal(out, wanted)
        known = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(out[known]), np.signbit(wanted[known]))


@pytest.mark.parametrize("name", sorted(FAST))
def test_fast_functions_agree_with_float64(name: str, rng: np.random.Generator) -> None:
    size = 3001
    inputs = FAST[name].inputs
    low, high = (0.05, 3) if name in ("addcdiv", "pow", "rsqrt", "log", "acosh") else (-4, 4)
    arrays = [rng.uniform(low, high, size).astype(np.float32) for _ in range(inputs)]
    out, wanted = call(name, *arrays), exact(name, *arrays)
    if out.dtype == np.bool_:
        np.testing.assert_array_equal(out, wanted)
        return
    assert out.dtype == F32
    np.testing.assert_array_equal(np.isnan(out), np.isnan(wanted))
    scale = 1 + np.abs(wanted)
    assert np.nanmax(np.abs(out - wanted) / scale) < 2e-6


@pytest.mark.parametrize("size", [0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100])
def test_every_size_is_whole(size: int, rng: np.random.Generator) -> None:
    x, y = (rng.standard_normal(size).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(call("add", x, y), x + y)
    np.testing.assert_array_equal(call("less_than", x, y), x < y)


def test_results_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    x, y = (rng.standard_normal((300, 700)).astype(np.float32) for _ in range(2))
    before = threads.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            found.append((call("gelu_grad", x, y), call("add", x, y[0]), call("tanh", x.T)))
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- shapes and strides ------------------------------------------------------------------------


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Any]]:
    """A shape, and for two operands how they are made from it."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    how = st.tuples(
        st.tuples(*[st.booleans()] * len(shape)),  # axes that repeat
        st.integers(0, len(shape)),  # leading axes left out
        st.permutations(range(len(shape))),  # memory order
        st.sampled_from([1, 2, -1]),  # step along the last axis
    )
    return shape, [draw(how), draw(how)]


def made(rng: np.random.Generator, shape: tuple[int, ...], how: Any) -> np.ndarray:
    """An array that broadcasts to `shape`, laid out as said."""
    repeats, lead, order, step = how
    sizes = [1 if r else n for n, r in zip(shape, repeats, strict=True)]
    back = [int(i) for i in np.argsort(order)]
    wide = [n * abs(step) if a == order[-1] else n for a, n in enumerate(sizes)]
    x = rng.standard_normal([wide[a] for a in order]).astype(np.float32)
    x = x[..., ::step].transpose(back)
    return x[(0,) * lead + (...,)] if all(n == 1 for n in sizes[:lead]) else x


@settings(max_examples=300, deadline=None)
@given(layouts(), st.integers(0, 2**32 - 1))
def test_operands_broadcast_in_any_layout(case: Any, seed: int) -> None:
    shape, hows = case
    rng = np.random.default_rng(seed)
    x, y = (made(rng, shape, how) for how in hows)
    copies = x.copy(), y.copy()
    np.testing.assert_array_equal(call("subtract", x, y), x - y)
    np.testing.assert_array_equal(call("less_than", x, y), x < y)
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(y, copies[1])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((400, 300), (300,)),
        ((40000, 3), (3,)),
        ((400, 300), (400, 1)),
        ((300,), (400, 300)),
        ((8, 16, 30, 30), (16, 1, 1)),
        ((8, 1, 1000), (8, 16, 1)),
        ((100000,), ()),
        ((), (100000,)),
        ((300, 1), (1, 500)),
        ((90, 7, 170), (7, 1)),
        ((2, 3, 2, 3, 2, 3, 400), (1, 3, 1, 3, 1, 3, 1)),
    ],
)
def test_large_operands_that_repeat(
    first: tuple[int, ...], second: tuple[int, ...], rng: np.random.Generator
) -> None:
    x = np.asarray(rng.standard_normal(first), np.float32)
    y = np.asarray(rng.standard_normal(second), np.float32)
    np.testing.assert_array_equal(elementwise.binary("multiply", x, y), x * y)


@pytest.mark.parametrize("length", [100, 511, 600, 5000, 40000])
@pytest.mark.parametrize("rows", [1, 3, 500])
def test_a_single_operand_that_repeats(length: int, rows: int) -> None:
    x = np.arange(1, rows + 1, dtype=np.float32)[:, None] / rows
    wide = np.broadcast_to(x, (rows, length))
    np.testing.assert_allclose(elementwise.unary("exp", wide), np.exp(wide), rtol=1e-6)
    np.testing.assert_array_equal(elementwise.cast(wide, np.float64), wide.astype(np.float64))
    even = np.broadcast_to(np.float32(1.5), (rows, length))
    np.testing.assert_array_equal(elementwise.unary("square", even), np.full_like(even, 2.25))
    np.testing.assert_array_equal(elementwise.cast(even, np.int64), np.ones(even.shape, np.int64))


@pytest.mark.parametrize("length", [511, 512, 600, 2048, 5000])
def test_long_rows_that_lie_apart(length: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((60, length + 1)).astype(np.float32)
    column, three = x[:, :1], np.broadcast_to(x[:20], (3, 20, length + 1))
    for a, b in ((x[:, 1:], x[:, :-1]), (x[:, 1:], column), (column, x[::-1, :-1]), (three, x[0])):
        np.testing.assert_array_equal(call("subtract", a, b), a - b)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 17, 33, 63, 64, 65, 100, 206, 1000])
def test_rows_of_every_length(length: int, dtype: str, rng: np.random.Generator) -> None:
    kernel = FAST["add"] if dtype == "float32" else KERNELS["add", np.dtype(dtype)]
    x = rng.integers(-99, 99, (4, 19, length + 3)).astype(dtype)
    if x.dtype.kind == "f":
        x[0, 1, :3] = np.nan, np.inf, -0.0
    inner, column, row = x[:, 2:-1, 1:-2], x[:, 2:-1, :1], x[1, 3, 2:-1]
    pairs = [(inner, column), (column, inner), (inner, row), (column, row), (inner, x[0, :16, 3:]),
             (column[0], column[1]), (column[:, ::-1], inner), (inner, x[0, 0, :1].reshape(())),
             (x[:0, 2:-1, 3:], column[:0]), (inner[..., ::-1], column)]  # fmt: skip
    with np.errstate(invalid="ignore"):
        for a, b in pairs:
            np.testing.assert_array_equal(nest.run_two(kernel, a, b), a + b)
    where = CHOICES[x.itemsize][1]
    bits = x.view(CHOICES[x.itemsize][0])
    inner, column, row = bits[:, 2:-1, 1:-2], bits[:, 2:-1, :1], bits[1, 3, 2:-1]
    for condition in (inner > 0, column > 0, row > 0):
        for a, b in ((inner, column), (column, row), (column, inner), (row, row[:1])):
            found = nest.run_three(where, condition, a, b)
            np.testing.assert_array_equal(found, np.where(condition, a, b))


@pytest.mark.parametrize("length", [100, 1000])
def test_rows_written_past_the_cache(
    length: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(memory, "FAR", 0)
    nest._nest.cache_clear()
    x, column = rng.standard_normal((333, length + 1)), rng.standard_normal((333, 1))
    for dtype in ("float32", "float64"):
        kernel = FAST["add"] if dtype == "float32" else KERNELS["add", np.dtype(dtype)]
        a, b = x.astype(dtype)[:, 1:], column.astype(dtype)
        np.testing.assert_array_equal(nest.run_two(kernel, a, b), a + b)
    nest._nest.cache_clear()


@pytest.mark.parametrize("length", [1, 2, 7, 26, 100])
def test_short_rows_of_several_axes_that_lie_apart(length: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 6, 40, length + 3), np.float32)
    for part in (x[:, 1:5, 3:-2, 1:-2], x[:, :, ::3, 2:-1], x[::2, 0, :, :length], x[:, :, :, 0]):
        np.testing.assert_array_equal(
            elementwise.binary("add", part, np.float32([[1.5]])), part + 1.5
        )
        np.testing.assert_allclose(elementwise.unary("exp", part), np.exp(part), 1e-6)


def test_what_runs_backwards_keeps_its_memory_order(rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 200)).astype(np.float32)[:, ::-1].T
    out = elementwise.binary("multiply", x, np.asarray(np.float32(2)))
    np.testing.assert_array_equal(out, x * np.float32(2))
    assert out.T.flags.c_contiguous


def test_channels_last_stays_channels_last(rng: np.random.Generator) -> None:
    shape = (4, 6, 50, 50)
    x = rng.standard_normal((4, 50, 50, 6)).astype(np.float32).transpose(0, 3, 1, 2)
    bias = rng.standard_normal((6, 1, 1)).astype(np.float32)
    dense = np.ascontiguousarray(x)
    assert x.shape == shape
    for out, wanted in (
        (elementwise.unary("relu", x), np.maximum(x, 0)),
        (elementwise.binary("add", x, x), x + x),
        (elementwise.binary("add", x, bias), x + bias),
        (elementwise.binary("add", bias, x), x + bias),
        (elementwise.binary("add", x, dense), x + x),
    ):
        np.testing.assert_array_equal(out, wanted)
        assert out.strides == x.strides
    assert elementwise.binary("less_than", x, bias).transpose(0, 2, 3, 1).flags.c_contiguous


def test_too_many_axes_fall_back_to_numpy(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3) * 5).astype(np.float32)
    y = rng.standard_normal((2, 1) * 5).astype(np.float32)
    assert nest.run_two(FAST["add"], x, y) is None
    np.testing.assert_array_equal(elementwise.binary("add", x, y), x + y)


# ---- where and cast ----------------------------------------------------------------------------


@pytest.mark.parametrize(("y", "z"), [((300, 200), (300, 200)), ((), (200,)), ((300, 1), ())])
def test_where(y: tuple[int, ...], z: tuple[int, ...], rng: np.random.Generator) -> None:
    mask = rng.random((300, 200)) < 0.5
    a = np.asarray(rng.standard_normal(y), np.float32)
    b = np.asarray(rng.standard_normal(z), np.float32)
    np.testing.assert_array_equal(elementwise.where(mask, a, b), np.where(mask, a, b))


@pytest.mark.parametrize(("old", "new"), sorted(CASTS, key=str))
def test_cast(old: np.dtype, new: np.dtype, rng: np.random.Generator) -> None:
    x = (rng.standard_normal(UFUNC_SIZE + 5) * 1e4).astype(old)
    x[:3] = [0, 1, 1]
    if old.kind == "f" and new.kind == "b":
        x[3:5] = [np.nan, -0.0]
    out = elementwise.cast(x, new)
    assert out.dtype == new
    np.testing.assert_array_equal(out, x.astype(new))


HALVES = {
    "processor": (CASTS[np.dtype("f2"), F32], CASTS[F32, np.dtype("f2")]),
    "integers": (
        formula_kernel("widened_f2", half.widened, ("f2",), "f4"),
        formula_kernel("narrowed_f4", half.narrowed, ("f4",), "f2"),
    ),
}


@pytest.mark.parametrize("by", HALVES)
def test_float16_is_converted_as_numpy_converts_it(by: str, rng: np.random.Generator) -> None:
    to_wide, to_half = HALVES[by]
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = halves.astype(np.float32)
    found = nest.run_one(to_wide, halves)
    assert found is not None
    np.testing.assert_array_equal(found, wide)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wide))
    finite = np.sort(wide[np.isfinite(wide)])
    between = (finite[1:] + finite[:-1]) / 2  # halfway: rounded to even
    near = [np.nextafter(between, np.float32(end)) for end in (-np.inf, np.inf)]
    x = np.concatenate([wide, between, *near, numbers(rng, 200_000)])
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float16)
    found = nest.run_one(to_half, x)
    assert found is not None
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))


@pytest.mark.parametrize("name", ["exp", "sigmoid", "isnan", "neg"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(name: str, dtype: str) -> None:
    if dtype == "bfloat16":
        ml_dtypes = pytest.importorskip("ml_dtypes")
        kind = np.dtype(ml_dtypes.bfloat16)
    else:
        kind = np.dtype(dtype)
    x = np.linspace(-3, 3, 50).astype(kind)
    out = elementwise.unary(name, x)
    wanted = exact(name, x)
    assert out.dtype == (np.bool_ if name == "isnan" else kind)
    np.testing.assert_array_equal(out, wanted.astype(out.dtype))
