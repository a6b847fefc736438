"""Networks for texts and signals: transformers, recurrent, convolutional."""

import math

from benchmarks.networks.library import F, nn, torch
from benchmarks.networks.work import inference, labels, training, work


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, length, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, 2)
        q, k, v = (p.view(n, length, self.heads, -1).transpose(1, 2) for p in parts)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        x = x + self.out(seen.reshape(n, length, width))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


class Language(nn.Module):
    def __init__(self, words=500, width=192, heads=6, depth=3, length=128):
        super().__init__()
        self.word, self.place = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, x):
        x = self.word(x) + self.place(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x)))


@work
def language_model():
    network, words, target = Language(), labels(500, 4, 128), labels(500, 4 * 128)
    return training(network, lambda: F.cross_entropy(network(words).view(-1, 500), target))


class Attention(nn.Module):
    """Attention as it is written by hand."""

    def __init__(self, width=128, heads=8):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.heads, self.head = heads, nn.Linear(width, 10)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = (
            layer(x).view(n, length, self.heads, -1).permute(0, 2, 1, 3)
            for layer in (self.q, self.k, self.v)
        )
        weights = F.softmax(q @ k.transpose(-2, -1) / math.sqrt(width // self.heads), -1)
        found = (weights @ v).permute(0, 2, 1, 3).contiguous().view(n, length, width)
        return self.head(found.mean(1))


@work
def attention_by_hand():
    network, x, target = Attention(), torch.randn(16, 64, 128), labels(10, 16)
    return training(network, lambda: F.cross_entropy(network(x), target))


@work
def attention_by_einsum():
    q, k, v = (nn.Parameter(torch.randn(8, 4, 64, 32)) for _ in range(3))
    holder = nn.ParameterList([q, k, v])

    def loss():
        weights = F.softmax(torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(32), -1)
        return (torch.einsum("bhij,bhjd->bhid", weights, v) ** 2).mean()

    return training(holder, loss)


@work
def multihead_attention():
    network, norm = nn.MultiheadAttention(128, 8, batch_first=True), nn.LayerNorm(128)
    x = torch.randn(8, 100, 128)
    both = nn.ModuleList([network, norm])
    return training(both, lambda: norm(x + network(x, x, x, need_weights=False)[0]).pow(2).mean())


class Mixer(nn.Module):
    def __init__(self, length=64, width=128):
        super().__init__()

        def two(size, wide):
            return nn.Sequential(nn.Linear(size, wide), nn.GELU(), nn.Linear(wide, size))

        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens, self.channels = two(length, 128), two(width, 256)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.norm2(x))).mean(1))


@work
def mixer():
    network, x, target = Mixer(), torch.randn(32, 64, 128), labels(10, 32)
    return training(network, lambda: F.cross_entropy(network(x), target))


class Tagger(nn.Module):
    def __init__(self, words=5000, width=64):
        super().__init__()
        self.word = nn.Embedding(words, width)
        self.rnn = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 4)

    def forward(self, x):
        return self.head(self.rnn(self.word(x))[0].mean(1))


@work
def bidirectional_lstm():
    network, words, target = Tagger(), labels(5000, 32, 40), labels(4, 32)
    return training(network, lambda: F.cross_entropy(network(words), target))


@work
def lstm_inference():
    return inference(nn.LSTM(32, 64, batch_first=True), torch.randn(1, 20, 32))


class Forecast(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(32, 96, 2, batch_first=True), nn.Linear(96, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


@work
def gru():
    network, x, target = Forecast(), torch.randn(16, 60, 32), torch.randn(16, 60, 1)
    return training(network, lambda: F.mse_loss(network(x), target))


@work
def lstm_cells():
    cell, head = nn.LSTMCell(32, 64), nn.Linear(64, 1)
    x, target = torch.randn(32, 30, 32), torch.randn(32, 1)

    def loss():
        state = torch.zeros(32, 64), torch.zeros(32, 64)
        for i in range(30):
            state = cell(x[:, i], state)
        return F.mse_loss(head(state[0]), target)

    return training(nn.ModuleList([cell, head]), loss, lambda p: torch.optim.RMSprop(p, 1e-3))


class Translator(nn.Module):
    """A recurrent encoder, and a decoder that looks back at it in every step."""

    def __init__(self, words=200, width=64):
        super().__init__()
        self.word, self.head = nn.Embedding(words, width), nn.Linear(width, words)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.cell = nn.GRUCell(2 * width, width)

    def forward(self, x, y):
        seen, last = self.encoder(self.word(x))
        state, steps, made = last[0], self.word(y), []
        for i in range(y.shape[1]):
            weights = torch.softmax(torch.bmm(seen, state.unsqueeze(2)).squeeze(2), 1)
            context = torch.bmm(weights.unsqueeze(1), seen).squeeze(1)
            state = self.cell(torch.cat([steps[:, i], context], 1), state)
            made.append(self.head(state))
        return torch.stack(made, 1)


@work
def translator():
    network, x, y = Translator(), labels(200, 16, 20), labels(200, 16, 15)
    return training(network, lambda: F.cross_entropy(network(x, y).reshape(-1, 200), y.reshape(-1)))


class Sentences(nn.Module):
    def __init__(self, words=5000, width=64):
        super().__init__()
        self.word, self.head = nn.Embedding(words, width), nn.Linear(3 * width, 4)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, k) for k in (3, 4, 5))

    def forward(self, x):
        x = self.word(x).transpose(1, 2)
        return self.head(torch.cat([F.relu(conv(x)).max(dim=2)[0] for conv in self.convs], 1))


@work
def sentence_cnn():
    network, words, target = Sentences(), labels(5000, 64, 50), labels(4, 64)
    return training(network, lambda: F.cross_entropy(network(words), target))


class Signals(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.stem, self.head = nn.Conv1d(4, width, 7, 2, 3), nn.Linear(width, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 3, padding=d, dilation=d), nn.BatchNorm1d(width),
                nn.ReLU(), nn.Conv1d(width, width, 3, padding=1), nn.BatchNorm1d(width),
            )
            for d in (1, 2, 4)
        )  # fmt: skip

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = F.relu(x + block(x))
        return self.head(x.mean(2))


@work
def signal_resnet():
    network, x, target = Signals(), torch.randn(32, 4, 500), labels(5, 32)
    return training(
        network,
        lambda: F.cross_entropy(network(x), target),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=1e-4),
    )


class Wave(nn.Module):
    def __init__(self, width=32, depth=6):
        super().__init__()
        self.stem, self.head = nn.Conv1d(1, width, 1), nn.Conv1d(width, 16, 1)
        self.gates = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 2, dilation=2**i) for i in range(depth)
        )
        self.mixes = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for i, (gate, mix) in enumerate(zip(self.gates, self.mixes, strict=True)):
            a, b = gate(F.pad(x, (2**i, 0))).chunk(2, 1)
            x = x + mix(torch.tanh(a) * torch.sigmoid(b))
        return self.head(x)


@work
def wavenet():
    network, x, target = Wave(), torch.randn(8, 1, 512), labels(16, 8, 512)
    return training(network, lambda: F.cross_entropy(network(x), target))
