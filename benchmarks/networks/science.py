"""Networks whose steps are more than layers: slopes of slopes, solvers, flows, scans, rays."""

import itertools

from benchmarks.networks.library import F, nn, torch
from benchmarks.networks.work import training, work


def perceptron(*sizes, activation=nn.Tanh):
    layers = []
    for inner, outer in itertools.pairwise(sizes):
        layers += [nn.Linear(inner, outer), activation()]
    return nn.Sequential(*layers[:-1])


@work
def physics():
    """Burgers' equation; Raissi, Perdikaris & Karniadakis, arXiv 1711.10561."""
    network, places = perceptron(2, 32, 32, 32, 1), torch.rand(100, 2)

    def loss():
        x, t = (places[:, i : i + 1].clone().requires_grad_(True) for i in (0, 1))
        u = network(torch.cat([x, t], 1))
        by_x, by_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
        (twice,) = torch.autograd.grad(by_x.sum(), x, create_graph=True)
        return (by_t + u * by_x - 0.003 * twice).square().mean()

    return training(network, loss)


@work
def gradient_penalty():
    """A critic of images whose slope shall be one; Gulrajani et al., arXiv 1704.00028."""
    network = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1),
        nn.InstanceNorm2d(32, affine=True), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(1568, 1),
    )  # fmt: skip
    real, made, share = torch.randn(8, 1, 28, 28), torch.randn(8, 1, 28, 28), torch.rand(8, 1, 1, 1)

    def loss():
        between = (share * real + (1 - share) * made).requires_grad_(True)
        (slope,) = torch.autograd.grad(network(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return network(made).mean() - network(real).mean() + 10 * penalty

    return training(network, loss)


@work
def inner_steps():
    """Three steps of training inside a step; Finn, Abbeel & Levine, arXiv 1703.03400."""
    network, x, y = perceptron(8, 40, 1, activation=nn.ReLU), torch.randn(20, 8), torch.randn(20, 1)

    def run(weights):
        first, first_bias, last, last_bias = weights
        return F.linear(F.relu(F.linear(x, first, first_bias)), last, last_bias)

    def loss():
        weights = list(network.parameters())
        for _ in range(3):
            slopes = torch.autograd.grad(F.mse_loss(run(weights), y), weights, create_graph=True)
            weights = [w - 0.1 * g for w, g in zip(weights, slopes, strict=True)]
        return F.mse_loss(run(weights), y)

    return training(network, loss)


@work
def neural_ode():
    """Ten steps of Runge and Kutta's; Chen et al., arXiv 1806.07366."""
    network, start, target = perceptron(2, 50, 2), torch.randn(32, 2), torch.randn(10, 32, 2)

    def loss():
        y, found, h = start, [], 0.1
        for _ in range(10):
            a = network(y**3)
            b = network((y + h / 2 * a) ** 3)
            c = network((y + h / 2 * b) ** 3)
            d = network((y + h * c) ** 3)
            y = y + h / 6 * (a + 2 * b + 2 * c + d)
            found.append(y)
        return (torch.stack(found) - target).abs().mean()

    return training(network, loss)


@work
def radiance():
    """Colours of rays through a scene; Mildenhall et al., arXiv 2003.08934."""
    network = perceptron(39, 64, 64, 64, 4, activation=nn.ReLU)
    origins, target = torch.randn(64, 1, 3), torch.rand(64, 3)
    directions = F.normalize(torch.randn(64, 1, 3), dim=-1)
    depths, waves = torch.linspace(2.0, 6.0, 32), 2.0 ** torch.arange(6).float()
    apart = torch.cat([depths[1:] - depths[:-1], torch.tensor([1e10])])

    def loss():
        places = origins + directions * depths[:, None]
        angles = (places.unsqueeze(-1) * waves).flatten(2)
        seen = network(torch.cat([places, torch.sin(angles), torch.cos(angles)], -1))
        opaque = 1 - torch.exp(-F.relu(seen[..., 3]) * apart)
        before = torch.cumprod(torch.cat([torch.ones(64, 1), 1 - opaque[:, :-1] + 1e-10], 1), 1)
        colours = ((opaque * before).unsqueeze(-1) * torch.sigmoid(seen[..., :3])).sum(1)
        return F.mse_loss(colours, target)

    return training(network, loss)


@work
def normalizing_flow():
    """Coupled halves; Dinh, Sohl-Dickstein & Bengio, arXiv 1605.08803."""
    couplings = nn.ModuleList(perceptron(4, 64, 8) for _ in range(4))
    x, base = torch.randn(128, 8), torch.distributions.Normal(torch.zeros(8), torch.ones(8))

    def loss():
        still, moved = x.chunk(2, 1)
        volume = 0
        for coupling in couplings:
            scale, shift = coupling(still).chunk(2, 1)
            scale = torch.tanh(scale)
            still, moved = moved * torch.exp(scale) + shift, still
            volume = volume + scale.sum(1)
        return -(base.log_prob(torch.cat([still, moved], 1)).sum(1) + volume).mean()

    return training(couplings, loss)


class StateSpace(nn.Module):
    """A state that every word changes by a rule of its own; Gu & Dao, arXiv 2312.00752."""

    def __init__(self, width=32, states=8):
        super().__init__()
        self.into, self.out = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.mix = nn.Conv1d(width, width, 4, groups=width, padding=3)
        self.choose, self.pace = nn.Linear(width, 1 + 2 * states), nn.Linear(1, width)
        self.decay = nn.Parameter(torch.log(torch.arange(1, states + 1).float()).repeat(width, 1))
        self.skip, self.states = nn.Parameter(torch.ones(width)), states

    def forward(self, words):
        batch, length, width = words.shape
        x, gate = self.into(words).chunk(2, -1)
        x = F.silu(self.mix(x.transpose(1, 2))[..., :length].transpose(1, 2))
        pace, write, read = self.choose(x).split([1, self.states, self.states], -1)
        pace = F.softplus(self.pace(pace)).unsqueeze(-1)
        kept = torch.exp(-pace * torch.exp(self.decay))
        new = pace * write.unsqueeze(2) * x.unsqueeze(-1)
        state, made = torch.zeros(batch, width, self.states), []
        for t in range(length):
            state = kept[:, t] * state + new[:, t]
            made.append((state * read[:, t].unsqueeze(1)).sum(-1))
        return self.out((torch.stack(made, 1) + x * self.skip) * F.silu(gate))


@work
def state_space():
    network, x, target = StateSpace(), torch.randn(4, 24, 32), torch.randn(4, 24, 32)
    return training(network, lambda: F.mse_loss(network(x), target))


class Experts(nn.Module):
    """Every row is answered by the best two of eight; Shazeer et al., arXiv 1701.06538."""

    def __init__(self, width=32, experts=8):
        super().__init__()
        self.gate = nn.Linear(width, experts, bias=False)
        self.first = nn.Parameter(torch.randn(experts, width, 64) / 8)
        self.last = nn.Parameter(torch.randn(experts, 64, width) / 8)

    def forward(self, x):
        share, chosen = torch.topk(self.gate(x).softmax(-1), 2, dim=-1)
        share = share / share.sum(-1, keepdim=True)
        share = torch.zeros(x.shape[0], len(self.first)).scatter(-1, chosen, share)
        made = F.silu(torch.einsum("nd,edh->neh", x, self.first))
        return torch.einsum("neh,ehd,ne->nd", made, self.last, share)


@work
def experts():
    network, x, target = Experts(), torch.randn(64, 32), torch.randn(64, 32)
    return training(network, lambda: F.mse_loss(network(x), target))
