"""PyTorch code at the edges: missing numbers, sizes that do not fit, settings out of range."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np

from tests.peers.snippets import kind, message, ramp, snippet, warned

NAN = float("nan")


@snippet(flavour="torch")
def cross_entropy_of_probabilities(torch: Any) -> Any:
    F = torch.nn.functional
    scores = torch.tensor(ramp(3, 5, 4), requires_grad=True)
    target = torch.tensor(ramp(3, 5, 4, scale=2.0)).softmax(1)
    weight = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0])
    found = [
        F.cross_entropy(scores, target, reduction="none"),
        F.cross_entropy(scores[..., 0], target[..., 0], reduction="none"),
        F.cross_entropy(scores[0, :, 0], target[0, :, 0], reduction="none"),
        F.cross_entropy(scores, target, weight, reduction="none", label_smoothing=0.2),
        torch.nn.CrossEntropyLoss(reduction="none", label_smoothing=0.3)(scores, target),
        F.cross_entropy(scores, target), F.cross_entropy(scores, target, reduction="sum"),
    ]  # fmt: skip
    sum(loss.sum() for loss in found).backward()
    refused = kind(lambda: F.cross_entropy(scores, target[:1]), ValueError)
    return [loss.detach() for loss in found], scores.grad, refused


@snippet(flavour="torch")
def mean_of_no_labels(torch: Any) -> Any:
    F = torch.nn.functional
    scores = torch.tensor(ramp(3, 4), requires_grad=True)
    none, some = torch.tensor([-100] * 3), torch.tensor([1, -100, 2])
    weight = torch.ones(4)
    losses = [
        F.cross_entropy(scores, none), F.nll_loss(scores, none),
        F.cross_entropy(scores, none, weight),
        F.cross_entropy(scores, none, reduction="sum"), F.cross_entropy(scores[:0], none[:0]),
        F.cross_entropy(scores, none, label_smoothing=0.1),
        F.cross_entropy(scores, torch.tensor([0, 0, 0]), torch.tensor([0.0, 1, 1, 1])),
    ]  # fmt: skip
    F.cross_entropy(scores, none).backward()
    slopes = [scores.grad.clone()]
    for smoothing in (0.5, 1.0):
        scores.grad = None
        losses.append(F.cross_entropy(scores, some, label_smoothing=smoothing))
        losses[-1].backward()
        slopes.append(scores.grad.clone())
    return [loss.detach() for loss in losses], slopes


@snippet(flavour="torch")
def targets_that_do_not_fit(torch: Any) -> Any:
    F, nn = torch.nn.functional, torch.nn
    x, column, row = torch.tensor(ramp(3, 4)), torch.ones(3, 1), torch.ones(4)
    errors = [
        message(call, ValueError)
        for call in (
            lambda: F.binary_cross_entropy_with_logits(x, column),
            lambda: F.binary_cross_entropy(x.sigmoid(), row),
            lambda: nn.BCEWithLogitsLoss()(x, row), lambda: nn.BCELoss()(x.sigmoid(), column),
        )
    ]  # fmt: skip
    warnings_, losses = [], []
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        loss = getattr(F, name)
        warnings_.append(warned(lambda loss=loss: loss(x, column)))
        warnings_.append(warned(lambda loss=loss: loss(x, x * 2)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses += [loss(x, column), loss(x, row, reduction="none"), loss(column, x)]
    return errors, warnings_, losses


@snippet(flavour="torch")
def medians_of_missing_numbers(torch: Any) -> Any:
    x = torch.tensor([[NAN, 1.0, 2.0, 0.5], [3.0, 1.0, 2.0, 2.0]], requires_grad=True)
    (x.median(1)[0].nan_to_num(7.0) * torch.tensor([2.0, 3.0])).sum().backward()
    slope = x.grad
    x = x.detach()
    q = torch.tensor([0.1, 0.5, 0.9])
    ways = ("linear", "lower", "higher", "midpoint", "nearest")
    return (
        slope, x.median(), x[1].median(), tuple(x.median(0)), tuple(x.median(1, keepdim=True)),
        torch.tensor([4, 2, 3, 1]).median(), torch.tensor([NAN, float("inf")]).median(),
        x.nanmedian(), tuple(x.nanmedian(1)), torch.tensor([NAN, NAN]).nanmedian(),
        [x.quantile(q, 1, interpolation=way) for way in ways],
        [torch.nanquantile(x, q, 1, True, interpolation=way) for way in ways],
        torch.nanquantile(torch.tensor([NAN, NAN]), 0.5), x.nanquantile(0.3), x.quantile(0.3, 0),
        repr(x.aminmax()), repr(x.median(1)), repr(x.nanmedian(1)),
    )  # fmt: skip


@snippet(flavour="torch")
def copies_and_gradients(torch: Any) -> Any:
    layer = torch.nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    x = torch.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    grads = [copy.deepcopy(layer).weight.grad, copy.deepcopy(layer.weight).grad, copy.copy(x).grad]
    return grads, copy.deepcopy(x).grad, copy.deepcopy({"x": x})["x"].grad, layer.weight.grad


@snippet(flavour="torch")
def packed_lengths(torch: Any) -> Any:
    pack, x = torch.nn.utils.rnn.pack_padded_sequence, torch.zeros(3, 4, 2)
    refused = [
        message(lambda lengths=lengths: pack(x, lengths, batch_first=True))
        for lengths in ([4, 3], [4, 3, 2, 1], [4, 3, 0], [2, 4, 3])
    ]
    unsorted = torch.tensor([-1, 4, 2])
    refused.append(message(lambda: pack(x, unsorted, batch_first=True, enforce_sorted=False)))
    return (
        refused,
        kind(lambda: pack(x, [4, 4, 1], True)),
        kind(lambda: pack(x, [1, 4, 2], True, False)),
    )


@snippet(flavour="torch")
def offsets_of_bags(torch: Any) -> Any:
    bag, i, w = torch.nn.functional.embedding_bag, torch.tensor([0, 1, 2]), torch.eye(4)
    refused = [
        kind(lambda at=at: bag(i, w, torch.tensor(at)), RuntimeError)
        for at in ([0, 5], [1, 2], [0, 2, 1])
    ]
    return refused, bag(i, w, torch.tensor([0, 3]))


@snippet(flavour="torch")
def numbers_that_do_not_fit(torch: Any) -> Any:
    tensor = torch.tensor
    refused = [
        message(lambda n=n, d=d: tensor(n, dtype=getattr(torch, d)))
        for n, d in (
            ([300], "uint8"), ([[1], [128]], "int8"), (2**31, "int32"), ([NAN], "int32"),
            ([300.5], "uint8"), (-256, "uint8"),
        )
    ]  # fmt: skip
    refused.append(message(lambda: torch.as_tensor([300], dtype=torch.uint8)))
    refused.append(message(lambda: torch.ones(1, dtype=torch.uint8).new_tensor([300])))
    return refused, [
        tensor([-1], dtype=torch.uint8), tensor([1.5], dtype=torch.int32),
        tensor([1e40]), tensor([2], dtype=torch.bool), tensor([300]).to(torch.uint8),
        tensor(np.array([300]), dtype=torch.uint8), tensor([16777217.0], dtype=torch.int32),
        tensor([], dtype=torch.int8),
    ]  # fmt: skip


@snippet(flavour="torch")
def output_padding_within_the_dilation(torch: Any) -> Any:
    found = []
    for padding, stride, dilation, extra in (
        (0, 1, 3, 2), (1, 2, 4, 3), (2, 1, 3, (2, 1)), (1, 2, 1, 1),
    ):  # fmt: skip
        x = torch.tensor(ramp(2, 4, 5, 4), requires_grad=True)
        w = torch.tensor(ramp(4, 3, 2, 3), requires_grad=True)
        b = torch.tensor(ramp(6), requires_grad=True)
        y = torch.nn.functional.conv_transpose2d(x, w, b, stride, padding, extra, 2, dilation)
        (y * torch.tensor(ramp(*y.shape, scale=0.5))).sum().backward()
        found.append((y.detach(), x.grad, w.grad, b.grad))
    layer = torch.nn.ConvTranspose2d(4, 4, 3, 2, output_padding=2)
    return found, kind(lambda: layer(torch.ones(1, 4, 3, 3)), RuntimeError, ValueError)


@snippet(flavour="torch")
def rates_that_grow(torch: Any) -> Any:
    schedules, rows = torch.optim.lr_scheduler, []
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    for make in (
        lambda o: schedules.StepLR(o, 2, gamma=1.5), lambda o: schedules.StepLR(o, 1, gamma=1.0),
        lambda o: schedules.MultiStepLR(o, [3, 1, 1], gamma=2.0),
        lambda o: schedules.MultiStepLR(o, [2, 4]),
    ):  # fmt: skip
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        schedule = make(optimizer)
        rows.append([])
        for _ in range(5):
            optimizer.step()
            schedule.step()
            rows[-1].append(schedule.get_last_lr()[0])
    return rows, message(lambda: schedules.ConstantLR(optimizer, 2.0))


@snippet(flavour="torch")
def masks_of_the_default_dtype(torch: Any) -> Any:
    mask = torch.nn.Transformer.generate_square_subsequent_mask
    kinds = [str(mask(2).dtype), str(mask(2, dtype=torch.float16).dtype)]
    torch.set_default_dtype(torch.float64)
    try:
        kinds.append(str(mask(2).dtype))
    finally:
        torch.set_default_dtype(torch.float32)
    return kinds


@snippet(flavour="torch")
def norms_that_are_not_finite(torch: Any) -> Any:
    utils = torch.nn.utils
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.tensor([NAN, 1.0])
    refused = [
        message(lambda n=n: utils.clip_grad_norm_([p], 1.0, n, error_if_nonfinite=True))
        for n in (2.0, 1.0)
    ]
    kept = p.grad.clone()
    norms = [utils.clip_grad_norm_([p], 1.0), utils.get_total_norm([torch.ones(4), torch.ones(5)])]
    p.grad = torch.tensor([3.0, 4.0])
    norms.append(utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True))
    return refused, kept, norms, p.grad


@snippet(flavour="torch")
def keys_and_values_of_other_widths(torch: Any) -> Any:
    net = torch.nn.MultiheadAttention(6, 2, kdim=3, vdim=5, batch_first=True)
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(torch.tensor(ramp(*p.shape, scale=0.5 + 0.1 * i)))
    q, k, v = (torch.tensor(ramp(2, n, w)) for n, w in ((3, 6), (4, 3), (4, 5)))
    out, weights = net(q, k, v)
    (out * torch.tensor(ramp(*out.shape))).sum().backward()
    named = [(name, p.grad) for name, p in net.named_parameters()]
    same = torch.nn.MultiheadAttention(6, 2, 0.0, True, False, False, None, None, True)
    return out.detach(), weights.detach(), named, list(same.state_dict()), same.batch_first


@snippet(flavour="torch")
def anomalies(torch: Any) -> Any:
    def run() -> None:
        x = torch.tensor([-1.0], requires_grad=True)
        torch.sqrt(x).sum().backward()

    found = [message(run)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.detect_anomaly():
            found.append(message(run)[:70])
        with torch.autograd.set_detect_anomaly(True):
            found.append(message(run)[:70])
            enabled = torch.is_anomaly_enabled()
    torch.autograd.set_detect_anomaly(True)
    found.append(message(run)[:70])
    torch.autograd.set_detect_anomaly(False)
    return found, message(run), enabled, torch.is_anomaly_enabled()
