"""A run that is broken off and taken up from its checkpoint gives the bits of one that was not.

All that a run depends on is in play at once: parameters, running statistics, slots of the
optimiser, the schedule, dropout, and a loader that shuffles; in both flavours.
"""

import numpy as np
import pytest

import dyn
import dyn.compat.torch as torch
from dyn import nn
from dyn.io import DataLoader, TensorDataset

X = np.random.default_rng(0).standard_normal((20, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 20)


class Paddle:
    """A run written with Paddle's names."""

    def __init__(self, workers):
        self.net = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1D(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3)
        )
        self.schedule = dyn.optimizer.lr.OneCycleLR(0.1, 40)
        self.optimizer = dyn.optimizer.AdamW(
            self.schedule,
            parameters=self.net.parameters(),
            grad_clip=nn.ClipGradByGlobalNorm(1.0),
        )
        data = TensorDataset([dyn.to_tensor(X), dyn.to_tensor(Y)])
        self.loader = DataLoader(data, batch_size=6, shuffle=True, num_workers=workers)
        self.seen: list = []

    def epochs(self, count):
        for _ in range(count):
            for x, y in self.loader:
                loss = nn.functional.cross_entropy(self.net(x), y)
                loss.backward()
                self.optimizer.step()
                self.optimizer.clear_grad()
                self.schedule.step()
                self.seen.append((y.tolist(), loss.item(), self.optimizer.get_lr()))

    def save(self, path):
        checkpoint = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": dyn.get_rng_state(),
        }
        dyn.save(checkpoint, path)

    def load(self, path):
        found = dyn.load(path)
        assert self.net.set_state_dict(found["net"]) == ([], [])
        self.optimizer.set_state_dict(found["optimizer"])
        dyn.set_rng_state(found["random"])


class Torch:
    """The same written with PyTorch's names."""

    def __init__(self, workers):
        n = torch.nn
        self.net = n.Sequential(
            n.Linear(6, 8), n.BatchNorm1d(8), n.ReLU(), n.Dropout(0.4), n.Linear(8, 3)
        )
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.05, weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, 0.7)
        data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
        self.loader = torch.utils.data.DataLoader(data, 6, shuffle=True, num_workers=workers)
        self.seen: list = []

    def epochs(self, count):
        for _ in range(count):
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(self.net(x), y)
                loss.backward()
                self.optimizer.step()
                self.schedule.step()
                self.seen.append((y.tolist(), loss.item(), self.schedule.get_last_lr()))

    def save(self, path):
        checkpoint = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(checkpoint, path)

    def load(self, path):
        found = torch.load(path)
        self.net.load_state_dict(found["net"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.schedule.load_state_dict(found["schedule"])
        torch.set_rng_state(found["random"])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("flavour", [Paddle, Torch])
def test_a_resumed_run_is_the_run_that_was_not_broken_off(flavour, workers, tmp_path):
    dyn.seed(7)
    run = flavour(workers)
    run.epochs(2)
    run.save(tmp_path / "checkpoint")
    before = len(run.seen)
    run.epochs(2)

    dyn.seed(99)
    again = flavour(workers)
    again.epochs(1)
    again.seen.clear()
    again.load(tmp_path / "checkpoint")
    again.epochs(2)

    assert again.seen == run.seen[before:] and len(again.seen) == 8
    assert len({tuple(labels) for labels, *_ in again.seen}) > 4
    for (name, a), b in zip(
        run.net.state_dict().items(), again.net.state_dict().values(), strict=True
    ):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy()), name
