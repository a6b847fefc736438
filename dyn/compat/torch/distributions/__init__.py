"""PyTorch's `torch.distributions`, made of dyn's ops: draws are recorded as draws, and export."""

from dyn.compat.torch.distributions import (
    composed,
    constraints,
    continuous,
    discrete,
    distribution,
    gamma,
    joint,
    kl,
    transformed,
    transforms,
)
from dyn.compat.torch.distributions.composed import (
    ComposeTransform,
    IndependentTransform,
    ReshapeTransform,
    identity_transform,
)
from dyn.compat.torch.distributions.continuous import (
    Exponential,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from dyn.compat.torch.distributions.discrete import (
    Bernoulli,
    Categorical,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from dyn.compat.torch.distributions.distribution import Distribution
from dyn.compat.torch.distributions.gamma import Beta, Chi2, Dirichlet, Gamma, StudentT
from dyn.compat.torch.distributions.joint import Independent, MultivariateNormal
from dyn.compat.torch.distributions.kl import kl_divergence, register_kl
from dyn.compat.torch.distributions.transformed import (
    MixtureSameFamily,
    TransformedDistribution,
)
from dyn.compat.torch.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
)

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Categorical",
    "Chi2",
    "ComposeTransform",
    "Dirichlet",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "Gamma",
    "Independent",
    "IndependentTransform",
    "Laplace",
    "LogNormal",
    "MixtureSameFamily",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "PowerTransform",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "composed",
    "constraints",
    "continuous",
    "discrete",
    "distribution",
    "gamma",
    "identity_transform",
    "joint",
    "kl",
    "kl_divergence",
    "register_kl",
    "transformed",
    "transforms",
]
