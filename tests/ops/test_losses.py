"""Losses against values recorded from PyTorch, and their answers to bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn.nn.functional as F
from dyn.core.autograd import grad
from dyn.core.errors import AttributeValueError, DTypeError, IndexRangeError, ShapeError
from dyn.core.tensor import Tensor
from dyn.kernels.runtime.threads import get_num_threads, set_num_threads
from dyn.ops import ctc, distance, likelihood, loss, multi_margin, ranking

RECORDED = json.loads((Path(__file__).parent / "losses.json").read_text())
INPUTS = {name: np.array(values) for name, values in RECORDED["inputs"].items()}


def test_ctc_of_a_sample_without_steps_has_no_gradient_of_any_order():
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(4, 2, 3)))
    x.stop_gradient = False
    steps, counts = Tensor(np.array([0, 4])), Tensor(np.array([0, 1]))
    made = ctc.ctc_loss(x, Tensor(np.array([[1], [1]])), steps, counts, reduction="none")
    (g,) = grad(made.sum(), x, create_graph=True)
    (h,) = grad((g * Tensor(rng.normal(size=(4, 2, 3)))).sum(), x)
    assert not g.numpy()[:, 0].any() and not h.numpy()[:, 0].any()
    assert np.abs(h.numpy()[:, 1]).max() > 1e-3


def compute(name: str, reduction: str) -> Tensor:
    """The loss that was recorded as `name`."""
    t = {key: Tensor(array) for key, array in INPUTS.items()}
    x, y, z, p, q, w = (t[key] for key in ("x", "y", "z", "p", "q", "weight"))
    label, sign = t["label"], t["sign"]
    r = {"reduction": reduction}
    calls: dict[str, Any] = {
        "l1": lambda: loss.l1_loss(x, y, **r),
        "mse": lambda: loss.mse_loss(x, y, **r),
        "huber": lambda: loss.huber_loss(x, y, delta=0.7, **r),
        "smooth_l1": lambda: loss.smooth_l1_loss(x, y, delta=0.7, is_huber=False, **r),
        "cross_entropy": lambda: loss.cross_entropy(x, label, **r),
        "cross_entropy weighted": lambda: loss.cross_entropy(x, label, weight=w, **r),
        "cross_entropy ignoring": lambda: loss.cross_entropy(
            x, label, weight=w, ignore_index=2, **r
        ),
        "cross_entropy smoothed": lambda: loss.cross_entropy(x, label, label_smoothing=0.2, **r),
        "nll": lambda: loss.nll_loss(loss.log_softmax(x, 1), label, weight=w, ignore_index=0, **r),
        "bce": lambda: likelihood.binary_cross_entropy(p, q, **r),
        "bce weighted": lambda: likelihood.binary_cross_entropy(p, q, weight=w, **r),
        "bce_logits": lambda: likelihood.binary_cross_entropy_with_logits(
            x, q, weight=w, pos_weight=w, **r
        ),
        "kl_div": lambda: likelihood.kl_div(p.log(), q, **r),
        "kl_div log": lambda: likelihood.kl_div(p.log(), q.log(), log_target=True, **r),
        "poisson": lambda: likelihood.poisson_nll_loss(x, p * 5, full=True, **r),
        "poisson rate": lambda: likelihood.poisson_nll_loss(p, q * 5, log_input=False, **r),
        "gaussian": lambda: likelihood.gaussian_nll_loss(x, y, p, full=True, **r),
        "margin_ranking": lambda: ranking.margin_ranking_loss(x, y, sign, margin=0.3, **r),
        "hinge": lambda: ranking.hinge_embedding_loss(x, sign, margin=0.8, **r),
        "cosine": lambda: ranking.cosine_embedding_loss(x, y, t["signs"], margin=0.1, **r),
        "triplet": lambda: ranking.triplet_margin_loss(x, y, z, swap=True, **r),
        "triplet cubic": lambda: ranking.triplet_margin_loss(x, y, z, p=3, margin=2.0, **r),
        "soft_margin": lambda: ranking.soft_margin_loss(x, sign, **r),
        "multi_label": lambda: ranking.multi_label_soft_margin_loss(x, q, weight=w, **r),
        "multi_margin": lambda: multi_margin.multi_margin_loss(x, label, weight=w, **r),
        "multi_margin squared": lambda: multi_margin.multi_margin_loss(
            x, label, p=2, margin=0.5, **r
        ),
        "ctc": lambda: ctc.ctc_loss(t["sequence"], t["targets"], t["steps"], t["lengths"], **r),
    }
    return calls[name]()


@pytest.mark.parametrize("key", RECORDED["values"])
def test_value_is_that_of_pytorch(key: str) -> None:
    name, reduction = key.rsplit(" ", 1)
    found = compute(name, reduction).numpy()
    wanted = np.array(RECORDED["values"][key])
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def logits(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(1).standard_normal(shape))


def test_labels_may_keep_the_class_axis() -> None:
    x, label = logits(4, 5), np.array([0, 4, 2, 2])
    flat = loss.cross_entropy(x, Tensor(label), reduction="none")
    kept = loss.cross_entropy(x, Tensor(label[:, None]), reduction="none")
    assert kept.shape == [4, 1]
    np.testing.assert_array_equal(kept.numpy()[:, 0], flat.numpy())


def test_classes_may_lie_along_any_axis() -> None:
    x, label = logits(2, 5, 3), Tensor(np.arange(6).reshape(2, 3) % 5)
    second = loss.cross_entropy(x, label, axis=1)
    last = loss.cross_entropy(Tensor(x.numpy().transpose(0, 2, 1)), label)
    np.testing.assert_allclose(second.numpy(), last.numpy(), rtol=1e-12)


def test_one_hot_probabilities_are_labels() -> None:
    x, label = logits(4, 5), np.array([0, 4, 2, 2])
    hard = loss.cross_entropy(x, Tensor(label), label_smoothing=0.1)
    soft = loss.cross_entropy(x, Tensor(np.eye(5)[label]), soft_label=True, label_smoothing=0.1)
    np.testing.assert_allclose(hard.numpy(), soft.numpy(), rtol=1e-12)


def test_smoothing_with_weights_weighs_the_smoothed_target() -> None:
    x, label, w = logits(4, 3), np.array([0, 2, 1, -100]), np.array([0.5, 1.0, 2.0])
    found = loss.cross_entropy(x, Tensor(label), weight=Tensor(w), label_smoothing=0.3)
    target = np.eye(3)[label[:3]] * 0.7 + 0.1
    logs = x.numpy()[:3] - np.log(np.exp(x.numpy()[:3]).sum(1, keepdims=True))
    share = target @ w
    wanted = (-(target * logs).sum(1) * share).sum() / share.sum()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)


def test_probabilities_instead_of_logits() -> None:
    x, label = logits(4, 3), Tensor(np.array([0, 2, 1, 1]))
    p = loss.log_softmax(x, 1).exp()
    found = loss.cross_entropy(p, label, use_softmax=False)
    np.testing.assert_allclose(found.numpy(), loss.cross_entropy(x, label).numpy(), rtol=1e-12)


def test_ignored_rows_pass_no_nan_on() -> None:
    x = np.random.default_rng(2).standard_normal((3, 4))
    x[1] = np.nan
    t = Tensor(x, stop_gradient=False)
    found = loss.cross_entropy(t, Tensor(np.array([1, -100, 2])))
    found.backward()
    kept = loss.cross_entropy(Tensor(x[[0, 2]]), Tensor(np.array([1, 2])))
    np.testing.assert_allclose(found.numpy(), kept.numpy(), rtol=1e-12)
    assert t.grad is not None and (t.grad.numpy()[1] == 0).all()


def test_the_mean_of_no_rows_is_zero() -> None:
    x = Tensor(np.ones((2, 3)), stop_gradient=False)
    found = loss.cross_entropy(x, Tensor(np.array([-100, -100])))
    found.backward()
    assert found.item() == 0
    assert x.grad is not None and (x.grad.numpy() == 0).all()


@pytest.mark.parametrize("bad", [-1, 4, 2**40])
def test_a_label_out_of_range_is_named(bad: int) -> None:
    for function in (loss.cross_entropy, loss.nll_loss):
        with pytest.raises(IndexRangeError, match=rf"label {bad} of row 1 is not in 0..3"):
            function(logits(3, 4), Tensor(np.array([0, bad, 1])))


def test_floating_labels_are_refused() -> None:
    with pytest.raises(DTypeError, match="labels are class numbers and must be integers"):
        loss.cross_entropy(logits(2, 3), Tensor(np.array([0.0, np.nan])))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"labels of shape \[3\] do not fit"):
        loss.cross_entropy(logits(2, 3), Tensor(np.array([0, 1, 2])))
    with pytest.raises(ShapeError, match="one value per class"):
        loss.cross_entropy(logits(2, 3), Tensor(np.array([0, 1])), weight=Tensor(np.ones(2)))


def test_unknown_reductions_are_refused() -> None:
    with pytest.raises(AttributeValueError, match="reduction 'max' is not one of"):
        loss.l1_loss(logits(2), logits(2), reduction="max")
    with pytest.raises(AttributeValueError, match="label_smoothing must lie in"):
        loss.cross_entropy(logits(2, 3), Tensor(np.array([0, 1])), label_smoothing=1.5)


def test_squared_error_broadcasts() -> None:
    x, y = logits(4, 3), logits(3)
    wanted = ((x.numpy() - y.numpy()) ** 2).mean()
    np.testing.assert_allclose(loss.mse_loss(x, y).numpy(), wanted, rtol=1e-12)


def test_dice_of_a_perfect_answer_is_zero() -> None:
    label = np.array([[[0], [2]], [[1], [1]]])
    perfect = Tensor(np.eye(3)[label[..., 0]].astype(np.float32))
    assert abs(likelihood.dice_loss(perfect, Tensor(label)).item()) < 1e-5
    wrong = likelihood.dice_loss(Tensor(1 - perfect.numpy()), Tensor(label)).item()
    np.testing.assert_allclose(wrong, 1.0, rtol=1e-6)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    x, y = logits(5, 2), Tensor(np.random.default_rng(3).integers(0, 2, (5, 2)).astype(float))
    plain = likelihood.binary_cross_entropy_with_logits(x, y, reduction="sum").numpy()
    found = likelihood.sigmoid_focal_loss(x, y, alpha=0.5, gamma=0.0).numpy()
    np.testing.assert_allclose(found, 0.5 * plain, rtol=1e-12)
    focused = likelihood.sigmoid_focal_loss(x, y, alpha=0.5, gamma=2.0).numpy()
    p = 1 / (1 + np.exp(-x.numpy()))
    right = np.where(y.numpy() == 1, p, 1 - p)
    np.testing.assert_allclose(focused, (-0.5 * (1 - right) ** 2 * np.log(right)).sum())


def test_log_loss_and_label_smoothing() -> None:
    p, y = np.array([0.2, 0.9]), np.array([0.0, 1.0])
    found = likelihood.log_loss(Tensor(p), Tensor(y), epsilon=1e-3).numpy()
    np.testing.assert_allclose(found, [-np.log(0.8 + 1e-3), -np.log(0.9 + 1e-3)], rtol=1e-12)
    smooth = likelihood.label_smooth(Tensor(np.eye(4)), epsilon=0.2).numpy()
    np.testing.assert_allclose(smooth, np.eye(4) * 0.8 + 0.05, rtol=1e-12)
    prior = Tensor(np.array([[0.1, 0.2, 0.3, 0.4]]))
    smooth = likelihood.label_smooth(Tensor(np.eye(4)), prior, epsilon=0.2).numpy()
    np.testing.assert_allclose(smooth, np.eye(4) * 0.8 + 0.2 * prior.numpy(), rtol=1e-12)


def test_distances() -> None:
    x, y = logits(3, 4), logits(3, 4) * 0.5 + 1.0
    a, b = x.numpy(), y.numpy()
    cos = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(distance.cosine_similarity(x, y).numpy(), cos, rtol=1e-9)
    for p in (0.0, 1.0, 2.0, 3.0, np.inf):
        wanted = np.linalg.norm(a - b + 1e-6, ord=p, axis=1)
        found = distance.pairwise_distance(x, y, p)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(3, 5), (300, 170), (4, 50, 60, 7)])
def test_squared_errors_of_any_size(shape, reduction):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for _ in range(2))
    x, y = Tensor(a), Tensor(b)
    x.stop_gradient = False
    found = loss.mse_loss(x, y, reduction=reduction)
    away = a.astype(np.float64) - b
    wanted = {"mean": np.mean, "sum": np.sum, "none": lambda v: v}[reduction](away**2)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)
    found.sum().backward()
    slope = 2 * away / (away.size if reduction == "mean" else 1)
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ctc_does_not_depend_on_threads(dtype: str) -> None:
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((60, 9, 30)).astype(dtype), rng.integers(1, 30, (9, 12))
    steps, lengths = rng.integers(40, 61, 9), rng.integers(0, 13, 9)

    def run() -> list[np.ndarray]:
        t = Tensor(x, stop_gradient=False)
        found = ctc.ctc_loss(t, Tensor(labels), Tensor(steps), Tensor(lengths), reduction="none")
        found.sum().backward()
        assert t.grad is not None
        return [found.numpy(), t.grad.numpy()]

    before, made = get_num_threads(), []
    try:
        for count in (1, 2, 4):
            set_num_threads(count)
            made.append(run())
    finally:
        set_num_threads(before)
    for others in made[1:]:
        for a, b in zip(made[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_ctc_of_what_cannot_be() -> None:
    x = Tensor(np.random.default_rng(6).standard_normal((4, 3, 5)), stop_gradient=False)
    labels = Tensor(np.array([[1, 1, 1], [1, 2, 3], [4, 4, 0]]))
    steps, lengths = Tensor(np.array([4, 0, 4])), Tensor(np.array([3, 0, 2]))
    found = ctc.ctc_loss(x, labels, steps, lengths, reduction="none")
    assert found.numpy()[0] == np.inf and found.numpy()[1] == 0
    found.sum().backward()
    assert x.grad is not None
    assert np.isnan(x.grad.numpy()[:, 0]).all() and (x.grad.numpy()[:, 1] == 0).all()
    assert np.isfinite(x.grad.numpy()[:, 2]).all()


def test_ctc_of_a_class_that_cannot_be() -> None:
    scores = np.random.default_rng(7).standard_normal((6, 1, 4))
    scores[2:4, 0, 3] = -np.inf
    x = Tensor(scores, stop_gradient=False)
    labels, steps, lengths = (Tensor(np.array(v)) for v in ([[1, 2]], [6], [2]))
    found = ctc.ctc_loss(x, labels, steps, lengths, reduction="sum")
    found.backward()
    assert x.grad is not None
    assert np.isfinite(found.numpy()) and (x.grad.numpy()[2:4, 0, 3] == 0).all()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize(
    ("labels", "steps", "lengths", "message"),
    [
        ([[1, 5]], [4], [2], "label 5 of sample 0 is not in 0..4"),
        ([[1, 2]], [7], [2], "input length 7 of sample 0 is not in 0..4"),
        ([[1, 2]], [4], [3], "label length 3 of sample 0 is not in 0..2"),
    ],
)
def test_ctc_refuses_what_is_out_of_range(labels, steps, lengths, message: str) -> None:
    given = (Tensor(np.array(v)) for v in (labels, steps, lengths))
    with pytest.raises(IndexRangeError, match=message):
        ctc.ctc_loss(Tensor(np.zeros((4, 1, 5))), *given)


@pytest.mark.parametrize(
    "loss",
    [
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "kl_div",
        "log_loss",
        "multi_label_soft_margin_loss",
        "poisson_nll_loss",
        "sigmoid_focal_loss",
        "smooth_l1_loss",
        "soft_margin_loss",
    ],
)
@pytest.mark.parametrize("shape", [[4], [1, 1], [4, 3]])
def test_labels_of_another_shape(loss: str, shape: list[int]) -> None:
    """Broadcasting would make a loss of all pairs of a score and a label."""
    with pytest.raises(ShapeError, match=r"\[4, 1\] and label .* must have one shape"):
        getattr(F, loss)(Tensor(np.full((4, 1), 0.5)), Tensor(np.ones(shape)))
