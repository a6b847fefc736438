"""Functions with a gradient of the user's own: values, slopes, lives, traces."""

import gc
import weakref

import numpy as np
import pytest

import dyn
from dyn.autograd import PyLayer, backward, hessian_of, jacobian_of
from exporter import export
from tracer import trace
from tracer.spec import InputSpec


class Tanh(PyLayer):
    """The document's own example: the output is what the gradient needs."""

    @staticmethod
    def forward(ctx, x):
        y = dyn.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensor()
        return dy * (1 - dyn.square(y))


class Twice(PyLayer):
    """Two inputs, two outputs, one of them a constant."""

    @staticmethod
    def forward(ctx, a, b, factor=1.0):
        ctx.factor = factor
        sign = dyn.sign(a)
        ctx.mark_non_differentiable(sign)
        return a * b * factor, sign

    @staticmethod
    def backward(ctx, g, _):
        return g * 100 * ctx.factor, None


def wanted(values, dtype="float64"):
    return dyn.to_tensor(values, dtype=dtype, stop_gradient=False)


def test_the_gradient_is_the_users():
    x = wanted([0.0, 0.5])
    Tanh.apply(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 - np.tanh([0.0, 0.5]) ** 2)
    a, b = wanted([2.0, 3.0]), wanted([5.0, 7.0])
    out, sign = Twice.apply(a, b, factor=2.0)
    assert sign.stop_gradient and out.tolist() == [20.0, 42.0]
    backward([out], [dyn.to_tensor([1.0, 10.0], dtype="float64")])
    assert a.grad.tolist() == [200.0, 2000.0] and b.grad is None


class MarksWhatItDrops(PyLayer):
    """A tensor that is no output is marked and dies; a result may get its address."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_non_differentiable(dyn.sign(x))
        return dyn.exp(x)

    @staticmethod
    def backward(ctx, g):
        return g


def test_only_what_is_marked_has_no_gradient():
    x = wanted([2.0])
    outputs = [MarksWhatItDrops.apply(x) for _ in range(50)]
    assert not any(out.stop_gradient for out in outputs)


def test_saved_outputs_have_a_history_for_second_derivatives():
    x = wanted([0.3])
    (g,) = dyn.grad([Tanh.apply(x)], [x], create_graph=True)
    (h,) = dyn.grad([g], [x])
    t = np.tanh(0.3)
    np.testing.assert_allclose(h.numpy(), [-2 * t * (1 - t**2)])


def test_without_a_wanted_gradient_nothing_is_kept():
    assert Tanh.apply(dyn.ones([2])).stop_gradient
    with dyn.no_grad():
        assert Tanh.apply(wanted([1.0])).stop_gradient


def test_an_input_that_is_returned_keeps_its_own_history():
    class Same(PyLayer):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = wanted([1.0])
    y = Same.apply(x)
    assert y is not x and x.is_leaf
    (y + x).backward()
    assert x.grad.tolist() == [4.0]


def test_outputs_die_with_their_last_holder():
    gc.disable()
    try:
        out = Tanh.apply(wanted([1.0]))
        node = weakref.ref(out._node)
        del out
        assert node() is None
    finally:
        gc.enable()


def test_a_wrong_number_of_gradients_is_told():
    class Wrong(Twice):
        @staticmethod
        def backward(ctx, g, _):
            return g

    with pytest.raises(dyn.GradError, match=r"Wrong\.backward returned 1 gradients for 2 tensors"):
        Wrong.apply(wanted([1.0]), wanted([1.0]))[0].backward()


def test_what_was_not_written_is_told():
    class Empty(PyLayer):
        pass

    with pytest.raises(NotImplementedError, match="forward"):
        Empty.apply(wanted([1.0]))


def test_it_is_traced_through_its_ops_with_the_gradient_of_its_own(tmp_path):
    class Model(dyn.nn.Layer):
        def forward(self, x):
            x.stop_gradient = False
            y = Tanh.apply(x * 2)
            return y, dyn.grad([y.sum()], [x])[0]

    spec = [InputSpec(["n", 3], "float32", name="x")]
    assert "tanh" in str(trace(Model(), *spec))
    assert export(Model(), tmp_path / "m.onnx", spec)


def test_slopes_and_second_slopes():
    x = wanted([1.0, 2.0])
    np.testing.assert_allclose(jacobian_of(lambda v: v**2, x).numpy(), np.diag([2.0, 4.0]))
    np.testing.assert_allclose(hessian_of(lambda v: (v**3).sum(), x).numpy(), np.diag([6.0, 12.0]))
    y = wanted([3.0])
    first, second = jacobian_of(lambda a, b: a * b, [x, y])
    np.testing.assert_allclose(first.numpy(), np.diag([3.0, 3.0]))
    np.testing.assert_allclose(second.numpy(), [[1.0], [2.0]])
    assert jacobian_of(lambda v: dyn.ones([2]), x).tolist() == [[0.0, 0.0]] * 2
    (g,) = dyn.grad([jacobian_of(lambda v: v**3, x, create_graph=True).sum()], [x])
    np.testing.assert_allclose(g.numpy(), [6.0, 12.0])


class Square(PyLayer):
    """Its input is what the gradient needs."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensor()
        return 2 * x * g


def test_what_is_written_after_it_was_saved_does_not_change_the_gradient():
    x = wanted([1.0, 3.0])
    y = x * 1
    squares = Square.apply(y)
    y += 1
    squares.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 6.0])
    (g,) = dyn.grad(squares.sum(), x, create_graph=True)
    np.testing.assert_array_equal(dyn.grad(g.sum(), x)[0].numpy(), [2.0, 2.0])

    def loss(x):
        y = x * 1
        squares = Square.apply(y)
        y += 1
        return dyn.grad(squares.sum(), x)[0]

    spec = InputSpec([2], "float64", stop_gradient=False)
    with pytest.raises(dyn.GradError, match=r"written to before .*save a clone\(\)"):
        trace(loss, spec)


def test_what_was_saved_is_freed_with_the_graph():
    y = Square.apply(wanted([1.0]))
    y.backward()
    with pytest.raises(dyn.GradError, match="already walked and freed"):
        y.backward()


def test_an_input_that_was_written_takes_the_gradient():
    class Shifted(PyLayer):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.add_(1)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    leaf = wanted([1.0, 2.0])
    x = leaf * 3
    y = Shifted.apply(x)
    assert y is x
    x.sum().backward()
    np.testing.assert_array_equal(x.numpy(), [4.0, 7.0])
    np.testing.assert_array_equal(leaf.grad.numpy(), [15.0, 15.0])
    with pytest.raises(dyn.GradError, match=r"Shifted\.forward has written to a leaf"):
        Shifted.apply(leaf)


@pytest.mark.parametrize("materialize", [True, False])
def test_what_was_not_used_has_a_gradient_of_zeros_or_none(materialize):
    class Pair(PyLayer):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append(a if a is None else a.numpy().tolist())
            return b * 3

    seen = []
    Pair.apply(wanted([1.0]))[1].backward()
    assert seen == [[0.0] if materialize else None]


def test_a_gradient_of_a_wrong_shape_is_told():
    class Folded(Square):
        @staticmethod
        def backward(ctx, g):
            return g.sum(0)

    message = (
        r"Folded\.backward returned a gradient of shape \[2\] for argument 0 of shape \[3, 2\]"
    )
    with pytest.raises(dyn.ShapeError, match=message):
        Folded.apply(wanted(np.ones((3, 2)))).sum().backward()
