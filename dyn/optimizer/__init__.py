"""Optimisers, and learning rates that change with time."""

from dyn.optimizer import lr
from dyn.optimizer.adam import Adam, AdamW
from dyn.optimizer.adaptive import Adadelta, Adagrad, RMSProp, Rprop
from dyn.optimizer.lbfgs import LBFGS
from dyn.optimizer.moments import Adamax, Lamb, NAdam, RAdam
from dyn.optimizer.optimizer import Optimizer
from dyn.optimizer.sgd import SGD, Momentum

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lamb",
    "Momentum",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSProp",
    "Rprop",
    "lr",
]
