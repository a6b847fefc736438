"""Hooks on modules, states and gradients, and modules by path; the values are PyTorch 2.13's."""

import numpy as np
import pytest

import dyn.compat.torch as torch
import tracer
from dyn.compat.torch import nn
from dyn.compat.torch.nn.modules import module as every


class Pair(nn.Module):
    """Two outputs of one input."""

    def __init__(self):
        super().__init__()
        self.l, self.m = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.l.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
            self.m.weight.copy_(torch.tensor([[1.0, -1.0], [0.5, 2.0]]))

    def forward(self, x):
        return self.l(x), self.m(x)


def test_a_hook_before_the_backward_pass_replaces_the_gradients_of_all_outputs():
    net, log = Pair(), []

    def double(module, gradients):
        log.append([g.tolist() for g in gradients])
        return tuple(2 * g for g in gradients)

    handle = net.register_full_backward_pre_hook(double)
    net.register_full_backward_hook(lambda m, gi, go: log.append([g.tolist() for g in (*gi, *go)]))
    x = torch.ones(1, 2, requires_grad=True)
    a, b = net(x)
    (a.sum() + 3 * b.sum()).backward()
    assert log == [[[[1, 1]], [[3, 3]]], [[[17, 18]], [[2, 2]], [[6, 6]]]]
    assert x.grad.tolist() == [[17, 18]] and net.l.weight.grad.tolist() == [[2, 2]] * 2
    handle.remove()
    net.register_full_backward_pre_hook(lambda m, g: (g[0],))
    a, b = net(x)
    with pytest.raises(RuntimeError, match="returned 1 gradients, the module has 2 outputs"):
        (a.sum() + b.sum()).backward()


@pytest.mark.parametrize("wrap", [lambda x: {"a": x}, lambda x: None], ids=["dict", "None"])
def test_results_that_are_no_tensors_pass_by_hooks_on_gradients(wrap):
    class Other(nn.Module):
        def forward(self, x):
            return wrap(x * 2)

    net, seen = Other(), []
    net.register_full_backward_hook(lambda m, inner, outer: seen.append(outer))
    net.register_full_backward_pre_hook(lambda m, outer: seen.append("before"))
    x = torch.ones(2, requires_grad=True)
    out = net(x)
    if out is not None:
        out["a"].sum().backward()
        assert x.grad.tolist() == [2, 2]
    assert seen == ([(None,)] if out else [])


def test_hooks_on_all_modules_come_before_those_of_one():
    net, log = Pair(), []
    handles = [
        every.register_module_forward_pre_hook(lambda m, x: log.append(f"pre {type(m).__name__}")),
        every.register_module_forward_hook(lambda m, x, y: log.append(f"{type(m).__name__}")),
        every.register_module_full_backward_pre_hook(lambda m, g: log.append("back pre")),
        every.register_module_full_backward_hook(lambda m, gi, go: log.append("back")),
    ]
    net.register_forward_hook(lambda m, x, y: log.append("own"))
    try:
        out = net(torch.ones(1, 2, requires_grad=True))
        of_linear = ["pre Linear", "Linear"]
        assert log == ["pre Pair", *of_linear, *of_linear, "Pair", "own"]
        log.clear()
        sum(y.sum() for y in out).backward()
        assert log == ["back pre", "back pre", "back", "back pre", "back", "back"]
    finally:
        for handle in handles:
            handle.remove()
    log.clear()
    net(torch.ones(1, 2))
    assert log == ["own"]
    with pytest.raises(NotImplementedError, match="try and finally"):
        every.register_module_forward_hook(print, always_call=True)


def test_a_hook_on_all_modules_may_replace_what_they_give():
    def twice(module, inputs, kwargs, output):
        return 2 * output

    with every.register_module_forward_hook(twice, with_kwargs=True):
        assert nn.Identity()(torch.ones(1)).tolist() == [2.0]


def test_a_hook_after_accumulation_sees_the_sum_and_may_step():
    w, log = nn.Parameter(torch.tensor([1.0, 2.0])), []
    handle = w.register_post_accumulate_grad_hook(lambda p: log.append((p is w, p.grad.tolist())))
    (w * w).sum().backward()
    (w * 3).sum().backward()
    torch.autograd.grad((w * w).sum(), w)
    assert log == [(True, [2, 4]), (True, [5, 7])]
    handle.remove()
    w.grad = None
    optimizer = torch.optim.SGD([w], 0.1)

    def step(p):
        optimizer.step()
        optimizer.zero_grad()

    w.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (w * w).sum().backward()
    assert w.tolist() == pytest.approx([0.512, 1.024]) and w.grad is None
    with pytest.raises(RuntimeError, match="non-leaf"):
        (w * 2).register_post_accumulate_grad_hook(step)
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        torch.ones(2).register_post_accumulate_grad_hook(step)


def test_a_compiled_step_keeps_hooks_on_gradients():
    def made():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        net[2].register_full_backward_pre_hook(lambda m, g: (g[0] * 0.5,))
        return net, torch.optim.SGD(net.parameters(), 0.1)

    x = torch.tensor([[0.3, -1.0], [2.0, 0.5]])
    (net, opt), (other, its) = made(), made()
    step = tracer.compile_training(lambda x: net(x).square().sum(), optimizer=opt)
    for _ in range(3):
        step(x)
        its.zero_grad()
        other(x).square().sum().backward()
        its.step()
    for ours, wanted in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach(), wanted.detach(), rtol=1e-6)


class Counted(nn.Module):
    """Has more to save than tensors."""

    def __init__(self):
        super().__init__()
        self.w, self.n = nn.Parameter(torch.ones(2)), 3

    def get_extra_state(self):
        return {"n": self.n}

    def set_extra_state(self, state):
        self.n = state["n"]


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Counted(), nn.Linear(1, 1)


def test_hooks_around_a_state_rename_drop_and_forgive():
    net, log = Holder(), []
    net.register_state_dict_pre_hook(lambda m, prefix, keep: log.append((prefix, keep)))
    net.a.register_state_dict_post_hook(lambda m, state, prefix, meta: log.append(list(state)))
    net.b._register_state_dict_hook(lambda m, s, p, meta: s.pop(p + "bias") and None)
    state = net.state_dict()
    assert list(state) == ["a.w", "a._extra_state", "b.weight"]
    assert log == [("", False), ["a.w", "a._extra_state"]]

    def rename(module, state, prefix, *rest):
        assert module is net.a and prefix == "a."
        state[prefix + "w"] = state.pop(prefix + "old")

    net.a.register_load_state_dict_pre_hook(rename)
    state["a.old"] = torch.zeros(2)
    del state["a.w"]
    state["a._extra_state"] = {"n": 7}
    state["z"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r'Missing.*"b.bias"[\s\S]*Unexpected.*"z"'):
        net.load_state_dict(state)
    found = net.load_state_dict(state, strict=False)
    assert found.missing_keys == ["b.bias"] and found.unexpected_keys == ["z"]
    assert net.a.n == 7 and net.a.w.tolist() == [0, 0] and "a.old" in state

    def forgive(module, keys):
        keys.missing_keys.clear()
        keys.unexpected_keys.clear()

    net.register_load_state_dict_post_hook(forgive)
    assert "matched" in str(net.load_state_dict(state))
    net.register_load_state_dict_post_hook(lambda m, keys: keys)
    with pytest.raises(RuntimeError, match="inplace"):
        net.load_state_dict(state)


def test_an_extra_state_that_is_not_there_is_missing():
    with pytest.raises(RuntimeError, match=r"Missing.*_extra_state"):
        Counted().load_state_dict({"w": torch.zeros(2)})


class Frozen(nn.BatchNorm1d):
    """As torchvision's, which passes over what older files have."""

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        state_dict.pop(prefix + "old", None)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "note"] = 1


def test_classes_that_save_and_load_by_themselves_are_asked():
    net = nn.Sequential(Frozen(2))
    state = net.state_dict()
    assert state.pop("0.note") == 1
    net.load_state_dict({**state, "0.old": torch.zeros(1)})


def test_a_module_is_put_in_the_place_of_another():
    net = Holder()
    new = nn.Linear(1, 2)
    net.set_submodule("b", new)
    net.set_submodule("a.further", nn.ReLU())
    assert net.b is new and isinstance(net.get_submodule("a.further"), nn.ReLU)
    for target, module, strict, kind, text in (
        ("", new, False, ValueError, "without a target name"),
        ("q.r", new, False, AttributeError, "Holder has no attribute `q`"),
        ("a.w", new, False, AttributeError, "`w` is not an nn.Module"),
        ("a.t", new, True, AttributeError, "Counted has no attribute `t`"),
        ("a.t", 3, False, ValueError, "is not an nn.Module"),
    ):
        with pytest.raises(kind, match=text):
            net.set_submodule(target, module, strict)


def test_conversions_of_a_module():
    net = nn.Linear(2, 2)
    assert net.bfloat16().weight.dtype is torch.bfloat16
    assert net.type(torch.float64).weight.dtype is torch.float64
    assert net.to_empty(device="cpu") is net and net._get_name() == "Linear"
    with pytest.raises(RuntimeError, match=r"CPU|cuda"):
        net.to_empty(device="cuda")


def test_backward_may_be_asked_for_some_gradients():
    x, y = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    counted = []
    x.register_post_accumulate_grad_hook(lambda tensor: counted.append(tensor.grad.tolist()))
    z = x * y * 2
    (z * 3).sum().backward(inputs=[x, z], retain_graph=True)
    assert y.grad is None and z.grad.tolist() == [3.0, 3.0, 3.0]
    torch.autograd.backward((z * 3).sum(), inputs=x)
    assert y.grad is None and counted == [[6.0, 6.0, 6.0], [12.0, 12.0, 12.0]]
    with pytest.raises(RuntimeError, match="'inputs' argument to 'backward' cannot be empty"):
        z.sum().backward(inputs=[])
