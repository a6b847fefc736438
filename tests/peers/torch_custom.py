"""Optimisers, schedules and averages of PyTorch's users' own making, and recomputed segments."""

from __future__ import annotations

import copy
import math
from importlib import import_module
from typing import Any

from tests.peers.snippets import message, ramp, snippet


def _net(torch: Any, *more: Any) -> Any:
    nn = torch.nn
    net = nn.Sequential(nn.Linear(3, 4), *more, nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.tensor(ramp(*p.shape, scale=0.5)))
    return net


def _loss(torch: Any, net: Any) -> Any:
    return torch.nn.functional.cross_entropy(net(torch.tensor(ramp(6, 3))), torch.arange(6) % 2)


@snippet(flavour="torch")
def optimizer(torch: Any) -> Any:
    class Lion(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 1e-2, betas: Any = (0.9, 0.99)) -> None:
            super().__init__(params, {"lr": lr, "betas": betas})

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    if len(state) == 0:
                        state["exp_avg"] = torch.zeros_like(p)
                        state["step"] = 0
                    state["step"] += 1
                    first, second = group["betas"]
                    update = state["exp_avg"] * first + p.grad * (1 - first)
                    p.add_(update.sign_(), alpha=-group["lr"])
                    state["exp_avg"].mul_(second).add_(p.grad, alpha=1 - second)

    net = _net(torch)
    lion, losses = Lion([{"params": net[0].parameters(), "lr": 0.1}, *_rest(net)]), []
    for _ in range(4):
        lion.zero_grad()
        loss = _loss(torch, net)
        loss.backward()
        lion.step()
        losses.append(loss.item())
    saved = copy.deepcopy(lion.state_dict())
    other = Lion([{"params": net[0].parameters()}, *_rest(net)])
    other.load_state_dict(saved)
    other.step()
    kept = [sorted(entry) for entry in saved["state"].values()]
    return losses, kept, [g["lr"] for g in other.param_groups], list(net.state_dict().values())


def _rest(net: Any) -> Any:
    return [{"params": net[2].parameters()}]


@snippet(flavour="torch")
def optimizer_over_another(torch: Any) -> Any:
    class Sharpness(torch.optim.Optimizer):
        def __init__(self, params: Any, base: Any, rho: float = 0.05, **settings: Any) -> None:
            super().__init__(params, {"rho": rho, **settings})
            self.base = base(self.param_groups, **settings)
            self.param_groups = self.base.param_groups

        @torch.no_grad()
        def climb(self) -> None:
            params = [p for group in self.param_groups for p in group["params"]]
            norm = torch.norm(torch.stack([p.grad.norm(p=2) for p in params]), p=2)
            for p in params:
                self.state[p]["old"] = p.data.clone()
                p.add_(p.grad * (self.param_groups[0]["rho"] / norm))
            self.zero_grad()

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    p.data = self.state[p]["old"]
            self.base.step()
            self.zero_grad()

    net, losses = _net(torch), []
    sam = Sharpness(net.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    for _ in range(3):
        loss = _loss(torch, net)
        loss.backward()
        sam.climb()
        _loss(torch, net).backward()
        sam.step()
        losses.append(loss.item())
    return losses, list(net.state_dict().values())


@snippet(flavour="torch")
def schedule(torch: Any) -> Any:
    lr = torch.optim.lr_scheduler

    class Warmup(lr._LRScheduler):
        def __init__(self, optimizer: Any, warm: int, last_epoch: int = -1) -> None:
            self.warm = warm
            super().__init__(optimizer, last_epoch)

        def get_lr(self) -> Any:
            share = min(1.0, (self.last_epoch + 1) / self.warm)
            return [rate * share for rate in self.base_lrs]

    optimizer = torch.optim.SGD(_net(torch).parameters(), lr=0.4)
    warmup, rates = Warmup(optimizer, 3), []
    for _ in range(5):
        rates.append([optimizer.param_groups[0]["lr"], warmup.last_epoch, *warmup.get_last_lr()])
        optimizer.step()
        warmup.step()
    again = Warmup(torch.optim.SGD(_net(torch).parameters(), lr=0.4), 3)
    again.load_state_dict(warmup.state_dict())
    plain = lr.LRScheduler
    return rates, again.last_epoch, again.get_last_lr(), isinstance(warmup, plain)


@snippet(flavour="torch")
def schedules_resumed(torch: Any) -> Any:
    lr, found = torch.optim.lr_scheduler, []
    for make in (
        lambda o, last: lr.LambdaLR(o, lambda epoch: 0.5**epoch, last),
        lambda o, last: lr.StepLR(o, 2, 0.1, last_epoch=last),
        lambda o, last: lr.MultiStepLR(o, [1, 3], 0.5, last),
    ):
        optimizer = torch.optim.SGD(_net(torch).parameters(), lr=0.4)
        first = make(optimizer, -1)
        for _ in range(2):
            optimizer.step()
            first.step()
        second = make(optimizer, 2)
        found.append([first.get_last_lr(), second.last_epoch])
    fresh = torch.optim.SGD(_net(torch).parameters(), lr=0.4)
    text = message(lambda: lr.StepLR(fresh, 2, last_epoch=3), KeyError)
    sequence = lr.SequentialLR(
        fresh, [lr.LinearLR(fresh, 0.1), lr.CosineAnnealingLR(fresh, 5)], milestones=[2]
    )
    return found, text.split(" specified")[0], list(sequence.state_dict())


@snippet(flavour="torch")
def averages(torch: Any) -> Any:
    swa = import_module(f"{torch.__name__}.optim.swa_utils")
    net = _net(torch, torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.4)
    mean = swa.AveragedModel(net)
    decayed = swa.AveragedModel(net, avg_fn=swa.get_ema_avg_fn(0.9), use_buffers=True)
    rates, schedule = [], swa.SWALR(optimizer, swa_lr=0.1, anneal_epochs=3)
    for _ in range(4):
        optimizer.zero_grad()
        _loss(torch, net).backward()
        optimizer.step()
        mean.update_parameters(net)
        decayed.update_parameters(net)
        schedule.step()
        rates.append(round(schedule.get_last_lr()[0], 6))
    swa.update_bn([(torch.tensor(ramp(6, 3)), 0), (torch.tensor(ramp(4, 3)) * 2, 0)], mean)
    return rates, dict(mean.state_dict()), dict(decayed.state_dict()), math.isfinite(rates[0])


@snippet(flavour="torch")
def recomputed(torch: Any) -> Any:
    segments = import_module(f"{torch.__name__}.utils.checkpoint")
    net = _net(torch)
    x = torch.tensor(ramp(6, 3)).requires_grad_(True)
    y = segments.checkpoint(lambda a, b: (net(a) * b, a), x, 2.0, use_reentrant=False)[0]
    y = y + segments.checkpoint_sequential(net, 2, x, use_reentrant=False)
    y.square().sum().backward()
    constant = segments.checkpoint(net, x.detach(), use_reentrant=False)
    constant.sum().backward()
    return y.detach(), x.grad, [p.grad for p in net.parameters()]


@snippet(flavour="torch")
def penalty(torch: Any) -> Any:
    net, x = _net(torch), torch.tensor(ramp(6, 3)).requires_grad_(True)
    out = net(x)
    (slope,) = torch.autograd.grad(
        outputs=out, inputs=x, grad_outputs=torch.ones_like(out), create_graph=True,
        retain_graph=True, only_inputs=True,
    )  # fmt: skip
    ((slope.norm(2, dim=1) - 1) ** 2).mean().backward()
    return [p.grad for p in net.parameters()]
