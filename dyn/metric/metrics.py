"""Accuracy, precision, recall and the area under the ROC curve.

`accuracy` is made of ops and can be traced; the classes count in numpy from batch to batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.tensor import Tensor
from dyn.ops.compare import equal
from dyn.ops.reduce import any, mean
from dyn.ops.shape import reshape
from dyn.ops.sort import topk
from dyn.ops.unary import cast


def accuracy(input: Tensor, label: Tensor, k: int = 1) -> Tensor:
    """Share of samples whose label is among the `k` highest scores.

    Args:
        input: scores (N, classes).
        label: class numbers (N, 1) or (N,).
        k: how many of the best classes count.

    Returns:
        0-d float32.
    """
    found = topk(input, k, axis=-1)[1]
    hit = any(equal(found, reshape(cast(label, "int64"), [-1, 1])), axis=-1)
    return mean(cast(hit, "float32"))


class Metric:
    """Base of the metrics: `update` per batch, `accumulate` for the value so far, `reset`.

    A metric of your own defines these and `name`; it calls `reset` itself, once it has what that
    needs.
    """

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def update(self, *args: Any) -> Any:
        """Take in a batch, as `compute` returned it."""
        raise NotImplementedError

    def accumulate(self) -> Any:
        """The value over all batches since the last `reset`."""
        raise NotImplementedError

    def name(self) -> Any:
        """How the value is called in reports."""
        raise NotImplementedError

    def compute(self, *args: Any) -> Any:
        """From predictions and labels to what `update` wants; by default they are passed on."""
        return args


def _array(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, Tensor) else np.asarray(value)


class Accuracy(Metric):
    """Share of samples whose label is among the best classes.

    Args:
        topk: how many of the best classes count; several numbers give several values.
        name: "acc" by default.
    """

    def __init__(self, topk: Any = (1,), name: str | None = None):
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        self._name = name or "acc"
        self.reset()

    def compute(self, pred: Any, label: Any) -> np.ndarray:
        """Whether each of the best classes is the true one: (N, largest k), best first.

        Args:
            pred: scores (N, classes).
            label: class numbers (N, 1) or (N,), or probabilities (N, classes).
        """
        scores, truth = _array(pred), _array(label)
        best = np.argsort(-scores, axis=-1, kind="stable")[..., : max(self.topk)]
        if truth.ndim == scores.ndim and truth.shape[-1] != 1:
            truth = truth.argmax(-1)
        return best == truth.reshape(*scores.shape[:-1], 1)

    def update(self, correct: Any) -> Any:
        """Take in what `compute` returned; the accuracy of this batch."""
        right = _array(correct)
        rows = right.reshape(-1, right.shape[-1])
        hits = [float(rows[:, :k].any(-1).sum()) for k in self.topk]
        self._hits = [a + b for a, b in zip(self._hits, hits, strict=True)]
        self._total += len(rows)
        return self._single([hit / max(len(rows), 1) for hit in hits])

    def reset(self) -> None:
        self._hits = [0.0] * len(self.topk)
        self._total = 0

    def accumulate(self) -> Any:
        return self._single([hit / max(self._total, 1) for hit in self._hits])

    def name(self) -> Any:
        if len(self.topk) == 1:
            return [self._name]
        return [f"{self._name}_top{k}" for k in self.topk]

    def _single(self, values: list[float]) -> Any:
        return values[0] if len(values) == 1 else values


class _Binary(Metric):
    """Counts predictions (above 0.5) against labels of two classes."""

    def __init__(self, name: str):
        self._name = name
        self.reset()

    def name(self) -> str:
        return self._name

    def update(self, preds: Any, labels: Any) -> None:
        predicted = np.floor(_array(preds) + 0.5).astype(np.int64).reshape(-1)
        truth = _array(labels).astype(np.int64).reshape(-1)
        if predicted.shape != truth.shape:
            raise ShapeError(f"{len(predicted)} predictions came with {len(truth)} labels")
        self._both += int(((predicted == 1) & (truth == 1)).sum())
        self._marked += int((self._which(predicted, truth) == 1).sum())

    def _which(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reset(self) -> None:
        self._both = self._marked = 0

    def accumulate(self) -> float:
        return self._both / self._marked if self._marked else 0.0


class Precision(_Binary):
    """Share of the samples predicted positive that are positive."""

    def __init__(self, name: str = "precision"):
        super().__init__(name)

    def _which(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return predicted


class Recall(_Binary):
    """Share of the positive samples that are predicted positive."""

    def __init__(self, name: str = "recall"):
        super().__init__(name)

    def _which(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return truth


class Auc(Metric):
    """Area under the ROC curve, from a histogram of the predictions.

    Args:
        curve: "ROC".
        num_thresholds: how finely predictions are told apart.
    """

    def __init__(self, curve: str = "ROC", num_thresholds: int = 4095, name: str = "auc"):
        if curve != "ROC":
            raise AttributeValueError(f"curve must be 'ROC', got {curve!r}")
        self._bins = num_thresholds + 1
        self._name = name
        self.reset()

    def name(self) -> str:
        return self._name

    def reset(self) -> None:
        self._positive = np.zeros(self._bins, np.int64)
        self._negative = np.zeros(self._bins, np.int64)

    def update(self, preds: Any, labels: Any) -> None:
        """Take in a batch.

        Args:
            preds: probabilities of the positive class (N,), or of both classes (N, 2).
            labels: 0 or 1, (N,) or (N, 1).
        """
        share = _array(preds)
        share = share[:, 1] if share.ndim == 2 and share.shape[1] == 2 else share.reshape(-1)
        truth = _array(labels).reshape(-1)
        where = np.clip((share * (self._bins - 1)).astype(np.int64), 0, self._bins - 1)
        self._positive += np.bincount(where[truth == 1], minlength=self._bins)
        self._negative += np.bincount(where[truth != 1], minlength=self._bins)

    def accumulate(self) -> float:
        # From the highest threshold down: each bin adds a trapezium to the area.
        positive = np.cumsum(self._positive[::-1])
        negative = np.cumsum(self._negative[::-1])
        if not positive[-1] or not negative[-1]:
            return 0.0
        before = np.concatenate([[0], positive[:-1]])
        wide = np.diff(np.concatenate([[0], negative]))
        return float((wide * (positive + before)).sum() / 2 / positive[-1] / negative[-1])
