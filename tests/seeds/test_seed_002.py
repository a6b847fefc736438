"""Seed 002, "nn.Module in detail, CivilNet": rows S2.01 to S2.31, by number in the tests' names.

Texts and numbers that are compared with were printed by PyTorch 2.13.
"""

from collections import OrderedDict
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file

import dyn.compat.torch as torch
from dyn import nn as paddle_nn
from dyn.compat.torch import nn
from dyn.compat.torch.nn import functional as F
from exporter import export
from tracer.spec import InputSpec

CIVIL_NET = """
import torch
import torch.nn as nn
import torch.nn.functional as F
class CivilNet(nn.Module):
    def __init__(self):
        super(CivilNet, self).__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)
        self.gemfield = "gemfield.org"
        self.syszux = torch.zeros([1,1])
    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.fc3(x)
        return x
"""
LISTED = """
import torch.nn as nn
class CivilNet(nn.Module):
    def __init__(self):
        super(CivilNet, self).__init__()
        conv1 = nn.Conv2d(3, 6, 5)
        pool = nn.MaxPool2d(2, 2)
        conv2 = nn.Conv2d(6, 16, 5)
        self.layer1 = [conv1, pool, conv2]
"""
MODULE_LIST = """
import torch.nn as nn
class CivilNet(nn.Module):
    def __init__(self):
        super(CivilNet, self).__init__()
        conv1 = nn.Conv2d(3, 6, 5)
        pool = nn.MaxPool2d(2, 2)
        conv2 = nn.Conv2d(6, 16, 5)
        fc1 = nn.Linear(16 * 5 * 5, 120)
        fc2 = nn.Linear(120, 84)
        fc3 = nn.Linear(84, 10)
        self.gemfield = nn.ModuleList([conv1, pool, conv2, fc1, fc2, fc3])
"""
SAVE_AND_LOAD = """
import torch
#save
torch.save(model.state_dict(), PATH)

#load
model = CivilNet(*args, **kwargs)
model.load_state_dict(torch.load(PATH))
model.eval()
"""
CHECKPOINT = """
import torch
#save
torch.save({
    'epoch': epoch,
    'model_state_dict': model.state_dict(),
    'optimizer_state_dict': optimizer.state_dict(),
    'loss': loss,
    }, PATH)

#load
model = CivilNet(*args, **kwargs)
optimizer = TheOptimizerClass(*args, **kwargs)

checkpoint = torch.load(PATH)
model.load_state_dict(checkpoint['model_state_dict'])
optimizer.load_state_dict(checkpoint['optimizer_state_dict'])
epoch = checkpoint['epoch']
loss = checkpoint['loss']
model.train()
"""
SEVERAL = """
import torch
#save
torch.save({
    'modelA_state_dict': modelA.state_dict(),
    'modelB_state_dict': modelB.state_dict(),
    'optimizerA_state_dict': optimizerA.state_dict(),
    'optimizerB_state_dict': optimizerB.state_dict(),
    }, PATH)

#load
modelA = TheModelAClass(*args, **kwargs)
modelB = TheModelBClass(*args, **kwargs)
optimizerA = TheOptimizerAClass(*args, **kwargs)
optimizerB = TheOptimizerBClass(*args, **kwargs)

checkpoint = torch.load(PATH)
modelA.load_state_dict(checkpoint['modelA_state_dict'])
modelB.load_state_dict(checkpoint['modelB_state_dict'])
optimizerA.load_state_dict(checkpoint['optimizerA_state_dict'])
optimizerB.load_state_dict(checkpoint['optimizerB_state_dict'])
"""
TRANSFER = """
import torch
#save
torch.save(modelA.state_dict(), PATH)

#load
modelB = TheModelBClass(*args, **kwargs)
modelB.load_state_dict(torch.load(PATH), strict=False)
"""
ON_CPU = """
import torch
device = torch.device('cpu')
model = CivilNet(*args, **kwargs)
model.load_state_dict(torch.load(PATH, map_location=device))
"""
KEYS = [
    f"{name}.{kind}"
    for name in ("conv1", "conv2", "fc1", "fc2", "fc3")
    for kind in ("weight", "bias")
]
PRINTED = """CivilNet(
  (conv1): Conv2d(3, 6, kernel_size=(5, 5), stride=(1, 1))
  (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (conv2): Conv2d(6, 16, kernel_size=(5, 5), stride=(1, 1))
  (fc1): Linear(in_features=400, out_features=120, bias=True)
  (fc2): Linear(in_features=120, out_features=84, bias=True)
  (fc3): Linear(in_features=84, out_features=10, bias=True)
)"""


@pytest.fixture
def civil(verbatim) -> Any:
    return verbatim(CIVIL_NET)["CivilNet"]


class Small(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc1 = nn.Linear(3, width)
        self.fc2 = nn.Linear(width, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Made(list):
    """Makes models, and optimisers of them: the document leaves open what `*args` are."""

    def model(self, make):
        def made():
            self.append(make())
            return self[-1]

        return made

    def optimizer(self, make, number=-1):
        return lambda: make(self[number].parameters(), lr=0.5)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def values(model):
    return [p.detach().numpy() for p in model.parameters()]


def test_s2_01_civil_net_counts_runs_and_exports(civil, tmp_path):
    net = civil()
    assert sum(p.numel() for p in net.parameters()) == 62_006
    x = torch.randn(1, 3, 32, 32)
    out = net(x)
    assert out.shape == (1, 10)
    path = tmp_path / "civil.onnx"
    export(net.eval(), path, [InputSpec(["batch", 3, 32, 32], "float32", name="image")])
    ops = {node.op_type for node in onnx.load(path).graph.node}
    assert ops == {"Conv", "Relu", "MaxPool", "Reshape", "Gemm"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": x.numpy()})[0]
    np.testing.assert_allclose(found, out.detach().numpy(), atol=1e-5)


def test_s2_02_printing_in_both_flavours(civil):
    assert repr(civil()) == PRINTED
    theirs = paddle_nn.Sequential(paddle_nn.Conv2D(3, 6, 5), paddle_nn.MaxPool2D(2, 2))
    assert repr(theirs) == (
        "Sequential(\n  (0): Conv2D(3, 6, kernel_size=[5, 5], data_format=NCHW)\n"
        "  (1): MaxPool2D(kernel_size=2, stride=2, padding=0)\n)"
    )


def test_s2_03_the_eight_dictionaries_exist_at_once():
    module = nn.Module()
    for name in (
        "_parameters", "_buffers", "_backward_hooks", "_forward_hooks", "_forward_pre_hooks",
        "_state_dict_hooks", "_load_state_dict_pre_hooks", "_modules",
    ):  # fmt: skip
        assert len(getattr(module, name)) == 0


def test_s2_04_assigning_before_init_is_an_attribute_error():
    class Early(nn.Module):
        def __init__(self, how):
            how(self)

    cases = {
        "cannot assign module before Module.__init__() call": lambda m: setattr(
            m, "fc", nn.Linear(1, 1)
        ),
        "cannot assign parameters before Module.__init__() call": lambda m: setattr(
            m, "w", nn.Parameter(torch.ones(1))
        ),
        "cannot assign buffer before Module.__init__() call": lambda m: m.register_buffer(
            "b", torch.ones(1)
        ),
    }
    for text, how in cases.items():
        with pytest.raises(AttributeError) as caught:
            Early(how)
        assert str(caught.value) == text


def test_s2_05_the_misspelt_super_leads_to_the_same_error():
    class Misspelt(nn.Module):
        def __init__(self):
            super(Misspelt).__init__()  # the document's own spelling
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"^cannot assign module before Module"):
        Misspelt()


def test_s2_06_a_class_without_init_is_fine_until_it_is_called():
    class NoInit(nn.Module):
        pass

    with pytest.raises(NotImplementedError) as caught:
        NoInit()(torch.ones(1))
    assert str(caught.value).startswith(
        'Module [NoInit] is missing the required "forward" function'
    )


def test_s2_07_text_and_plain_tensors_are_not_registered(civil):
    net = civil()
    assert net.gemfield == "gemfield.org" and isinstance(net.syszux, torch.Tensor)
    assert not hasattr(net.gemfield, "_parameters") and not hasattr(net.syszux, "_parameters")
    assert list(net.buffers()) == [] and list(net.state_dict()) == KEYS


def test_s2_08_assignment_goes_by_type():
    module = nn.Module()
    module.thing = nn.Parameter(torch.ones(2))
    assert list(module._parameters) == ["thing"]
    module.thing = nn.Linear(1, 1)
    assert list(module._modules) == ["thing"] and not module._parameters
    del module.thing
    module.thing = 3
    assert module.thing == 3 and not module._modules
    module.fc = nn.Linear(1, 1)
    with pytest.raises(TypeError) as caught:
        module.fc.weight = torch.ones(1)
    assert str(caught.value) == (
        "cannot assign 'torch.FloatTensor' as parameter 'weight' (torch.nn.Parameter or None "
        "expected)"
    )
    with pytest.raises(TypeError, match=r"cannot assign 'int' as child module 'fc'"):
        module.fc = 3


def test_s2_09_a_plain_list_of_modules_has_no_parameters(verbatim):
    net = verbatim(LISTED)["CivilNet"]()
    assert list(net.parameters()) == []
    with pytest.raises(ValueError) as caught:
        torch.optim.SGD(net.parameters(), lr=0.1)
    text = str(caught.value)
    assert text.startswith("optimizer got an empty parameter list") and "ModuleList" in text


def test_s2_10_own_parameters_and_those_below(civil):
    net = civil()
    assert dict(net._parameters) == {}
    found = net.parameters()
    assert iter(found) is found and len(list(found)) == 10


def test_s2_11_module_list_registers_its_items(verbatim):
    # The document prints 1 to 5; index 1 is the pool, which has no state.
    net = verbatim(MODULE_LIST)["CivilNet"]()
    assert list(net.state_dict()) == [
        f"gemfield.{i}.{name}" for i in (0, 2, 3, 4, 5) for name in ("weight", "bias")
    ]
    listed = nn.ModuleList([nn.ReLU()])
    assert isinstance(listed, nn.Module)
    listed.append(nn.Tanh())
    listed.insert(0, nn.Linear(1, 1))
    listed.extend([nn.Sigmoid()])
    assert [type(m).__name__ for m in listed] == ["Linear", "ReLU", "Tanh", "Sigmoid"]
    assert isinstance(listed[1:3], nn.ModuleList) and len(listed[1:3]) == 2
    assert isinstance(listed[-1], nn.Sigmoid)
    with pytest.raises(NotImplementedError):
        listed(torch.ones(1))


def test_s2_12_sequential_composes(verbatim):
    first, second = nn.Linear(3, 4), nn.ReLU()
    x = torch.randn(2, 3)
    named = nn.Sequential(OrderedDict([("fc", first), ("act", second)]))
    for net in (nn.Sequential(first, second), named):
        assert torch.equal(net(x), second(first(x)))
    assert list(named.state_dict()) == ["fc.weight", "fc.bias"]

    class Own(nn.Sequential):
        def forward(self, input):
            for module in self._modules.values():
                input = module(input)
            return input

    assert torch.equal(Own(first, second)(x), second(first(x)))


def test_s2_13_order_of_a_call():
    log = []
    layer = nn.Linear(2, 2)
    layer.register_forward_pre_hook(lambda m, args: log.append("pre"))
    layer.register_forward_hook(lambda m, args, out: log.append("post"))
    layer.register_full_backward_hook(lambda m, gi, go: log.append("bwd"))
    out = layer(torch.ones(1, 2, requires_grad=True))
    assert log == ["pre", "post"]
    out.sum().backward()
    assert log == ["pre", "post", "bwd"]


def test_s2_14_hooks_may_replace_what_passes():
    # The document says that they must not; PyTorch lets them, and so do we.
    layer = nn.Identity()
    layer.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    layer.register_forward_hook(lambda m, args, out: out * 10)
    assert layer(torch.tensor([1.0])).tolist() == [20.0]


def test_s2_15_forward_runs_no_hooks(civil):
    net, calls = civil(), []
    x = torch.randn(1, 3, 32, 32)
    net.register_forward_hook(lambda m, args, out: calls.append(1))
    assert torch.equal(net.forward(x), net(x))
    assert len(calls) == 1


def test_s2_16_eval_makes_results_repeatable():
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    x = torch.randn(16, 8)
    trained = net(x)
    assert net.eval() is net and not any(m.training for m in net.modules())
    assert torch.equal(net(x), net(x)) and not torch.equal(net(x), trained)
    net.train()
    assert all(m.training for m in net.modules())
    assert not torch.equal(net(x), net(x))


def test_s2_17_buffers_and_the_names_of_statistics():
    layer = nn.BatchNorm2d(4)
    assert list(layer._buffers) == ["running_mean", "running_var", "num_batches_tracked"]
    theirs = paddle_nn.BatchNorm2D(4)
    assert [name for name, _ in theirs.named_buffers()] == ["_mean", "_variance"]
    module = nn.Module()
    module.register_buffer("state", torch.ones(2))
    module.register_buffer("hidden", torch.ones(2), persistent=False)
    assert list(module._buffers) == ["state", "hidden"]
    assert list(module.state_dict()) == ["state"]


def test_s2_18_saved_files_say_what_they_are(civil, tmp_path):
    net, path = civil(), tmp_path / "your_model_path.pth"
    torch.save(net.state_dict(), path)
    # A file of another kind than PyTorch's archive: it names, types and sizes what it holds, so
    # that any program that knows the format reads it.
    assert b'{"__metadata__":{"dyn"' in path.read_bytes()[:64]
    assert set(load_file(path)) == set(KEYS)
    loaded = torch.load(path)
    assert list(loaded) == KEYS
    assert same([v.numpy() for v in loaded.values()], values(net))


def test_s2_19_load_state_dict_answers(verbatim, civil, tmp_path):
    model = civil()
    names = {
        "model": model,
        "CivilNet": civil,
        "PATH": tmp_path / "m.pth",
        "args": (),
        "kwargs": {},
    }
    found = verbatim(SAVE_AND_LOAD, **names)["model"]
    assert found is not model and same(values(found), values(model)) and not found.training
    answer = found.load_state_dict(model.state_dict())
    assert repr(answer) == "<All keys matched successfully>"
    assert answer.missing_keys == [] and answer.unexpected_keys == []


def test_s2_20_keys_of_civil_net(civil):
    found = civil().state_dict()
    assert list(found) == KEYS and isinstance(found, OrderedDict)
    assert not any(v.requires_grad for v in found.values())


def test_s2_21_strict_loading_names_what_differs(civil):
    net = civil()
    state = dict(net.state_dict())
    del state["conv1.weight"]
    state["zzz"] = torch.ones(1)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for CivilNet:\n\t"
        'Missing key(s) in state_dict: "conv1.weight". \n\t'
        'Unexpected key(s) in state_dict: "zzz". '
    )


def test_s2_22_loading_that_is_not_strict(civil):
    net, other = civil(), civil()
    state = dict(other.state_dict())
    del state["conv1.weight"]
    state["zzz"] = torch.ones(1)
    before = net.conv1.weight.detach().clone()
    answer = net.load_state_dict(state, strict=False)
    assert repr(answer) == (
        "_IncompatibleKeys(missing_keys=['conv1.weight'], unexpected_keys=['zzz'])"
    )
    assert torch.equal(net.conv1.weight, before)
    assert torch.equal(net.fc3.weight, other.fc3.weight)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict({"fc3.bias": torch.ones(3)}, strict=False)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for CivilNet:\n\tsize mismatch for fc3.bias: copying a "
        "param with shape torch.Size([3]) from checkpoint, the shape in current model is "
        "torch.Size([10])."
    )


def test_s2_23_whole_models_are_refused_with_the_remedy(civil, tmp_path):
    with pytest.raises(RuntimeError, match="state_dict"):
        torch.save(civil(), tmp_path / "m.pth")
    (tmp_path / "code.pth").write_bytes(b"\x80\x02c__main__\nCivilNet\n.")
    with pytest.raises(RuntimeError, match=r"asks for __main__\.CivilNet"):
        torch.load(tmp_path / "code.pth", weights_only=False)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_s2_24_a_checkpoint_goes_on_bit_for_bit(verbatim, tmp_path, kind):
    make = {
        "SGD": lambda params, lr=0.1: torch.optim.SGD(params, lr=lr, momentum=0.9),
        "Adam": lambda params, lr=0.1: torch.optim.Adam(params, lr=lr),
    }[kind]
    x, target = torch.randn(8, 3), torch.randn(8, 2)

    def train(model, optimizer, steps):
        for _ in range(steps):
            loss = F.mse_loss(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    model = Small()
    optimizer = make(model.parameters())
    loss = train(model, optimizer, 3)
    made = Made()
    space = verbatim(
        CHECKPOINT,
        **{"model": model, "optimizer": optimizer, "epoch": 3, "loss": loss.detach()},
        **{"CivilNet": made.model(Small), "TheOptimizerClass": made.optimizer(make)},
        **{"args": (), "kwargs": {}},
        PATH=tmp_path / "checkpoint.tar",
    )
    assert space["epoch"] == 3 and float(space["loss"]) == float(loss)
    assert space["model"].training and space["optimizer"].param_groups[0]["lr"] == 0.1
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"} and set(state["state"]) == {0, 1, 2, 3}
    train(model, optimizer, 3)
    train(space["model"], space["optimizer"], 3)
    assert same(values(model), values(space["model"]))


def test_s2_25_several_models_in_one_file(verbatim, tmp_path):
    a, b, made = Small(), Small(5), Made()
    names = {
        "modelA": a, "modelB": b, "TheModelAClass": made.model(Small),
        "TheModelBClass": made.model(lambda: Small(5)),
        "optimizerA": torch.optim.SGD(a.parameters(), lr=0.25),
        "optimizerB": torch.optim.Adam(b.parameters(), lr=0.125),
        "TheOptimizerAClass": made.optimizer(torch.optim.SGD, 0),
        "TheOptimizerBClass": made.optimizer(torch.optim.Adam, 1),
        "PATH": tmp_path / "both.tar", "args": (), "kwargs": {},
    }  # fmt: skip
    space = verbatim(SEVERAL, **names)
    assert space["modelA"] is not a and same(values(space["modelA"]), values(a))
    assert same(values(space["modelB"]), values(b))
    assert space["optimizerA"].param_groups[0]["lr"] == 0.25
    assert space["optimizerB"].param_groups[0]["lr"] == 0.125


def test_s2_26_transfer_learning(verbatim, tmp_path):
    class Other(Small):
        def __init__(self):
            super().__init__()
            self.fc2 = nn.Linear(4, 7)
            self.fc3 = self.fc2
            del self.fc2

    a = Small()
    names = {"modelA": a, "TheModelBClass": Other, "PATH": tmp_path / "a.pth"}
    b = verbatim(TRANSFER, **names, args=(), kwargs={})["modelB"]
    assert torch.equal(b.fc1.weight, a.fc1.weight) and b.fc3.weight.shape == (7, 4)


def test_s2_27_devices(verbatim, civil, tmp_path):
    net, path = civil(), tmp_path / "m.pth"
    torch.save(net.state_dict(), path)
    names = {"CivilNet": civil, "PATH": path, "args": (), "kwargs": {}}
    found = verbatim(ON_CPU, **names)["model"]
    assert same(values(found), values(net))
    assert found.to(torch.device("cpu")) is found and found.to("cpu") is found
    x = torch.ones(2)
    assert x.to("cpu") is x and x.device == torch.device("cpu")
    device = torch.device("cuda")
    for act in (
        lambda: torch.load(path, map_location="cuda:0"),
        lambda: found.to(device),
        lambda: x.to(device),
        lambda: found.cuda().eval(),
    ):
        with pytest.raises(RuntimeError, match="is not available: dyn runs on the CPU"):
            act()


def test_s2_28_data_parallel_prefixes_names(civil, tmp_path):
    cn = civil()
    wrapped = nn.DataParallel(cn)
    assert list(wrapped.state_dict()) == [f"module.{key}" for key in KEYS]
    assert list(wrapped.module.state_dict()) == KEYS
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(wrapped(x), cn(x))
    with pytest.raises(RuntimeError) as caught:
        civil().load_state_dict(wrapped.state_dict())
    text = str(caught.value)
    assert 'Missing key(s) in state_dict: "conv1.weight", "conv1.bias"' in text
    assert 'Unexpected key(s) in state_dict: "module.conv1.weight"' in text
    state = wrapped.state_dict()
    nn.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert repr(civil().load_state_dict(state)) == "<All keys matched successfully>"


def test_s2_29_extra_repr():
    class ER(nn.Module):
        def extra_repr(self):
            return "a=1"

    assert repr(ER()) == "ER(a=1)"


def test_s2_30_conversions_reach_parameters_and_buffers():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert net.cpu() is net
    net.double()
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    assert net[1].running_mean.dtype == torch.float64
    assert net[1].num_batches_tracked.dtype == torch.int64
    assert net(torch.ones(4, 2, dtype=torch.float64)).dtype == torch.float64
    assert net.to(torch.float32)[0].weight.dtype == torch.float32


def test_s2_31_the_layers_used_compute_what_they_should():
    conv, pool = nn.Conv2d(3, 6, 5), nn.MaxPool2d(2, 2)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), (2, 3))
    wanted = np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]
    found = conv(torch.from_numpy(x))
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-5)
    pooled = np.maximum(wanted, 0).reshape(1, 6, 2, 2, 2, 2).max((3, 5))
    out = pool(F.relu(found))
    np.testing.assert_allclose(out.detach().numpy(), pooled, atol=1e-5)
    assert out.view(-1, 24).shape == (1, 24)
    fc = nn.Linear(24, 2)
    wanted = pooled.reshape(1, 24) @ fc.weight.detach().numpy().T + fc.bias.detach().numpy()
    np.testing.assert_allclose(fc(out.view(-1, 24)).detach().numpy(), wanted, atol=1e-5)
