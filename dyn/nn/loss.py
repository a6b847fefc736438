"""Loss layers: functions of `nn.functional` with their settings kept.

Every `reduction` is "mean", "sum" or "none".
"""

from __future__ import annotations

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer


class _Loss(Layer):
    """Keeps and checks the reduction."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        if reduction not in ("sum", "mean", "none"):
            raise AttributeValueError(
                f"'reduction' in '{type(self).__name__}' should be 'sum', 'mean' or 'none', but "
                f"received {reduction}."
            )
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """Cross-entropy of class scores with class numbers or class probabilities.

    Args:
        weight: factor per class, or None.
        ignore_index: a label that does not count.
        reduction: over the samples.
        soft_label: labels are probabilities instead of numbers.
        axis: the axis of the classes.
        use_softmax: False if the input holds probabilities already.
        label_smoothing: share of the probability that is spread over all classes.

    Shapes: scores [N, C, ...], labels [N, ...] or [N, 1, ...] -> 0-d, or [N, ...] with "none".
    ONNX: SoftmaxCrossEntropyLoss.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        soft_label: bool = False,
        axis: int = -1,
        use_softmax: bool = True,
        label_smoothing: float = 0.0,
        name: str | None = None,
    ):
        super().__init__(reduction)
        self.weight, self.ignore_index, self.soft_label = weight, ignore_index, soft_label
        self.axis, self.use_softmax, self.label_smoothing = axis, use_softmax, label_smoothing

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            label,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            soft_label=self.soft_label,
            axis=self.axis,
            use_softmax=self.use_softmax,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """Negative log-probability of the true class, from log-probabilities [N, C, ...].

    ONNX: NegativeLogLikelihoodLoss.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        name: str | None = None,
    ):
        super().__init__(reduction)
        self.weight, self.ignore_index = weight, ignore_index

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.nll_loss(input, label, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """(input - label) ** 2."""

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.mse_loss(input, label, self.reduction)
