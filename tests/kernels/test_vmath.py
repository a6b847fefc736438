"""float32 functions against numpy in float64: error bounds over the whole range, special values."""

import math
import os
import platform
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba import types

from dyn.kernels.vector import vmath, vmath_numba
from dyn.kernels.vector.simd import F32, Emitter, intrinsic
from dyn.kernels.vector.vmath_pieces import Pieces, even, growing

# In units in the last place, as the docstrings say.
BOUNDS = {
    "exp": 1.1,
    "expm1": 1.5,
    "log": 1.0,
    "log1p": 1.5,
    "tanh": 1.5,
    "sigmoid": 2.5,
    "erf": 1.5,
    "sin": 1.6,
    "cos": 1.6,
    "tan": 4,
}
REFERENCES = {
    **{
        name: getattr(np, name)
        for name in ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "tan")
    },
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}
LARGEST = np.float32(3.4028235e38)
POINTS = np.array(
    [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 1e-45, -1e-45, LARGEST, -LARGEST, 2**-126, 1e-8,
     88.72283, 88.72284, -87.33655, -103.27893, -103.97208, -104, 16777216, np.pi, -np.pi / 2],
    np.float32,
)  # fmt: skip


def every(step):
    """Every step-th float32 there is, of both signs, and special ones."""
    bits = np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32)
    return np.concatenate([POINTS, bits.view(np.float32)])


def scalar_loop(name):
    """The twin for numba in a loop that LLVM may vectorise."""
    function = getattr(vmath_numba, name)

    @numba.njit(error_model="numpy", fastmath={"contract", "nsz", "reassoc", "arcp", "afn"})
    def run(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return run


def vector_loop(name):
    """The twin for vector kernels."""

    @intrinsic
    def row(typing, target, source, count):
        def generate(context, builder, signature, arguments):
            target, source, count = arguments
            emit = Emitter(builder, F32)

            def step(offset, carried, mask):
                x = emit.load(builder.add(source, offset), mask)
                emit.store(getattr(vmath, name)(x), builder.add(target, offset), mask)
                return []

            emit.row(count, step, unroll=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    @numba.njit(error_model="numpy")
    def run(x, out):
        row(out.ctypes.data, x.ctypes.data, x.size)

    return run


def errors(got, wanted):
    """In units in the last place of the float32 nearest to `wanted`; 0 where both are NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = wanted.astype(np.float32)
        unit = np.spacing(np.minimum(np.abs(nearest), LARGEST)).astype(np.float64)
        found = np.abs(got - wanted) / unit
    equal = (got == nearest) | (np.isnan(got) & np.isnan(wanted))
    found[equal & ~np.isfinite(found)] = 0
    found[~equal & ~np.isfinite(found)] = np.inf
    return found


@pytest.mark.parametrize("name", sorted(vmath.UNARY))
def test_error_bounds(name):
    x = every(8009)
    with np.errstate(all="ignore"):
        wanted = REFERENCES[name](x.astype(np.float64))
    single, vector = np.empty_like(x), np.empty_like(x)
    vector_loop(name)(x, vector)
    worst = np.argmax(errors(vector, wanted))
    assert errors(vector, wanted)[worst] <= BOUNDS[name], (x[worst], vector[worst], wanted[worst])
    scalar_loop(name)(x, single)
    # The compiler is allowed to reorder one of the twins.
    assert errors(single, wanted).max() <= BOUNDS[name] + 0.5


@pytest.mark.parametrize("name", sorted(vmath.UNARY))
def test_bounds_are_those_of_the_docstrings(name):
    assert f"within {BOUNDS[name]} ulp" in str(vmath.UNARY[name].__doc__)


def test_normal_distribution():
    x = every(8009)
    got = np.empty_like(x)
    vector_loop("normal_cdf")(x, got)
    with np.errstate(all="ignore"):
        wanted = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.astype(np.float64)])
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    assert np.nanmax(np.abs(got - wanted)) < 2e-7
    assert (got[x >= 5.7] == 1).all() and (got[x <= -5.7] == 0).all()


@pytest.mark.parametrize("division", [even(9.5 / 31), growing(-4)])
def test_pieces_meet_their_function(division):
    """On every processor, though only those with AVX-512 use them."""
    tanh = Pieces(math.tanh, division, 7)
    assert tanh.middles[0] == 0 and math.tanh(tanh.middles[-1]) > 1 - 1e-7
    factors = np.array(tanh.powers).T
    for i, (middle, powers) in enumerate(zip(tanh.middles, factors, strict=True)):
        x = np.linspace(max(division.edges[i], 1e-9), division.edges[i + 1], 100)
        np.testing.assert_allclose(np.polyval(powers, x - middle), np.tanh(x), rtol=1e-8)


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "erf", "sin", "tan"])
def test_odd_functions_keep_the_sign_of_zero(name):
    x = np.array([0.0, -0.0, 1e-40, -1e-40] * 8, np.float32)
    out = np.empty_like(x)
    vector_loop(name)(x, out)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(x))


def test_huge_angles_do_not_change_their_neighbours():
    x = np.linspace(-50, 50, 64, dtype=np.float32)
    mixed = x.copy()
    mixed[::3] = 1e30
    run = vector_loop("cos")
    alone, beside = np.empty_like(x), np.empty_like(x)
    run(x, alone)
    run(mixed, beside)
    keep = mixed == x
    np.testing.assert_array_equal(alone[keep], beside[keep])


@numba.njit(error_model="numpy")
def powers(x, y, out):
    for i in range(x.size):
        out[i] = vmath_numba.pow(x[i], y[i])


def check_powers(x, y):
    out = np.empty_like(x)
    powers(x, y, out)
    with np.errstate(all="ignore"):
        wanted = np.power(x.astype(np.float64), y.astype(np.float64))
    found = errors(out, wanted)
    worst = np.argmax(found)
    assert found[worst] <= 0.6, (x[worst], y[worst], out[worst], wanted[worst])
    zero = out == 0
    np.testing.assert_array_equal(np.signbit(out[zero]), np.signbit(wanted[zero]))


def test_powers_of_special_numbers():
    special = np.array(
        [0.0, 0.5, 1, 1.5, 2, 3, 4, 127, 128, 149, 150, 1e-45, 1e-38, 1e38, 16777215, 16777216,
         16777217, 3e9, np.inf],
        np.float32,
    )  # fmt: skip
    special = np.concatenate([special, -special, [np.float32(np.nan)]])
    x, y = (np.ascontiguousarray(a).ravel() for a in np.meshgrid(special, special))
    check_powers(x, y)


def test_powers_over_the_whole_range(rng):
    x = rng.integers(0, 1 << 31, 400_000, dtype=np.uint32).view(np.float32)
    check_powers(x, (rng.standard_normal(x.size) * 3).astype(np.float32))
    near = (1 + rng.standard_normal(x.size) * 1e-3).astype(np.float32)
    check_powers(near, (rng.standard_normal(x.size) * 3e4).astype(np.float32))
    check_powers(-x, rng.integers(-5, 6, x.size).astype(np.float32))


def test_other_types_are_refused():
    @numba.njit
    def wide(x):
        return vmath_numba.exp(x)

    with pytest.raises(numba.TypingError):
        wide(1.0)


def processor(**changes):
    """Run the tests of this file as on another processor."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    command += ["-k", "not processor and not refused"]
    environment = dict(os.environ, **changes)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
def test_on_a_processor_without_fused_multiply_add():
    done = processor(DYN_LANES="4", NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse4.2")
    assert done.returncode == 0, done.stdout[-3000:]


def test_half_precision_on_a_named_processor():
    """What numba compiles for decides, not what the host could do."""
    script = """
import numpy as np
from dyn.kernels.elementwise.apply import cast
x = np.linspace(-3, 3, 1 << 17, dtype=np.float32)
y = cast(x, np.dtype(np.float16))
assert np.array_equal(y, x.astype(np.float16))
assert np.array_equal(cast(y, np.dtype(np.float32)), y.astype(np.float32))
"""
    environment = dict(os.environ, NUMBA_CPU_NAME="generic")
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_on_a_processor_with_more_lanes():
    done = processor(DYN_LANES="16")
    assert done.returncode == 0, done.stdout[-3000:]
