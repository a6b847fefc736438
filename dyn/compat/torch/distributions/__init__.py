"""PyTorch's `torch.distributions`, made of dyn's ops: draws are recorded as draws, and export."""

from dyn.compat.torch.distributions import (
    constraints,
    continuous,
    discrete,
    distribution,
    joint,
    kl,
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
from dyn.compat.torch.distributions.joint import Independent, MultivariateNormal
from dyn.compat.torch.distributions.kl import kl_divergence, register_kl

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "Exponential",
    "Independent",
    "Laplace",
    "LogNormal",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Uniform",
    "constraints",
    "continuous",
    "discrete",
    "distribution",
    "joint",
    "kl",
    "kl_divergence",
    "register_kl",
]
