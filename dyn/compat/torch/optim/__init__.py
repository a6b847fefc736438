"""`torch.optim`: dyn's optimisers with `lr=` and `param_groups`, and schedulers over them."""

from typing import Any

from dyn.compat.torch import absent
from dyn.compat.torch.optim import lr_scheduler, swa_utils
from dyn.compat.torch.optim.averaging import ASGD, Adafactor
from dyn.compat.torch.optim.base import TorchOptimizer as Optimizer
from dyn.compat.torch.optim.lbfgs import LBFGS
from dyn.compat.torch.optim.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW
from dyn.compat.torch.optim.relatives import Adamax, NAdam, RAdam, RMSprop, Rprop


def __getattr__(name: str) -> Any:
    raise absent.error("torch.optim", name)


__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]
