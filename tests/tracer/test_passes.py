"""Passes: what each removes, keeps and reports; the graph computes what it did."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn
from tracer import Graph, InputSpec, Interpreter, optimize, parse, trace, validate
from tracer.passes import (
    common_subexpressions,
    constant_folding,
    dead_code,
    early_relu_grad,
    fold_batch_norm,
    fuse_relu,
    simplify,
)

S = InputSpec


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def same(before: Graph, after: Graph, tolerance: float = 0.0) -> None:
    """Both graphs are well formed, and compute the same for several inputs."""
    validate(before)
    validate(after)
    rng = np.random.default_rng(0)
    for _ in range(2):
        arrays = [rng.standard_normal(s.shape).astype(s.dtype) for s in before.samples]
        runs = (Interpreter(form).run(*arrays) for form in (before, after))
        for a, b in zip(*runs, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_dead_code() -> None:
    def forward(x: Any) -> Any:
        unused = (x * 2).exp()
        dyn.rand([3])
        del unused
        return x + 1

    graph = trace(forward, S([3]))
    out, report = dead_code(graph)
    same(graph, out)
    assert ops(out) == ["add"] and report.changes == 3
    assert str(report) == "dead_code: removed 3 nodes that nothing reads"
    assert len(graph.nodes) == 4, "the graph that was given is left alone"


def test_dead_code_in_blocks_and_of_results() -> None:
    def forward(x: Any) -> Any:
        def true() -> Any:
            (x * 5).exp()
            return x * 2, x * 3

        a, b = dyn.cond(x.sum() > 0, true, lambda: (x, x))
        del b
        return a

    graph = trace(forward, S([3]))
    out, _ = dead_code(graph)
    same(graph, out)
    cond = out.nodes[-1]
    assert len(cond.outputs) == 1 and [n.op for n in cond.blocks["then"].nodes] == ["multiply"]


def test_dead_code_keeps_what_a_size_comes_from() -> None:
    def forward(x: Any) -> Any:
        return x * dyn.nonzero(x > 0).shape[0]

    graph = trace(forward, S([3]))
    out, _ = dead_code(graph)
    same(graph, out)
    assert "nonzero" in ops(out)


def test_dead_code_drops_parameters_nobody_reads() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    graph = trace(lambda x: (model[0](x), model[1](x))[1], S(["n", 3]))
    assert [p.name for p in dead_code(graph)[0].params] == ["1.weight", "1.bias"]


def test_simplify_removes_what_changes_nothing() -> None:
    def forward(x: Any) -> Any:
        n = x.shape[0]
        y = x.astype("float32").clone().reshape([n, 4])[:].expand([n, 4])
        y = dyn.concat([y], axis=0).transpose([0, 1])[:, :4][0:n]
        return dyn.flip(y, []) * 2

    graph = trace(forward, S(["n", 4]))
    out, report = simplify(graph)
    same(graph, out)
    assert ops(out) == ["multiply"] and report.changes == len(graph.nodes) - 1


def test_simplify_keeps_what_changes_something() -> None:
    def forward(x: Any) -> Any:
        parts = x[1:], x[::-1], x[:, :2], x.transpose([1, 0]), x.astype("float64")
        return *parts, x.expand([2, *x.shape]), dyn.flip(x, [0]), x.reshape([-1]), x.tile([1, 2])

    graph = trace(forward, S([4, 4]))
    out, report = simplify(graph)
    same(graph, out)
    assert report.changes == 0


def test_simplify_joins_reshapes_and_transposes() -> None:
    def forward(x: Any) -> Any:
        n, a, b = x.shape
        y = x.reshape([n, a * b]).unsqueeze(1).squeeze(1).reshape([n * a, b])
        z = x.transpose([1, 2, 0]).transpose([2, 0, 1])
        return y, z, x.transpose([2, 0, 1]).transpose([1, 0, 2])

    graph = trace(forward, S(["n", 3, 4]))
    out, _ = dead_code(simplify(graph)[0])
    same(graph, out)
    assert ops(out) == ["reshape", "transpose"]
    assert out.outputs[1] is out.inputs[0] and out.nodes[1].attrs["perm"] == (0, 2, 1)


def test_simplify_in_blocks() -> None:
    def forward(x: Any) -> Any:
        return dyn.while_loop(lambda y: y.max() > 1, lambda y: y.clone().clone() / 2, [x])[0]

    graph = trace(forward, S([3]))
    out, report = simplify(graph)
    same(graph, out)
    assert report.changes == 2


def test_common_subexpressions() -> None:
    def forward(x: Any) -> Any:
        a = (x * 2).exp() + (x * 2).exp()
        b = dyn.rand([3]) + dyn.rand([3])
        return a, b, dyn.full([3], 1), dyn.full([3], 1.0)

    graph = trace(forward, S([3]))
    out, report = common_subexpressions(graph)
    validate(out)
    assert ops(out).count("exp") == 1 and ops(out).count("uniform") == 2
    assert ops(out).count("full") == 2, "1 and 1.0 are not the same"
    assert report.changes == 2


def test_sizes_of_a_selection_that_is_made_twice_are_one(rng: np.random.Generator) -> None:
    def forward(x: Any) -> Any:
        y = x * 1
        y[y > 0] = y[y > 0] * 0.5
        y[y[:, 0] > 0.1] = y[y[:, 0] > 0.1] + 1
        y[x > 0] *= 2
        return y, x[x > 0]

    graph = trace(forward, InputSpec(["n", 3], name="x"))
    assert list(graph.sizes) == ["n", "_1", "_2", "_3"]
    assert not graph.guards and "cond" not in ops(graph)
    small, _ = common_subexpressions(graph)
    assert ops(graph).count("nonzero") > ops(small).count("nonzero")
    validate(small)
    for n in (1, 4, 9):
        x = rng.normal(size=(n, 3)).astype(np.float32)
        for a, b in zip(Interpreter(small).run(x), forward(dyn.to_tensor(x)), strict=True):
            np.testing.assert_array_equal(a, b.numpy())


def test_selections_that_turn_out_to_be_one_have_one_size() -> None:
    text = """graph function(x: f32[n]) -> (output=%6)
  size   n = 3
  size   _1 = 1
  size   _2 = 1
  guard  _1 == _2 is True
  %1: bool[n] = greater_than(x, 0.0)
  %2: i64[_1, 1] = nonzero(%1)
  %3: f32[_1] = gather_nd(x, %2)
  %4: bool[n] = greater_than(x, 0.0)
  %5: i64[_2, 1] = nonzero(%4)
  %6: f32[_2] = gather_nd(x, %5)
"""
    small, _ = common_subexpressions(parse(text))
    assert list(small.sizes) == ["n", "_1"] and not small.guards
    (found,) = Interpreter(small).run(np.array([1, -2, 3], np.float32))
    np.testing.assert_array_equal(found, [1, 3])


def test_common_subexpressions_in_blocks() -> None:
    def forward(x: Any) -> Any:
        y = x.exp()
        return y + dyn.cond(
            x.sum() > 0, lambda: x.exp() + x.tanh(), lambda: x.exp() - x.tanh().tanh()
        )

    graph = trace(forward, S([3]))
    out, _ = common_subexpressions(graph)
    same(graph, out)
    assert [n.op for n in out.walk()].count("exp") == 1
    assert [n.op for n in out.walk()].count("tanh") == 3


def test_constant_folding() -> None:
    def forward(x: Any) -> Any:
        mask = dyn.tril(dyn.ones([4, 4])) * 2 - 1
        return x * mask

    graph = trace(forward, S(["n", 4, 4]))
    out, report = constant_folding(graph)
    same(graph, out)
    assert ops(out) == ["multiply"] and report.changes == len(graph.nodes) - 1
    assert "computed" in report.text and "bytes" in report.text


def test_constant_folding_has_a_limit() -> None:
    def forward(x: Any) -> Any:
        return x + dyn.zeros([100, 100]) + dyn.to_tensor(np.ones((100, 100), np.float32)).exp()

    graph = trace(forward, S([100, 100]))
    out, _ = constant_folding(graph, limit=1000)
    same(graph, out)
    assert "full" in ops(out), "a large constant stays an op"
    assert "exp" not in ops(out), "a result no larger than its inputs costs nothing"


def test_constant_folding_spares_random_ops_state_and_parameters() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.weight = self.create_parameter([3])
            self.register_buffer("count", dyn.zeros([3]))

        def forward(self, x: Any) -> Any:
            self.count += dyn.ones([3])
            noise = dyn.rand([3]) * 2
            return x + noise + self.weight * 2 + self.count.exp()

    graph = trace(Model(), S([3]))
    out, _ = constant_folding(graph)
    validate(out)
    assert "uniform" in ops(out) and "exp" in ops(out)
    assert [p.name for p in out.params] == ["weight"] and [b.name for b in out.buffers] == ["count"]
    runs = Interpreter(out)
    x = np.zeros(3, np.float32)
    first, second = runs.run(x)[0], runs.run(x)[0]
    assert (second > first).all()


def test_constant_folding_of_dynamic_sizes_does_not_happen() -> None:
    graph = trace(lambda x: x + dyn.ones([x.shape[0], 3]), S(["n", 3]))
    assert ops(constant_folding(graph)[0]) == ops(graph)


class Normed(nn.Layer):
    """A layer and a batch norm with numbers that are not those of the start."""

    def __init__(self, layer: Any, norm: Any) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        rng = np.random.default_rng(3)
        for name, tensor in self.state_dict().items():
            low = 0.5 if "variance" in name else -1.0
            tensor.set_value(rng.uniform(low, 2, tensor.shape).astype(np.float32))

    def forward(self, x: Any) -> Any:
        return self.norm(self.layer(x)).relu()


LAYERS: dict[str, tuple[Any, Any, Any]] = {
    "conv": (lambda: nn.Conv2D(4, 6, 3), lambda: nn.BatchNorm2D(6), S(["n", 4, 8, 8])),
    "conv-groups": (
        lambda: nn.Conv2D(4, 6, 3, groups=2), lambda: nn.BatchNorm2D(6), S(["n", 4, 8, 8]),
    ),
    "conv-no-bias": (
        lambda: nn.Conv2D(4, 6, 3, bias_attr=False), lambda: nn.BatchNorm2D(6), S(["n", 4, 8, 8]),
    ),
    "conv1d": (lambda: nn.Conv1D(4, 6, 3), lambda: nn.BatchNorm1D(6), S(["n", 4, 8])),
    "transpose": (
        lambda: nn.Conv2DTranspose(4, 6, 3), lambda: nn.BatchNorm2D(6), S(["n", 4, 5, 5]),
    ),
    "transpose-groups": (
        lambda: nn.Conv2DTranspose(4, 6, 3, groups=2), lambda: nn.BatchNorm2D(6), S(["n", 4, 5, 5]),
    ),
    "linear": (lambda: nn.Linear(4, 6), lambda: nn.BatchNorm1D(6), S(["n", 4])),
    "plain-norm": (
        lambda: nn.Conv2D(4, 6, 3, bias_attr=False),
        lambda: nn.BatchNorm2D(6, weight_attr=False, bias_attr=False),
        S(["n", 4, 8, 8]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_fold_batch_norm(name: str) -> None:
    layer, norm, spec = LAYERS[name]
    model = Normed(layer(), norm())
    graph = trace(model, spec)
    out, report = fold_batch_norm(graph)
    same(graph, out, tolerance=2e-5)
    assert "batch_norm_infer" not in ops(out) and report.changes == 1
    names = [p.name for p in out.params]
    assert names[0] == "layer.weight" and len(names) == 2
    keys = set(model.state_dict())
    assert set(names) <= keys or name == "plain-norm"
    assert out.params[0].data is not graph.params[0].data
    assert out.nodes[0].layer == "layer"


def test_fold_batch_norm_only_where_it_may() -> None:
    class Read(Normed):
        def forward(self, x: Any) -> Any:
            y = self.layer(x)
            return self.norm(y) + y

    class Fused(Normed):
        def forward(self, x: Any) -> Any:
            return self.norm(self.layer(x).relu())

    for kind in (Read, Fused):
        model = kind(nn.Conv2D(4, 4, 3, padding=1), nn.BatchNorm2D(4))
        graph = trace(model, S(["n", 4, 8, 8]))
        out, report = fold_batch_norm(graph)
        assert report.changes == 0 and "batch_norm_infer" in ops(out)
    model = Normed(nn.Linear(4, 6), nn.BatchNorm1D(6))
    graph = trace(lambda x: model.norm(model.layer(x)), S(["n", 5, 4]).__class__(["n", 6, 4]))
    assert fold_batch_norm(graph)[1].changes == 0, "channels are not the last axis here"


def test_fold_batch_norm_leaves_shared_weights() -> None:
    shared = nn.Conv2D(4, 4, 3, padding=1)
    norm = nn.BatchNorm2D(4)
    norm._mean.set_value(np.arange(4, dtype=np.float32))
    graph = trace(lambda x: norm(shared(x)) + shared(x * 2), S(["n", 4, 6, 6]))
    out, report = fold_batch_norm(graph)
    same(graph, out, tolerance=2e-5)
    assert report.changes == 1
    assert {p.name for p in out.params} > {"shared.weight", "shared.bias"}


def test_optimize_runs_passes_in_order_and_renumbers() -> None:
    graph = trace(lambda x: (x * 2).exp() + (x * 2).exp(), S([3]))
    out, reports = optimize(graph)
    same(graph, out)
    assert [v.name for n in out.nodes for v in n.outputs] == ["%1", "%2", "%3"]
    assert [r.name for r in reports] == [
        "dead_code",
        "simplify",
        "common_subexpressions",
        "constant_folding",
        "fold_batch_norm",
        "early_relu_grad",
        "dead_code",
    ]
    step, _ = optimize(graph, [dead_code])
    validate(step)


def test_fuse_relu() -> None:
    dyn.seed(0)
    net = nn.Sequential(
        nn.Conv2D(3, 4, 3), nn.ReLU(), nn.Conv2D(4, 4, 3), nn.BatchNorm2D(4), nn.ReLU()
    )
    graph = trace(net, S([2, 3, 9, 9]), training=True)
    out, report = fuse_relu(graph)
    same(graph, out, 1e-6)
    assert ops(out).count("relu") == 0 and report.changes == 2


POOLINGS = {
    "apart": lambda x: nn.functional.max_pool2d(x, 2),
    "overlapping": lambda x: nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "bins": lambda x: nn.functional.adaptive_max_pool2d(x, [3, 4]),
}


@pytest.mark.parametrize("pool", POOLINGS.values(), ids=[*POOLINGS])
def test_gradients_of_relus_go_before_those_of_poolings(pool: Any) -> None:
    def gradient(x: Any, w: Any) -> Any:
        x.stop_gradient = False
        pooled = pool(nn.functional.relu(x - 0.5))
        return dyn.grad((pooled * w[: math.prod(pooled.shape)].reshape(pooled.shape)).sum(), x)[0]

    graph = trace(gradient, S([2, 3, 9, 9]), S([1000]))
    out, report = early_relu_grad(graph)
    same(graph, out)
    assert report.changes == 1
    order = [op for op in ops(out) if op in ("relu_grad", "max_pool_grad")]
    assert order == ["relu_grad", "max_pool_grad"] and order[::-1] == [
        op for op in ops(graph) if op in order
    ]
    # Ties, what is not finite, and maxima that do not pass.
    rng = np.random.default_rng(1)
    x = rng.choice(np.array([0.0, 1, 1, 2, -1, np.inf, np.nan], "f4"), (2, 3, 9, 9))
    w = rng.choice(np.array([1.0, -2, np.inf, np.nan], "f4"), 1000)
    before, after = (Interpreter(form).run(x, w)[0] for form in (graph, out))
    assert before.tobytes() == after.tobytes()


def test_a_relu_that_more_than_a_pooling_reads_keeps_its_gradient() -> None:
    def gradient(x: Any) -> Any:
        x.stop_gradient = False
        y = nn.functional.relu(x)
        return dyn.grad(nn.functional.max_pool2d(y, 2).sum() + (y * y).sum(), x)[0]

    def of_another(x: Any) -> Any:
        x.stop_gradient = False
        y = nn.functional.max_pool2d(nn.functional.relu(x) * 2.0 - 1.0, 2)
        return dyn.grad(y.sum(), x)[0]

    for function in (gradient, of_another):
        graph = trace(function, S([2, 3, 8, 8]))
        out, report = early_relu_grad(graph)
        same(graph, out)
        assert report.changes == 0


def test_a_relu_of_what_others_read_stays() -> None:
    conv = nn.Conv2D(3, 4, 3)

    def twice(x: Any) -> Any:
        made = conv(x)
        return nn.functional.relu(made) + made

    def seen(x: Any) -> Any:
        made = conv(x)
        return nn.functional.relu(made), made

    def in_a_branch(x: Any) -> Any:
        made = conv(x)
        other = dyn.cond(x.sum() > 0, lambda: made * 2.0, lambda: made)
        return nn.functional.relu(made) + other

    for function in (twice, seen, in_a_branch):
        graph = trace(function, S([2, 3, 9, 9]), layers={"conv": conv})
        out, report = fuse_relu(graph)
        same(graph, out)
        assert report.changes == 0
