"""float64 functions in registers against numpy in long double: error bounds, special values."""

import numpy as np
import pytest

from dyn.kernels.elementwise import nest
from dyn.kernels.elementwise.pointwise import formula_kernel
from dyn.kernels.vector import vmath_wide

COUNT = 200_000
FUNCTIONS = {
    "log": (vmath_wide.log, np.log, 1.0),
    "exp": (vmath_wide.exp, np.exp, 1.0),
    "sin_near": (vmath_wide.sin_near, np.sin, 2.2),
}
"""With the reference and the bound in units in the last place."""
SPECIAL = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 710, -800, 709.78])


def _numbers(name):
    rng = np.random.default_rng(0)
    if name == "log":
        bits = rng.integers(0, 0x7FF0000000000000, COUNT).view(np.float64)
        return np.concatenate([SPECIAL, bits, rng.uniform(0.5, 2, COUNT)])
    if name == "exp":
        parts = rng.uniform(-745, 709.7, COUNT), rng.standard_normal(COUNT)
        return np.concatenate([SPECIAL, *parts])
    quarter = rng.uniform(-np.pi / 2, np.pi / 2, COUNT)
    return np.concatenate([SPECIAL[:4], quarter, 10 ** rng.uniform(-300, 0, COUNT)])


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double has no more digits")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_within_its_bound_and_special_numbers_are_as_in_numpy(name):
    function, reference, bound = FUNCTIONS[name]
    x = _numbers(name)
    found = nest.run_one(formula_kernel(f"test_{name}_f8", function, ("f8",), "f8"), x)
    with np.errstate(all="ignore"):
        expected = reference(x.astype(np.longdouble))
        rounded = expected.astype(np.float64)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(found[~finite], rounded[~finite])
    error = np.abs(found[finite] - expected[finite]) / np.spacing(np.abs(rounded[finite]))
    assert error.max() < bound
