"""Sizes while tracing: guards, symbols in shapes and attributes, and what outlives the trace."""

from __future__ import annotations

import math
from copy import copy
from typing import Any

import numpy as np
import pytest

import dyn
from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.expr import Expr
from tracer import InputSpec, Interpreter, TraceError, trace
from tracer.sizes import parse_size, to_dim, to_expr, to_int, unknown_sizes

S = InputSpec


def test_comparisons_of_sizes_are_guards_with_their_lines() -> None:
    def forward(x: Any, y: Any) -> Any:
        n, t = x.shape
        if n == 1:
            return x * 2
        if t % 2 == 0 and t > 3:
            x = x * 3
        return x.squeeze() + y

    graph = trace(forward, S(["n", "t"]), S(["m", "t"]), sizes={"n": 3, "m": 3, "t": 8})
    found = {str(g): (g.answer, g.where.text if g.where else "") for g in graph.guards}
    assert found == {
        "n != 1": (False, "if n == 1:"),
        "(t)%(2) == 0": (True, "if t % 2 == 0 and t > 3:"),
        "t > 3": (True, "if t % 2 == 0 and t > 3:"),
        "t != 1": (False, "return x.squeeze() + y"),
        "n == m": (True, "return x.squeeze() + y"),
    }
    guard = next(g for g in graph.guards if str(g) == "t > 3")
    assert guard.holds({"t": 4}) and not guard.holds({"t": 3})


def test_comparisons_that_always_hold_are_no_guards() -> None:
    def forward(x: Any) -> Any:
        n, t = x.shape
        assert n > 0 and n * t >= 1 and n + 1 != n
        return x.reshape([t, n]) if n * t == t * n else x

    assert trace(forward, S(["n", "t"])).guards == []


def test_sizes_that_outlive_the_trace_are_harmless() -> None:
    kept: list[Any] = []
    trace(lambda x: kept.append(x.shape[0]) or x, S(["n"]))
    assert isinstance(kept[0], Dim) and int(kept[0]) == 3 and kept[0] + 1 > 2
    with pytest.raises(TraceError, match="of an earlier trace"):
        _ = kept[0] * 0.5


def test_arithmetic_on_sizes_reaches_shapes_and_attributes() -> None:
    def forward(x: Any) -> Any:
        n, c, h, w = x.shape
        y = x[:, :, : h // 2, (w + 1) // 2 :]
        z = y.reshape([n, c * (h // 2), -1])
        return dyn.concat([z, z], axis=2), dyn.arange(h * w).reshape([h, w])

    graph = trace(forward, S(["n", 2, "h", "w"]))
    # `-1` is inferred, so the width of the right half stays as it was written.
    for n, h, w in ((1, 2, 2), (3, 5, 7), (2, 8, 3)):
        x = np.random.default_rng(0).standard_normal((n, 2, h, w)).astype(np.float32)
        wanted = forward(dyn.to_tensor(x))
        for a, b in zip(Interpreter(graph).run(x), wanted, strict=True):
            assert a.tobytes() == b._array.tobytes()


def test_one_name_in_two_inputs_is_one_size() -> None:
    graph = trace(lambda x, y: x + y, S(["n", 3]), S(["n", 1]))
    assert graph.guards == [] and graph.sizes == {"n": 5}
    assert [str(size) for size in graph.outputs[0].shape] == ["n", "3"]


def test_two_names_that_are_added_are_a_guard() -> None:
    graph = trace(lambda x, y: x + y, S(["n"]), S(["m"]), sizes={"n": 4, "m": 4})
    assert [str(g) for g in graph.guards] == ["n == m"]
    with pytest.raises(ValueError, match="do not broadcast"):
        trace(lambda x, y: x + y, S(["n"]), S(["m"]))


def test_a_sample_of_size_one_does_not_decide() -> None:
    example = np.ones((1, 3), np.float32)
    graph = trace(lambda x: x * dyn.ones([1, 3]), S(["n", 3], example=example))
    assert str(graph.outputs[0].shape[0]) == "n"
    with pytest.raises(TraceError, match=r"add holds for the sample sizes only.*\[n, 3\]"):
        trace(lambda x: x + dyn.ones([4, 3]), S(["n", 3], example=example))


def test_sizes_that_depend_on_values_are_symbols_that_may_be_zero() -> None:
    graph = trace(lambda x: x[x > 0].reshape([-1, 1]), S(["n"]))
    (symbol,) = unknown_sizes(graph.outputs[0].shape)
    assert symbol == "_1" and "_1" in graph.sizes
    assert Interpreter(graph).run(np.full(4, -1, np.float32))[0].shape == (0, 1)


@pytest.mark.parametrize(
    "text",
    ["3", "n", "n+1", "-m+2*n", "-n+3", "(n-1)//(2)+1", "m*n", "(n)%(2)", "max(n, 4)",
     "min(2*n, m)", "-((n-2)//(2))+1", "3*((n)//(2))", "_1+n"],
)  # fmt: skip
def test_sizes_are_read_back(text: str) -> None:
    assert str(parse_size(text)) == text


@pytest.mark.parametrize("text", ["", "n +", "n/2", "f(n)", "max(n)", "1.5", "n**2", "'n'"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(AttributeValueError, match="is not a size"):
        parse_size(text)


def test_forms_of_sizes() -> None:
    n = Expr.symbol("n")
    value = (n + 1, (2, n), "n", None)
    assert to_int(value, {"n": 4}) == (5, (2, 4), "n", None)
    dims = to_dim(value, {"n": 4}, Dim(1, n, None).scope)  # type: ignore[arg-type]
    assert isinstance(dims[0], Dim) and dims[0].sample == 5
    assert to_expr(dims) == value


def test_shifts_masks_and_rounding_stay_sizes() -> None:
    def forward(x: Any) -> Any:
        n = x.shape[0]
        sizes = [n >> 1, n << 2, n & 3, 1 & n, abs(1 - n), round(n), math.ceil(n), math.floor(n)]
        return dyn.stack([dyn.full([], size, "int64") for size in sizes])

    graph = trace(forward, InputSpec(["n"], name="x"))
    assert not graph.guards
    for n in (1, 2, 7, 12):
        (given,) = Interpreter(graph).run(np.zeros(n, np.float32))
        assert given.tolist() == [n >> 1, n << 2, n & 3, n & 1, n - 1, n, n, n]


def test_bits_in_the_middle_of_a_size_have_no_expression() -> None:
    with pytest.raises(TraceError, match="used as a plain number by &"):
        trace(lambda x: x * (x.shape[0] & 6), InputSpec(["n"], name="x"))


def test_the_length_of_a_dynamic_tensor_says_what_stays_a_size() -> None:
    message = r"by len\(\), which always gives a plain int \(x\.shape\[0\] stays a size\)"
    with pytest.raises(TraceError, match=message):
        trace(lambda x: x * len(x), InputSpec(["n"], name="x"))


def test_sizes_as_values_that_are_written_and_as_counts() -> None:
    def forward(x: Any) -> Any:
        y = x * 1
        y[0] = x.shape[0]
        y[y < -1] = x.shape[0] // 2
        return y, dyn.linspace(2, 5, x.shape[0])

    graph = trace(forward, InputSpec(["n"], name="x"))
    for n in (1, 2, 7):
        x = np.linspace(-3, 3, n).astype(np.float32)
        written, line = Interpreter(graph).run(x)
        expected = x.copy()
        expected[0] = n
        expected[expected < -1] = n // 2
        np.testing.assert_array_equal(written, expected)
        np.testing.assert_allclose(line, np.linspace(2, 5, n), rtol=1e-6)


def test_a_size_made_a_plain_int_says_to_leave_int_out():
    with pytest.raises(TraceError, match="leave it out: sizes count like ints"):
        trace(lambda x: x.reshape([int(x.shape[0]), -1]), InputSpec(["n", 2, 3], "float32"))


def test_slices_that_a_size_counts_from_the_end() -> None:
    def last(x: Any, y: Any) -> Any:
        return x[:, -y.shape[1] :], x[:, : -y.shape[1]], x[:, y.shape[1] - 5 :]

    def written(x: Any, y: Any) -> Any:
        x = x * 1
        x[:, -y.shape[1] :] += y
        return x

    def there_and_back(x: Any, y: Any) -> Any:
        return x[:, y.shape[1] - 5 :: -1], x[:, -y.shape[1] :].reshape([-1])

    for forward in (last, written, there_and_back):
        graph = trace(forward, S([2, "t"]), S([2, "u"]), sizes={"t": 9, "u": 4})
        for t, u in ((9, 4), (7, 1), (20, 3)):
            x, y = np.arange(2.0 * t, dtype=np.float32).reshape(2, t), np.ones((2, u), np.float32)
            expected = forward(dyn.to_tensor(x), dyn.to_tensor(y))
            expected = expected if isinstance(expected, tuple) else (expected,)
            for a, b in zip(Interpreter(graph).run(x, y), expected, strict=True):
                np.testing.assert_array_equal(a, b.numpy())
    outputs = trace(last, S([2, "t"]), S([2, "u"]), sizes={"t": 9, "u": 4}).outputs
    assert str(outputs[0].shape[1]) == "min(u, t)"


def test_the_sign_of_a_size_in_a_slice_is_a_guard_where_it_is_not_known() -> None:
    graph = trace(lambda x, y: x[y.shape[0] - 5 :], S(["t"]), S(["u"]), sizes={"u": 4})
    assert [str(guard) for guard in graph.guards] == ["u-5 < 0"]
    graph = trace(lambda x, y: x[-y.shape[0] :], S(["t"]), S(["u"]))
    assert graph.guards == []


def test_triangles_from_a_dynamic_diagonal() -> None:
    def forward(new: Any, past: Any) -> Any:
        steps, before = new.shape[0], past.shape[0]
        scores = dyn.ones([steps, before + steps]) * new.unsqueeze(1)
        return scores.triu(before + 1), dyn.tril(scores, diagonal=before - 3)

    graph = trace(forward, S(["new"]), S(["past"]))
    assert graph.guards == []
    for new, past in ((1, 1), (3, 9), (5, 2)):
        a, b = np.arange(1.0, new + 1, dtype=np.float32), np.zeros(past, np.float32)
        full = np.repeat(a[:, None], new + past, 1)
        above, below = Interpreter(graph).run(a, b)
        np.testing.assert_array_equal(above, np.triu(full, past + 1))
        np.testing.assert_array_equal(below, np.tril(full, past - 3))


def test_sizes_as_bounds_shifts_numbers_and_indices() -> None:
    def forward(x: Any) -> Any:
        n = x.shape[1]
        return (
            x.clip(0, n),
            x.clip(min=n - 3),
            dyn.roll(x, n // 2, 1),
            dyn.where(x > 2, x, n),
            dyn.to_tensor(n) + x,
            x[:, [0, n - 1]],
            copy(x.sum()) + x,
        )

    graph = trace(forward, S([2, "n"], name="x"))
    for n in (2, 5, 8):
        x = np.arange(2.0 * n, dtype=np.float32).reshape(2, n)
        expected = forward(dyn.to_tensor(x))
        for given, wanted in zip(Interpreter(graph).run(x), expected, strict=True):
            np.testing.assert_array_equal(given, wanted.numpy())


def test_windows_of_dynamic_sizes_are_all_of_the_plane() -> None:
    def forward(x: Any) -> Any:
        y = x[:, :, 1:]
        n = y.shape[2]
        pooled = dyn.nn.functional.max_pool1d(y, n), dyn.nn.functional.avg_pool1d(y, n)
        return (*pooled, dyn.nn.MaxPool1D(n)(y), dyn.nn.functional.avg_pool2d(x[None], [2, n + 1]))

    graph = trace(forward, S([3, 2, "n"], name="x"))
    assert [list(value.shape) for value in graph.outputs] == [[3, 2, 1]] * 3 + [[1, 3, 1, 1]]
    with pytest.raises(AttributeValueError, match=r"a window of the dynamic sizes .* must be all"):
        trace(lambda x: dyn.nn.functional.max_pool1d(x, x.shape[2] // 2), S([3, 2, "n"]))


def test_ranges_between_sizes_that_may_be_empty() -> None:
    def forward(x: Any, y: Any) -> Any:
        n, m = x.shape[0], y.shape[0]
        downwards = dyn.arange(n - 1, -1, -1.0), dyn.arange(1.0, m + 1)
        whole = dyn.arange(n, m), dyn.arange(m, -n, 2), dyn.arange(n, m, -2), dyn.arange(n - m)
        return *downwards, *whole

    graph = trace(forward, S(["n"], name="x"), S(["m"], name="y"))
    for n, m in ((2, 7), (7, 2), (3, 3)):
        x, y = np.zeros(n, np.float32), np.zeros(m, np.float32)
        expected = forward(dyn.to_tensor(x), dyn.to_tensor(y))
        for given, wanted in zip(Interpreter(graph).run(x, y), expected, strict=True):
            np.testing.assert_array_equal(given, wanted.numpy(), strict=True)
    with pytest.raises(AttributeValueError, match=r"whole numbers, got 0\.5; make one"):
        trace(lambda x: dyn.arange(0, x.shape[0], 0.5), S(["n"]))


def test_rows_of_what_a_mask_selects() -> None:
    def forward(x: Any) -> Any:
        chosen = (x[:, :1] > 0).expand(x.shape)
        return x[chosen].reshape([-1, 3]) * 2

    graph = trace(forward, S(["n", 3], name="x", example=np.ones((2, 3), np.float32)))
    assert [str(g) for g in graph.guards] == ["(_1)%(3) == 0", "3*((_1)//(3)) == _1"]
    for n in (1, 5):
        x = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
        (found,) = Interpreter(graph).run(x)
        np.testing.assert_array_equal(found, x[x[:, 0] > 0] * 2)

    def losses(x: Any) -> Any:
        return dyn.nn.functional.smooth_l1_loss(x[x > 0], (x * 3)[x * 3 > 0], "none")

    graph = trace(losses, S(["n"], name="x"))
    assert [str(g) for g in graph.guards] == ["_1 == _2"]
    (found,) = Interpreter(graph).run(np.array([4.0, -1.0, 2.0], np.float32))
    np.testing.assert_array_equal(found, [7.5, 3.5])
    with pytest.raises(ShapeError, match=r"\[-1, 2\] does not divide"):
        trace(lambda x: x[x > 0].reshape([-1, 2]), S([3], example=np.ones(3, np.float32)))
