"""Writing in place: views follow their base and the base follows its views, as in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyn
from dyn import nn
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


def scaled_where_nothing_is_recorded(e):
    with no_grad():
        e *= 3.0
    return e


def scaled_by_a_view(e):
    v = e[:2]
    with no_grad():
        v *= 3.0
    return e


def scaled_by_what_is_detached(e):
    d = e.detach()
    d *= 3.0
    return e


def scaled_by_a_part_of_what_is_detached(e):
    e.detach()[:2] = e.detach()[:2] * 3.0
    return e


def looked_at_where_nothing_is_recorded(e):
    v, _ = e[:], e.multiply_(dyn.to_tensor(3.0))
    with no_grad():
        v.numpy()
    return v


@pytest.mark.parametrize(
    ("write", "slopes"),
    [
        # The squares of e = 2 x, whose values are three times as large when they are squared: the
        # slope is 2 e = 12 x by e, and e goes by 2 x, or by 6 x where the factor was recorded.
        (scaled_where_nothing_is_recorded, [24.0, 48.0, 72.0]),
        (scaled_by_a_view, [24.0, 48.0, 24.0]),
        (scaled_by_what_is_detached, [24.0, 48.0, 72.0]),
        (scaled_by_a_part_of_what_is_detached, [24.0, 48.0, 24.0]),
        (looked_at_where_nothing_is_recorded, [72.0, 144.0, 216.0]),
    ],
)
def test_what_is_written_unrecorded_changes_values_and_no_history(write, slopes):
    x = Tensor(np.array([1.0, 2.0, 3.0], np.float32), stop_gradient=False)
    e = write(x * 2.0)
    assert not e.stop_gradient and not e.is_leaf
    (e * e).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), slopes)


def test_what_is_detached_has_a_history_of_its_own():
    x, base = Tensor(np.ones(3, np.float32), stop_gradient=False), dyn.zeros([3])
    d = base.detach()
    d += x * 2.0
    assert base.stop_gradient and base.numpy().tolist() == [2.0, 2.0, 2.0]
    base *= 2.0
    assert d.numpy().tolist() == [4.0, 4.0, 4.0]
    (d * d).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [16.0, 16.0, 16.0])


def test_a_buffer_takes_the_history_of_what_it_is_set_to_whatever_is_recorded():
    x = Tensor(np.ones(3, np.float32), stop_gradient=False)
    layer, y = nn.Layer(), x * 2.0
    layer.register_buffer("kept", dyn.zeros([3]))
    layer.kept = x * 5.0
    with no_grad():
        layer.kept = dyn.ones([3])
    assert layer.kept.stop_gradient
    with no_grad():
        layer.kept = y
    (layer.kept * 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6.0, 6.0, 6.0])


def test_a_transposed_view_is_not_contiguous_and_its_copy_is():
    x, a = pair(3, 4)
    turned = x.t()
    assert x.is_contiguous() and x.contiguous() is x
    assert x[1:].is_contiguous() and not x[:, 1:].is_contiguous() and not turned.is_contiguous()
    row_by_row = turned.contiguous()
    assert row_by_row.is_contiguous()
    x[0] = 9.0
    np.testing.assert_array_equal(row_by_row.numpy(), a.T)


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
