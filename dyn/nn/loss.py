"""Loss layers: functions of `nn.functional` with their settings kept.

Every `reduction` is "mean", "sum" or "none".
"""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer


class Loss(Layer):
    """Base of the losses: keeps and checks the reduction."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        if reduction not in ("sum", "mean", "none"):
            raise AttributeValueError(
                f"'reduction' in '{type(self).__name__}' should be 'sum', 'mean' or 'none', but "
                f"received {reduction}."
            )
        self.reduction = reduction


class CrossEntropyLoss(Loss):
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


class NLLLoss(Loss):
    """Negative log-probability of the true class, from log-probabilities [N, C, ...].

    Arguments as in `nn.functional.nll_loss`. ONNX: NegativeLogLikelihoodLoss.
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


class MSELoss(Loss):
    """(input - label) ** 2.

    Arguments as in `nn.functional.mse_loss`.
    """

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.mse_loss(input, label, self.reduction)


class L1Loss(Loss):
    """|input - label|.

    Arguments as in `nn.functional.l1_loss`.
    """

    def __init__(self, reduction: str = "mean", name: str | None = None):
        super().__init__(reduction)

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.l1_loss(input, label, self.reduction)


class SmoothL1Loss(Loss):
    """0.5 * d**2 while |d| < delta, delta * (|d| - 0.5 * delta) beyond, d = input - label.

    Arguments as in `nn.functional.smooth_l1_loss`.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0, name: str | None = None):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, label, self.reduction, self.delta)


class HuberLoss(SmoothL1Loss):
    """Another name of `SmoothL1Loss`: Huber's loss. Source: Huber, 1964."""


class BCELoss(Loss):
    """Binary cross-entropy of probabilities.

    Arguments as in `nn.functional.binary_cross_entropy`.
    """

    def __init__(
        self, weight: Tensor | None = None, reduction: str = "mean", name: str | None = None
    ):
        super().__init__(reduction)
        self.weight = weight

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, label, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of sigmoid(logit), without overflow.

    Args:
        weight: factor per element, or None.
        reduction: over all elements.
        pos_weight: factor of positive labels, or None.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        name: str | None = None,
    ):
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def forward(self, logit: Tensor, label: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            logit, label, self.weight, self.reduction, self.pos_weight
        )


class KLDivLoss(Layer):
    """label * (log(label) - input), with log-probabilities as input.

    `reduction` may also be "batchmean": the sum divided by the first size.

    Arguments as in `nn.functional.kl_div`.
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        super().__init__()
        if reduction not in ("sum", "mean", "none", "batchmean"):
            raise AttributeValueError(
                "'reduction' in 'KLDivLoss' should be 'sum', 'batchmean', 'mean' or 'none', but "
                f"received {reduction}."
            )
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.kl_div(input, label, self.reduction, self.log_target)


class PoissonNLLLoss(Loss):
    """Negative log-likelihood of counts whose rate is exp(input), or input.

    Arguments as in `nn.functional.poisson_nll_loss`.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        epsilon: float = 1e-8,
        reduction: str = "mean",
        name: str | None = None,
    ):
        super().__init__(reduction)
        self.log_input, self.full, self.epsilon = log_input, full, epsilon

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            input, label, self.log_input, self.full, self.epsilon, self.reduction
        )


class GaussianNLLLoss(Loss):
    """0.5 * (log(variance) + (input - label) ** 2 / variance).

    Arguments as in `nn.functional.gaussian_nll_loss`.
    """

    def __init__(
        self,
        full: bool = False,
        epsilon: float = 1e-6,
        reduction: str = "mean",
        name: str | None = None,
    ):
        super().__init__(reduction)
        self.full, self.epsilon = full, epsilon

    def forward(self, input: Tensor, label: Tensor, variance: Tensor) -> Tensor:
        return F.gaussian_nll_loss(input, label, variance, self.full, self.epsilon, self.reduction)


class CTCLoss(Loss):
    """Connectionist temporal classification. Source: Graves et al., ICML 2006.

    Arguments as in `nn.functional.ctc_loss`.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean"):
        super().__init__(reduction)
        self.blank = blank

    def forward(
        self,
        log_probs: Tensor,
        labels: Tensor,
        input_lengths: Any,
        label_lengths: Any,
        norm_by_times: bool = False,
    ) -> Tensor:
        return F.ctc_loss(
            log_probs, labels, input_lengths, label_lengths, self.blank, self.reduction,
            norm_by_times,
        )  # fmt: skip
