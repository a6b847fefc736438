"""Verification: a wrong file is never left behind, whatever made it wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn
import exporter
import tracer
from dyn import nn
from dyn.core.rng import drawing_from
from exporter import model as files
from exporter.lowering import LOWERINGS
from exporter.nudges import difference, farther, is_rounding
from exporter.trials import HEAVY, Trials, random_results
from tests.exporter.nets import IMAGE, Counter, LeNet, load, op_types
from tests.runtime import RUNNABLE
from tracer import InputSpec


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Replaces the lowering of an op by a wrong one."""

    def replace(name: str, lowering: Any) -> None:
        monkeypatch.setitem(LOWERINGS, name, lowering)

    yield replace


def refused(model: Any, spec: Any, folder: Path, match: str, **options: Any) -> None:
    """Export over an old file: it must raise, and leave that file as it was and nothing else."""
    path = folder / "model.onnx"
    path.write_bytes(b"an older file")
    with pytest.raises(exporter.VerificationError, match=match):
        exporter.export(model, path, spec, **options)
    assert path.read_bytes() == b"an older file"
    assert os.listdir(folder) == ["model.onnx"]


def test_a_wrong_lowering(wrong: Any, tmp_path: Path) -> None:
    wrong("relu", lambda b, node: b.op("LeakyRelu", node.x, alpha=0.01))
    refused(LeNet(), IMAGE, tmp_path, "'output' differs from the model by")


def test_a_wrong_lowering_that_is_right_for_the_sample(wrong: Any, tmp_path: Path) -> None:
    """Sizes baked from the sample are found at sizes that were never traced."""

    def baked(b: Any, node: Any) -> Any:
        return b.op("Reshape", node.x, b.ints(3, 4))

    wrong("reshape", baked)
    spec = InputSpec(["n", 2, 2])
    refused(lambda x: x.reshape([x.shape[0], 4]), spec, tmp_path, "onnxruntime fails")
    refused(lambda x: x.reshape([x.shape[0], 4]), spec, tmp_path, "onnxruntime fails")


def test_a_wrong_state(wrong: Any, tmp_path: Path) -> None:
    """The first call is right because the state starts at 0; the second one is not."""
    net = Counter()
    net.total.set_value(np.zeros(2, np.float32))
    zeros = InputSpec([1, 2], example=np.zeros((1, 2), np.float32))
    wrong("add", lambda b, node: b.op("Sub", *node.inputs))
    refused(net, zeros, tmp_path, "differs")


def test_a_wrong_dtype_or_shape(wrong: Any, tmp_path: Path) -> None:
    wrong("abs", lambda b, node: b.unsqueeze(b.op("Abs", node.x), 0))
    path = tmp_path / "model.onnx"
    with pytest.raises(exporter.ExportError, match="fault of the exporter"):
        exporter.export(lambda x: abs(x), path, InputSpec([2]))
    assert os.listdir(tmp_path) == []


def test_integers_must_be_equal(wrong: Any, tmp_path: Path) -> None:
    wrong("add", lambda b, node: b.op("Sub", *node.inputs))
    spec = InputSpec([8], "int64", example=np.arange(8))
    refused(lambda x: x + 1, spec, tmp_path, "differs")


def test_nan_where_there_is_none(wrong: Any, tmp_path: Path) -> None:
    wrong("abs", lambda b, node: b.op("Sqrt", node.x))
    refused(lambda x: abs(x), InputSpec([9]), tmp_path, "differs from the model by inf")


def test_tolerance(wrong: Any, tmp_path: Path) -> None:
    def slightly(b: Any, node: Any) -> Any:
        return b.op("Mul", b.op("Abs", node.x), b.const(np.float32(1.0001)))

    wrong("abs", slightly)
    spec = InputSpec([9])
    report = exporter.export(lambda x: abs(x), tmp_path / "m.onnx", spec)
    assert report.largest_error > 0.5e-4
    os.remove(tmp_path / "m.onnx")
    refused(lambda x: abs(x), spec, tmp_path, "1e-05 is allowed", tolerance=1e-5)


def test_the_failing_output_and_sizes_are_named(wrong: Any, tmp_path: Path) -> None:
    wrong("neg", lambda b, node: b.op("Identity", node.x))
    spec = InputSpec(["rows", 2], example=np.ones((4, 2), np.float32))
    match = r"'second' differs .* at rows=4"
    refused(lambda x: {"first": x + 1, "second": -x}, spec, tmp_path, match)


def test_a_comparison_of_sizes_the_model_recovers_from(tmp_path: Path) -> None:
    """A size that is compared takes one side; the file would be wrong on the other."""

    def forward(x: Any) -> Any:
        return x * 2 if x.shape[0] > 2 else x * 3

    refused(forward, InputSpec(["n", 2]), tmp_path, r"another path where n > 2 does not hold")


def test_a_comparison_of_sizes_that_is_an_assumption(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        assert x.shape[0] % 2 == 0
        return x.reshape([x.shape[0] // 2, 2]).sum(1)

    spec = InputSpec(["n"], example=np.ones(6, np.float32))
    report = exporter.export(forward, tmp_path / "m.onnx", spec)
    assert any("n" in guard for guard in report.guards)


def test_sizes_that_were_never_traced(tmp_path: Path) -> None:
    report = exporter.export(
        lambda x, y: x @ y,
        tmp_path / "m.onnx",
        [
            InputSpec(["n", "k"]),
            InputSpec(["k", "m"]),
        ],
    )
    assert report.verified is not None and report.verified.runs == 3


def test_images_are_tried_in_small_batches_model_and_file_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: dict[Any, list[int]] = {tracer.Live: [], exporter.Predictor: []}

    def watch(kind: Any) -> None:
        run = kind.run

        def watched(self: Any, *given: Any) -> Any:
            (array,) = given[0] if kind is tracer.Live else given
            batches[kind].append(len(array))
            return run(self, *given)

        monkeypatch.setattr(kind, "run", watched)

    for kind in batches:
        watch(kind)
    exporter.export(lambda x: x * 2, tmp_path / "m.onnx", InputSpec(["n", 3, 8, 8]))
    assert batches == {tracer.Live: [2, 1, 3], exporter.Predictor: [2, 1, 3]}


def test_a_file_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "check", lambda *args: None)
    monkeypatch.setitem(
        LOWERINGS, "tanh", lambda b, node: b.op("Tanh", node.x, no_such_attribute=1)
    )
    refused(lambda x: dyn.tanh(x), InputSpec(["n"]), tmp_path, "cannot load")


def test_an_operator_that_onnxruntime_has_for_other_dtypes(tmp_path: Path) -> None:
    net = dyn.nn.Sequential(dyn.nn.Conv2D(1, 2, 3), dyn.nn.ReLU()).astype("float64")
    refused(
        net,
        InputSpec(["n", 1, 5, 5], "float64"),
        tmp_path,
        r"no Conv for the dtypes it is used with in layer 0 \(of .*\.py:\d+\).* float32",
    )


def test_random_outputs_are_not_compared(tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        return {"noisy": x + dyn.rand([2]), "plain": x + 1}

    report = exporter.export(forward, tmp_path / "m.onnx", InputSpec([2]))
    assert report.verified is not None and report.verified.unchecked == ("noisy",)
    assert "RandomUniform" in op_types(load(tmp_path / "m.onnx"))


@pytest.mark.parametrize("handed_on", [False, True])
def test_random_numbers_reach_into_branches(handed_on: bool) -> None:
    def forward(x: Any) -> Any:
        noise = dyn.rand([2])
        return dyn.cond(x.sum() > 0, lambda: noise if handed_on else x + noise, lambda: x)

    assert random_results(tracer.trace(forward, InputSpec([2]))) == {"output"}


def test_random_numbers_reach_through_state_from_call_to_call() -> None:
    class Delay(dyn.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            for name in "abc":
                self.register_buffer(name, dyn.zeros([2]))

        def forward(self, x: Any) -> Any:
            y = x + self.c
            self.c = self.b + 1
            self.b = self.a + 1
            self.a = self.a + dyn.rand([2])
            return y, x * 2

    found = random_results(tracer.trace(Delay(), InputSpec([2])))
    assert found == {"output_0", "a", "b", "c"}


def test_difference() -> None:
    nan, inf = np.nan, np.inf

    def apart(wanted: list[float], given: list[float]) -> tuple[float, float]:
        return difference(np.array(wanted, np.float32), np.array(given, np.float32))

    assert apart([1, 2], [1, 2]) == (0, 0)
    assert apart([nan, inf, -inf], [nan, inf, -inf]) == (0, 0)
    assert apart([4, 1], [4, 2]) == (1, 0.25)
    assert apart([1], [nan])[1] == inf
    assert apart([inf], [-inf])[1] == inf
    assert apart([0], [1e-9])[1] == inf
    assert difference(np.array([1, 2]), np.array([1, 3])) == (1, 0.5)
    assert apart([], []) == (0, 0)
    assert apart([1], [1, 2]) == apart([], [1]) == (inf, inf)
    assert difference(np.array([2**60]), np.array([2**60 + 1])) == (1, 1)
    assert difference(np.array([True]), np.array([False])) == (1, 1)
    assert difference(np.array([3, 0], np.uint8), np.array([0, 0], np.uint8)) == (3, 0.5)


def test_numbers_that_masks_fill_in_are_no_scale_for_others() -> None:
    def relative(wanted: list[float], given: list[float]) -> float:
        return difference(np.array(wanted, np.float32), np.array(given, np.float32))[1]

    for filling in (-1e9, -3.4028235e38, -1000.0, np.inf):
        assert relative([filling, 4, 1], [filling, 4, 2]) == 0.25
        assert relative([4, filling, 0, 1], [4, filling, 1, 1]) == 0.25
    assert relative([-1e4, -1e4 + 1, 4], [-1e4, -1e4, 4]) == pytest.approx(1e-4)
    assert relative([1e4, 4, 1], [1e4 + 1, 4, 1]) == pytest.approx(1e-4)
    assert relative([1e9, 1e5, 4], [1e9, 1e5, 5]) == 0.25
    assert relative([1e4, 200, 4], [1e4, 200, 5]) == pytest.approx(1e-4)  # none stands apart
    assert relative([1e9, 0], [1e9, 1]) == pytest.approx(1e-9)


def test_errors_are_rounding_where_as_many_elements_move_as_far() -> None:
    wanted = np.ones(1000, np.float32)

    def moved(**to: float) -> np.ndarray:
        out = wanted.copy()
        out[: len(to)] = list(to.values())
        return out

    def rounding(given: np.ndarray, moves: np.ndarray | None) -> bool:
        return is_rounding(wanted, given, 1e-4, moves)

    jump = farther(None, wanted, moved(a=2.0))
    assert rounding(moved(a=1.00009, b=0.99991), np.zeros(1000))
    assert not rounding(moved(a=1.00011), np.zeros(1000))
    assert not rounding(moved(a=1.00011), None)
    assert rounding(np.roll(moved(a=2.0), 7), jump)
    assert rounding(moved(a=17.0), jump)
    assert not rounding(moved(a=17.1), jump)
    assert not rounding(wanted + 0.1, jump)  # one that jumps excuses some, not all
    further = farther(jump, wanted, wanted + np.float32(1e-3))
    assert rounding(wanted + np.float32(1e-2), further)
    assert not rounding(wanted + np.float32(2e-2), further)
    lost = farther(farther(None, wanted, moved(a=np.nan)), wanted, moved(a=np.inf))
    assert rounding(moved(a=5.0), lost)
    assert not rounding(moved(a=1.0, b=5.0), lost)
    assert farther(jump, wanted, wanted[:7]) is jump


def test_a_wrong_lowering_beside_filling(wrong: Any, tmp_path: Path) -> None:
    wrong("tanh", lambda b, node: b.op("Mul", b.op("Tanh", node.x), b.const(np.float32(1.1))))
    keep = dyn.to_tensor(np.arange(8) % 3 > 0)
    spec = InputSpec([None, 8])
    refused(lambda x: dyn.where(keep, x.tanh(), dyn.full([], -1e9)), spec, tmp_path, "differs")
    bias = dyn.to_tensor(np.where(np.arange(8) % 3, 0, -1e4).astype(np.float32))
    refused(lambda x: x.tanh() + bias, spec, tmp_path, "differs")


class Pixels(nn.Layer):
    """An image of bytes: some numbers round up here and down there."""

    def __init__(self) -> None:
        super().__init__()
        self.to = nn.Sequential(nn.Conv2D(3, 16, 3), nn.Tanh(), nn.Conv2D(16, 3, 3))

    def forward(self, x: Any) -> Any:
        return dyn.round(nn.functional.sigmoid(self.to(x)) * 255).astype("uint8")


def test_rounded_numbers(wrong: Any, tmp_path: Path) -> None:
    spec = InputSpec([1, 3, 192, 192])
    with drawing_from(np.random.default_rng(0)):
        net = Pixels()
    exporter.export(net, tmp_path / "model.onnx", spec)
    wrong("tanh", lambda b, node: b.op("Mul", b.op("Tanh", node.x), b.const(np.float32(1.05))))
    refused(net, spec, tmp_path, "differs")


def _squashed(x: Any) -> Any:
    """The logarithm of a squashed action's density in soft actor critic: 1 - 1 + 0.000001."""
    return (1 - dyn.tanh(x * 8).square() + 1e-6).log()


def test_functions_that_are_flat(wrong: Any, tmp_path: Path) -> None:
    spec = InputSpec(["n", 50])
    exporter.export(_squashed, tmp_path / "model.onnx", spec)
    wrong("tanh", lambda b, node: b.op("Mul", b.op("Tanh", node.x), b.const(np.float32(1.1))))
    refused(_squashed, spec, tmp_path, "differs")


class Divergence(nn.Layer):
    """All but zero, and computed from integers."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 64))

    def forward(self, tokens: Any) -> Any:
        of = [nn.functional.log_softmax(self.logits(tokens) + k) for k in (0, 1)]
        return (of[0].exp() * (of[0] - of[1])).sum(-1)


def test_rounding_is_measured_where_inputs_are_integers(tmp_path: Path) -> None:
    net = Divergence()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    tokens = np.arange(14).reshape(2, 7)
    exporter.export(net, tmp_path / "m.onnx", InputSpec([None, 7], "int64", example=tokens))
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_sizes_at_which_the_forward_divides_by_zero(tmp_path: Path) -> None:
    """The model refuses them itself, so they are not held against the file."""

    def forward(x: Any) -> Any:
        n = x.shape[0]
        return x * 2 if n // (n // 2) > 1 else x

    path = tmp_path / "m.onnx"
    report = exporter.export(forward, path, InputSpec(["n", 6]))
    assert report.verified is not None and report.verified.runs >= 2
    x = np.ones((4, 6), np.float32)
    np.testing.assert_array_equal(exporter.Predictor(path).run(x)[0], x * 2)


@pytest.mark.skipif(
    RUNNABLE[-1] < 24, reason="onnxruntime 1.23 ends the process when it divides integers by zero"
)
def test_sizes_at_which_only_the_file_divides_by_zero(tmp_path: Path) -> None:
    """At n=1 the model asks for a size of 0, which means to keep that of the input."""
    spec = InputSpec(["n", 6])
    refused(lambda x: x.reshape([x.shape[0] // 2, -1]), spec, tmp_path, "takes another path")


@pytest.mark.parametrize(
    "part",
    [
        lambda x, n, m: x[3 : max(n, m) - 1],
        lambda x, n, m: x[max(n, m) - 1 : 3],
        lambda x, n, m: x[: m if m >= n else n],
        lambda x, n, m: x * x[1 : -(n % 3)].shape[0],
    ],
)
def test_sizes_that_tell_little(part: Any, tmp_path: Path) -> None:
    """Where the sizes are equal or small the file would be right whichever way it takes."""

    def forward(x: Any, y: Any) -> Any:
        return part(x, x.shape[0], y.shape[0]), y + 1

    specs = [InputSpec(["n", 6], name="x"), InputSpec(["m"], name="y")]
    refused(forward, specs, tmp_path, "takes another path")


def test_a_model_that_takes_only_some_integers_is_called_twice_with_its_example(
    tmp_path: Path,
) -> None:
    class Bags(dyn.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", dyn.zeros([1]))

        def forward(self, x: Any, starts: Any) -> Any:
            if starts[0] != 0 or (starts[1:] <= starts[:-1]).any():
                raise ValueError("bags follow on each other")
            self.count += 1
            return x.sum() * self.count

    specs = [
        InputSpec([4], name="x"),
        InputSpec([6], "int64", name="starts", example=np.arange(6)),
    ]
    report = exporter.export(Bags(), tmp_path / "m.onnx", specs)
    assert report.verified and report.verified.repeated and "in 2 runs" in str(report)
    assert "the model raised at other inputs: later calls had those of the first" in str(report)


def test_sizes_that_need_much_memory_are_tried_last() -> None:
    """Attention over pixels keeps (h * w)**2 numbers: three small images, or none that is large."""

    def attended(x: Any) -> Any:
        rows = x.flatten(2)
        if x.shape[3] != 96:
            rows = rows * 2
        scores = dyn.bmm(rows.transpose([0, 2, 1]), rows)
        return dyn.bmm(rows, dyn.nn.functional.softmax(scores))

    graph = tracer.trace(attended, InputSpec(["n", 2, "h", "w"], name="x"), sizes={"n": 1, "h": 32})
    trials = Trials(graph)

    def memory(sizes: Any) -> int:
        return 2 * 4 * sizes["n"] * (sizes["h"] * sizes["w"]) ** 2

    tried = [memory(sizes) for sizes in trials.other_sizes()]
    assert tried[0] < HEAVY and max(tried) > HEAVY
    assert all(light < HEAVY for light in tried[: tried.index(next(m for m in tried if m > HEAVY))])
    (guard,) = graph.guards
    challenges = [memory(sizes) for sizes in trials.breaking(guard)]
    assert challenges and max(challenges) < HEAVY
