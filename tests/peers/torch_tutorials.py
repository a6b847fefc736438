"""Small training scripts as PyTorch's users write them; their numbers are compared to the end.

Weights are set by hand, as the two frameworks draw different random numbers.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from tests.peers.snippets import ramp, snippet


def _set(torch: Any, net: Any, scale: float = 0.3) -> Any:
    """The network with weights that are the same everywhere."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.dim() > 1:
                p.copy_(torch.tensor(ramp(*p.shape, scale=scale)))
            elif name.endswith("bias"):
                p.zero_()
    return net


@snippet(flavour="torch")
def polynomial(torch: Any) -> Any:
    x = torch.linspace(-math.pi, math.pi, 200)
    y = torch.sin(x)
    a, b, c, d = (torch.full((), 0.1 * i, requires_grad=True) for i in range(4))
    losses = []
    for _ in range(20):
        loss = (a + b * x + c * x**2 + d * x**3 - y).pow(2).sum()
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for p in (a, b, c, d):
                p -= 1e-6 * p.grad
                p.grad = None
    return losses, [round(p.item(), 5) for p in (a, b, c, d)]


@snippet(flavour="torch")
def classifier(torch: Any) -> Any:
    nn, F = torch.nn, torch.nn.functional
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(27, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip
    net = _set(torch, net).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    data = torch.utils.data.TensorDataset(torch.tensor(ramp(12, 1, 8, 8)), torch.arange(12) % 4)
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    best, log = copy.deepcopy(net.state_dict()), []
    for epoch in range(3):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
        net.eval()
        correct = 0
        with torch.no_grad():
            for x, y in loader:
                _, predicted = torch.max(net(x).data, 1)
                correct += (predicted == y).sum().item()
        log.append([epoch, loss.item(), correct / len(data), scheduler.get_last_lr()[0]])
        print(f"[{epoch + 1:>2d}/3] {100 * correct / len(data):>5.1f}%")
    net.load_state_dict(best)
    return log, list(best)


@snippet(flavour="torch")
def segmentation(torch: Any) -> Any:
    nn, F = torch.nn, torch.nn.functional

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inc = nn.Conv2d(2, 4, 3, padding=1)
            self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.outc = nn.Conv2d(8, 2, kernel_size=1)

        def forward(self, x: Any) -> Any:
            x1 = F.relu(self.inc(x))
            x2 = self.up(self.down(x1))
            dy, dx = x1.size()[2] - x2.size()[2], x1.size()[3] - x2.size()[3]
            x2 = F.pad(x2, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            return self.outc(torch.cat([x1, x2], dim=1))

    net = _set(torch, UNet())
    out = net(torch.tensor(ramp(1, 2, 7, 9)))
    mask = (torch.arange(63) % 2).view(1, 7, 9)
    onehot = F.one_hot(mask, 2).permute(0, 3, 1, 2).float()
    soft = F.softmax(out, dim=1)
    dice = (2 * (soft * onehot).sum(dim=(-1, -2)) / (soft + onehot).sum(dim=(-1, -2))).mean()
    loss = nn.CrossEntropyLoss()(out, mask) + 1 - dice
    loss.backward()
    return out, loss, net.inc.weight.grad


@snippet(flavour="torch")
def characters(torch: Any) -> Any:
    nn = torch.nn

    class Rnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden_size = 5
            self.i2h = nn.Linear(4 + 5, 5, bias=False)
            self.i2o = nn.Linear(4 + 5, 3, bias=False)
            self.softmax = nn.LogSoftmax(dim=1)

        def forward(self, input: Any, hidden: Any) -> Any:
            combined = torch.cat((input, hidden), 1)
            return self.softmax(self.i2o(combined)), torch.tanh(self.i2h(combined))

    net, criterion, losses = _set(torch, Rnn()), nn.NLLLoss(), []
    line = torch.zeros(6, 1, 4)
    for i, letter in enumerate("abdcab"):
        line[i][0][ord(letter) - ord("a")] = 1
    for step in range(4):
        hidden = torch.zeros(1, net.hidden_size)
        net.zero_grad()
        for i in range(line.size()[0]):
            output, hidden = net(line[i], hidden)
        loss = criterion(output, torch.tensor([step % 3], dtype=torch.long))
        loss.backward()
        for p in net.parameters():
            p.data.add_(p.grad.data, alpha=-0.1)
        losses.append(loss.item())
    top, index = output.topk(2)
    return losses, top.detach(), index


@snippet(flavour="torch")
def adversaries(torch: Any) -> Any:
    nn = torch.nn
    generator = _set(
        torch,
        nn.Sequential(
            nn.ConvTranspose2d(4, 3, 4, 1, 0, bias=False), nn.BatchNorm2d(3), nn.ReLU(True),
            nn.ConvTranspose2d(3, 1, 4, 2, 1, bias=False), nn.Tanh(),
        ),
    )  # fmt: skip
    critic = _set(
        torch,
        nn.Sequential(
            nn.Conv2d(1, 3, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(3, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
        ),
    )  # fmt: skip
    criterion, log = nn.BCELoss(), []
    of_critic = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.999))
    of_generator = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    noise, real = torch.tensor(ramp(3, 4, 1, 1)), torch.tensor(ramp(3, 1, 8, 8))
    for _ in range(3):
        critic.zero_grad()
        label = torch.full((3,), 1.0)
        first = criterion(critic(real).view(-1), label)
        first.backward()
        fake = generator(noise)
        label.fill_(0.0)
        second = criterion(critic(fake.detach()).view(-1), label)
        second.backward()
        of_critic.step()
        generator.zero_grad()
        label.fill_(1.0)
        third = criterion(critic(fake).view(-1), label)
        third.backward()
        of_generator.step()
        log.append([(first + second).item(), third.item(), fake.detach().mean().item()])
    return log


@snippet(flavour="torch")
def averaging(torch: Any) -> Any:
    nn, F = torch.nn, torch.nn.functional
    net = _set(torch, nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)))
    average = copy.deepcopy(net)
    for p in average.parameters():
        p.requires_grad_(False)
    decay = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": rest, "weight_decay": 0.0}, {"params": decay, "weight_decay": 0.05}], lr=1e-2
    )
    x, y = torch.tensor(ramp(8, 3)), torch.arange(8) % 2
    for i in range(6):
        loss = F.cross_entropy(net(x), y, label_smoothing=0.1) / 2
        loss.backward()
        if (i + 1) % 2 == 0:
            nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.1)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            with torch.no_grad():
                for a, p in zip(average.parameters(), net.parameters()):  # noqa: B905
                    a.mul_(0.9).add_(p, alpha=0.1)
    return [p.detach() for p in average.parameters()], loss
