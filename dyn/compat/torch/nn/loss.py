"""Loss modules: the functions of `loss_functions.py` with their settings kept."""

from __future__ import annotations

import inspect
from typing import Any

from dyn.compat.torch.nn import loss_functions
from dyn.compat.torch.nn.module import Module


class _Loss(Module):
    """A loss whose constructor takes the function's settings by PyTorch's names."""

    _function: Any
    _inputs: int = 2

    def __init__(self, *args: Any, **settings: Any):
        super().__init__()
        loss_functions.use_reduction(settings)
        defaults = self._defaults()
        given = dict(zip(defaults, args, strict=False)) | settings
        unknown = sorted(set(given) - set(defaults))
        if unknown:
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                f"'{unknown[0]}'"
            )
        for name, value in (defaults | given).items():
            if name in ("weight", "pos_weight"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        if getattr(self, "reduction", "mean") not in ("mean", "sum", "none", "batchmean"):
            raise ValueError(f"{self.reduction} is not a valid value for reduction")

    def forward(self, *inputs: Any) -> Any:
        settings = {name: getattr(self, name) for name in self._defaults()}
        return self._function(*inputs, **settings)

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """The function's settings and what they are unless told; each is an attribute."""
        parameters = list(inspect.signature(cls._function).parameters.values())[cls._inputs :]
        return {p.name: p.default for p in parameters if p.name not in ("size_average", "reduce")}


def named_loss(name: str, function: Any, inputs: int = 2) -> Any:
    """A module that keeps the settings of a loss function, which come after its inputs."""
    return type(
        name,
        (_Loss,),
        {
            "_function": staticmethod(function),
            "_inputs": inputs,
            "__doc__": f"{function.__doc__} See `nn.functional.{function.__name__}`.",
            "__module__": __name__,
        },
    )


def _loss(name: str, function: str, inputs: int = 2) -> Any:
    return named_loss(name, getattr(loss_functions, function), inputs)


CrossEntropyLoss = _loss("CrossEntropyLoss", "cross_entropy")
NLLLoss = _loss("NLLLoss", "nll_loss")
MSELoss = _loss("MSELoss", "mse_loss")
L1Loss = _loss("L1Loss", "l1_loss")
SmoothL1Loss = _loss("SmoothL1Loss", "smooth_l1_loss")
HuberLoss = _loss("HuberLoss", "huber_loss")
BCELoss = _loss("BCELoss", "binary_cross_entropy")
BCEWithLogitsLoss = _loss("BCEWithLogitsLoss", "binary_cross_entropy_with_logits")
KLDivLoss = _loss("KLDivLoss", "kl_div")
PoissonNLLLoss = _loss("PoissonNLLLoss", "poisson_nll_loss")
GaussianNLLLoss = _loss("GaussianNLLLoss", "gaussian_nll_loss", 3)
MarginRankingLoss = _loss("MarginRankingLoss", "margin_ranking_loss", 3)
HingeEmbeddingLoss = _loss("HingeEmbeddingLoss", "hinge_embedding_loss")
CosineEmbeddingLoss = _loss("CosineEmbeddingLoss", "cosine_embedding_loss", 3)
TripletMarginLoss = _loss("TripletMarginLoss", "triplet_margin_loss", 3)
SoftMarginLoss = _loss("SoftMarginLoss", "soft_margin_loss")
CosineSimilarity = _loss("CosineSimilarity", "cosine_similarity")
PairwiseDistance = _loss("PairwiseDistance", "pairwise_distance")
CTCLoss = _loss("CTCLoss", "ctc_loss", 4)
