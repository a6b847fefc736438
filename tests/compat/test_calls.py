"""Calls of the names beyond the common ones give what PyTorch 2.13 gave, gradients included.

The calls are in `calls.py`; what they gave was recorded by `record_calls.py`.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.functional as F
from dyn.compat.torch import nn
from exporter import export
from tests.compat.calls import (
    CALLS,
    FACTS,
    LAYERS,
    NORMED,
    SCHEDULES,
    TRANSFORMERS,
    evaluated,
    layer_of,
    lines_of,
    normed_of,
    normed_results,
    rates_of,
    tensors_of,
    transformer_of,
    transformer_results,
)
from tracer.spec import InputSpec

RECORDED: Any = json.loads((Path(__file__).parent / "calls.json").read_text("utf-8"))


def compare(found: Any, wanted: Any, what: str) -> None:
    kind, shape, values = wanted
    assert type(found) is torch.Tensor, what
    assert (str(found.dtype).removeprefix("torch."), list(found.shape)) == (kind, shape), what
    array = found.detach().numpy()
    if array.dtype.kind == "f":
        wanted = np.array(values, np.float64).reshape(shape)
        np.testing.assert_allclose(array, wanted, rtol=2e-5, atol=1e-5, err_msg=what)
    else:
        assert array.reshape(-1).tolist() == values, what


@pytest.mark.parametrize("line", lines_of(CALLS))
def test_calls_give_pytorchs_values_and_gradients(line):
    outputs, grads = RECORDED[line]
    found, gradients = evaluated(line, torch)
    for number, (out, wanted) in enumerate(zip(found, outputs, strict=True)):
        compare(out, wanted, f"result {number}")
    for name, wanted in grads.items():
        if name not in gradients:
            # Not on the tape: PyTorch has zeros then.
            assert not any(wanted[2]), f"no gradient of {name}"
            continue
        compare(gradients[name], wanted, f"gradient of {name}")
    assert set(gradients) <= set(grads)


@pytest.mark.parametrize("line", lines_of(FACTS))
def test_facts_print_as_in_pytorch(line):
    space = {"torch": torch, "nn": nn, **tensors_of(torch)}
    assert repr(eval(line, space)) == RECORDED[line]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_give_pytorchs_values_and_run_in_onnxruntime(name, tmp_path):
    layer, x = layer_of(name, torch)
    out = layer(x)
    compare(out, RECORDED[name], name)
    path = tmp_path / "layer.onnx"
    kind = str(x.dtype).removeprefix("torch.")
    export(layer, path, [InputSpec(["batch", *x.shape[1:]], kind, name="x")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        fed = np.concatenate([x.numpy()] * count)
        found = np.asarray(session.run(None, {"x": fed})[0])
        wanted = layer(torch.from_numpy(fed)).detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


COMPOSED = {
    "MaxUnpool1d": ("seq", lambda x: nn.MaxUnpool1d(2)(*F.max_pool1d_with_indices(x, 2))),
    "MaxUnpool2d": ("img", lambda x: nn.MaxUnpool2d(2)(*F.max_pool2d_with_indices(x[..., :4], 2))),
    "MaxUnpool3d": ("vol", lambda x: nn.MaxUnpool3d(2, 1)(*F.max_pool3d_with_indices(x, 2, 1))),
    "MultiMarginLoss": ("x", lambda x: nn.MultiMarginLoss()(x, torch.tensor([1, 0, 3]))),
    "MultiLabelMarginLoss": (
        "x", lambda x: nn.MultiLabelMarginLoss()(x, torch.tensor([[1, 3, -1, 2]] * 3)),
    ),
    "MultiLabelSoftMarginLoss": ("x", lambda x: nn.MultiLabelSoftMarginLoss()(x, x > 0)),
    "TripletMarginWithDistanceLoss": (
        "x", lambda x: nn.TripletMarginWithDistanceLoss()(x, x.flip(0), x + 0.1),
    ),
    "EmbeddingBag_offsets": (
        "k", lambda x: F.embedding_bag(x, torch.eye(4), torch.tensor([0, 2]), mode="sum"),
    ),
    "gcd": ("i", lambda x: torch.gcd(x * 6, 4 * x + 2)),
    "masked_scatter": ("x", lambda x: x.masked_scatter(x > 0, -x)),
    "scatter_reduce": ("x", lambda x: x.scatter_reduce(1, (x > 0).long(), x, "amax")),
    "index_reduce": ("x", lambda x: x.index_reduce(0, torch.tensor([2, 0, 2]), x, "prod")),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSED)
def test_what_takes_several_tensors_runs_in_onnxruntime(name, tmp_path):
    what, call = COMPOSED[name]

    class Called(nn.Module):
        def forward(self, x):
            return call(x).float()

    x = tensors_of(torch)[what].detach()
    path, kind = tmp_path / "call.onnx", str(x.dtype).removeprefix("torch.")
    export(Called(), path, [InputSpec([*x.shape], kind, name="x")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(None, {"x": x.numpy()})[0])
    np.testing.assert_allclose(found, call(x).float().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NORMED)
def test_normalised_weights_give_pytorchs_values_and_run_in_onnxruntime(name, tmp_path):
    results = normed_results(name, torch)
    assert [key for key, _ in results] == list(RECORDED[name])
    for key, value in results:
        compare(value if type(value) is torch.Tensor else value.detach(), RECORDED[name][key], key)
    module, x = normed_of(name, torch)
    path = tmp_path / "module.onnx"
    export(module.eval(), path, [InputSpec(["batch", *x.shape[1:]], "float32", name="x")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = module(x).detach().numpy()
    found = np.asarray(session.run(None, {"x": x.numpy()})[0])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    kind = name[: name.index("norm") + 4]
    with pytest.raises(RuntimeError, match="two hooks"):
        getattr(nn.utils, kind)(module)
    getattr(nn.utils, f"remove_{kind}")(module)
    assert set(module.state_dict()) == {"weight", "bias"}
    np.testing.assert_allclose(module(x).detach().numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_take_pytorchs_masks_and_run_in_onnxruntime(name, tmp_path):
    results = transformer_results(name, torch)
    assert [key for key, _ in results] == list(RECORDED[name])
    for key, value in results:
        compare(value, RECORDED[name][key], key)
    net, tensors = transformer_of(name, torch)
    net.eval()
    path, src = tmp_path / "net.onnx", tensors["src"]

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, src):
            out = TRANSFORMERS[name][1](self.net, {**tensors, "src": src})
            return out[0] if isinstance(out, tuple) else out

    export(Called(), path, [InputSpec([*src.shape], "float32", name="src")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(None, {"src": src.numpy()})[0])
    np.testing.assert_allclose(found, Called()(src).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_said_to_be_causal_needs_its_mask():
    x = torch.ones(2, 3, 6)
    layer, decoder = nn.TransformerEncoderLayer(6, 2), nn.TransformerDecoderLayer(6, 2)
    for call in (
        lambda: layer(x, is_causal=True), lambda: decoder(x, x, tgt_is_causal=True),
        lambda: nn.TransformerEncoder(layer, 1)(x, is_causal=True),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="Need attn_mask"):
            call()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_take_pytorchs_rates(name):
    np.testing.assert_allclose(rates_of(name, torch), RECORDED[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["sequential", "chained", "cyclic"])
def test_schedules_go_on_from_a_saved_state(name):
    def made():
        groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.5, 0.2)]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        return optimizer, SCHEDULES[name](torch.optim.lr_scheduler, optimizer)

    _, first = made()
    for _ in range(6):
        first.step()
    _, second = made()
    second.load_state_dict(first.state_dict())
    for _ in range(6):
        np.testing.assert_allclose(first.get_last_lr(), second.get_last_lr(), rtol=1e-9)
        first.step()
        second.step()


def test_old_names_of_initialisers_warn_and_set():
    x = torch.zeros(4, 4)
    with pytest.warns(FutureWarning, match="in favor of `nn.init.constant_`"):
        assert nn.init.constant(x, 3.0) is x
    assert x.tolist() == [[3.0] * 4] * 4
    torch.manual_seed(0)
    assert ((nn.init.sparse_(torch.ones(10, 6), 0.25) == 0).sum(0) == 3).all()


@pytest.mark.parametrize("number", range(3))
def test_random_numbers_in_place(number):
    torch.manual_seed(3)
    draw, mean = [
        (lambda x: x.bernoulli_(0.3), 0.3),
        (lambda x: x.exponential_(2.0), 0.5),
        (lambda x: x.log_normal_(0.0, 0.5), math.exp(0.125)),
    ][number]
    x = torch.zeros(20000)
    assert draw(x) is x
    np.testing.assert_allclose(x.mean().item(), mean, rtol=0.05)
    assert torch.zeros(5000).geometric_(0.25).mean().item() == pytest.approx(4, rel=0.1)
    assert torch.zeros(5001).cauchy_(3.0).median().item() == pytest.approx(3, rel=0.1)


def test_windows_of_dropout_take_whole_channels():
    torch.manual_seed(0)
    dropped = nn.Dropout1d(0.5)(torch.ones(40, 10, 3))
    assert set(dropped.sum(2).reshape(-1).tolist()) == {0.0, 6.0}
    assert set(nn.Dropout1d(0.5)(torch.ones(50, 3)).sum(1).tolist()) == {0.0, 6.0}


def test_what_is_not_offered_says_what_to_use():
    for place, name, hint in (
        (torch, "fft", "complex"), (torch, "svd", "numpy.linalg"), (torch, "jit", "exporter"),
        (torch, "nonsense", r"docs/compat-torch\.md"), (nn, "LazyModuleMixin", "first call"),
        (nn.functional, "multi_head_attention_forward", "MultiheadAttention"),
        (torch.optim, "SparseAdam", "Adam"), (torch.special, "gammainc", "scipy"),
        (torch.ones(1), "igamma", r"torch\.Tensor has no 'igamma': use scipy"),
        (torch.distributions, "Gumbel", "of your own"),
        *((place, "nonsense", r"docs/compat-torch\.md") for place in (
            nn.init, nn.utils, torch.autograd, torch.autograd.functional, torch.utils.data,
            torch.optim.lr_scheduler, torch.optim.swa_utils, torch.utils.checkpoint, torch.linalg,
        )),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match=hint):
            getattr(place, name)
    assert not hasattr(torch, "igamma")


@pytest.mark.parametrize("zeros", range(4))
def test_second_slopes_of_products_at_zeros(zeros):
    """Of factors of one place, the first ones zero; by hand, as PyTorch loses some."""
    factors = np.array([2.0, 3.0, -1.5, 0.5])
    factors[:zeros] = 0
    wanted = np.zeros((4, 4))
    for i, j in np.ndindex(4, 4):
        wanted[i, j] = (
            0 if i == j else np.prod([f for k, f in enumerate(factors) if k not in (i, j)])
        )

    def product(x):
        place = torch.zeros(3, dtype=torch.int64)
        return x[:1].scatter_reduce(0, place, x[1:], "prod").sum()

    found = torch.autograd.functional.hessian(product, torch.tensor(factors))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)


def test_bags_divide_gradients_by_how_often_rows_are_named():
    """By numpy: PyTorch 2.13 divides by how often a neighbour among the sorted indices is."""
    x, weight = torch.tensor([0, 1, 0, 2, 0]), nn.Parameter(torch.ones(4, 2))
    bags = F.embedding_bag(x, weight, torch.tensor([0, 3]), scale_grad_by_freq=True)
    (bags * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    first, second = np.array([1.0, 2.0]) / 3, np.array([3.0, 4.0]) / 2
    wanted = [(2 * first + second) / 3, first, second, 0 * first]
    np.testing.assert_allclose(weight.grad.numpy(), wanted, rtol=1e-6)


def test_mixed_precision_without_a_device_changes_nothing():
    p = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=0.5)
    scaler = torch.amp.GradScaler("cuda")
    with torch.autocast("cuda", torch.float16):
        loss = (p * p).sum()
    assert loss.dtype is torch.float32
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0.0, 0.0]
    assert torch.compile(abs) is abs and torch.compile(dynamic=True)(abs) is abs
    with torch.cuda.amp.autocast(enabled=False):
        assert torch.cuda.amp.GradScaler().get_scale() == 1.0
    assert nn.parameter.Parameter is nn.Parameter
    assert scaler.state_dict() == {} and not torch.distributed.is_initialized()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_row_that_does_not_count_may_be_anything(mode):
    weight = torch.tensor([[1.0, 2.0], [float("nan"), float("inf")]], requires_grad=True)
    index, offsets = torch.tensor([0, 1, 1, 1]), torch.tensor([0, 2])
    for where in ({"input": index, "offsets": offsets}, {"input": torch.reshape(index, [2, 2])}):
        bags = F.embedding_bag(weight=weight, mode=mode, padding_idx=1, **where)
        assert bags.tolist() == [[1.0, 2.0], [0.0, 0.0]]
        (grad,) = torch.autograd.grad(bags.sum(), [weight])
        assert grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]
