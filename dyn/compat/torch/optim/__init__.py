"""`torch.optim`: dyn's optimisers with `lr=` and `param_groups`, and schedulers over them."""

from dyn.compat.torch.optim import lr_scheduler
from dyn.compat.torch.optim.base import TorchOptimizer as Optimizer
from dyn.compat.torch.optim.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW
from dyn.compat.torch.optim.relatives import Adamax, NAdam, RAdam, RMSprop, Rprop

__all__ = [
    "SGD",
    "Adadelta",
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
]
