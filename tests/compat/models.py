"""Modules and optimisers that are built alike in PyTorch and here, given the package."""

from typing import Any

MODELS: dict[str, Any] = {
    "linear": lambda nn: nn.Linear(3, 4),
    "bilinear": lambda nn: nn.Bilinear(3, 3, 2),
    "embedding": lambda nn: nn.Embedding(5, 3, padding_idx=1),
    "conv1d": lambda nn: nn.Conv1d(2, 3, 3, padding=1),
    "conv2d": lambda nn: nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
    "conv2d_same": lambda nn: nn.Conv2d(2, 3, 3, padding="same", dilation=2, bias=False),
    "conv2d_reflect": lambda nn: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
    "conv_transpose1d": lambda nn: nn.ConvTranspose1d(2, 3, 3),
    "conv_transpose2d": lambda nn: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1),
    "batch_norm1d": lambda nn: nn.BatchNorm1d(3),
    "batch_norm2d": lambda nn: nn.BatchNorm2d(2),
    "batch_norm2d_mean": lambda nn: nn.BatchNorm2d(2, momentum=None),
    "batch_norm2d_plain": lambda nn: nn.BatchNorm2d(2, affine=False, track_running_stats=False),
    "layer_norm": lambda nn: nn.LayerNorm(3),
    "group_norm": lambda nn: nn.GroupNorm(2, 2),
    "instance_norm2d": lambda nn: nn.InstanceNorm2d(2, affine=True),
    "rms_norm": lambda nn: nn.RMSNorm(3),
    "max_pool2d": lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "avg_pool2d": lambda nn: nn.AvgPool2d(3, 2, 1),
    "avg_pool2d_exclusive": lambda nn: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "adaptive_avg_pool2d": lambda nn: nn.AdaptiveAvgPool2d((2, 3)),
    "upsample": lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"),
    "prelu": lambda nn: nn.PReLU(2),
    "gelu": lambda nn: nn.GELU(),
    "gelu_tanh": lambda nn: nn.GELU("tanh"),
    "softmax": lambda nn: nn.Softmax(dim=1),
    "zero_pad2d": lambda nn: nn.ZeroPad2d((1, 2, 0, 1)),
    "lstm": lambda nn: nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True),
    "gru": lambda nn: nn.GRU(3, 4, bias=False),
    "rnn": lambda nn: nn.RNN(3, 4, nonlinearity="relu"),
    "gru_cell": lambda nn: nn.GRUCell(3, 4),
    "attention": lambda nn: nn.MultiheadAttention(6, 2, batch_first=True),
    "encoder_layer": lambda nn: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0),
    "network": lambda nn: nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3, 2),
    ),
    "instance_norm2d_tracked": lambda nn: nn.InstanceNorm2d(
        2, momentum=0.3, affine=True, track_running_stats=True
    ),
    "instance_norm2d_kept": lambda nn: nn.InstanceNorm2d(
        2, momentum=None, affine=True, track_running_stats=True, bias=False
    ),
    "embedding_limited": lambda nn: nn.Embedding(5, 3, 1, 0.9, 1.5, True),
    "embedding_bag_limited": lambda nn: nn.EmbeddingBag(5, 3, 0.9),
}  # fmt: skip
"""How each module is made from `nn`."""

_IMAGES = (
    "conv2d",
    "conv_transpose2d",
    "batch_norm2d",
    "group",
    "instance",
    "pool2d",
    "ups",
    "pad",
)


def inputs_of(name: str, torch: Any) -> list[Any]:
    """What a module is called with."""
    if "embedding" in name:
        return [torch.tensor([[0, 1], [4, 2]])]
    if name == "bilinear":
        return [torch.randn(4, 3), torch.randn(4, 3)]
    if name in ("attention", "encoder_layer"):
        return [torch.randn(3, 4, 6)] * (3 if name == "attention" else 1)
    if name in ("lstm", "gru", "rnn"):
        return [torch.randn(4, 2, 3)]
    if name.endswith("1d") and "norm" not in name:
        return [torch.randn(2, 2, 6)]
    if name == "network" or any(part in name for part in _IMAGES):
        return [torch.randn(2, 2, 5, 4)]
    if name == "prelu":
        return [torch.randn(3, 2)]
    return [torch.randn(4, 3)]


def call(module: Any, inputs: list[Any]) -> Any:
    """The output of a module; the first of several."""
    out = module(*inputs)
    return out[0] if isinstance(out, tuple) else out


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda optim, p: optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda optim, p: optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda optim, p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda optim, p: optim.Adam(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1),
    "adamw": lambda optim, p: optim.AdamW(p, lr=0.05),
    "adamw_amsgrad": lambda optim, p: optim.AdamW(p, lr=0.05, amsgrad=True),
    "rmsprop": lambda optim, p: optim.RMSprop(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    "adamax": lambda optim, p: optim.Adamax(p, lr=0.05),
    "nadam": lambda optim, p: optim.NAdam(p, lr=0.05),
    "radam": lambda optim, p: optim.RAdam(p, lr=0.05),
    "rprop": lambda optim, p: optim.Rprop(p, lr=0.05),
    "adagrad": lambda optim, p: optim.Adagrad(p, lr=0.1),
    "adadelta": lambda optim, p: optim.Adadelta(p),
    "dampened": lambda optim, p: optim.SGD(
        p, lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.1
    ),
    "dampened_up": lambda optim, p: optim.SGD(
        [{"params": [p[0]], "dampening": 0.0, "nesterov": True}, {"params": [p[1]]}],
        lr=0.05, momentum=0.9, dampening=0.3, maximize=True,
    ),
    "adagrad_decaying": lambda optim, p: optim.Adagrad(
        p, lr=0.1, lr_decay=0.2, initial_accumulator_value=0.5, weight_decay=0.1
    ),
    "adagrad_groups": lambda optim, p: optim.Adagrad(
        [{"params": [p[0]], "initial_accumulator_value": 2.0}, {"params": [p[1]], "lr_decay": 0.5}],
        lr=0.1, maximize=True,
    ),
    "rmsprop_centered": lambda optim, p: optim.RMSprop(
        [{"params": [p[0]], "lr": 0.1}, {"params": [p[1]]}], lr=0.01, centered=True, maximize=True
    ),
    "rprop_groups": lambda optim, p: optim.Rprop(
        [{"params": [p[0]], "lr": 0.1}, {"params": [p[1]]}], lr=0.01
    ),
    "adam_up": lambda optim, p: optim.Adam(
        p, lr=0.05, amsgrad=True, weight_decay=0.1, maximize=True, foreach=True
    ),
    "groups": lambda optim, p: optim.SGD(
        [{"params": [p[0]], "lr": 0.3}, {"params": [p[1]], "momentum": 0.5}], lr=0.01
    ),
}  # fmt: skip
"""How each optimiser is made from `optim` and two parameters."""


def walk(torch: Any, nn: Any, name: str) -> list[Any]:
    """Parameters after each of some steps, the rate lowered on the way."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    bias = nn.Parameter(torch.tensor([0.25, -1.0]))
    optimizer = OPTIMIZERS[name](torch.optim, [weight, bias])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    x, seen = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.3, -0.7]]), []
    for _ in range(5):
        optimizer.zero_grad()
        ((torch.sigmoid(x.mm(weight) + bias) - 0.2) ** 2).sum().backward()
        optimizer.step()
        schedule.step()
        seen += [weight.detach().clone(), bias.detach().clone()]
    return seen
