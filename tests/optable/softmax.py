"""Rows of `dyn/ops/softmax.py`, `cross_entropy.py` and `loss.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.autograd import grad
from dyn.core.op import OPS
from tests.optable.case import OpCase, array
from tests.optable.ranking import REDUCTIONS


def ref_softmax(x, *, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=axis, keepdims=True)


def ref_softmax_grad(g, out, *, axis):
    return out * (g - (g * out).sum(axis=axis, keepdims=True))


def ref_log_softmax(x, *, axis):
    return np.log(ref_softmax(x, axis=axis))


def ref_log_softmax_grad(g, out, *, axis):
    return g - np.exp(out) * g.sum(axis=axis, keepdims=True)


def row_losses(logs, label, weight, axis, ignore_index, smoothing=0.0):
    """Per row: loss and weight, one row after the other."""
    logs = np.moveaxis(logs, axis, -1)
    losses, shares = np.zeros(label.shape), np.zeros(label.shape)
    for at in np.ndindex(*label.shape):
        if label[at] == ignore_index:
            continue
        target = np.full(logs.shape[-1], smoothing / logs.shape[-1])
        target[label[at]] += 1 - smoothing
        shares[at] = 1 if weight is None else weight[label[at]]
        losses[at] = -(target * logs[at]).sum() * shares[at]
    return losses, shares


def reduced(losses, shares, reduction, nan_of_none=False):
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / (shares.sum() or (np.nan if nan_of_none else 1))


def ref_cross_entropy(
    logits, label, weight=None, *, axis=1, ignore_index=-100, reduction="mean", label_smoothing=0.0,
    nan_of_none=False,
):  # fmt: skip
    logs = ref_log_softmax(logits, axis=axis)
    rows = row_losses(logs, label, weight, axis, ignore_index, label_smoothing)
    return reduced(*rows, reduction, nan_of_none)


def ref_likelihood_grad(g, label, share, classes, axis, ignore_index):
    number = np.arange(classes).reshape(-1, *[1] * (label.ndim - axis))
    hot = (np.expand_dims(label, axis) == number) & np.expand_dims(label != ignore_index, axis)
    return np.where(hot, np.expand_dims(-(g * share), axis), 0)


def ref_likelihood(
    x, label, weight=None, *, axis=1, ignore_index=-100, reduction="mean", nan_of_none=False
):
    return reduced(*row_losses(x, label, weight, axis, ignore_index), reduction, nan_of_none)


def ref_soft(x, target, *, axis, reduction):
    logs = ref_log_softmax(x, axis=axis)
    return REDUCTIONS[reduction](-(target * logs).sum(axis, keepdims=True))


def ref_huber(x, y, *, delta, reduction="none"):
    size = np.abs(x - y)
    return REDUCTIONS[reduction](np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)))


def ref_mse(x, y, *, reduction):
    square = (x - y) ** 2
    return {"none": square, "sum": square.sum(), "mean": square.sum() / max(square.size, 1)}[
        reduction
    ]


def ref_mse_grad(g, x, y, *, reduction):
    return 2 * g * (x - y) / (x.size if reduction == "mean" else 1)


def labels(*shape: Any, classes: int = 5, ignored: int | None = None) -> Any:
    """Class numbers; the first is `ignored`, if that is given."""

    def draw(rng: np.random.Generator, dtype: str, sizes: Any) -> np.ndarray:
        found = rng.integers(0, classes, [sizes.get(n, n) for n in shape])
        if ignored is not None and found.size > 1:
            found.reshape(-1)[0] = ignored
        return found

    return draw


SOFTMAX = [
    row
    for note, shape, axis in (
        ("last", ("n", 3, 7), 2),
        ("middle", ("n", 5, 3), 1),
        ("first", (4, "n"), 0),
        ("wide", (2, 150), 1),
    )
    for row in (
        OpCase("softmax", [array(*shape, low=-9, high=9)], {"axis": axis}, ref_softmax,
               onnx="Softmax", note=note),
        OpCase("log_softmax", [array(*shape, low=-9, high=9)], {"axis": axis}, ref_log_softmax,
               onnx="LogSoftmax", note=note),
        OpCase("softmax_grad", [array(*shape), array(*shape)], {"axis": axis}, ref_softmax_grad,
               note=note),
        OpCase("log_softmax_grad", [array(*shape), array(*shape, low=-6, high=-3)],
               {"axis": axis}, ref_log_softmax_grad, note=note),
    )
]  # fmt: skip

ENTROPY = [
    row
    for name, wanted in (
        ("softmax_cross_entropy", ref_cross_entropy),
        ("negative_log_likelihood", ref_likelihood),
    )
    for row in (
        OpCase(name, [array("n", 5), labels("n", classes=1)],
               {"ignore_index": 0, "nan_of_none": True}, wanted, note="none-counts", order=0),
        OpCase(name, [array("n", 5), labels("n", ignored=3)],
               {"ignore_index": 3, "nan_of_none": True}, wanted, note="some-count"),
    )
] + [
    OpCase("softmax_cross_entropy", [array("n", 5), labels("n")], {}, ref_cross_entropy,
           onnx="SoftmaxCrossEntropyLoss"),
    OpCase(
        "softmax_cross_entropy",
        [array("n", 5), labels("n", ignored=-100), array(5, low=0.2)],
        {"reduction": "none"},
        ref_cross_entropy,
        note="weighted-rows",
        wrt=(0,),
    ),
    OpCase(
        "softmax_cross_entropy",
        [array("n", 5, 3), labels("n", 3, ignored=2), array(5, low=0.2)],
        {"ignore_index": 2, "label_smoothing": 0.3},
        ref_cross_entropy,
        note="smooth-images",
        wrt=(0,),
    ),
    OpCase(
        "softmax_cross_entropy",
        [array("n", 2, 70), labels("n", 2, classes=70)],
        {"axis": 2, "reduction": "sum"},
        ref_cross_entropy,
        note="sum-last",
    ),
    OpCase(
        "softmax_cross_entropy_grad",
        [array(), array("n", 5)],
        {"axis": 1},
        lambda g, d, axis: g * d,
    ),
    OpCase(
        "softmax_cross_entropy_grad",
        [array("n", 3), array("n", 5, 3)],
        {"axis": 1},
        lambda g, d, axis: np.expand_dims(g, axis) * d,
        note="rows",
    ),
    OpCase("negative_log_likelihood", [array("n", 5), labels("n")], {}, ref_likelihood,
           onnx="NegativeLogLikelihoodLoss"),
    OpCase(
        "negative_log_likelihood",
        [array("n", 5, 3), labels("n", 3, ignored=-100), array(5, low=0.2)],
        {"reduction": "none"},
        ref_likelihood,
        note="weighted-rows",
        wrt=(0,),
    ),
    OpCase(
        "negative_log_likelihood",
        [array("n", 2, 5), labels("n", 2, ignored=4)],
        {"axis": 2, "ignore_index": 4},
        ref_likelihood,
        note="mean-last",
    ),
    OpCase(
        "negative_log_likelihood_grad",
        [array("n", 3), labels("n", 3, ignored=-100), array("n", 3)],
        {"classes": 5, "axis": 1, "ignore_index": -100},
        ref_likelihood_grad,
        note="rows",
        onnx="ScatterElements",
    ),
    OpCase(
        "negative_log_likelihood_grad",
        [array(), labels("n", 2, ignored=4), array("n", 2)],
        {"classes": 5, "axis": 2, "ignore_index": 4},
        ref_likelihood_grad,
        note="mean-last",
    ),
]  # fmt: skip

ERROR = [
    row
    for reduction in ("none", "sum", "mean")
    for row in (
        OpCase(
            "mse_loss",
            [array("n", 4), array("n", 4)],
            {"reduction": reduction},
            ref_mse,
            note=reduction,
            empty=reduction != "mean",
        ),
        OpCase(
            "mse_loss_grad",
            [array("n", 4) if reduction == "none" else array(), array("n", 4), array("n", 4)],
            {"reduction": reduction},
            ref_mse_grad,
            note=reduction,
            empty=reduction != "mean",
        ),
    )
] + [
    *(
        OpCase(
            "soft_cross_entropy",
            [array(*shape), array(*shape, low=0.0)],
            {"axis": axis, "reduction": how},
            ref_soft,
            dtypes=("float32", "float64", "float16", "bfloat16"),
            onnx="LogSoftmax",
            note=f"{how} {axis} of {len(shape)}",
        )
        for how in REDUCTIONS
        for shape, axis in ((("n", 5), 1), (("n", 4, 3), 1), ((2, "n", 20), 2))
    ),
    OpCase("huber", [array("n", 4), array("n", 4)], {"delta": 0.7}, ref_huber),
    *[
        OpCase("huber", [array("n", 4)] * 2, {"delta": 0.7, "reduction": how}, ref_huber, note=how)
        for how in ("sum", "mean")
    ],
    OpCase(
        "huber_grad",
        [array("n", 4)] * 3,
        {"delta": 0.7},
        lambda g, x, y, delta: g * np.clip(x - y, -delta, delta),
        onnx="Clip",
    ),
]


def gradient_of_the_mean(x, label):
    """So that the graph holds what the op keeps for its gradient."""
    leaf = OPS["clone"](x)
    leaf.stop_gradient = False
    return grad(OPS["softmax_cross_entropy"](leaf, label), leaf)[0]


TRAINING = [
    OpCase(
        "softmax_cross_entropy",
        [array("n", 5), labels("n")],
        reference=lambda x, label: (ref_softmax(x, axis=1) - np.eye(5)[label]) / max(len(x), 1),
        note="trained",
        order=0,
        wrt=(),
        run=gradient_of_the_mean,
    )
]

ROWS = [*SOFTMAX, *ENTROPY, *ERROR, *TRAINING]
