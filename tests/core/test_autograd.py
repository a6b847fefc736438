"""The tape: accumulation, hooks, higher order, freeing, and what is refused."""

import gc
import weakref

import numpy as np
import pytest

import dyn.ops
from dyn import nn
from dyn.core import autograd, observe
from dyn.core.errors import GradError, ShapeError
from dyn.core.modes import enable_grad, no_grad
from dyn.core.op import OPS
from dyn.core.tensor import Tensor

assert dyn.ops


def leaf(*values):
    return Tensor(np.array(values), stop_gradient=False)


def test_gradients_accumulate_over_uses_and_passes():
    x = leaf(1.0, 2.0, 3.0)
    (x * x + x * 2.0).backward()
    np.testing.assert_allclose(x.grad.numpy(), [4.0, 6.0, 8.0])
    (x * 1.0).backward()
    np.testing.assert_allclose(x.grad.numpy(), [5.0, 7.0, 9.0])


def test_clear_grad_gives_zeros_and_then_starts_anew():
    x = leaf(1.0, 2.0)
    (x * 3.0).backward()
    x.clear_grad()
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 0.0])
    (x * 3.0).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])
    x.clear_grad(set_to_zero=False)
    assert x.grad is None


def test_a_result_shows_the_gradient_of_the_last_pass():
    x = leaf(1.0, 2.0)
    y = x * 2.0
    z = y * 3.0
    z.backward(retain_graph=True)
    np.testing.assert_array_equal(y.grad.numpy(), [3.0, 3.0])
    (z * 5.0).backward(retain_graph=True)
    np.testing.assert_array_equal(y.grad.numpy(), [15.0, 15.0])
    y.grad = None
    assert y.grad is None
    dyn.grad([z], [y])  # touches no .grad
    assert y.grad is None


def test_broadcast_gradient_is_summed_once_in_the_engine():
    x, row, number = leaf(*np.ones((4, 3))), leaf(1.0, 2.0, 3.0), leaf(5.0)
    (x * row + number).backward()
    np.testing.assert_array_equal(row.grad.numpy(), [4.0, 4.0, 4.0])
    np.testing.assert_array_equal(number.grad.numpy(), [12.0])


def test_third_derivative():
    x = leaf(2.0)
    y = x * x * x * x
    for expected in (32.0, 48.0, 48.0):
        (y,) = autograd.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected)


def test_backward_with_create_graph_can_be_differentiated_through_grad():
    x = leaf(3.0)
    autograd.backward([x * x], create_graph=True)
    (second,) = autograd.grad(x.grad, x)
    assert second.item() == 2.0


def test_grad_leaves_leaves_alone_and_prunes():
    x, w = leaf(2.0), leaf(5.0)
    (gx,) = autograd.grad(x * w, x)
    assert gx.item() == 5.0 and x.grad is None and w.grad is None
    with pytest.raises(GradError, match="allow_unused"):
        autograd.grad(x * 2.0, w)
    assert autograd.grad(x * 2.0, w, allow_unused=True) == [None]


class Listing(observe.Observer):
    """The names of the ops that ran, with how many results each has."""

    def __init__(self):
        self.ran = []

    def on_op(self, op, inputs, attrs, outputs):
        self.ran.append((op.name, len(outputs)))


def test_only_gradients_of_use_are_computed():
    x, w, b = leaf([1.0, 2.0]), leaf([3.0], [4.0]), leaf(5.0)
    with observe.observing(Listing()) as first:
        y = nn.functional.linear(x, w, b)
        (gx,) = autograd.grad(y, x, create_graph=True)
    assert gx.tolist() == [[3.0, 4.0]]
    assert [found for found in first.ran if "grad" in found[0]] == [("linear_grad", 1)]
    with observe.observing(Listing()) as second:
        (gw,) = autograd.grad((gx * gx).sum(), w)
    assert gw.tolist() == [[6.0], [8.0]]
    assert [found for found in second.ran if found[0].startswith("linear")] == [("linear_grad", 1)]
    assert "full" not in dict(second.ran)  # zeros for gradients that nothing reached


def test_parts_of_a_tensor_add_up_in_one_array():
    x, table = leaf(*np.arange(6.0).reshape(3, 2)), leaf(*np.ones((4, 2)))
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    words, embedding = Tensor(np.array([1, 3])), nn.functional.embedding
    loss = sum((x[i] * x[i]).sum() for i in range(3)) + x[:, 1:].sum() + x[::-1].sum() * 3
    loss = loss + sum(embedding(words, table, padding_idx=p).sum() for p in (None, 3, 1))
    loss = loss + (table[1:3] * 5).sum() + (x @ table.T).sum() + (x + 1).sum()
    loss.backward()
    of_x = 2 * x.numpy() + [[0, 1]] + 3 + 4 + 1
    np.testing.assert_allclose(x.grad.numpy(), of_x)
    np.testing.assert_allclose(seen, [of_x])
    column = x.numpy().sum(axis=0)
    np.testing.assert_allclose(table.grad.numpy(), [column, column + 2 + 5, column + 5, column + 2])


def test_walking_a_freed_graph_twice_says_what_to_do():
    x = leaf(1.0, 2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 8.0])
    with pytest.raises(GradError, match="retain_graph"):
        y.backward()


def test_gradient_of_a_held_result_is_readable_and_of_a_dropped_one_freed():
    x = leaf(1.0, 2.0)
    held = x * 3.0
    loss = held * held
    loss.backward()
    np.testing.assert_array_equal(held.grad.numpy(), [6.0, 12.0])


def test_graph_dies_with_the_loss():
    x = leaf(*np.ones(10))
    y = x * x
    inner = weakref.ref(y._node)
    loss = y * y
    del y
    loss.backward()
    gc.collect()
    assert inner() is None


def test_deep_chains_need_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0


def test_hooks_see_the_sum_in_order_and_may_replace_it():
    x = leaf(1.0, 2.0)
    seen = []
    first = x.register_hook(lambda g: seen.append(g.numpy().copy()))
    x.register_hook(lambda g: g * 2.0)
    (x * 2.0 + x * 3.0).backward()
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], [5.0, 5.0])
    np.testing.assert_array_equal(x.grad.numpy(), [10.0, 10.0])
    assert first.remove() is True and first.remove() is False
    (x * 1.0).backward()
    assert len(seen) == 1


@pytest.mark.parametrize("given", ["seed", "hook"])
@pytest.mark.parametrize("kind", ["nll", "layer_norm", "cdist", "cell", "ctc", "matmul"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_of_another_dtype_is_brought_to_that_of_its_tensor(kind, given, dtype):
    """Kernels read a gradient by its address, so it must be of the dtype that they expect."""
    other = "float64" if dtype == "float32" else "float32"
    rng = np.random.default_rng(0)
    label = Tensor(rng.integers(0, 4, 64))
    cell = nn.GRUCell(4, 3).astype(dtype)
    classes, lengths = Tensor(np.full((4, 1), 2)), (Tensor(np.full(4, 9)), Tensor(np.full(4, 1)))
    function = {
        "nll": lambda x: nn.functional.nll_loss(x, label, reduction="none"),
        "layer_norm": lambda x: nn.functional.layer_norm(x, [4]),
        "cdist": lambda x: dyn.cdist(x, x[:5]),
        "cell": lambda x: cell(x)[0],
        "ctc": lambda x: nn.functional.ctc_loss(
            x.reshape([16, 4, 4]), classes, *lengths, reduction="none"
        ),
        "matmul": lambda x: x @ x.T,
    }[kind]
    data = rng.standard_normal((64, 4)).astype(dtype)
    x, y = leaf(*data), leaf(*data)
    out = function(x)
    g = rng.standard_normal(tuple(out.shape)).astype(dtype)
    out.backward(Tensor(g))
    out = function(y)
    if given == "hook":
        out.register_hook(lambda _: Tensor(g.astype(other)))
        out.backward()
    else:
        out.backward(Tensor(g.astype(other)))
    assert y.grad.numpy().dtype == dtype
    np.testing.assert_allclose(y.grad.numpy(), x.grad.numpy(), rtol=2e-5, atol=1e-5)


def test_hook_of_wrong_shape_is_refused():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: Tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ShapeError, match="hook"):
        (x * 1.0).backward()


def test_modes_decide_what_is_recorded():
    x = leaf(1.0)
    with no_grad():
        assert (x * 2.0).stop_gradient
        with enable_grad():
            assert not (x * 2.0).stop_gradient
    assert not (x * 2.0).stop_gradient
    assert no_grad(lambda: (x * 2.0).stop_gradient)()


def test_errors_name_the_op_and_the_line():
    x = leaf(1.0)
    with pytest.raises(GradError, match="stop_gradient"):
        (x.detach() * 2.0).backward()
    with pytest.raises(GradError, match="op without a gradient"):
        (x > 0.0).backward()
    a, b = Tensor(np.zeros((2, 3))), Tensor(np.zeros((4, 5)))
    with pytest.raises(ShapeError) as caught:
        a + b
    text = str(caught.value)
    assert text.startswith("add: ") and "[2, 3] and [4, 5]" in text
    assert "test_autograd.py" in text and "a + b" in text


def test_unused_output_of_a_split_gets_zeros():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    _, second = OPS["split"](x, sizes=(1, 3), axis=0)
    (second * second).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 4.0, 6.0, 8.0])


@pytest.mark.parametrize("number", [0.1, -1.7, 3.3e7, 1e-20])
@pytest.mark.parametrize("count", [2, 31, 57])
def test_equal_elements_have_no_slope_of_their_deviation(number, count):
    x = leaf(*[number] * count)
    dyn.ops.reduce.std(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(count, np.float32))
