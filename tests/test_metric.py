"""Metrics against numpy and by hand."""

import numpy as np
import pytest

import dyn
from dyn import metric


def test_accuracy_over_batches(rng):
    acc = metric.Accuracy(topk=(1, 3))
    hits = np.zeros(2)
    for n in (5, 7):
        scores, labels = rng.standard_normal((n, 6)), rng.integers(0, 6, (n, 1))
        acc.update(acc.compute(dyn.to_tensor(scores), dyn.to_tensor(labels)))
        order = np.argsort(-scores, 1)
        hits += [(order[:, :k] == labels).any(1).sum() for k in (1, 3)]
    assert acc.accumulate() == pytest.approx(list(hits / 12))
    assert acc.name() == ["acc_top1", "acc_top3"]
    acc.reset()
    assert acc.accumulate() == [0.0, 0.0]


def test_accuracy_of_labels_in_other_forms():
    acc = metric.Accuracy()
    scores = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert acc.update(acc.compute(scores, np.array([1, 1]))) == 0.5
    assert acc.update(acc.compute(scores, np.array([[0.0, 1.0], [1.0, 0.0]]))) == 1.0
    assert acc.accumulate() == 0.75 and acc.name() == ["acc"]


def test_precision_and_recall():
    p, r = metric.Precision(), metric.Recall()
    predicted, truth = dyn.to_tensor([0.9, 0.6, 0.2, 0.8]), dyn.to_tensor([1, 0, 1, 1])
    for m in (p, r):
        assert m.accumulate() == 0.0
        m.update(*m.compute(predicted, truth))
    assert p.accumulate() == pytest.approx(2 / 3) and r.accumulate() == pytest.approx(2 / 3)
    p.update(np.array([1.0]), np.array([0]))
    r.update(np.array([0.0]), np.array([1]))
    assert p.accumulate() == 0.5 and r.accumulate() == 0.5
    with pytest.raises(dyn.ShapeError, match="3 predictions came with 2 labels"):
        p.update(np.ones(3), np.ones(2))


def test_auc_is_the_share_of_pairs_in_order(rng):
    auc = metric.Auc()
    assert auc.accumulate() == 0.0
    share, truth = rng.random(200), rng.integers(0, 2, 200)
    auc.update(share[:100], truth[:100, None])
    auc.update(np.stack([1 - share[100:], share[100:]], 1), truth[100:])
    pairs = share[truth == 1][:, None] - share[truth == 0][None]
    assert auc.accumulate() == pytest.approx((pairs > 0).mean(), abs=2e-3)
    with pytest.raises(ValueError, match="ROC"):
        metric.Auc("PR")


def test_a_metric_of_ones_own():
    class Errors(metric.Metric):
        def __init__(self, classes):
            super().__init__()
            self.classes = classes
            self.reset()

        def reset(self):
            self.wrong = np.zeros(self.classes)

        def update(self, predicted, truth):
            np.add.at(self.wrong, truth[predicted != truth], 1)

        def accumulate(self):
            return self.wrong.tolist()

        def name(self):
            return "errors"

    errors = Errors(3)
    errors.update(*errors.compute(np.array([0, 1, 2]), np.array([0, 2, 1])))
    assert errors.accumulate() == [0, 1, 1] and errors.name() == "errors"
