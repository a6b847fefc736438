"""Settings of PyTorch's modules that are changed after they were made, and words that are rarer."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.peers.snippets import message, ramp, snippet


def _filled(torch: Any, module: Any) -> Any:
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.tensor(ramp(*p.shape)))
    return module


def _changed(torch: Any, module: Any, **settings: Any) -> list[Any]:
    """What a module computes and prints after its settings were changed."""
    module = _filled(torch, module)
    for name, value in settings.items():
        setattr(module, name, value)
    out = module(torch.tensor(ramp(2, 4, 6, 6)))
    return [out, repr(module), *module.buffers()]


@snippet(flavour="torch")
def normalisation(torch: Any) -> Any:
    nn = torch.nn
    return [
        _changed(torch, nn.BatchNorm2d(4), momentum=0.5, eps=0.5),
        _changed(torch, nn.BatchNorm2d(4), momentum=None),
        _changed(torch, nn.LayerNorm(6), eps=0.5),
        _changed(torch, nn.RMSNorm(6), eps=0.5),
        _changed(torch, nn.GroupNorm(2, 4), eps=0.5),
        _changed(torch, nn.InstanceNorm2d(4, affine=True), eps=0.5),
    ]


@snippet(flavour="torch")
def convolutions(torch: Any) -> Any:
    nn = torch.nn
    return [
        _changed(torch, nn.Conv2d(4, 3, 3), stride=(2, 2)),
        _changed(torch, nn.Conv2d(4, 3, 3), padding=(2, 2), dilation=(2, 2)),
        _changed(torch, nn.Conv2d(4, 4, 3, groups=2), padding=(1, 0)),
        _changed(torch, nn.ConvTranspose2d(4, 3, 3), stride=(2, 2), output_padding=(1, 1)),
    ]


@snippet(flavour="torch")
def activations(torch: Any) -> Any:
    nn = torch.nn
    return [
        _changed(torch, nn.LeakyReLU(), negative_slope=0.5),
        _changed(torch, nn.ELU(), alpha=0.5),
        _changed(torch, nn.GELU(), approximate="tanh"),
        _changed(torch, nn.Softmax(dim=1), dim=-1),
        _changed(torch, nn.GLU(), dim=1),
        _changed(torch, nn.Hardtanh(), max_val=0.1, min_val=-0.2),
        _changed(torch, nn.Softplus(), beta=2.0),
        _changed(torch, nn.Softshrink(), lambd=0.1),
        _changed(torch, nn.Threshold(0.1, 2.0), threshold=0.3, value=-1.0),
        _changed(torch, nn.Dropout(0.5), p=0.0),
    ]


@snippet(flavour="torch")
def windows(torch: Any) -> Any:
    nn = torch.nn
    return [
        _changed(torch, nn.MaxPool2d(2, 2), ceil_mode=True, kernel_size=3),
        _changed(torch, nn.AvgPool2d(2, 2, 1), count_include_pad=False),
        _changed(torch, nn.AdaptiveAvgPool2d(2), output_size=3),
    ]


@snippet(flavour="torch")
def recurrent(torch: Any) -> Any:
    rnn = _filled(torch, torch.nn.GRU(3, 2, batch_first=True))
    rnn.batch_first = False
    return rnn(torch.tensor(ramp(4, 2, 3)))


@snippet(flavour="torch")
def losses(torch: Any) -> Any:
    x, y = torch.tensor(ramp(4, 3)), torch.tensor([0, 1, 2, 1])
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    first = loss(x, y)
    loss.reduction, loss.ignore_index, loss.label_smoothing = "sum", 1, 0.1
    loss.weight = torch.tensor([3.0, 2.0, 1.0])
    huber = torch.nn.HuberLoss()
    huber.delta = 0.25
    weighted = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0]))
    return (
        first,
        loss(x, y),
        huber(x, x.roll(1, 0)),
        list(loss.state_dict()),
        list(weighted.state_dict()),
        weighted(x, (x > 0).float()),
        torch.nn.TripletMarginLoss(margin=0.5).margin,
    )


@snippet(flavour="torch")
def ctc(torch: Any) -> Any:
    F, found = torch.nn.functional, []
    scores = torch.tensor(ramp(8, 3, 5)).log_softmax(2)
    targets = torch.tensor([[1, 2, 3], [1, 1, 2], [4, 4, 4]])
    joined = torch.tensor([1, 2, 3, 1, 1, 4], dtype=torch.int32)
    for labels, steps, lengths, settings in (
        (targets, (8, 8, 8), (3, 3, 3), {}),
        (targets, torch.tensor([8, 7, 8]), torch.tensor([3, 2, 0]), {"reduction": "none"}),
        (joined, torch.tensor([8, 8, 8]), torch.tensor([3, 2, 1]), {"reduction": "sum"}),
        (targets, (8, 3, 4), (3, 3, 3), {"zero_infinity": True}),
        (targets, (8, 3, 4), (3, 3, 3), {"zero_infinity": True, "reduction": "none"}),
    ):
        x = scores.clone().requires_grad_(True)
        loss = F.ctc_loss(x, labels, steps, lengths, **settings)
        loss.sum().backward()
        found.append((loss, x.grad))
    alone = F.ctc_loss(scores[:, 0], targets[0], torch.tensor(8), torch.tensor(3))
    impossible = F.ctc_loss(scores, targets, (8, 3, 4), (3, 3, 3), reduction="none")
    return found, alone, impossible, torch.nn.CTCLoss(blank=4, zero_infinity=True).blank


@snippet(flavour="torch")
def words_of_numpy(torch: Any) -> Any:
    x = torch.tensor(ramp(3, 4))
    return (
        torch.cumprod(x, axis=0),
        x.cumsum(axis=1),
        torch.cat([x, x], axis=1),
        torch.stack([x, x], axis=1),
        x.sum(axis=1, keepdims=True),
        torch.softmax(x, axis=1),
        x.max(axis=1)[0],
        torch.unsqueeze(x, axis=0).squeeze(axis=0),
        torch.gather(x, axis=1, index=torch.tensor([[0], [1], [2]])),
        torch.unbind(x, axis=1)[1],
    )


@snippet(flavour="torch")
def different_values(torch: Any) -> Any:
    return torch.tensor([[3, 1], [1, 2]]).unique(return_inverse=True, return_counts=True)


@snippet(flavour="torch")
def types_of_old(torch: Any) -> Any:
    x = torch.tensor([0.0, 1.5])
    return (
        x.type(torch.DoubleTensor),
        x.type("torch.LongTensor"),
        x.type(torch.BoolTensor),
        x.type(torch.int32),
        x.type(),
    )


@snippet(flavour="torch")
def slopes_at_zero(torch: Any) -> Any:
    F, found = torch.nn.functional, []
    for function in (
        lambda x: F.cosine_similarity(x, torch.ones(2, 3)),
        lambda x: F.cosine_similarity(x[0], torch.ones(2, 3), dim=-1),
        lambda x: torch.cdist(x, x * 1),
        lambda x: torch.cdist(x, x * 1, 3.0),
        lambda x: F.normalize(x, dim=1),
        lambda x: F.pairwise_distance(x, x * 0, eps=0),
        lambda x: x.norm(p=3, dim=1),
    ):
        x = torch.zeros(2, 3, requires_grad=True)
        function(x).sum().backward()
        found.append(x.grad)
    return found


@snippet(flavour="torch")
def embeddings(torch: Any) -> Any:
    rows = torch.tensor(ramp(5, 3))
    frozen = torch.nn.Embedding.from_pretrained(rows, freeze=True, padding_idx=0, sparse=False)
    sparse = torch.nn.Embedding(5, 3, sparse=False, max_norm=None)
    x = torch.tensor([0, 3])
    return frozen(x), frozen.weight.requires_grad, sparse(x).shape == (2, 3)


@snippet(flavour="torch")
def files(torch: Any) -> Any:
    def load(path: str) -> Any:
        return import_module(f"{torch.__name__}.{path}")

    utils, norm = load("nn.modules.utils"), load("nn.modules.batchnorm")
    autocast, default_collate = load("cuda.amp"), load("utils.data.dataloader")
    load("backends.cudnn").benchmark = True
    return (
        utils._pair(3),
        utils._pair((1, 2)),
        utils._ntuple(4)(0),
        isinstance(torch.nn.BatchNorm1d(2), norm._BatchNorm),
        isinstance(torch.nn.ReLU(), norm._BatchNorm),
        isinstance(torch.nn.Conv1d(1, 1, 1), load("nn.modules.conv")._ConvNd),
        load("nn.parameter").Parameter is torch.nn.Parameter,
        load("optim.optimizer").Optimizer is torch.optim.Optimizer,
        load("nn.utils.rnn").pad_sequence is torch.nn.utils.rnn.pad_sequence,
        callable(autocast.GradScaler),
        default_collate.default_collate([1, 2]),
        message(lambda: load("nn.nothing"), ModuleNotFoundError).split(":")[0],
    )


@snippet(flavour="torch")
def batches_of_a_sampler(torch: Any) -> Any:
    data = torch.utils.data
    return list(data.BatchSampler(data.SequentialSampler(range(5)), 2, False))


@snippet(flavour="torch")
def padded_again(torch: Any) -> Any:
    rnn = torch.nn.utils.rnn
    x = torch.tensor(ramp(3, 5, 2)).requires_grad_(True)
    packed = rnn.pack_padded_sequence(x, torch.tensor([2, 4, 1]), True, enforce_sorted=False)
    short, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=7.0)
    long, _ = rnn.pad_packed_sequence(packed, total_length=6)
    (short.sum() + long.square().sum()).backward()
    text = message(lambda: rnn.pad_packed_sequence(packed, total_length=2), ValueError)
    return short, lengths, long, x.grad, text
