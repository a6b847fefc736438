"""Compiled functions of float64, integers and truth values against numpy's."""

import warnings

import numpy as np
import pytest

import dyn
from dyn.kernels import elementwise
from dyn.kernels.elementwise.apply import GENERAL
from dyn.kernels.elementwise.dtypes import KERNELS, LARGE
from dyn.kernels.elementwise.gamma import WIDE

SHAPES = [
    ((200, 101),) * 3,
    ((200, 101), (200, 1), (101,)),
    ((1, 20011), (1, 1), (20011,)),
    ((3, 101, 200), (101, 1), (3, 1, 1)),
]
DTYPES = ("b1", "i1", "u1", "i2", "f2", "i4", "f4", "i8", "u8", "f8", "c8", "c16")


def _numbers(rng, shape, dtype):
    """Numbers with all that is special: NaN, infinities, zeros of both signs, the least integer."""
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "i":
        x = rng.integers(-(2**31), 2**31 - 1, shape).astype(dtype)
        x.reshape(-1)[::13], x.reshape(-1)[1::17] = 0, np.iinfo(dtype).min
        return x
    x = (rng.standard_normal(shape) * 5).astype(dtype)
    for place, special in enumerate((np.nan, np.inf, -np.inf, -0.0)):
        x.reshape(-1)[place :: 17 + 2 * place] = special
    return x


@pytest.fixture(autouse=True)
def _threads():
    before = dyn.get_num_threads()
    yield
    dyn.set_num_threads(before)


@pytest.mark.parametrize("name, dtype", KERNELS, ids=lambda part: str(part))
def test_a_function_gives_what_numpy_gives(name, dtype):
    kernel, rng = KERNELS[name, dtype], np.random.default_rng(0)
    run = (elementwise.unary, elementwise.binary, elementwise.ternary)[kernel.inputs - 1]
    params = dict(zip(kernel.numbers, (0.5, 2.0, 3.0), strict=False))
    for shapes in SHAPES:
        operands = [_numbers(rng, shape, dtype) for shape in shapes[: kernel.inputs]]
        assert operands[0].size >= LARGE
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.asarray(GENERAL[name](*operands, **params))
        for count in (1, 2, 4):
            dyn.set_num_threads(count)
            found = run(name, *operands, **params)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            # A product and a sum may be rounded once; long formulas add that up.
            close = 1e-13 if name in WIDE else 1e-15
            close = {"rtol": close, "atol": close} if dtype == np.float64 else {"rtol": 0}
            np.testing.assert_allclose(found, expected, **close)


@pytest.mark.parametrize("name", ["add", "maximum", "less_than"])
def test_an_operand_of_any_memory_order_is_read(name):
    rng = np.random.default_rng(1)
    x, y = _numbers(rng, (3, 99, 200), np.dtype("i8")), _numbers(rng, (200, 99), np.dtype("i8"))
    found = elementwise.binary(name, x.transpose(0, 2, 1)[:, ::-1], y)
    np.testing.assert_array_equal(found, GENERAL[name](x.transpose(0, 2, 1)[:, ::-1], y))


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize(
    "condition, x, y",
    [
        ((200, 101), (200, 101), (200, 101)),
        ((200, 1), (200, 101), (200, 101)),
        ((101,), (200, 101), (101,)),
        ((200, 101), (200, 1), ()),
    ],
)
def test_where_chooses_the_bits_of_every_dtype(code, condition, x, y):
    rng = np.random.default_rng(2)
    holds = rng.random(condition) < 0.5
    a, b = (np.asarray(rng.standard_normal(shape) * 50).astype(code) for shape in (x, y))
    found, expected = elementwise.where(holds, a, b), np.where(holds, a, b)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["equal", "not_equal", "logical_and", "logical_or", "logical_xor"])
def test_truth_is_any_byte_but_zero_in_rows_of_any_length(name):
    """Also of those 2 and 255, which no comparison gives but a view of bytes does."""
    rng = np.random.default_rng(0)
    for columns in (1, 3, 15, 63, 64, 65, 127, 128, 129, 131, 200, 1001):
        shape = (LARGE // columns + 1, columns)
        x, y = (rng.choice(np.array([0, 1, 2, 255], np.uint8), shape) for _ in range(2))
        for other in (y, y[:1], y[:, :1]):
            found = elementwise.binary(name, x.view(bool), other.view(bool))
            np.testing.assert_array_equal(
                found.view(np.uint8), getattr(np, name)(x != 0, other != 0)
            )
