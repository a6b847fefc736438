"""InputSpec: which sizes are symbols, and which samples are chosen for them."""

from __future__ import annotations

import numpy as np
import pytest

import dyn
from dyn.core.errors import AttributeValueError, DTypeError, ShapeError
from dyn.core.expr import Expr
from tracer import InputSpec, trace
from tracer.spec import bind


def test_none_and_minus_one_are_sizes_of_their_own() -> None:
    bound, sizes = bind([("x", InputSpec([None, 3])), ("y", InputSpec([-1, None]))])
    assert list(sizes) == ["x_0", "y_0", "y_1"]
    assert bound[0].type.shape == (Expr.symbol("x_0"), 3)
    assert bound[1].type.shape == (Expr.symbol("y_0"), Expr.symbol("y_1"))


@pytest.mark.parametrize("shape", ["abc", 5, None, 1.5])
def test_a_shape_that_is_no_list(shape: object) -> None:
    with pytest.raises(AttributeValueError, match="one entry for each axis"):
        InputSpec(shape)  # type: ignore[arg-type]


def test_one_name_is_one_size() -> None:
    bound, sizes = bind([("x", InputSpec(["n", "d"])), ("y", InputSpec(["n"]))])
    assert list(sizes) == ["n", "d"]
    assert bound[0].sample.shape[0] == bound[1].sample.shape[0] == sizes["n"]


def test_sample_sizes_can_be_told_apart() -> None:
    specs = [("x", InputSpec(["a", "b", 3, 5])), ("y", InputSpec(["c", 7, "h", "w"]))]
    _, sizes = bind(specs)
    numbers = list(sizes.values())
    assert len(set(numbers)) == len(numbers)
    assert not set(numbers) & {1, 3, 5, 7}
    assert sizes["h"] % 32 == 0 and sizes["w"] % 32 == 0


def test_batches_of_images_are_small_but_not_one() -> None:
    _, sizes = bind([("x", InputSpec(["n", 3, 64, 64])), ("y", InputSpec(["m", 1, 8, 8]))])
    assert sizes == {"n": 2, "m": 5}


def test_there_are_always_more_sample_sizes() -> None:
    flat = [(f"x{i}", InputSpec([f"n{i}"])) for i in range(12)]
    spatial = [(f"y{i}", InputSpec([1, 1, f"h{i}"])) for i in range(12)]
    _, sizes = bind(flat + spatial)
    assert len(set(sizes.values())) == len(sizes) == 24


def test_samples_are_plausible() -> None:
    names = ["float32", "float16", "float64", "int64", "int32", "uint8", "bool", "complex64"]
    bound, _ = bind([(name, InputSpec(["n", 64], name)) for name in names])
    for one in bound:
        assert one.sample.dtype.name == one.name
        if one.sample.dtype.kind in "iu":
            assert set(np.unique(one.sample)) == {0, 1}
        else:
            assert np.unique(one.sample).size > 1


def test_an_example_decides_sizes_and_values() -> None:
    example = np.arange(8, dtype=np.float32).reshape(1, 8)
    bound, sizes = bind([("x", InputSpec(["n", 8], example=example)), ("y", InputSpec(["n"]))])
    assert sizes == {"n": 1}
    assert bound[0].sample is example and bound[1].sample.shape == (1,)


def test_sizes_may_be_chosen() -> None:
    _, sizes = bind([("x", InputSpec(["n", 8]))], {"n": 9})
    assert sizes == {"n": 9}
    with pytest.raises(AttributeValueError, match="called 'm'; the sizes are n"):
        bind([("x", InputSpec(["n", 8]))], {"m": 9})


def test_a_tensor_is_a_spec_of_fixed_sizes() -> None:
    spec = InputSpec.from_tensor(dyn.ones([2, 3]), name="image")
    assert (spec.shape, spec.dtype, spec.name) == ((2, 3), "float32", "image")
    assert repr(spec) == "InputSpec([2, 3], 'float32', name='image')"
    assert InputSpec.from_numpy(np.zeros(4, np.int32)).dtype == "int32"


def test_bad_specs() -> None:
    with pytest.raises(AttributeValueError, match="cannot name a size"):
        InputSpec(["2n"])
    with pytest.raises(AttributeValueError, match="cannot name a size"):
        InputSpec(["_n"])
    with pytest.raises(AttributeValueError, match="a size is a number"):
        InputSpec([2.5])  # type: ignore[list-item]
    with pytest.raises(AttributeValueError, match="there is no dtype"):
        InputSpec([2], "float31")
    with pytest.raises(ShapeError, match=r"shape \[2, 4\], its spec says \['n', 3\]"):
        InputSpec(["n", 3], example=np.zeros((2, 4), np.float32))
    with pytest.raises(DTypeError, match="has dtype float64, its spec says float32"):
        InputSpec(["n"], example=np.zeros(2))


def test_examples_must_agree_about_a_size() -> None:
    a, b = (InputSpec(["n"], example=np.zeros(k, np.float32)) for k in (2, 3))
    with pytest.raises(ShapeError, match="'n' is 2 in one example and 3 in that of input y"):
        bind([("x", a), ("y", b)])


def test_errors_name_the_sizes_that_were_drawn() -> None:
    table = dyn.ones([32, 4])

    def forward(x: dyn.Tensor, y: dyn.Tensor) -> dyn.Tensor:
        return x * table[: x.shape[2]] + y[0]

    x, y = InputSpec(["n", 2, "t", 4]), InputSpec(["m"], example=np.ones(3, np.float32))
    with pytest.raises(ShapeError, match=r"drawn: n = 5, t = 64; .*sizes=\{'n': \.\.\.\}"):
        trace(forward, x, y)
    with pytest.raises(ShapeError, match=r"drawn: t = 64; .*sizes=\{'t': \.\.\.\}"):
        trace(forward, x, y, sizes={"n": 5})
    trace(forward, x, y, sizes={"t": 9})
    with pytest.raises(ShapeError) as caught:
        trace(forward, x, y, sizes={"n": 5, "t": 40})
    assert "drawn" not in str(caught.value)
