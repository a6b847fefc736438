"""Update rules against values of PyTorch 2.13 and formulas; what all optimisers share."""

import copy
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import nn, optimizer
from dyn.core.tensor import ZERO

W = [[0.5, -1.0], [2.0, 0.25]]
B = [0.1, -0.2]
GW = np.array([[0.1, -0.2], [0.3, 0.05]])
GB = np.array([0.4, -0.1])

# Three steps with the gradients (GW, GB) times 1, -0.5 and 2; PyTorch 2.13 in double precision.
TORCH = {
    "sgd": [0.475, -0.949999999, 1.924999997, 0.2375, -0.0, -0.175000003],
    "sgd_wd": [0.473516489, -0.947032978, 1.919050965, 0.236758245, -0.00023974, -0.174415592],
    "mom": [0.462399999, -0.924799999, 1.887199996, 0.2312, -0.050400001, -0.162400002],
    "nest": [0.437227311, -0.874454622, 1.80766438, 0.218613656, -0.135824066, -0.139637844],
    "adam": [0.307555154, -0.807555145, 1.807555142, 0.057555173, -0.092444858, -0.007555157],
    "adam_wd": [0.258484962, -0.754950206, 1.743157902, 0.016004879, -0.093618094, 0.010650845],
    "adamw": [0.294960991, -0.780110482, 1.750409479, 0.052386259, -0.093158621, -0.003871294],
    "adagrad": [0.357435184, -0.857434694, 1.85743453, 0.107436165, -0.04256555, -0.057435187],
    "adadelta": [0.492351065, -0.992346824, 1.992346037, 0.242367938, 0.092345763, -0.192351068],
    "adamax": [0.335383874, -0.835383866, 1.835383864, 0.085383888, -0.064616136, -0.035383877],
    "nadam": [0.335655596, -0.835655589, 1.835655587, 0.085655608, -0.064344413, -0.035655599],
    "radam": [0.479186249, -0.958372499, 1.937558747, 0.239593125, 0.016744999, -0.179186252],
    "rprop": [0.35, -0.85, 1.85, 0.1, -0.049999999, -0.050000003],
}
MAKE = {
    "sgd": lambda p: optimizer.SGD(0.1, p),
    "sgd_wd": lambda p: optimizer.SGD(0.1, p, weight_decay=0.01),
    "mom": lambda p: optimizer.Momentum(0.1, 0.9, p),
    "nest": lambda p: optimizer.Momentum(0.1, 0.9, p, use_nesterov=True, weight_decay=0.01),
    "adam": lambda p: optimizer.Adam(0.1, parameters=p),
    "adam_wd": lambda p: optimizer.Adam(0.1, parameters=p, weight_decay=0.1),
    "adamw": lambda p: optimizer.AdamW(0.1, parameters=p, weight_decay=0.1),
    "adagrad": lambda p: optimizer.Adagrad(0.1, parameters=p),
    "adadelta": lambda p: optimizer.Adadelta(1.0, parameters=p),
    "adamax": lambda p: optimizer.Adamax(0.1, parameters=p),
    "nadam": lambda p: optimizer.NAdam(0.1, parameters=p),
    "radam": lambda p: optimizer.RAdam(0.1, parameters=p),
    "rprop": lambda p: optimizer.Rprop(0.1, parameters=p),
    "rmsprop": lambda p: optimizer.RMSProp(0.1, parameters=p, momentum=0.9, centered=True),
    "lamb": lambda p: optimizer.Lamb(0.1, parameters=p),
}


def parameters(dtype="float64"):
    return [nn.Parameter(W, dtype=dtype), nn.Parameter(B, dtype=dtype)]


def feed(params, factor):
    for p, g in zip(params, (GW, GB), strict=False):
        p.grad = dyn.to_tensor(g * factor, dtype=p.dtype)


def flat(params):
    return np.concatenate([p.numpy().ravel() for p in params])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", TORCH)
def test_updates_are_those_of_pytorch(name, dtype):
    params = parameters(dtype)
    opt = MAKE[name](params)
    for factor in (1.0, -0.5, 2.0):
        feed(params, factor)
        opt.step()
    # The recorded run began from single-precision numbers.
    np.testing.assert_allclose(flat(params), TORCH[name], rtol=2e-5, atol=1e-6)


def test_rmsprop_is_paddles():
    params = parameters()
    opt = optimizer.RMSProp(0.1, 0.95, 1e-6, 0.9, True, params)
    p, ms, mg, v = np.array(W), 0.0, 0.0, 0.0
    for factor in (1.0, -0.5, 2.0):
        feed(params, factor)
        opt.step()
        g = GW * factor
        ms, mg = 0.95 * ms + 0.05 * g * g, 0.95 * mg + 0.05 * g
        v = 0.9 * v + 0.1 * g / np.sqrt(ms - mg * mg + 1e-6)
        p = p - v
    np.testing.assert_allclose(params[0].numpy(), p, rtol=1e-12)


def test_lamb_steps_by_the_length_of_the_parameter():
    params = parameters()
    opt = optimizer.Lamb(0.1, 0.01, parameters=params)
    feed(params, 1.0)
    opt.step()
    w = np.array(W)
    step = np.sign(GW) / (1 + 1e-6 / np.abs(GW)) + 0.01 * w
    wanted = w - 0.1 * np.linalg.norm(w) / np.linalg.norm(step) * step
    np.testing.assert_allclose(params[0].numpy(), wanted, rtol=1e-9)
    still = [nn.Parameter([0.0, 0.0])]
    opt = optimizer.Lamb(0.1, parameters=still)
    still[0].grad = dyn.zeros([2])
    opt.step()
    assert still[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", MAKE)
def test_a_parameter_without_gradient_keeps_value_and_clock(name):
    alone, params = parameters(), parameters()
    reference, opt = MAKE[name](alone[:1]), MAKE[name](params)
    held = params[1].numpy()
    for factor in (1.0, -0.5):
        for model, one in ((alone[:1], reference), (params[:1], opt)):
            feed(model, factor)
            one.step()
            one.clear_grad(set_to_zero=False)
    assert np.array_equal(params[1].numpy(), held)
    assert np.array_equal(params[0].numpy(), alone[0].numpy())
    late, late_opt = parameters()[1:], None
    late_opt = MAKE[name](late)
    for factor in (1.0, 2.0):
        params[1].grad = dyn.to_tensor(GB * factor)
        late[0].grad = dyn.to_tensor(GB * factor)
        opt.step()
        late_opt.step()
    # Its first step is a first step, whatever the others have done.
    assert np.array_equal(params[1].numpy(), late[0].numpy())


def test_a_cleared_gradient_counts_as_zero():
    p = nn.Parameter([1.0])
    sgd, momentum = optimizer.SGD(0.1, [p]), optimizer.Momentum(0.1, 0.9, [p])
    p.grad = dyn.to_tensor([1.0])
    momentum.step()
    momentum.clear_grad()
    assert p._grad is ZERO
    value = p._array
    sgd.step()
    assert p._array is value and p._grad is ZERO
    momentum.step()
    assert p.item() == pytest.approx(0.9 - 0.1 * 0.9)


def test_weight_decay_of_every_kind():
    def step(decay, **own):
        p = nn.Parameter([2.0, -4.0])
        for key, value in own.items():
            setattr(p, key, value)
        opt = optimizer.SGD(0.1, [p], weight_decay=decay)
        p.grad = dyn.zeros([2])
        opt.step()
        return p.tolist()

    assert step(None) == [2.0, -4.0]
    assert step(0.5) == pytest.approx([1.9, -3.8])
    assert step(dyn.regularizer.L2Decay(0.5)) == pytest.approx([1.9, -3.8])
    assert step(dyn.regularizer.L1Decay(0.5)) == pytest.approx([1.95, -3.95])
    assert step(0.5, regularizer=dyn.regularizer.L1Decay(0.5)) == pytest.approx([1.95, -3.95])
    assert repr(dyn.regularizer.L1Decay(0.5)) == "L1Decay(coeff=0.5)"
    with pytest.raises(ValueError, match="negative"):
        step(-0.1)
    with pytest.raises(TypeError, match="weight decay is a number"):
        step("much")


def test_adamw_decays_what_it_is_told_to():
    params = [nn.Parameter([1.0], name="w"), nn.Parameter([1.0], name="b")]
    opt = optimizer.AdamW(
        0.1, parameters=params, weight_decay=0.5, apply_decay_param_fun=lambda name: name == "w",
        lr_ratio=lambda p: 0.5 if p.name == "w" else 1.0,
    )  # fmt: skip
    for p in params:
        p.grad = dyn.zeros([1])
    opt.step()
    assert params[0].item() == pytest.approx(1 - 0.05 * 0.5) and params[1].item() == 1.0


def test_groups_and_factors():
    a, b, c = (nn.Parameter([1.0]) for _ in range(3))
    c.learning_rate = 0.1
    opt = optimizer.SGD(
        1.0, [{"params": [a], "learning_rate": 0.5}, {"params": [b], "weight_decay": 1.0}, c]
    )
    for p in (a, b, c):
        p.grad = dyn.ones([1])
    opt.step()
    assert [p.item() for p in (a, b, c)] == pytest.approx([0.5, -1.0, 0.9])


def test_a_frozen_parameter_is_left_alone():
    p = nn.Parameter([1.0])
    opt = optimizer.SGD(1.0, [p])
    p.grad = dyn.ones([1])
    p.trainable = False
    opt.step()
    assert p.item() == 1.0


def test_layout_in_memory_is_kept():
    conv = nn.Conv2D(3, 4, 3)
    strides = conv.weight._array.strides
    opt = optimizer.Adam(0.1, parameters=conv.parameters())
    for _ in range(2):
        conv(dyn.rand([2, 3, 8, 8])).sum().backward()
        opt.step()
        opt.clear_grad()
    assert conv.weight._array.strides == strides
    slot = opt.state_dict()[f"{conv.weight.name}_moment1_0"]
    assert slot._array.strides == strides


def test_learning_rates():
    p = nn.Parameter([0.0])
    p.grad = dyn.ones([1])
    opt = optimizer.SGD(0.5, [p])
    opt.step()
    opt.set_lr(0.25)
    opt.step()
    assert opt.get_lr() == 0.25 and p.item() == -0.75
    schedule: Any = optimizer.lr.StepDecay(1.0, 1, 0.5)
    opt.set_lr_scheduler(schedule)
    opt.step()
    schedule.step()
    opt.step()
    assert p.item() == -0.75 - 1.0 - 0.5
    with pytest.raises(dyn.StateError, match="LRScheduler"):
        opt.set_lr(0.1)
    number: Any = 0.1
    constant = optimizer.SGD(0.5, [p])
    for wrong in (-0.1, float("nan"), float("inf")):
        for call in (lambda: optimizer.SGD(wrong, [p]), lambda: constant.set_lr(wrong)):  # noqa: B023
            with pytest.raises(dyn.AttributeValueError, match="number from 0 on"):
                call()
    for wrong in (lambda: opt.set_lr_scheduler(number), lambda: optimizer.SGD("fast", [p])):
        with pytest.raises(TypeError):
            wrong()


def test_minimize_walks_back_if_nobody_has():
    p = nn.Parameter([1.0])
    opt = optimizer.SGD(0.5, [p])
    _, pairs = opt.minimize((p * p).sum())
    assert p.item() == 0.0 and pairs[0][0] is p
    opt.clear_grad()
    loss = (p * 3).sum()
    loss.backward()
    opt.minimize(loss)
    assert p.item() == -1.5


def test_state_keys_are_paddles():
    layer = nn.Linear(2, 2)
    opt = optimizer.Adam(parameters=layer.parameters())
    assert opt.state_dict() == {}
    layer(dyn.ones([1, 2])).sum().backward()
    opt.step()
    w = layer.weight.name
    assert list(opt.state_dict())[:4] == [
        f"{w}_moment1_0",
        f"{w}_moment2_0",
        f"{w}_beta1_pow_acc_0",
        f"{w}_beta2_pow_acc_0",
    ]


class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x, skip=False):
        hidden = nn.functional.relu(self.a(x))
        return hidden.sum() if skip else self.b(nn.functional.dropout(hidden, 0.5)).sum()


def run(net, opt, schedule, steps):
    for step in steps:
        net(dyn.rand([5, 3]), skip=step % 3 == 1).backward()
        opt.step()
        opt.clear_grad(set_to_zero=False)
        schedule.step()


@pytest.mark.parametrize("name", ["adam", "mom", "adamw", "rmsprop", "nadam"])
def test_resuming_continues_bit_for_bit(name, tmp_path):
    def fresh():
        net = Net()
        opt = MAKE[name](net.parameters())
        schedule = optimizer.lr.StepDecay(0.1, 2, 0.5)
        opt.set_lr_scheduler(schedule)
        return net, opt, schedule

    dyn.seed(3)
    net, opt, schedule = fresh()
    run(net, opt, schedule, range(4))
    checkpoint = {
        "model": net.state_dict(),
        "optimizer": opt.state_dict(),
        "random": dyn.get_rng_state(),
        "step": 4,
    }
    dyn.save(checkpoint, tmp_path / "c.pdopt")
    run(net, opt, schedule, range(4, 9))
    dyn.seed(99)
    back = dyn.load(tmp_path / "c.pdopt")
    net2, opt2, schedule2 = fresh()
    net2.set_state_dict(back["model"])
    # The parameters of the new model have other names: they are matched in order.
    opt2.set_state_dict(back["optimizer"])
    dyn.set_rng_state(back["random"])
    run(net2, opt2, schedule2, range(back["step"], 9))
    for a, b in zip(net.parameters(), net2.parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    for a, b in zip(opt.state_dict().values(), opt2.state_dict().values(), strict=True):
        assert a == b if isinstance(a, dict) else np.array_equal(a.numpy(), b.numpy())
    assert schedule2.state_dict() == schedule.state_dict()


def test_states_load_by_name_and_complain():
    params = parameters()
    opt = optimizer.Momentum(0.1, 0.9, params)
    feed(params, 1.0)
    opt.step()
    state: Any = {k: dyn.to_tensor(v.numpy() * 2) for k, v in opt.state_dict().items()}
    opt.set_state_dict(state)
    np.testing.assert_allclose(opt.state_dict()[f"{params[0].name}_velocity_0"].numpy(), 2 * GW)
    with pytest.warns(UserWarning, match="no place for other"):
        opt.set_state_dict({**state, "other": dyn.ones([1])})
    with pytest.raises(dyn.StateError, match=r"saved with shape \[3\]"):
        opt.set_state_dict({f"{params[0].name}_velocity_0": dyn.ones([3])})


def test_paddles_counters_of_shape_one_load():
    p = nn.Parameter([1.0], name="w")
    opt = optimizer.Adam(0.1, parameters=[p])
    opt.set_state_dict(
        {
            "w_moment1_0": np.array([0.1], np.float32),
            "w_moment2_0": np.array([0.01], np.float32),
            "w_beta1_pow_acc_0": np.array([0.81], np.float32),
            "w_beta2_pow_acc_0": np.array([0.998001], np.float32),
        }
    )
    p.grad = dyn.ones([1])
    opt.step()
    m, v = 0.9 * 0.1 + 0.1, 0.999 * 0.01 + 0.001
    wanted = 1 - 0.1 * (m / (1 - 0.81)) / np.sqrt(v / (1 - 0.998001))
    assert p.item() == pytest.approx(wanted, rel=1e-4)


def test_clipping():
    def clipped(clip, need_clip=True):
        params = [nn.Parameter([0.0, 0.0]), nn.Parameter([0.0])]
        params[1].need_clip = need_clip
        params[0].grad, params[1].grad = dyn.to_tensor([3.0, 4.0]), dyn.to_tensor([12.0])
        optimizer.SGD(1.0, params, grad_clip=clip).step()
        return [-v for p in params for v in p.tolist()]

    assert clipped(nn.ClipGradByValue(3.5)) == [3.0, 3.5, 3.5]
    assert clipped(nn.ClipGradByValue(3.5, 3.25)) == [3.25, 3.5, 3.5]
    assert clipped(nn.ClipGradByNorm(1.0)) == pytest.approx([0.6, 0.8, 1.0])
    assert clipped(nn.ClipGradByGlobalNorm(1.3)) == pytest.approx([0.3, 0.4, 1.2])
    assert clipped(nn.ClipGradByGlobalNorm(100.0)) == [3.0, 4.0, 12.0]
    assert clipped(nn.ClipGradByGlobalNorm(1.0), False) == pytest.approx([0.6, 0.8, 12.0])
    params = [nn.Parameter([0.0, 0.0])]
    params[0].grad = dyn.to_tensor([3.0, 4.0])
    assert nn.utils.clip_grad_norm_(params, 1.0).item() == 5.0
    assert params[0].grad.tolist() == pytest.approx([0.6, 0.8])
    params[0].grad = dyn.to_tensor([3e-6, 4e-6])
    nn.utils.clip_grad_norm_(params, 1e-6)
    # A sixth, not a fifth: 1e-6 is added to the norm, as in Paddle and PyTorch.
    assert params[0].grad.tolist() == pytest.approx([0.5e-6, 4e-6 / 6])
    params[0].grad = dyn.to_tensor([0.6, 0.8])
    nn.utils.clip_grad_value_(params, 0.7)
    assert params[0].grad.tolist() == pytest.approx([0.6, 0.7])
    for wrong in (lambda: nn.ClipGradByNorm(0), lambda: nn.ClipGradByValue(1.0, 2.0)):
        with pytest.raises(ValueError):
            wrong()
    number: Any = 1.0
    with pytest.raises(TypeError, match="ClipGradByGlobalNorm"):
        optimizer.SGD(0.1, params, grad_clip=number)


@pytest.mark.parametrize("by", ["value", "norm"])
def test_clipping_changes_no_gradient_that_somebody_else_holds(by):
    def clip(params):
        if by == "value":
            nn.utils.clip_grad_value_(params, 0.5)
        else:
            nn.utils.clip_grad_norm_(params, 0.5)

    rng = np.random.default_rng(0)
    values = [rng.standard_normal((90, 101)).astype(np.float32) for _ in range(6)]
    params = [nn.Parameter(np.zeros((90, 101), np.float32)) for _ in values]
    for p, value in zip(params, values, strict=True):
        p.grad = dyn.to_tensor(value) * 1.0
    own, array = params[0].grad._array.ctypes.data, params[1].grad.numpy()
    held, view = params[2].grad, params[3].grad[1:]
    params[5].grad = params[4].grad
    values[5] = values[4]
    clip(params)
    if by == "value":
        wanted = [value.clip(-0.5, 0.5) for value in values]
    else:
        factor = 0.5 / (np.sqrt(sum((value.astype(np.float64) ** 2).sum() for value in values)))
        wanted = [value * factor for value in values]
    for p, value in zip(params, wanted, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), value, 1e-5)
    np.testing.assert_array_equal(array, values[1])
    np.testing.assert_array_equal(held.numpy(), values[2])
    np.testing.assert_array_equal(view.numpy(), values[3][1:])
    assert params[0].grad._array.ctypes.data == own  # nobody else holds this one


def test_parameters_as_a_vector():
    layer = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == [9]
    nn.utils.vector_to_parameters(vector * 0 + 1, layer.parameters())
    assert layer.weight.tolist() == [[1.0] * 3] * 2 and layer.bias.tolist() == [1.0] * 3
    with pytest.raises(dyn.ShapeError):
        nn.utils.vector_to_parameters(dyn.ones([4]), layer.parameters())


def test_bad_parameter_lists():
    p = nn.Parameter([1.0])
    with pytest.raises(AttributeError, match="should not be None in dygraph mode"):
        optimizer.SGD(0.1)
    with pytest.raises(TypeError, match="should be an iterable of Tensors"):
        optimizer.SGD(0.1, p)
    with pytest.raises(ValueError, match="optimizer got an empty parameter list") as caught:
        optimizer.SGD(0.1, [])
    assert "LayerList" in str(caught.value)
    with pytest.raises(TypeError, match="holds a int"):
        optimizer.SGD(0.1, [3])
    with pytest.raises(ValueError, match="result of an op"):
        optimizer.SGD(0.1, [p * 2])
    with pytest.raises(ValueError, match="twice"):
        optimizer.SGD(0.1, [p, p])
    with pytest.raises(ValueError, match="several parameters are named 'p'"):
        optimizer.SGD(0.1, [nn.Parameter([1.0], name="p"), nn.Parameter([1.0], name="p")])
    for wrong in (
        lambda: optimizer.Momentum(0.1, -1, [p]),
        lambda: optimizer.Adam(0.1, beta1=1.0, parameters=[p]),
        lambda: optimizer.Adam(0.1, epsilon=-1, parameters=[p]),
        lambda: optimizer.Rprop(0.1, parameters=[p], etas=(1.5, 2.0)),
    ):
        with pytest.raises(dyn.AttributeValueError):
            wrong()
    with pytest.raises(TypeError, match="decays the parameters themselves"):
        optimizer.AdamW(0.1, parameters=[p], weight_decay=dyn.regularizer.L1Decay(0.1))


def test_a_deep_copy_trains_on_its_own():
    net = Net()
    twin = copy.deepcopy(net)
    optimizer.SGD(0.1, [*net.parameters(), *twin.parameters()])
    net(dyn.ones([1, 3])).backward()
    assert all(p.grad is None for p in twin.parameters())


@pytest.mark.parametrize("name", MAKE)
def test_state_can_be_made_ahead(name):
    params, again = parameters(), parameters()
    opt, plain = MAKE[name](params), MAKE[name](again)
    made = list(opt.state_buffers())
    assert all(isinstance(buffer, nn.Buffer) for _, _, buffer in made)
    assert [kind for kind, p, _ in made if p is None] == ["learning_rate", *opt._counters]
    slots = {f"{p.name}_{kind}_0" for kind, p, _ in made if p is not None}
    assert slots == {key for key in opt.state_dict() if key.endswith("_0")} - {
        f"{p.name}_{kind}_0" for p in params for kind in opt._counters
    }
    for both, one in ((params, opt), (again, plain)):
        feed(both, 1.0)
        one.step()
    assert np.array_equal(flat(params), flat(again))
    assert all(a[2] is b[2] for a, b in zip(made, opt.state_buffers(), strict=True))


def test_state_of_parameters_without_a_gradient_is_left_out():
    params = parameters()
    opt = optimizer.Adam(0.1, parameters=params)
    feed(params[:1], 1.0)
    assert {id(p) for _, p, _ in opt.state_buffers() if p is not None} == {id(params[0])}
