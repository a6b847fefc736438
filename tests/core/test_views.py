"""Writing in place: views follow their base and the base follows its views, as in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyn
from dyn.core.errors import GradError, ShapeError
from dyn.core.modes import no_grad
from dyn.core.tensor import Tensor


def pair(*shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Tensor(array), array.copy()


def test_write_through_a_chain_of_views_reaches_the_base_and_its_other_views():
    x, a = pair(3, 4)
    row, column = x[0], x[:, 1:3]
    x[0][1] = 50.0
    a[0][1] = 50.0
    np.testing.assert_array_equal(x.numpy(), a)
    np.testing.assert_array_equal(row.numpy(), a[0])
    np.testing.assert_array_equal(column.numpy(), a[:, 1:3])
    x[0] = 0.0
    assert column.sum().item() == a[1:, 1:3].sum()


def test_a_view_whose_base_handle_died_still_shares_with_other_views():
    x, a = pair(2, 6)
    flat, tall = x.reshape([12]), x.transpose([1, 0])
    del x
    flat[3] = -1.0
    a.reshape(12)[3] = -1.0
    np.testing.assert_array_equal(tall.numpy(), a.T)


def test_results_of_ops_made_before_a_write_keep_the_old_value():
    x, a = pair(4)
    x.stop_gradient = False
    y = x * 1.0
    doubled = y * y
    y[1] = 7.0
    doubled.backward()
    np.testing.assert_array_equal(doubled.numpy(), a * a)
    np.testing.assert_array_equal(x.grad.numpy(), 2 * a)


def test_gradients_flow_through_a_write():
    x, _ = pair(4)
    v = Tensor(np.array([10.0, 20.0], np.float32), stop_gradient=False)
    x.stop_gradient = False
    y = x * 2.0
    y[1:3] = v * 3.0
    (y * y).backward()
    np.testing.assert_array_equal(v.grad.numpy(), 2 * 9 * np.array([10.0, 20.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 0.0, 0.0, 24.0])


def test_leaf_that_wants_a_gradient_is_written_under_no_grad_only():
    x, _ = pair(3)
    x.stop_gradient = False
    with pytest.raises(GradError, match="no_grad"):
        x[0] = 1.0
    with no_grad():
        x[0] = 1.0
    assert x.is_leaf and not x.stop_gradient and x.numpy()[0] == 1.0


def test_detached_tensor_shares_both_ways():
    x, _ = pair(3)
    d = x.detach()
    d[0] = 9.0
    x[1] = 8.0
    np.testing.assert_array_equal(x.numpy(), [9.0, 8.0, 2.0])
    np.testing.assert_array_equal(d.numpy(), [9.0, 8.0, 2.0])


def test_wrong_value_shape_names_both():
    x, _ = pair(3, 4)
    with pytest.raises(ShapeError, match=r"\[5\].*\[4\]"):
        x[0] = np.zeros(5, np.float32)


VIEWS = """
x.diagonal() | x.diagonal(1) | x.t().diagonal() | x.reshape([9]) | x.flatten() | x.t() | x.T | x[0]
x[::-1] | x[...] | x[None] | x[0, 1] | x.unsqueeze(0) | x.squeeze() | x.unbind()[0] | x.detach()
dyn.slice(x, [0], [0], [2]) | dyn.strided_slice(x, [0], [0], [3], [2]) | x.moveaxis(0, 1)
x.swapaxes(0, 1) | x.unflatten(0, [3, 1]) | x.transpose([1, 0]) | x.t().t().reshape([9])
"""
COPIES = """
x.expand([2, 3, 3]) | x.expand([3, 3]) | x.expand_as(dyn.ones([2, 3, 3]))
x.broadcast_to([1, 3, 3]) | dyn.broadcast_tensors([x, x])[0] | x.t().reshape([9]) | x.t().flatten()
x[:, :2].flatten() | x.chunk(3)[0] | x.split(3)[0] | x.split([1, -1])[1] | dyn.unstack(x)[0]
dyn.crop(x, [2, 2]) | x.flip(0) | x.roll(0, 0) | x.roll(0) | x.roll(3) | dyn.diag(x) | x.clone()
x.tile([1, 1]) | x.tril(5) | dyn.assign(x) | dyn.meshgrid(x[0])[0] | x.repeat_interleave(1, 0)
x.sum(axis=[])
"""


def _expressions(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(" | ")]


@pytest.mark.parametrize("expression", _expressions(VIEWS) + _expressions(COPIES))
def test_what_is_a_view_in_paddle_is_one_and_nothing_else(expression):
    x, a = pair(3, 3)
    v = eval(expression, {"dyn": dyn, "x": x})
    v[...] = 50.0
    linked = expression in _expressions(VIEWS)
    assert ((x.numpy() == 50.0).sum() == v.numpy().size) if linked else (x.numpy() == a).all()
    x[...] = 7.0
    assert (v.numpy() == (7.0 if linked else 50.0)).all()


SLICES = st.builds(
    slice,
    st.one_of(st.none(), st.integers(-5, 5)),
    st.one_of(st.none(), st.integers(-5, 5)),
    st.sampled_from([None, 1, 2, -1, -2]),
)
INDEX = st.one_of(st.integers(-3, 2), SLICES, st.tuples(SLICES, SLICES), st.just(Ellipsis))


@given(st.lists(st.tuples(st.booleans(), INDEX, st.integers(-9, 9)), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_random_programs_of_views_and_writes_match_numpy(steps):
    x, a = pair(3, 4, 3)
    views = [(x, a)]
    for write, index, value in steps:
        tensor, array = views[value % len(views)]
        try:
            selected = array[index]
        except IndexError:
            continue
        if write:
            array[index] = value
            tensor[index] = float(value)
        elif selected.ndim:
            views.append((tensor[index], selected))
    for tensor, array in views:
        np.testing.assert_array_equal(tensor.numpy(), array)
