"""PyTorch code of training: gradients, hooks, optimisers, schedules, loading of data."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.peers.snippets import kind, message, ramp, snippet


def _net(torch: Any, *sizes: int) -> Any:
    """Linear layers with values that are the same everywhere."""
    layers = [torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]  # noqa: B905, RUF007
    net = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(torch.tensor(ramp(*p.shape, scale=0.5 + 0.1 * i)))
    return net


def _walk(torch: Any, make: Any, steps: int = 4) -> Any:
    """The weights after some steps of an optimiser, and the keys of its state."""
    net = _net(torch, 3, 2)
    optimizer = make(net.parameters())
    x = torch.tensor(ramp(5, 3))
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x).sigmoid() - 0.3).pow(2).sum().backward()
        optimizer.step()
    state = optimizer.state_dict()
    keys = [sorted(state["state"][0]) if state["state"] else [], list(state["param_groups"][0])]
    return [p.detach() for p in net.parameters()], keys


@snippet(flavour="torch")
def sgd(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.SGD(p, lr=0.1))


@snippet(flavour="torch")
def momentum(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1))


@snippet(flavour="torch")
def nesterov(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True))


@snippet(flavour="torch")
def maximize(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.SGD(p, 0.1, maximize=True))


@snippet(flavour="torch")
def adam(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.Adam(p, 0.1, (0.8, 0.95), weight_decay=0.1))


@snippet(flavour="torch")
def adam_amsgrad(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.6), amsgrad=True), 9)


@snippet(flavour="torch")
def adamw(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.2))


@snippet(flavour="torch")
def adamw_amsgrad(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.AdamW(p, 0.1, (0.5, 0.6), amsgrad=True), 9)


@snippet(flavour="torch")
def adagrad(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1))


@snippet(flavour="torch")
def adadelta(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.Adadelta(p, lr=0.5))


@snippet(flavour="torch")
def rmsprop(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.RMSprop(p, lr=0.1))


@snippet(flavour="torch")
def rmsprop_centered(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.5, centered=True))


@snippet(flavour="torch")
def adamax(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.Adamax(p, lr=0.1, weight_decay=0.1))


@snippet(flavour="torch")
def nadam(torch: Any) -> Any:
    values, keys = _walk(torch, lambda p: torch.optim.NAdam(p, lr=0.1))
    return values, [k for k in keys[0] if k != "mu_product"], keys[1]


@snippet(flavour="torch")
def radam(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.RAdam(p, lr=0.1), 9)


@snippet(flavour="torch")
def decoupled_weight_decay(torch: Any) -> Any:
    apart: dict[str, Any] = {"weight_decay": 0.3, "decoupled_weight_decay": True}
    walks = [
        _walk(torch, lambda p, make=make, more=more: make(p, lr=0.1, **apart, **more), 7)
        for make, more in (
            (torch.optim.NAdam, {}), (torch.optim.RAdam, {"maximize": True}),
            (torch.optim.Adam, {}), (torch.optim.Adam, {"amsgrad": True}),
        )
    ]  # fmt: skip
    changed = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], 0.1, weight_decay=0.5)
    seen = []
    for apart_now in (False, True, False):
        changed.param_groups[0]["decoupled_weight_decay"] = apart_now
        changed.param_groups[0]["params"][0].grad = torch.tensor([1.0, 0.0])
        changed.step()
        seen.append(changed.param_groups[0]["params"][0].detach().clone())
    return [values for values, _ in walks], [keys[1] for _, keys in walks], seen


@snippet(flavour="torch")
def refused_settings(torch: Any) -> Any:
    optim, p = torch.optim, [torch.zeros(1)]
    return [
        message(call, ValueError)
        for call in (
            lambda: optim.Adam(p, weight_decay=-1), lambda: optim.NAdam(p, eps=-1),
            lambda: optim.RMSprop(p, momentum=-1), lambda: optim.Adamax(p, betas=(1.0, 0.9)),
            lambda: optim.RAdam(p, lr=-0.5), lambda: optim.SGD(p, 0.1, momentum=-0.5),
        )
    ] + [kind(lambda: optim.Adam(p, decay=1), TypeError)]  # fmt: skip


@snippet(flavour="torch")
def rprop(torch: Any) -> Any:
    return _walk(torch, lambda p: torch.optim.Rprop(p, lr=0.1))


def _resumed(torch: Any, make: Any) -> Any:
    """Weights after going on with an optimiser of loaded state, at every step."""
    net, x = _net(torch, 3, 2), torch.tensor(ramp(5, 3))
    optimizer, seen = make(net.parameters()), []
    for i in range(6):
        if i == 3:
            saved = optimizer.state_dict()
            optimizer = make(net.parameters())
            optimizer.load_state_dict(saved)
        optimizer.zero_grad()
        (net(x).sigmoid() - 0.3).pow(2).sum().backward()
        optimizer.step()
        seen.append(net[0].bias.detach().clone())
    return seen


@snippet(flavour="torch")
def resumed(torch: Any) -> Any:
    optim = torch.optim
    return [
        _resumed(torch, make)
        for make in (
            lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
            lambda p: optim.Adam(p, lr=0.1),
            lambda p: optim.AdamW(p, lr=0.1, amsgrad=True),
            lambda p: optim.RMSprop(p, lr=0.1, momentum=0.5),
            lambda p: optim.Adamax(p, lr=0.1),
            lambda p: optim.NAdam(p, lr=0.1),
            lambda p: optim.RAdam(p, lr=0.1),
            lambda p: optim.Adagrad(p, lr=0.1),
            lambda p: optim.Rprop(p, lr=0.1),
        )
    ]


def _rates(torch: Any, make: Any, count: int = 12, **settings: Any) -> list[Any]:
    """Rate and momentum of a group over the epochs."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], **{"lr": 0.1, "momentum": 0.9, **settings})
    scheduler, seen = make(optimizer), []
    for _ in range(count):
        group = optimizer.param_groups[0]
        seen.append([group["lr"], group["momentum"], scheduler.get_last_lr()[0]])
        optimizer.step()
        scheduler.step()
    return seen


@snippet(flavour="torch")
def schedules(torch: Any) -> Any:
    lr = torch.optim.lr_scheduler
    return {
        "StepLR": _rates(torch, lambda o: lr.StepLR(o, step_size=3, gamma=0.5)),
        "MultiStepLR": _rates(torch, lambda o: lr.MultiStepLR(o, milestones=[2, 5], gamma=0.1)),
        "ExponentialLR": _rates(torch, lambda o: lr.ExponentialLR(o, gamma=0.9)),
        "CosineAnnealingLR": _rates(torch, lambda o: lr.CosineAnnealingLR(o, T_max=10)),
        "LambdaLR": _rates(torch, lambda o: lr.LambdaLR(o, lr_lambda=lambda e: 0.95**e)),
        "LinearLR": _rates(torch, lambda o: lr.LinearLR(o, 0.5, total_iters=4)),
        "ConstantLR": _rates(torch, lambda o: lr.ConstantLR(o, factor=0.5, total_iters=4)),
        "PolynomialLR": _rates(torch, lambda o: lr.PolynomialLR(o, total_iters=8, power=2.0)),
        "Restarts": _rates(torch, lambda o: lr.CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2)),
    }


@snippet(flavour="torch")
def one_cycle(torch: Any) -> Any:
    lr = torch.optim.lr_scheduler
    return [
        _rates(torch, lambda o: lr.OneCycleLR(o, max_lr=0.5, total_steps=12), 11),
        _rates(torch, lambda o: lr.OneCycleLR(o, 0.5, epochs=2, steps_per_epoch=6), 11),
        _rates(torch, lambda o: lr.OneCycleLR(o, 0.5, 12, three_phase=True), 11),
        _rates(
            torch,
            lambda o: lr.OneCycleLR(o, 0.5, 12, anneal_strategy="linear", cycle_momentum=False),
            11,
        ),
    ]


@snippet(flavour="torch")
def reduce_on_plateau(torch: Any) -> Any:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    seen = []
    for value in (1.0, 0.9, 0.95, 0.93, 0.92, 0.8, 0.9, 0.9, 0.9):
        scheduler.step(value)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


@snippet(flavour="torch")
def groups(torch: Any) -> Any:
    net = _net(torch, 3, 2, 2)
    optimizer = torch.optim.SGD(
        [{"params": net[0].parameters()}, {"params": net[1].parameters(), "lr": 0.5}],
        lr=0.1,
        momentum=0.9,
    )
    x = torch.tensor(ramp(4, 3))
    for step in range(3):
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 2)
    return [p.detach() for p in net.parameters()], [g["lr"] for g in optimizer.param_groups]


@snippet(flavour="torch")
def closure(torch: Any) -> Any:
    p = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = torch.optim.SGD([p], lr=0.1)

    def run() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    return [float(optimizer.step(run)) for _ in range(3)], p.detach()


def _valley(torch: Any, steps: int, saved: Any = None, **settings: Any) -> Any:
    """Steps of L-BFGS down Rosenbrock's valley, and their optimiser."""
    x = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    y = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    optimizer = torch.optim.LBFGS([x, y], **settings)
    if saved is not None:
        for p, value in zip((x, y), saved[0], strict=True):
            p.data.copy_(value)
        optimizer.load_state_dict(saved[1])
    seen = []

    def run() -> Any:
        optimizer.zero_grad()
        loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + y**4
        loss.backward()
        seen.append(loss.item())
        return loss

    returned = [optimizer.step(run).item() for _ in range(steps)]
    return returned, seen, [x.detach(), y.detach()], optimizer


@snippet(flavour="torch")
def quasi_newton(torch: Any) -> Any:
    return [
        _valley(torch, 4, **settings)[:3]
        for settings in (
            {"lr": 0.002}, {"line_search_fn": "strong_wolfe"},
            {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 5},
            {"line_search_fn": "strong_wolfe", "max_eval": 3, "lr": 0.5},
            {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-2, "tolerance_grad": 1e-3},
        )
    ]  # fmt: skip


@snippet(flavour="torch")
def quasi_newton_goes_on(torch: Any) -> Any:
    settings = {"line_search_fn": "strong_wolfe", "max_iter": 4}
    _, _, values, optimizer = _valley(torch, 2, **settings)
    saved = [v.clone() for v in values], optimizer.state_dict()
    entry, group = saved[1]["state"][0], saved[1]["param_groups"]
    kept = [sorted(set(entry) - {"al"}), entry["n_iter"], entry["func_evals"], len(entry["ro"])]
    kept += [entry["old_dirs"][0], entry["d"].shape, group]
    return kept, _valley(torch, 2, saved, **settings)[:3]


@snippet(flavour="torch")
def quasi_newton_refuses(torch: Any) -> Any:
    p = torch.nn.Parameter(torch.ones(2))
    groups = [{"params": [p]}, {"params": [torch.nn.Parameter(torch.ones(1))]}]
    search = torch.optim.LBFGS([p], line_search_fn=None)
    return (
        kind(lambda: torch.optim.LBFGS(groups), ValueError),
        kind(lambda: torch.optim.LBFGS([p], lr=-1.0), ValueError),
        kind(lambda: search.step(), TypeError),
    )


@snippet(flavour="torch")
def gradients(torch: Any) -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = torch.tensor([4.0, 5.0, 6.0], requires_grad=True)
    (x**2 * y).sum().backward(retain_graph=True)
    first = x.grad.clone(), y.grad.clone()
    (x**2 * y).backward(torch.tensor([1.0, 0.0, 2.0]))
    return first, x.grad, y.grad, x.is_leaf, (x * y).is_leaf, (x * y).requires_grad


@snippet(flavour="torch")
def second_derivative(torch: Any) -> Any:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    return g, h


@snippet(flavour="torch")
def gradient_errors(torch: Any) -> Any:
    x = torch.ones(2, requires_grad=True)
    return [
        message(lambda: (x * 2).backward()),
        message(lambda: torch.ones(1).backward()),
        message(lambda: setattr(x * 2, "requires_grad", False)),
        message(lambda: torch.tensor([1], requires_grad=True)),
        message(lambda: torch.ones(1).register_hook(print)),
    ]


@snippet(flavour="torch")
def no_grad(torch: Any) -> Any:
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        inside = (x * 2).requires_grad
        with torch.enable_grad():
            again = (x * 2).requires_grad
    with torch.set_grad_enabled(False):
        set_off = (x * 2).requires_grad
    with torch.inference_mode():
        inference = (x * 2).requires_grad

    @torch.no_grad()
    def decorated() -> bool:
        return (x * 2).requires_grad

    return inside, again, set_off, inference, decorated(), x.detach().requires_grad


@snippet(flavour="torch")
def tensor_hooks(torch: Any) -> Any:
    x, seen = torch.tensor([1.0, 2.0], requires_grad=True), []
    y = x * 3
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 2)
    (y * y).sum().backward()
    handle.remove()
    (x * 1).sum().backward()
    return seen, x.grad


@snippet(flavour="torch")
def module_hooks(torch: Any) -> Any:
    net, log = _net(torch, 3, 2), []
    net.register_forward_pre_hook(lambda m, args: log.append(("pre", len(args))))
    handle = net.register_forward_hook(lambda m, args, out: log.append(("post", out.shape[1])))
    net[0].register_forward_hook(lambda m, args, out: out * 2)
    net.register_full_backward_hook(lambda m, gi, go: log.append(("back", go[0].tolist())))
    x = torch.tensor(ramp(1, 3), requires_grad=True)
    out = net(x)
    out.sum().backward()
    handle.remove()
    net(x)
    return log, out, x.grad


@snippet(flavour="torch")
def function_of_ones_own(torch: Any) -> Any:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: float) -> Any:
            ctx.save_for_backward(x)
            ctx.factor = factor
            return factor * x**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return ctx.factor * 3 * x**2 * g, None

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = Cube.apply(x, 2.0)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return y, g, x.grad, Cube.apply(x.detach(), 1.0)


@snippet(flavour="torch")
def function_with_context_apart(torch: Any) -> Any:
    class Split(torch.autograd.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return x.exp(), x * 2

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(output[0])
            ctx.needed = ctx.needs_input_grad

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            (made,) = ctx.saved_tensors
            return first * made + second * 2

    x = torch.tensor([0.0, 1.0], requires_grad=True)
    a, b = Split.apply(x)
    (a * 3 + b).sum().backward()
    return a, b, x.grad


@snippet(flavour="torch")
def clipping(torch: Any) -> Any:
    net = _net(torch, 3, 2)
    net(torch.tensor(ramp(4, 3))).pow(2).sum().backward()
    before = torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    clipped = [p.grad.clone() for p in net.parameters()]
    torch.nn.utils.clip_grad_value_(net.parameters(), 0.1)
    vector = torch.nn.utils.parameters_to_vector(net.parameters())
    return before, clipped, [p.grad for p in net.parameters()], vector.detach()


@snippet(flavour="torch")
def loader(torch: Any) -> Any:
    data = torch.utils.data
    dataset = data.TensorDataset(torch.arange(10).view(5, 2), torch.arange(5))
    batches = [[x.tolist(), y.tolist()] for x, y in data.DataLoader(dataset, batch_size=2)]
    short = data.DataLoader(dataset, 2, drop_last=True)
    mixed = data.DataLoader(
        dataset, 2, shuffle=True, generator=torch.Generator().manual_seed(0), num_workers=0
    )
    joined = data.ConcatDataset([dataset, data.Subset(dataset, [4, 0])])
    sampler = data.SequentialSampler(dataset)
    sampled = data.DataLoader(dataset, batch_size=3, sampler=sampler)
    return (
        batches,
        len(short),
        sorted(y for _, ys in mixed for y in ys.tolist()),
        len(joined),
        joined[5][0].tolist(),
        [len(y) for _, y in sampled],
    )


@snippet(flavour="torch")
def loader_collates(torch: Any) -> Any:
    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, i: int) -> Any:
            return {"x": np.full(2, i, np.float32), "y": i, "name": f"n{i}", "z": (i, 0.5 * i)}

    (batch,) = torch.utils.data.DataLoader(Rows(), batch_size=3)
    return batch["x"], batch["y"], batch["name"], batch["z"][1]


@snippet(flavour="torch")
def random_split(torch: Any) -> Any:
    parts = torch.utils.data.random_split(
        range(10), [7, 3], generator=torch.Generator().manual_seed(1)
    )
    return [len(p) for p in parts], sorted(i for p in parts for i in p)


@snippet(flavour="torch")
def seeded(torch: Any) -> Any:
    torch.manual_seed(5)
    a = torch.rand(3)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    b = torch.rand(3)
    torch.set_rng_state(state)
    first = torch.Generator().manual_seed(1)
    second = torch.Generator().manual_seed(1)
    same = torch.equal(torch.randn(4, generator=first), torch.randn(4, generator=second))
    return torch.equal(a, b), torch.equal(b, torch.rand(3)), same


@snippet(
    flavour="torch",
    differs="a tensor and a numpy array never share memory: values are never changed in place",
)
def memory_shared_with_numpy(torch: Any) -> Any:
    array = np.ones(2, np.float32)
    tensor = torch.from_numpy(array)
    array += 1
    return tensor


@snippet(flavour="torch", differs="the function of a gradient has one class for all ops")
def class_of_grad_fn(torch: Any) -> Any:
    return type((torch.ones(1, requires_grad=True) + 1).grad_fn).__name__
