"""Models written against PyTorch's names trace and export as any other, with PyTorch's keys."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn
from exporter import Predictor, export, export_training
from tests.compat.architectures import ARCHITECTURES
from tests.compat.models import MODELS, call, inputs_of
from tests.compat.test_against_torch import NETWORKS
from tracer import Interpreter, TraceError, trace
from tracer.spec import InputSpec


@pytest.mark.parametrize(
    "name",
    ["linear", "conv_transpose2d", "batch_norm2d", "lstm", "gru", "encoder_layer", "network"],
)
def test_a_module_runs_in_onnxruntime_under_its_own_names(name, tmp_path):
    module = MODELS[name](nn).eval()
    (x,) = inputs_of(name, torch)
    batch = 0 if name not in ("gru", "encoder_layer") else 1
    sizes = [*x.shape]
    sizes[batch] = "batch"
    path = tmp_path / "m.onnx"
    export(lambda x: call(module, [x]), path, [InputSpec(sizes, "float32", name="x")])
    found = {i.name for i in onnx.load(path).graph.initializer}
    if name not in ("lstm", "gru", "network"):
        # Recurrent weights are reordered for the file, and the network's norm is folded away.
        wanted = {k for k in module.state_dict() if "num_batches" not in k}
        assert wanted <= {i.removeprefix("module.") for i in found}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    out = session.run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(out, call(module, [x]).detach().numpy(), rtol=1e-4, atol=1e-5)


SPECS = {
    "civil_net": InputSpec(["batch", 3, 32, 32], "float32", name="x"),
    "resnet18": InputSpec(["batch", 3, 40, 48], "float32", name="x"),
    "gpt": InputSpec(["batch", "length"], "int64", name="x"),
    "tagger": InputSpec(["batch", 7], "int64", name="x"),
}


@pytest.mark.parametrize("name", SPECS)
def test_whole_networks_trace_and_export_with_pytorchs_names(name, tmp_path):
    recorded = NETWORKS[name]
    net = ARCHITECTURES[name][0](torch)
    net.load_state_dict(recorded["state"])
    net.eval()
    graph = trace(net, SPECS[name])
    traced = {value.name for value in [*graph.params, *graph.buffers]}
    # A weight that is used in two places has one name, its first.
    wanted = {key for key, _ in [*net.named_parameters(), *net.named_buffers()]}
    unused = {key for key in wanted if key.endswith("num_batches_tracked")}
    assert wanted - unused <= traced, wanted - traced
    path = tmp_path / "m.onnx"
    export(net, path, [SPECS[name]])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    out = session.run(None, {"x": recorded["input"].numpy()})[0]
    np.testing.assert_allclose(out, recorded["out"].numpy(), rtol=1e-3, atol=1e-4)
    if name != "resnet18":  # Its norms are folded into the convolutions.
        stored = {i.name for i in onnx.load(path).graph.initializer}
        kept = {key for key in wanted - unused if not key.startswith("rnn.")}
        assert kept <= stored, kept - stored


def test_the_weight_of_a_product_is_stored_as_pytorch_has_it(tmp_path):
    layer = nn.Linear(3, 4)
    export(layer, tmp_path / "m.onnx", [InputSpec(["batch", 3], "float32")])
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [node.op_type for node in graph.node] == ["Gemm"]
    assert {i.name: list(i.dims) for i in graph.initializer}["weight"] == [4, 3]


def test_training_steps_are_traced_with_the_count_of_batches():
    layer = nn.BatchNorm1d(3)
    layer(torch.randn(4, 3))
    graph = trace(layer, InputSpec(["batch", 3], "float32"), training=True)
    text = str(graph)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert name in text
    assert int(layer.num_batches_tracked) == 1


def test_sizes_stay_symbolic_through_pytorchs_methods(tmp_path):
    class Model(nn.Module):
        def forward(self, x):
            n = x.size(0)
            y = x.view(n, -1).t().unsqueeze(1).expand(-1, 2, -1)
            return y.permute(2, 0, 1).reshape(x.shape[0], -1) / x.shape.numel()

    path = tmp_path / "m.onnx"
    export(Model(), path, [InputSpec(["n", 3, 2], "float32", name="x")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (1, 5):
        x = np.arange(n * 6, dtype=np.float32).reshape(n, 3, 2)
        wanted = np.repeat(x.reshape(n, 6), 2, 1) / x.size
        np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, rtol=1e-6)


def _in_onnxruntime(path, arrays):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip((i.name for i in session.get_inputs()), arrays, strict=True)))


def test_packed_sequences_of_other_lengths_than_the_traced_ones(tmp_path):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 4, bidirectional=True, batch_first=True)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
            out, (h, _) = self.rnn(packed)
            padded, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
            return padded, torch.cat((h[-2], h[-1]), dim=1)

    torch.manual_seed(0)
    net, path = Tagger().eval(), tmp_path / "m.onnx"
    spec = [
        InputSpec(["batch", 6, 3], name="x", example=np.ones((3, 6, 3), np.float32)),
        InputSpec(["batch"], "int64", name="lengths", example=np.array([2, 5, 1])),
    ]
    export(net, path, spec)
    x, lengths = torch.randn(2, 6, 3), torch.tensor([3, 4])
    found = _in_onnxruntime(path, [x.numpy(), lengths.numpy()])
    assert found[0].shape == (2, 4, 8)
    for ours, theirs in zip(net(x, lengths), found, strict=True):
        np.testing.assert_allclose(theirs, ours.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_one_dynamic_size_makes_a_tensor(tmp_path):
    class Sum(nn.Module):
        def forward(self, x):
            return x + torch.zeros(x.size(0)).index_add(0, torch.tensor([0]), torch.ones(1))

    path = tmp_path / "m.onnx"
    export(Sum(), path, [InputSpec(["n"], "float32", name="x")])
    (found,) = _in_onnxruntime(path, [np.arange(3, dtype=np.float32)])
    np.testing.assert_array_equal(found, [1, 1, 2])


def test_dynamic_sizes_wherever_pytorch_takes_a_number(tmp_path: Path) -> None:
    class Sized(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            n, t = x.shape
            return torch.ones(n), torch.zeros(t, n), torch.full((2,), t), x.new_empty(n) * 0

    path = tmp_path / "sized.onnx"
    export(Sized(), path, InputSpec(["n", "t"], name="x"))
    for n, t in ((1, 4), (7, 2)):
        ones, zeros, full, made = Predictor(path).run(np.zeros((n, t), np.float32))
        np.testing.assert_array_equal(ones, np.ones(n, np.float32), strict=True)
        np.testing.assert_array_equal(zeros, np.zeros((t, n), np.float32), strict=True)
        np.testing.assert_array_equal(full, np.full(2, t, np.int64), strict=True)
        np.testing.assert_array_equal(made, np.zeros(n, np.float32), strict=True)


def test_pieces_of_a_dynamic_size_are_refused_with_the_line(tmp_path: Path) -> None:
    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.split(x.shape[1] // 2, 1)[0]

    with pytest.raises(TraceError, match=r"(?s)dynamic size.*test_export\.py"):
        export(Halves(), tmp_path / "m.onnx", InputSpec(["n", "t"], name="x"))


def test_a_function_gets_tensors_of_the_class_of_its_examples(tmp_path: Path) -> None:
    def positive(x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0).size(1) * x.clamp(min=0)

    path, rows = tmp_path / "m.onnx", torch.randn(3, 4)
    spec = InputSpec(["n", 4], name="x", example=rows)
    for given in (rows, nn.Parameter(rows), spec):
        export(positive, path, given)
        (found,) = Predictor(path).run(rows.numpy())
        np.testing.assert_array_equal(found, 4 * np.maximum(rows.numpy(), 0))


def test_tensors_made_of_traced_values_stay_traced():
    x = torch.ones(2, 3)
    spec = InputSpec([2, "n"], name="x", example=x)

    def forward(x):
        size = torch.tensor(x.shape[1])
        return x + torch.tensor(x.sum()) * torch.tensor(size, dtype=torch.float64)

    graph = trace(forward, spec)
    given = np.arange(8, dtype=np.float32).reshape(2, 4)
    (out,) = Interpreter(graph).run(given)
    np.testing.assert_array_equal(out, forward(torch.tensor(given)).numpy())
    assert torch.tensor(x).dtype == torch.float32 and not torch.tensor(x).requires_grad


def test_pooling_over_all_of_a_dynamic_size(tmp_path):
    net, functional = nn.Conv1d(2, 4, 3), nn.functional

    def loss(x):
        y = net(x)
        n = y.shape[2]
        pooled = functional.avg_pool1d(y, n), functional.max_pool1d(y, n)
        pooled += (functional.avg_pool2d(y, (4, n), divisor_override=3),)
        return sum(z.square().mean() for z in pooled)

    spec = InputSpec(["b", 2, "t"], name="x", example=torch.rand(3, 2, 9))
    for opset in (17, 20):
        path = tmp_path / "loss.onnx"
        export(loss, path, spec, opset=opset)
        export_training(
            loss, path, spec, optimizer=torch.optim.SGD(net.parameters(), 0.1), opset=opset
        )
