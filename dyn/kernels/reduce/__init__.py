"""Reductions over axes: folds of rows and columns, and what is made from them."""

from dyn.kernels.reduce.folding import bound
from dyn.kernels.reduce.reductions import (
    all,
    any,
    lengths,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    std,
    sum,
    sum_to,
    summing,
    var,
)

__all__ = [
    "all",
    "any",
    "bound",
    "lengths",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "sum",
    "sum_to",
    "summing",
    "var",
]
