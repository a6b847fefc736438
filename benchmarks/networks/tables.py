"""Networks for tables, graphs and decisions: small layers, many of them."""

from benchmarks.networks.library import F, nn, torch
from benchmarks.networks.work import inference, labels, training, work


@work
def deep_perceptron():
    layers = []
    for _ in range(8):
        layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.LeakyReLU(), nn.Dropout(0.1)]
    network = nn.Sequential(*layers, nn.Linear(64, 1))
    x, target = torch.randn(256, 64), torch.randn(256, 1)
    return training(network, lambda: F.smooth_l1_loss(network(x), target))


@work
def perceptron_inference():
    layers = [nn.Linear(100, 200), nn.Tanh(), nn.Linear(200, 10), nn.Softmax(-1)]
    return inference(nn.Sequential(*layers), torch.randn(1, 100))


@work
def double_precision():
    network = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 1)).double()
    x, target = torch.randn(64, 64).double(), torch.randn(64, 1).double()
    return training(network, lambda: F.mse_loss(network(x), target))


class Recommender(nn.Module):
    """Products of all pairs of embeddings, after Naumov et al., arXiv 1906.00091."""

    def __init__(self, fields=8, words=1000, width=16):
        super().__init__()
        self.words = nn.ModuleList(nn.Embedding(words, width) for _ in range(fields))
        self.bottom = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, width), nn.ReLU())
        pairs = [(i, j) for i in range(fields + 1) for j in range(i)]
        self.top = nn.Sequential(nn.Linear(len(pairs) + width, 64), nn.ReLU(), nn.Linear(64, 1))
        self.rows, self.columns = (
            torch.tensor(list(places)) for places in zip(*pairs, strict=True)
        )

    def forward(self, x, fields):
        x = self.bottom(x)
        found = [word(fields[:, i]) for i, word in enumerate(self.words)]
        made = torch.stack([x, *found], 1)
        made = torch.bmm(made, made.transpose(1, 2))[:, self.rows, self.columns]
        return self.top(torch.cat([x, made], 1)).squeeze(1)


@work
def recommender():
    network, x, fields = Recommender(), torch.randn(256, 13), labels(1000, 256, 8)
    target = torch.rand(256)
    return training(
        network,
        lambda: F.binary_cross_entropy_with_logits(network(x, fields), target),
        lambda p: torch.optim.Adagrad(p, 0.01),
    )


@work
def graph_network():
    first, last = nn.Linear(64, 64), nn.Linear(64, 7)
    x, target = torch.randn(2000, 64), labels(7, 2000)
    sources, targets = labels(2000, 10000), labels(2000, 10000)

    def gathered(nodes):
        return torch.zeros_like(nodes).index_add(0, targets, nodes.index_select(0, sources))

    def loss():
        return F.cross_entropy(last(gathered(F.relu(first(gathered(x))))), target)

    return training(nn.ModuleList([first, last]), loss)


@work
def policy():
    network, x = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 4)), torch.randn(32, 8)

    def loss():
        actions = torch.distributions.Categorical(logits=network(x))
        return -actions.log_prob(actions.sample()).mean() - 0.01 * actions.entropy().mean()

    return training(network, loss)


@work
def siamese():
    network = nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 32))
    inputs = [torch.randn(128, 100) for _ in range(3)]

    def loss():
        anchor, near, far = (network(x) for x in inputs)
        apart = (1 - F.cosine_similarity(anchor, near)).mean()
        return F.triplet_margin_loss(anchor, near, far) + apart

    return training(network, loss)
