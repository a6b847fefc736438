"""Where PyTorch's conventions are more than names: flavours that mix, hooks, groups, loading."""

import contextlib
import copy
import pickle
import weakref
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dyn
import dyn.compat.torch as torch
from dyn.compat.torch import nn
from dyn.compat.torch.utils import data
from dyn.compat.torch.utils.data import DataLoader, TensorDataset


def test_the_classes_are_dyns_own():
    assert issubclass(torch.Tensor, dyn.Tensor) and issubclass(nn.Module, dyn.nn.Layer)
    for name in ("Linear", "Conv2d", "BatchNorm1d", "LSTM", "Sequential", "Dropout"):
        assert issubclass(getattr(nn, name), nn.Module)
    assert issubclass(nn.Conv2d, dyn.nn.Conv2D)
    layer = nn.Linear(2, 3)
    assert isinstance(layer.weight, dyn.nn.Parameter) and isinstance(layer.weight, torch.Tensor)


def test_importing_changes_nothing_for_paddles_flavour():
    x = dyn.ones([2, 3])
    assert repr(dyn.ones([1])).startswith("Tensor(shape=[1]")
    assert x.size == 6 and x.shape == [2, 3] and isinstance((x * 2).shape, list)
    assert type(dyn.ones([2]) + dyn.ones([2])) is dyn.Tensor


def test_tensors_of_both_flavours_mix():
    ours, theirs = torch.ones(2), dyn.ones([2])
    for out in (ours + theirs, theirs + ours, ours * 2, 2 / ours, -ours, ours[0], ours == theirs):
        assert type(out) is torch.Tensor


def test_results_of_every_kind_are_tensors_of_the_flavour():
    layer = nn.LSTM(3, 4)
    out, (h, c) = layer(dyn.ones([5, 2, 3]))
    assert {type(t) for t in (out, h, c)} == {torch.Tensor}
    out.sum().backward()
    assert type(layer.weight_ih_l0.grad) is torch.Tensor
    assert {type(t) for t in torch.arange(6).split(2)} == {torch.Tensor}
    assert type(layer.state_dict()["weight_hh_l0"]) is torch.Tensor


class Converted(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.float()).type(x.dtype)


class Turned(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x.mT).mT


class Lifted(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x)[0].unsqueeze(0)


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda x: Converted(3)(x), (2, 5, 3)),
        (lambda x: Turned(3)(x), (2, 5, 3)),
        (lambda x: Lifted(3, 1)(x), (1, 2, 5, 3)),
        (lambda x: nn.Linear(3, 4).forward(x).mT, (2, 4, 5)),
        (lambda x: nn.Conv1d(2, 4, 1).forward(x[0].mT[:2]).unsqueeze(0), (1, 4, 5)),
    ],
)
def test_a_forward_that_is_called_itself_gives_tensors_of_the_flavour(call, shape):
    assert call(torch.randn(2, 5, 3)).shape == shape


def test_data_of_a_result_may_be_changed_under_its_gradient():
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    e = x * 2
    e.data.masked_fill_(torch.tensor([True, False, False]), 0.0)
    (e * e).sum().backward()
    assert x.grad.tolist() == [0.0, 16.0, 24.0]
    x.grad, e = None, x * 2
    e.data = torch.ones(3)
    (e * e).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


def kept(change):
    """A weight of 0 to 5, whose `.data` was set by `change`, and what that returned."""
    p = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    found = change(p)
    return p.tolist(), found


def swapped(p):
    q = nn.Parameter(torch.zeros(2, 3))
    p.data, q.data = q.data, p.data
    return q.tolist()


def own(p):
    old = p.data
    p.data = p.detach()
    old.mul_(2)
    return old.tolist()


def lent(p):
    old, row, again = p.data, p.data[0], p.detach()
    with torch.no_grad():
        p.add_(1)
    p.data = torch.zeros(2, 3)
    row.mul_(2)
    p.data = torch.ones(2, 3)
    assert old.tolist() == again.tolist() == [[2, 4, 6], [4, 5, 6]]
    p.data = old
    return row.tolist()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda p: setattr(p, "data", p.data), ([[0, 1, 2], [3, 4, 5]], None)),
        (lambda p: setattr(p, "data", p.detach().float()), ([[0, 1, 2], [3, 4, 5]], None)),
        (lambda p: setattr(p, "data", p.data.t()), ([[0, 3], [1, 4], [2, 5]], None)),
        (lambda p: setattr(p, "data", p.t()), ([[0, 3], [1, 4], [2, 5]], None)),
        (lambda p: setattr(p, "data", p.data[1:]), ([[3, 4, 5]], None)),
        (lambda p: setattr(p, "data", p.data.view(-1)), ([0, 1, 2, 3, 4, 5], None)),
        (swapped, ([[0, 0, 0], [0, 0, 0]], [[0, 1, 2], [3, 4, 5]])),
        (own, ([[0, 2, 4], [6, 8, 10]], [[0, 2, 4], [6, 8, 10]])),
        (lent, ([[2, 4, 6], [4, 5, 6]], [2, 4, 6])),
    ],
)
def test_what_data_was_is_kept_when_it_is_set(change, wanted):
    """Values as PyTorch 2.13 has them."""
    assert kept(change) == wanted


def test_weights_are_put_aside_and_back():
    net, other = nn.Linear(2, 2), torch.ones(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    before, aside = net.weight.tolist(), net.weight.data
    net.weight.data = other
    assert aside.tolist() == before
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert (aside.tolist(), net.weight.tolist()) == (before, [[0, 0], [0, 0]])
    net.weight.data = aside
    assert net.weight.tolist() == before


def test_tensors_that_were_detached_keep_no_tensor_alive():
    x = torch.zeros(2)
    gone = weakref.ref(x)
    held = x.detach()
    del x
    assert gone() is not None
    del held
    assert gone() is None


def test_writing_in_place():
    x = torch.zeros(2, 3)
    x[0] = 1
    x.add_(1).mul_(torch.tensor([1.0, 2, 3]))
    view = x.view(-1)
    view[5] = 9
    assert x.tolist() == [[2, 4, 6], [1, 2, 9]]
    with torch.no_grad():
        p = nn.Parameter(torch.ones(2))
        p -= 0.5
        p.fill_(p.sum().item())
    assert type(p) is nn.Parameter and p.tolist() == [1.0, 1.0]


def test_gradients_and_their_rules():
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^grad can be implicitly created only for scalar"):
        (x * 2).backward()
    (x * 2).backward(torch.tensor([1.0, 2.0, 3.0]))
    assert x.grad.tolist() == [2.0, 4.0, 6.0]
    x.grad = None
    (g,) = torch.autograd.grad((x**2).sum(), x, create_graph=True)
    assert g.requires_grad and g.tolist() == [2.0, 2.0, 2.0]
    y = x * 2
    with pytest.raises(RuntimeError, match="only change requires_grad flags of leaf"):
        y.requires_grad = False
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert x.grad.tolist() == [20.0, 20.0, 20.0]


def test_backward_hooks_see_both_sides_and_may_replace():
    layer, seen = nn.Linear(2, 1, bias=False), []
    layer.weight.set_value([[3.0, 4.0]])

    def hook(module, grad_input, grad_output):
        seen.append((grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 0,)

    handle = layer.register_full_backward_hook(hook)
    x = torch.ones(1, 2, requires_grad=True)
    (layer(x).sum() + x.sum()).backward()
    assert seen == [([[3.0, 4.0]], [[1.0]])]
    assert x.grad.tolist() == [[1.0, 1.0]] and layer.weight.grad.tolist() == [[1.0, 1.0]]
    handle.remove()
    layer(x).sum().backward()
    assert len(seen) == 1


def test_retained_gradients_add_up_after_hooks():
    # The numbers are PyTorch's.
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    z = (y * 3).sum()
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [30.0, 30.0] and x.grad.tolist() == [60.0, 60.0]
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [60.0, 60.0]
    y.grad = None
    z.backward()
    assert y.grad.tolist() == [30.0, 30.0]
    a, b = torch.chunk(x * 1, 2)
    a.retain_grad()
    a.sum().backward(retain_graph=True)
    (b * 4).sum().backward()
    assert a.grad.tolist() == [1.0]
    with pytest.raises(RuntimeError, match="retain_grad"):
        torch.zeros(2).retain_grad()


def test_zero_grad_and_freezing():
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    layer.zero_grad()
    assert layer.weight.grad is None
    layer.requires_grad_(False)
    assert not layer(torch.ones(1, 2)).requires_grad


@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_takes_every_gradient_there_is(frozen):
    layer = nn.Linear(1, 1)
    layer(torch.ones(1, 1)).sum().backward()
    before = layer.weight.item()
    layer.requires_grad_(not frozen)
    torch.optim.SGD(layer.parameters(), lr=0.5).step()
    assert layer.weight.item() == before - 0.5


def test_groups_may_change_between_steps():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5]
    (a + b).backward()
    optimizer.step()
    for group in optimizer.param_groups:
        group["lr"] *= 10
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [1 - 0.1 - 1, 1 - 0.5 - 5], rtol=1e-6)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": a})
    saved = optimizer.state_dict()
    assert saved["param_groups"][1]["params"] == [1]
    fresh = torch.optim.SGD([{"params": [a]}, {"params": [b]}], lr=7)
    fresh.load_state_dict(saved)
    assert [g["lr"] for g in fresh.param_groups] == [1.0, 5.0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_an_optimizer_goes_on_by_itself(copied):
    p = nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.Adam([p], lr=0.5)
    p.sum().backward()
    optimizer.step()
    before = p.item()
    q, other = copied((p, optimizer))
    q.sum().backward()
    other.step()
    assert q.item() < before == p.item()
    assert other.state_dict()["state"][0]["step"] == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD([p], lr=0.5, momentum=0.9, dampening=0.25),
        lambda p: torch.optim.Adagrad([p], lr=0.5, lr_decay=0.5),
    ],
)
def test_counts_of_steps_are_kept(make):
    def step(p, optimizer):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()

    p = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = make(p)
    step(p, optimizer)
    step(p, optimizer)
    q = nn.Parameter(p.detach().clone())
    other = make(q)
    other.load_state_dict(optimizer.state_dict())
    for _ in range(2):
        step(p, optimizer)
        step(q, other)
    assert torch.equal(p, q)


@pytest.mark.parametrize("loaded", [False, True])
def test_dampening_may_begin_later(loaded):
    p = nn.Parameter(torch.tensor([0.0]))
    optimizer = torch.optim.SGD([p], lr=1.0, momentum=0.5)
    for dampening in (0.0, 0.25):
        if dampening and loaded:
            state = optimizer.state_dict()
            optimizer = torch.optim.SGD([p], lr=0.5)
            optimizer.load_state_dict(state)
        optimizer.param_groups[0]["dampening"] = dampening
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()
    assert p.item() == -1 - (0.5 + 0.75)
    with pytest.raises(ValueError, match="zero dampening"):
        torch.optim.SGD([p], lr=1.0, momentum=0.5, dampening=0.5, nesterov=True)


def test_a_closure_computes_the_loss():
    p = nn.Parameter(torch.tensor([3.0]))
    optimizer = torch.optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0 and p.item() == 0.0


def test_copies_and_pickles_keep_class_and_values():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    x = torch.randn(4, 2)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))
        assert type(other[0].weight) is nn.Parameter and other[0].weight is not model[0].weight


def test_loading_data():
    x, y = torch.arange(10).view(5, 2).float(), torch.arange(5)
    batches = list(DataLoader(TensorDataset(x, y), batch_size=2))
    assert [len(b[1]) for b in batches] == [2, 2, 1]
    assert type(batches[0][0]) is torch.Tensor and batches[1][0].tolist() == [[4, 5], [6, 7]]
    assert len(list(DataLoader(TensorDataset(x), batch_size=2, drop_last=True))) == 2


def test_a_loader_tells_what_it_was_given():
    rows, order = TensorDataset(torch.arange(5)), data.SequentialSampler(range(5))
    loader = DataLoader(rows, 2, sampler=order, drop_last=True)
    assert (loader.batch_size, loader.drop_last, len(loader)) == (2, True, 2)
    assert loader.sampler is order and loader.dataset is rows and not loader.pin_memory
    assert type(DataLoader(rows).sampler) is data.SequentialSampler
    batches = data.BatchSampler(order, 3, False)
    loader = DataLoader(rows, batch_sampler=batches)
    assert loader.batch_sampler is batches and [len(x) for (x,) in loader] == [3, 2]


Pair = namedtuple("Pair", "x y")


def test_batches_of_pairs_that_have_names():
    (batch,) = DataLoader([Pair(1, 2.0), Pair(3, 4.0)], batch_size=2)
    assert type(batch) is Pair and batch.x.tolist() == [1, 3]
    assert batch.y.dtype == torch.float64 and type(batch.y) is torch.Tensor


def test_samples_that_want_gradients_are_parts_of_a_batch_that_does():
    x = torch.ones(3, 2, requires_grad=True)
    for batch in DataLoader([row * 2 for row in x], batch_size=2):
        (batch**2).sum().backward()
    assert x.grad.tolist() == [[8.0, 8.0]] * 3


def test_datasets_behind_and_beside_each_other():
    a, b = TensorDataset(torch.arange(3)), TensorDataset(torch.arange(4))
    assert len(a + b) == 7 and (a + b)[4][0].item() == 1
    beside = data.StackDataset(x=range(3), y=a)
    assert len(beside) == 3 and beside[1]["x"] == 1 and beside[1]["y"][0].item() == 1
    assert data.StackDataset(range(2), "ab")[1] == (1, "b")
    for args, named in (((), {}), ((a,), {"b": b}), ((a, b), {})):
        with pytest.raises(ValueError, match=r"Supported either|Size mismatch"):
            data.StackDataset(*args, **named)
    with pytest.raises(ValueError, match="mutually exclusive with shuffle"):
        DataLoader(a, sampler=range(3), shuffle=True)


def test_initialisers_set_in_place():
    torch.manual_seed(0)
    layer = nn.Linear(200, 100)
    bound = 1 / 200**0.5
    assert layer.weight.abs().max().item() <= bound and layer.weight.std().item() > bound / 2
    assert nn.init.zeros_(layer.bias) is layer.bias and not layer.bias.any()
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    np.testing.assert_allclose(layer.weight.std().item(), (2 / 200) ** 0.5, rtol=0.05)
    nn.init.xavier_uniform_(layer.weight)
    assert layer.weight.abs().max().item() <= (6 / 300) ** 0.5
    nn.init.orthogonal_(layer.weight)
    product = layer.weight.mm(layer.weight.t()).detach().numpy()
    np.testing.assert_allclose(product, np.eye(100), atol=1e-4)


def test_a_weight_lies_in_memory_as_the_product_reads_it():
    layer = nn.Linear(3, 5)
    assert layer.weight._array.T.flags.c_contiguous
    layer.load_state_dict(nn.Linear(3, 5).state_dict())
    assert layer.weight._array.T.flags.c_contiguous
    layer(torch.ones(2, 3)).sum().backward()
    torch.optim.Adam(layer.parameters()).step()
    assert layer.weight._array.T.flags.c_contiguous


def test_clipping():
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == 5.0
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-5)


def test_names_that_do_not_exist_say_where_the_list_is():
    with pytest.raises(AttributeError, match=r"docs/compat-torch\.md"):
        torch.fft  # noqa: B018


def test_anomalies_are_looked_for_thread_by_thread():
    torch.autograd.set_detect_anomaly(True)
    try:
        seen = []

        def work():
            seen.append(torch.is_anomaly_enabled())
            torch.autograd.set_detect_anomaly(False)
            seen.append(torch.is_anomaly_enabled())

        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
        assert seen == [False, False] and torch.is_anomaly_enabled()
        x = torch.tensor([-1.0], requires_grad=True)
        with pytest.raises(RuntimeError, match="nan values"):
            torch.sqrt(x).sum().backward()
    finally:
        torch.autograd.set_detect_anomaly(False)
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize(
    ("dtype", "eps"),
    [(torch.float64, 2.0**-52), (torch.float32, 2.0**-23), (torch.float16, 2.0**-23)],
)
def test_the_default_of_rms_norm_is_the_spacing_of_the_dtype(dtype, eps):
    x = (1e-4 * np.arange(1, 7, dtype=np.float64)).reshape(1, 6)
    given = torch.from_numpy(x).to(dtype)
    wanted = x / np.sqrt((x * x).mean() + eps)
    bound = 2e-3 if dtype is torch.float16 else 1e-6
    for found in (nn.functional.rms_norm(given, (6,)), nn.RMSNorm(6).to(dtype)(given)):
        np.testing.assert_allclose(found.double().detach().numpy(), wanted, rtol=bound)


def test_inplace_may_be_given_by_place():
    x, F = torch.tensor([-1.0, 0.5, 8.0]), nn.functional
    for name, given in (
        ("hardsigmoid", ()), ("selu", ()), ("relu6", ()), ("silu", ()), ("mish", ()),
        ("hardswish", ()), ("celu", (0.5,)), ("elu", (0.5,)), ("leaky_relu", (0.1,)),
        ("hardtanh", (-0.5, 2.0)), ("threshold", (0.6, 3.0)), ("rrelu", (0.1, 0.3, False)),
        ("dropout", (0.5, False)),
    ):  # fmt: skip
        function = getattr(F, name)
        assert torch.equal(function(x, *given, True), function(x, *given))


def test_gates_take_pytorchs_names():
    x, F = torch.tensor([[1.0, 2.0], [0.0, 3.0]]), nn.functional
    np.testing.assert_allclose(F.glu(x, dim=0), [[0.5, 2 / (1 + np.exp(-3))]], 1e-6)
    drawn = F.gumbel_softmax(logits=x, tau=0.5, hard=True, dim=0)
    assert torch.equal(drawn.sum(0), torch.ones(2))


@pytest.mark.parametrize(
    "given, wanted",
    [
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"size_average": True}, "mean"),
        ({"size_average": False, "reduce": True}, "sum"),
        ({"size_average": None}, "mean"),
    ],
)
def test_given_up_ways_to_reduce_a_loss(given, wanted):
    x, y, F = torch.randn(4, 3), torch.randn(4, 3), nn.functional
    label = torch.tensor([0, 2, 1, 1])

    def told():
        silent = None in given.values()
        return contextlib.nullcontext() if silent else pytest.warns(UserWarning, match="deprec")

    for function, made, target in (
        (F.mse_loss, nn.MSELoss, y),
        (F.cross_entropy, nn.CrossEntropyLoss, label),
    ):
        with told():
            found = function(x, target, **given)
        with told():
            layer = made(**given)
        assert torch.equal(found, function(x, target, reduction=wanted))
        assert torch.equal(layer(x, target), found)


@pytest.mark.parametrize("correction", [0, 1, 2, 3, 0.5, 2.25, -1.5])
def test_a_variance_takes_any_number_off_the_count(correction):
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    t, wanted = torch.tensor(x), np.var(x, 1, ddof=correction)
    np.testing.assert_allclose(torch.var(t, 1, correction=correction), wanted, 1e-5)
    np.testing.assert_allclose(t.std(dim=1, correction=correction), np.sqrt(wanted), 1e-5)
    whole = torch.var(t, correction=correction)
    np.testing.assert_allclose(whole, np.var(x, ddof=correction), 1e-5)


@pytest.mark.parametrize("function", [torch.median, torch.nanmedian])
def test_equal_medians_share_the_gradient(function):
    x = torch.tensor([[1.0, 2.0], [2.0, 5.0], [2.0, 0.0]], requires_grad=True)
    function(x).backward()
    np.testing.assert_allclose(x.grad, np.array([[0, 1], [1, 0], [1, 0]]) / 3, 1e-6)


def test_plateaus_leave_out_tiny_reductions():
    p = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, eps=0.5)
    for _ in range(3):
        schedule.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_pytorchs_words_for_arguments():
    F, x = nn.functional, torch.randn(1, 2, 6, 6)
    assert torch.equal(F.softshrink(x, lambd=0.2), F.softshrink(x, 0.2))
    assert torch.equal(F.hardshrink(input=x, lambd=0.2), F.hardshrink(x, 0.2))
    values, places = F.adaptive_max_pool2d(x, (2, 3), return_indices=True)
    assert torch.equal(x.flatten(2).gather(2, places.flatten(2)), values.flatten(2))
    weight = torch.randn(3, 4, 5)
    assert F.bilinear(input1=torch.ones(2, 4), input2=torch.ones(2, 5), weight=weight).shape == (
        2,
        3,
    )


def test_pieces_of_nothing():
    x = torch.zeros(0, 3)
    assert [tuple(p.shape) for p in x.chunk(2)] == [(0, 3), (0, 3)]
    assert [tuple(p.shape) for p in x.split(4)] == [(0, 3)]


def test_covariances_of_one_variable_or_of_no_observations():
    x = torch.tensor([[1.0, 2.0, 4.0]])
    assert torch.cov(x).shape == torch.corrcoef(x).shape == ()
    np.testing.assert_allclose(torch.cov(x), np.cov(x.numpy()[0]), 1e-6)
    assert torch.isnan(torch.cov(torch.zeros(2, 0))).all()


@pytest.mark.parametrize("pool", [nn.LPPool1d, nn.LPPool2d, nn.LPPool3d])
def test_power_pooling_of_zeros_has_no_slope(pool):
    axes = int(pool.__name__[-2])
    x = torch.zeros(1, 1, *[4] * axes, requires_grad=True)
    pool(2, 2)(x).sum().backward()
    assert not x.grad.any()


@pytest.mark.parametrize("p", [float("inf"), -float("inf")])
def test_extremes_share_the_gradient_of_a_norm(p):
    F = nn.functional
    x = torch.tensor([[2.0, -2.0, 2.0]], requires_grad=True)
    zero, signs = torch.zeros(1, 3), np.array([[1, -1, 1]]) / 3
    for function, wanted in (
        (lambda x: torch.norm(x, p, dim=1), signs),
        (lambda x: torch.linalg.vector_norm(x, p), signs),
        (lambda x: F.pairwise_distance(x, zero, p, eps=0.0), signs),
        (lambda x: torch.dist(x, zero, p), signs),
        (lambda x: F.normalize(x, p)[0, 0], np.array([[2, 1, -1]]) / 6),
    ):
        (found,) = torch.autograd.grad(function(x).sum(), x)
        np.testing.assert_allclose(found, wanted, 1e-6)


def test_axes_out_of_range_are_refused():
    x = torch.zeros(2, 3)
    assert x.permute(-1, 0).shape == (3, 2) == x.permute(dims=[1, 0]).shape
    for order in ((2, 1), (0, 2, 1), (0, -3)):
        with pytest.raises(IndexError, match="out of range for 2 axes"):
            x.permute(*order)


def test_numbers_of_features_below_zero():
    with pytest.raises(ValueError, match=r"a parameter of Linear cannot have the shape \[2, -3\]"):
        nn.Linear(-3, 2)


def test_warnings_show_the_users_line():
    x, y = torch.zeros(2, 1), torch.zeros(2)
    for loss in (nn.functional.mse_loss, nn.MSELoss(), nn.L1Loss()):
        with pytest.warns(UserWarning, match="Using a target size") as seen:
            loss(x, y)
        assert seen[0].filename == __file__
    for given_up in (nn.MSELoss, lambda **given: nn.functional.mse_loss(x, x, **given)):
        with pytest.warns(UserWarning, match="size_average and reduce") as seen:
            given_up(size_average=False)
        assert seen[0].filename == __file__


def test_a_transposed_convolution_of_too_few_axes():
    with pytest.raises(ValueError, match=r"conv_transpose: x must have 4 axes, got shape \[3, 8\]"):
        nn.ConvTranspose2d(3, 4, 3)(torch.zeros(3, 8))


def test_averages_that_are_written_to_lists():
    swa = torch.optim.swa_utils
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    pairs = [
        (swa.AveragedModel(net, avg_fn=a), swa.AveragedModel(net, multi_avg_fn=b, use_buffers=True))
        for a, b in (
            (swa.get_ema_avg_fn(0.9), swa.get_ema_multi_avg_fn(0.9)),
            (swa.get_swa_avg_fn(), swa.get_swa_multi_avg_fn()),
        )
    ]
    for _ in range(3):
        with torch.no_grad():
            net[0].weight.add_(1.0)
            net[1].running_mean.add_(2.0)
        for one, many in pairs:
            one.update_parameters(net)
            many.update_parameters(net)
    for one, many in pairs:
        assert torch.equal(one.module[0].weight, many.module[0].weight)
        assert not torch.equal(many.module[1].running_mean, net[1].running_mean)
        assert not torch.equal(one.module[0].weight, net[0].weight)
    assert torch.allclose(pairs[1][1].module[1].running_mean, torch.full((3,), 4.0))
    with pytest.raises(ValueError, match="Only one of avg_fn and multi_avg_fn"):
        swa.AveragedModel(net, avg_fn=swa.get_swa_avg_fn(), multi_avg_fn=swa.get_swa_multi_avg_fn())


def test_parameters_of_a_plain_dict_are_sorted():
    given = {"b": torch.zeros(1), "a": torch.ones(1)}
    assert list(nn.ParameterDict(given).keys()) == ["a", "b"]
    for kept in (OrderedDict(given), given.items(), nn.ParameterDict(given.items())):
        assert list(nn.ParameterDict(kept).keys()) == ["b", "a"]


def test_backward_hooks_run_in_every_walk():
    class Both(nn.Module):
        def forward(self, a, b):
            return a * b, a + b

    module, seen = Both(), []
    module.register_full_backward_hook(
        lambda _, given, made: seen.append([g if g is None else g.item() for g in given + made])
    )
    a, b = (torch.tensor(n, requires_grad=True) for n in (2.0, 3.0))
    y, z = module(a, b)
    (y + z).backward(retain_graph=True)
    (y * 2).backward(retain_graph=True)
    torch.autograd.grad(z, [a, b])
    assert seen == [[4.0, 3.0, 1.0, 1.0], [6.0, 4.0, 2.0, None], [1.0, 1.0, None, 1.0]]


def test_samples_without_batches():
    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"x": np.full(3, np.sum(index)), "y": (np.arange(2), "name")}

    found = list(DataLoader(Samples(), batch_size=None))
    assert [d["x"].tolist() for d in found] == [[0, 0, 0], [1, 1, 1]]
    assert isinstance(found[0]["x"], torch.Tensor) and found[0]["y"][1] == "name"
    doubled = DataLoader(Samples(), batch_size=None, collate_fn=lambda d: d["x"] * 2)
    assert [d.tolist() for d in doubled] == [[0, 0, 0], [2, 2, 2]]
    (pair,) = DataLoader(Samples(), batch_size=None, sampler=[[0, 1]])
    assert pair["x"].tolist() == [1, 1, 1]


def test_shared_modules_are_named_once_or_under_each_name():
    inner = torch.nn.Linear(1, 1)
    net = torch.nn.Sequential(inner, torch.nn.Sequential(inner))
    assert [name for name, _ in net.named_modules()] == ["", "0", "1"]
    every = [name for name, _ in net.named_modules(prefix="net", remove_duplicate=False)]
    assert every == ["net", "net.0", "net.1", "net.1.0"]
    assert [name for name, _ in net.named_modules({inner})] == ["", "1"]


def test_an_empty_list_may_be_the_first_of_what_is_joined():
    whole = torch.tensor([])
    for batch in (torch.ones(1, 2), torch.zeros(2, 2, requires_grad=True)):
        whole = torch.cat([whole, batch])
    assert whole.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]] and whole.requires_grad
    assert torch.cat([torch.tensor([]), torch.ones(2, 3, dtype=torch.int64)], 1).dtype is (
        torch.float32
    )
    assert torch.cat([torch.tensor([]), torch.tensor([])]).shape == (0,)
    with pytest.raises(dyn.ShapeError, match="tensor 1 has shape"):
        torch.cat([torch.zeros(0, 3), torch.ones(2, 2)])


def test_lists_and_bytes_as_indices():
    x = torch.arange(12).reshape(3, 4)
    mask = torch.tensor([1, 0, 1], dtype=torch.uint8)
    assert torch.equal(x[mask], x[[0, 2]]) and torch.equal(x[mask, 1], x[[0, 2], 1])
    # A list of lists or tensors stands for a tuple of them, one of numbers for a tensor.
    assert x[[[0, 1], [1, 3]]].tolist() == [1, 7]
    assert x[[torch.tensor(2), torch.tensor(1)]].tolist() == 9
    assert x[[0, 1]].shape == (2, 4) and x[[slice(1, None), 0]].tolist() == [4, 8]
    x[mask] = -1
    x[[torch.tensor([1]), torch.tensor([2])]] = 50
    assert x.tolist() == [[-1] * 4, [4, 5, 50, 7], [-1] * 4]


def test_truth_values_are_sorted():
    mask = torch.tensor([True, False, True])
    values, places = mask.sort(descending=True)
    assert values.tolist() == [True, True, False] and places.tolist() == [0, 2, 1]
    assert torch.argsort(mask).tolist() == [1, 0, 2]
    assert torch.msort(mask).tolist() == [False, True, True]
    assert torch.linspace(0, 1, 0).shape == (0,)
