"""PyTorch code about modules: names, states, conversions, files, and what they compute."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np

from tests.peers.snippets import kind, message, ramp, snippet


def _filled(torch: Any, module: Any) -> Any:
    """The module with values that are the same everywhere."""
    with torch.no_grad():
        for i, (name, p) in enumerate(module.named_parameters()):
            value = ramp(*p.shape, scale=0.3 + 0.01 * i)
            p.copy_(torch.tensor(value + ("norm" in name and "weight" in name)))
    return module


def _net(torch: Any) -> Any:
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, bias=False)
            self.bn = nn.BatchNorm2d(2)
            self.fc = nn.Linear(8, 3)
            self.register_buffer("scale", torch.ones(1))
            self.register_buffer("hidden", torch.zeros(1), persistent=False)
            self.weight = nn.Parameter(torch.full((3,), 0.5))

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.bn(self.conv(x)))
            return self.fc(torch.flatten(x, 1)) * self.weight * self.scale

    return _filled(torch, Net())


@snippet(flavour="torch")
def names(torch: Any) -> Any:
    net = _net(torch)
    return {
        "state": list(net.state_dict()),
        "parameters": [n for n, _ in net.named_parameters()],
        "own": [n for n, _ in net.named_parameters(recurse=False)],
        "buffers": [n for n, _ in net.named_buffers()],
        "modules": [n for n, _ in net.named_modules()],
        "children": [n for n, _ in net.named_children()],
        "prefixed": list(net.state_dict(prefix="m.")),
        "text": repr(net),
    }


@snippet(flavour="torch")
def outputs(torch: Any) -> Any:
    net, x = _net(torch), torch.tensor(ramp(2, 1, 4, 4))
    trained = net(x)
    trained.pow(2).sum().backward()
    used = net.eval()(x)
    return trained, used, [p.grad for p in net.parameters()], dict(net.state_dict())


@snippet(flavour="torch")
def loading(torch: Any) -> Any:
    net, other = _net(torch), _net(torch)
    state = dict(other.state_dict())
    ok = repr(net.load_state_dict(state))
    del state["fc.bias"]
    state["more"] = torch.ones(1)
    state["fc.weight"] = torch.ones(2, 2)
    partly = dict(state)
    del partly["fc.weight"]
    return (
        ok,
        message(lambda: net.load_state_dict(state)),
        repr(net.load_state_dict(partly, strict=False)),
        message(lambda: net.load_state_dict([])),
    )


@snippet(flavour="torch")
def registration_errors(torch: Any) -> Any:
    nn = torch.nn
    net = nn.Linear(1, 1)
    return [
        message(lambda: net.register_buffer("a.b", torch.ones(1))),
        message(lambda: net.register_buffer("", torch.ones(1))),
        message(lambda: net.register_buffer("weight", torch.ones(1))),
        message(lambda: net.register_buffer("b", 3)),
        message(lambda: net.register_parameter("p", torch.ones(1))),
        message(lambda: net.add_module("m", 3)),
        message(lambda: setattr(net, "weight", torch.ones(1))),
        message(lambda: net.train(1)),
        message(lambda: net.missing),
    ]


@snippet(flavour="torch", differs="the message says what to do")
def sequential_of_a_list(torch: Any) -> Any:
    return message(lambda: torch.nn.Sequential([torch.nn.ReLU()]))


@snippet(flavour="torch")
def conversions(torch: Any) -> Any:
    net = _net(torch)
    seen = [str(net.double().fc.weight.dtype), str(net.scale.dtype)]
    seen += [str(net.half().fc.weight.dtype), str(net.bn.num_batches_tracked.dtype)]
    seen += [str(net.float().fc.weight.dtype), str(net.to(torch.bfloat16).fc.bias.dtype)]
    seen += [str(net.to("cpu").fc.weight.device), str(next(net.parameters()).is_cuda)]
    return seen


@snippet(flavour="torch")
def freezing(torch: Any) -> Any:
    net, x = _net(torch), torch.tensor(ramp(2, 1, 4, 4))
    for p in net.parameters():
        p.requires_grad = False
    net.fc = torch.nn.Linear(8, 2)
    net.weight = torch.nn.Parameter(torch.ones(2))
    net(x).sum().backward()
    return [n for n, p in net.named_parameters() if p.grad is not None]


@snippet(flavour="torch")
def shared(torch: Any) -> Any:
    a = torch.nn.Linear(2, 2)
    net = torch.nn.Sequential(a, torch.nn.ReLU(), a)
    return len(list(net.parameters())), list(net.state_dict()), len(list(net.modules()))


@snippet(flavour="torch")
def copies(torch: Any) -> Any:
    net = _net(torch)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        net.fc.bias.zero_()
    return twin.fc.bias.detach(), list(twin.state_dict()), twin.fc is net.fc


@snippet(flavour="torch")
def files(torch: Any) -> Any:
    net, buffer = _net(torch), io.BytesIO()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    torch.save({"epoch": 3, "model": net.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    found = torch.load(buffer, map_location=torch.device("cpu"))
    return found["epoch"], list(found["model"]), found["optimizer"]["param_groups"][0]["lr"]


@snippet(flavour="torch")
def containers(torch: Any) -> Any:
    nn = torch.nn
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    net.append(nn.Linear(2, 1))
    listed = nn.ModuleList([nn.Linear(1, 1)])
    listed.extend([nn.ReLU()])
    named = nn.ModuleDict({"a": nn.Linear(1, 1)})
    named["b"] = nn.ReLU()
    return (
        repr(net), repr(net[:2]), len(listed), list(named), "a" in named, list(named.state_dict()),
        [type(m).__name__ for m in net], [n for n, _ in nn.ParameterList(
            [torch.ones(1), torch.zeros(2)]).named_parameters()],
    )  # fmt: skip


@snippet(flavour="torch")
def data_parallel(torch: Any) -> Any:
    net = torch.nn.DataParallel(torch.nn.Linear(2, 1))
    plain = torch.nn.Linear(2, 1)
    return list(net.state_dict()), message(lambda: plain.load_state_dict(net.state_dict()))


@snippet(flavour="torch")
def lstm(torch: Any) -> Any:
    net = _filled(torch, torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True))
    out, (h, c) = net(torch.tensor(ramp(5, 2, 3)))
    return out, h, c, list(net.state_dict())


@snippet(flavour="torch")
def gru_of_one_sequence(torch: Any) -> Any:
    net = _filled(torch, torch.nn.GRU(3, 4, batch_first=True))
    return net(torch.tensor(ramp(5, 3)), torch.zeros(1, 4))


@snippet(flavour="torch")
def packed(torch: Any) -> Any:
    pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    net = _filled(torch, torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True))
    x = torch.tensor(ramp(3, 6, 3))
    out, (h, _) = net(pack(x, [5, 4, 1], batch_first=True))
    found, lengths = pad(out, batch_first=True, padding_value=-1.0)
    mixed, _ = net(pack(x, torch.tensor([1, 5, 4]), batch_first=True, enforce_sorted=False))
    longer, _ = pad(mixed, batch_first=True, total_length=7)
    error = message(lambda: pack(x, [1, 2, 3], batch_first=True))
    return found, lengths, h, longer, error


@snippet(flavour="torch")
def lazy_modules(torch: Any) -> Any:
    nn = torch.nn

    def made() -> Any:
        return nn.Sequential(
            nn.LazyConv2d(4, 3, groups=2, padding=1, bias=False), nn.LazyBatchNorm2d(affine=False),
            nn.LazyConvTranspose2d(2, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3),
        )  # fmt: skip

    net = made()
    held = list(net.parameters())
    before = repr(net), [type(m).__name__ for m in net], [repr(p) for p in held]
    net.eval()
    net[0].weight.requires_grad = False
    net(torch.zeros(2, 6, 5, 5))
    same = all(p is q for p, q in zip(held, net.parameters(), strict=True))
    _filled(torch, net)
    x = torch.tensor(ramp(2, 6, 5, 5))
    out = net(x)
    out.square().sum().backward()
    other = made()
    keys = str(other.load_state_dict(net.state_dict()))
    found = other.eval()(x)
    return (
        before, repr(net), same, net.training, [m.training for m in net], keys,
        [type(m).__name__ for m in other],
        {name: list(p.shape) for name, p in net.state_dict().items()}, out.detach(),
        found.detach(), [p.requires_grad for p in net.parameters()], net[5].weight.grad,
    )  # fmt: skip


@snippet(flavour="torch")
def lazy_modules_refuse(torch: Any) -> Any:
    nn = torch.nn
    layer = nn.LazyLinear(3)
    return (
        kind(lambda: layer.weight + 1, ValueError, RuntimeError),
        kind(lambda: layer.weight.shape, RuntimeError),
        kind(lambda: nn.LazyConv2d(4, 3)(torch.ones(3)), RuntimeError, ValueError),
        kind(lambda: nn.LazyBatchNorm2d()(torch.ones(2, 3)), ValueError),
        layer.has_uninitialized_params(),
    )


@snippet(flavour="torch")
def attention(torch: Any) -> Any:
    net = _filled(torch, torch.nn.MultiheadAttention(6, 2))
    q, kv = torch.tensor(ramp(3, 2, 6)), torch.tensor(ramp(4, 2, 6, scale=0.7))
    padding = torch.tensor([[False, False, True, False], [False, True, False, False]])
    out, weights = net(q, kv, kv, key_padding_mask=padding)
    return out, weights, net(q, kv, kv, need_weights=False)[0]


@snippet(flavour="torch")
def encoder(torch: Any) -> Any:
    layer = torch.nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, activation="gelu")
    net = _filled(torch, torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(6)))
    mask = torch.nn.Transformer.generate_square_subsequent_mask(4)
    return net(torch.tensor(ramp(4, 2, 6)), mask=mask), list(net.state_dict())


@snippet(flavour="torch")
def decoder(torch: Any) -> Any:
    layer = torch.nn.TransformerDecoderLayer(6, 2, 8, dropout=0.0, norm_first=True)
    net = _filled(torch, torch.nn.TransformerDecoder(layer, 2))
    memory = torch.tensor(ramp(5, 2, 6, scale=0.7))
    return net(torch.tensor(ramp(4, 2, 6)), memory), list(net.state_dict())


@snippet(flavour="torch")
def transformer(torch: Any) -> Any:
    net = torch.nn.Transformer(6, 2, 1, 1, 8, dropout=0.0, batch_first=True)
    net, mask = _filled(torch, net), torch.nn.Transformer.generate_square_subsequent_mask(3)
    x, y = torch.tensor(ramp(2, 4, 6)), torch.tensor(ramp(2, 3, 6, scale=0.7))
    return net(x, y, tgt_mask=mask), list(net.state_dict())


@snippet(flavour="torch")
def functional(torch: Any) -> Any:
    F, x = torch.nn.functional, torch.tensor(ramp(2, 3, 4, 4))
    q = torch.tensor(ramp(1, 2, 3, 4))
    return {
        "pool": F.max_pool2d(x, 2, stride=1, padding=1),
        "avg": F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        "adaptive": F.adaptive_avg_pool2d(x, (2, 1)),
        "pad": F.pad(x, (1, 0, 0, 2), value=3.0)[0, 0],
        "bilinear": F.interpolate(x, size=(3, 5), mode="bilinear", align_corners=False),
        "linear": F.linear(x, torch.tensor(ramp(2, 4))),
        "conv": F.conv2d(x, torch.tensor(ramp(2, 3, 3, 3)), stride=2, padding=1),
        "attention": F.scaled_dot_product_attention(q, q, q, is_causal=True),
        "log_softmax": F.log_softmax(x, dim=1)[0],
        "layer_norm": F.layer_norm(x, (4,))[0, 0],
        "gelu": F.gelu(x, approximate="tanh")[0, 0],
        "leaky": F.leaky_relu(x, 0.2)[0, 0],
    }


@snippet(flavour="torch")
def losses(torch: Any) -> Any:
    nn, x = torch.nn, torch.tensor(ramp(3, 4))
    y, t = torch.tensor(ramp(3, 4, scale=0.4)), torch.tensor([1, 3, 0])
    weight = torch.tensor([1.0, 2.0, 0.5, 1.5])
    return {
        "ce": nn.CrossEntropyLoss()(x, t),
        "smooth": nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1)(x, t),
        "soft": nn.CrossEntropyLoss(weight=weight, label_smoothing=0.2)(x, y.softmax(1)),
        "each": nn.CrossEntropyLoss(
            weight=weight, label_smoothing=0.1, ignore_index=3, reduction="none"
        )(x, t),
        "ignored": nn.CrossEntropyLoss(ignore_index=3, reduction="sum")(x, t),
        "nll": nn.NLLLoss(weight=weight)(torch.log_softmax(x, 1), t),
        "bce": nn.BCEWithLogitsLoss(pos_weight=weight)(x, (y > 0).float()),
        "mse": nn.MSELoss(reduction="none")(x, y),
        "l1": nn.L1Loss()(x, y),
        "huber": nn.HuberLoss(delta=0.5)(x, y),
        "smooth_l1": nn.SmoothL1Loss()(x, y),
        "kl": nn.KLDivLoss(reduction="batchmean")(x.log_softmax(1), y.softmax(1)),
        "cosine": nn.CosineEmbeddingLoss()(x, y, torch.tensor([1, -1, 1])),
        "margin": nn.MarginRankingLoss(margin=0.1)(x[:, 0], y[:, 0], torch.tensor([1, -1, 1])),
        "triplet": nn.TripletMarginLoss()(x, y, x * 0.5),
    }


@snippet(flavour="torch")
def indexing(torch: Any) -> Any:
    x = torch.arange(12.0).view(3, 4)
    y = x.clone()
    y[0, 1:3] = torch.tensor([7.0, 8.0])
    y[y > 9] = -1
    y[:, [0]] += 1
    return {
        "rows": x[[0, 2]], "mask": x[x > 5], "none": x[:, None].shape, "last": x[..., -1],
        "steps": x[::2, 1::2], "written": y, "take": torch.take(x, torch.tensor([0, 5])),
        "gathered": x.gather(1, torch.tensor([[0], [1], [2]])), "tensor": x[torch.tensor(1)],
    }  # fmt: skip


@snippet(flavour="torch")
def promotion(torch: Any) -> Any:
    i, f = torch.tensor([1, 2]), torch.tensor([0.5, 1.5])
    kinds = {
        "i/i": i / i, "i//i": i // 2, "i+f": i + f, "i*1.0": i * 1.0, "f+f64": f + f.double(),
        "half+1": f.half() + 1, "bool+bool": (i > 1) + (i > 0), "u8+i": i.byte() + i.int(),
        "mean": f.mean(), "sum of bool": (i > 1).sum(), "i**2": i**2, "bf16*f32": f.bfloat16() * f,
    }  # fmt: skip
    return {
        name: (str(t.dtype), np.asarray(t.float().detach()).tolist()) for name, t in kinds.items()
    }


@snippet(flavour="torch")
def in_place(torch: Any) -> Any:
    x = torch.ones(2, 3)
    view = x.view(-1)
    x.add_(1).mul_(2)
    view[0] = 9
    x[1].zero_()
    y = x.t()
    y[2, 0] = 5
    return x, view, y


@snippet(flavour="torch")
def text(torch: Any) -> Any:
    x = torch.arange(3.0) / 3
    print(x, x.shape, x.dtype, x[0], f"{x[1]:.3f}", str(x.sum()))
    print(torch.nn.Parameter(x), x.requires_grad_())
    torch.set_printoptions(precision=2, sci_mode=False)
    print(x.detach())
    torch.set_printoptions(profile="default")
    return x.size(), tuple(x.shape), x.dim(), len(x)


@snippet(
    flavour="torch",
    differs="a file holds data, never code: a whole module is refused, its state_dict is not",
)
def whole_module(torch: Any) -> Any:
    buffer = io.BytesIO()
    return message(lambda: torch.save(torch.nn.Linear(1, 1), buffer))


@snippet(
    flavour="torch", differs="an argument that asks for work in place is accepted without effect"
)
def relu_in_place(torch: Any) -> Any:
    x = torch.tensor([-1.0, 2.0])
    torch.nn.ReLU(inplace=True)(x)
    return x


@snippet(flavour="torch")
def contiguity(torch: Any) -> Any:
    return torch.ones(2, 3).t().is_contiguous()
