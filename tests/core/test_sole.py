"""Writes in place: only where nobody can notice, and then without a copy."""

import numpy as np
import pytest

import dyn
from dyn.core.errors import GradError, IndexRangeError, ShapeError
from dyn.kernels.runtime.derived import derived
from dyn.ops.sole import is_sole


def fresh(*shape):
    """A tensor that alone refers to its array."""
    return dyn.ones(shape) * 2.0


def numbers(*shape):
    """0, 1, 2 ... that alone refer to their array."""
    return dyn.arange(int(np.prod(shape))).reshape(list(shape)) + 0


WRITES = {
    "row": lambda x: x.__setitem__(1, 5.0),
    "slice": lambda x: x.__setitem__(slice(1, 3), 5.0),
    "region": lambda x: x.__setitem__((slice(1, 3), slice(0, None, 2)), 5.0),
    "indexed": lambda x: x.__setitem__(dyn.to_tensor([1, 2]), 5.0),
    "pairs": lambda x: x.__setitem__((dyn.to_tensor([1, 2]), dyn.to_tensor([0, 3])), 5.0),
}
SHAPES = [(4, 6), (300, 400)]


@pytest.fixture(params=WRITES)
def write(request):
    return WRITES[request.param]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_nobody_else_refers_to_is_written_in_place(write, shape):
    x = fresh(*shape)
    before, expected = id(x._array), np.full(shape, 2, np.float32)
    write(x)
    assert id(x._array) == before

    class Twin:
        def __setitem__(self, index, value):
            parts = index if isinstance(index, tuple) else (index,)
            plain = tuple(p.numpy() if isinstance(p, dyn.Tensor) else p for p in parts)
            expected[plain] = value

    write(Twin())
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_value_that_someone_holds_stays(write, shape):
    x = fresh(*shape)
    held = x._array
    write(x)
    assert (held == 2).all() and (x.numpy() != 2).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_view_of_numpy_holds_a_value(write, shape):
    x = fresh(*shape)
    held = x._array[1:3][..., ::2]
    write(x)
    assert (held == 2).all()


def test_views_follow_and_clones_do_not(write):
    x = fresh(4, 6)
    rows, same, copy = x[1:], x.detach(), x.clone()
    write(x)
    assert (rows.numpy() != 2).any() and (same.numpy() != 2).any()
    assert (copy.numpy() == 2).all()
    write(x)
    np.testing.assert_array_equal(rows.numpy(), x.numpy()[1:])


def test_gradients_are_of_the_values_before_the_write(write):
    w = dyn.to_tensor(np.linspace(0.5, 2, 24, dtype=np.float32).reshape(4, 6), stop_gradient=False)
    x = w * 1.0
    y = (x * x).sum()
    write(x)
    (y + x.sum()).backward()
    assert w.grad is not None
    kept = (x.numpy() != 5).astype(np.float32)
    np.testing.assert_allclose(w.grad.numpy(), 2 * w.numpy() + kept, rtol=1e-6)


def test_leaves_are_written_outside_of_gradients_only(write):
    w = fresh(4, 6).detach().clone()
    w.stop_gradient = False
    with pytest.raises(GradError):
        write(w)
    assert (w.numpy() == 2).all()
    with dyn.no_grad():
        write(w)
    assert (w.numpy() == 5).any() and not w.stop_gradient


def test_what_was_derived_from_a_value_is_not_left_behind(write):
    x = fresh(4, 6)
    for _ in range(3):
        derived(x._array, "sum", lambda: float(x._array.sum()))
    write(x)
    assert derived(x._array, "sum", lambda: float(x._array.sum())) == x.numpy().sum()


def test_an_operand_that_is_written_is_copied():
    x = numbers(6)
    x[dyn.to_tensor([5, 4, 3, 2, 1, 0])] = x
    assert x.tolist() == [5, 4, 3, 2, 1, 0]
    x = numbers(4) + 1
    with pytest.raises(IndexRangeError):
        x[x] = 0
    x = numbers(4)
    x[x] = 7
    assert x.tolist() == [7, 7, 7, 7]
    x = numbers(3, 4)
    x[:] = x
    np.testing.assert_array_equal(x.numpy(), np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("index", [[0, 4], [-5, 1]])
def test_an_index_outside_leaves_the_value_as_it_was(index):
    x = fresh(4, 6)
    with pytest.raises(IndexRangeError):
        x[dyn.to_tensor(index)] = 5.0
    with pytest.raises(IndexRangeError):
        x[dyn.to_tensor([0, 1]), dyn.to_tensor([0, 6])] = 5.0
    with pytest.raises(ShapeError):
        x[1] = dyn.ones([5])
    assert (x.numpy() == 2).all()
    copy = fresh(4, 6)
    assert is_sole(copy) and is_sole(x)


def test_memory_of_others_is_not_written():
    data = np.ones((4, 6), np.float32)
    assert not is_sole(dyn.Tensor._of(data))
    assert not is_sole(dyn.Tensor._of(np.frombuffer(bytearray(96), np.float32).reshape(4, 6)))
    assert not is_sole(dyn.Tensor._of(np.broadcast_to(np.float32(1), (4, 6))))
    assert not is_sole(fresh(4, 6).T)


def test_sums_at_places_are_written_over_their_own_zeros():
    x = dyn.to_tensor(np.ones((3, 4), np.float32), stop_gradient=False)
    rows, columns = dyn.to_tensor([0, 2, 0]), dyn.to_tensor([1, 1, 1])
    picked = x[rows, columns] + dyn.take_along_axis(x, dyn.to_tensor([[1], [1], [0]]), 1)[:, 0]
    (first,) = dyn.grad((picked * picked).sum(), [x], create_graph=True)
    given = np.zeros((3, 4), np.float32)
    values = picked.numpy()
    for i, (r, c, along) in enumerate(zip([0, 2, 0], [1, 1, 1], [1, 1, 0], strict=True)):
        given[r, c] += 2 * values[i]
        given[i, along] += 2 * values[i]
    np.testing.assert_array_equal(first.numpy(), given)
    (second,) = dyn.grad(first.sum(), [x])
    assert np.isfinite(second.numpy()).all() and second.numpy().sum() == 2 * 3 * 4
