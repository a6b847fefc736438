"""PyTorch's files: names that programs import from where PyTorch keeps them.

`from torch.nn.modules.batchnorm import _BatchNorm` has to find a module of that path. Those that
are files of this package need nothing; the others are made here, of objects that exist elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from itertools import repeat
from types import ModuleType, SimpleNamespace
from typing import Any

from dyn.compat.torch import absent, distributions, nn, optim
from dyn.compat.torch.autograd import Variable
from dyn.compat.torch.function import Function, FunctionCtx, once_differentiable
from dyn.compat.torch.nn import containers, conv, everywhere, linear, norm
from dyn.compat.torch.nn.lazy import UninitializedBuffer, UninitializedParameter, is_lazy
from dyn.compat.torch.nn.loss import _Loss
from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.tensor import Buffer, Parameter
from dyn.compat.torch.utils import data


def _ntuple(n: int) -> Any:
    """A function that repeats a number `n` times and leaves sequences as they are."""

    def parse(x: Any) -> tuple[Any, ...]:
        return tuple(x) if hasattr(x, "__iter__") else tuple(repeat(x, n))

    return parse


def _public(place: Any) -> dict[str, Any]:
    names = getattr(place, "__all__", None) or [n for n in vars(place) if not n.startswith("_")]
    return {name: getattr(place, name) for name in names}


_TUPLES = {"_single": _ntuple(1), "_pair": _ntuple(2), "_triple": _ntuple(3), "_ntuple": _ntuple}
_LAYERS = {name: value for name, value in _public(nn).items() if isinstance(value, type)}
_FAMILIES: Mapping[str, Any] = {
    "activation": {},
    "batchnorm": {"_BatchNorm": norm._BatchNorm, "_NormBase": norm._BatchNorm},
    "container": _public(containers),
    "conv": {"_ConvNd": conv._Torch},
    "dropout": {},
    "instancenorm": {"_InstanceNorm": norm._InstanceNorm},
    "linear": _public(linear),
    "loss": {"_Loss": _Loss, "_WeightedLoss": _Loss},
    "module": {"Module": Module, **_public(everywhere)},
    "normalization": {},
    "padding": {},
    "pixelshuffle": {},
    "pooling": {},
    "rnn": {},
    "sparse": {},
    "transformer": {},
    "upsampling": {},
    "utils": _TUPLES,
}
"""What the files in `torch.nn.modules` hold beside the layers."""

_DISTRIBUTIONS = """bernoulli beta categorical chi2 dirichlet exponential independent laplace
    log_normal mixture_same_family multivariate_normal normal one_hot_categorical studentT
    transformed_distribution transforms uniform"""

_FILES: Mapping[str, Mapping[str, Any]] = {
    "nn.parameter": {
        "Parameter": Parameter, "Buffer": Buffer, "is_lazy": is_lazy,
        "UninitializedParameter": UninitializedParameter,
        "UninitializedBuffer": UninitializedBuffer,
    },
    "nn.modules": _LAYERS,
    **{f"nn.modules.{name}": {**_LAYERS, **held} for name, held in _FAMILIES.items()},
    "nn.utils.rnn": vars(nn.utils.rnn),
    "nn.utils.clip_grad": _public(nn.utils),
    "nn.utils.parametrizations": _public(nn.utils.parametrizations),
    "nn.utils.parametrize": _public(nn.utils.parametrize),
    "nn.utils.prune": _public(nn.utils.prune),
    "optim.optimizer": {"Optimizer": optim.Optimizer},
    **{f"optim.{name.lower()}": {name: value} for name, value in _public(optim).items()
       if isinstance(value, type) and name != "Optimizer"},
    **{f"distributions.{name}": _public(distributions) for name in _DISTRIBUTIONS.split()},
    "utils.data.dataset": _public(data),
    "utils.data.dataloader": _public(data),
    "utils.data.sampler": _public(data),
    "autograd.function": {
        "Function": Function, "FunctionCtx": FunctionCtx,
        "once_differentiable": once_differentiable,
    },
    "autograd.variable": {"Variable": Variable},
}  # fmt: skip
"""What is in each file; the folders above come first."""


def _place(package: ModuleType, path: str) -> tuple[Any, str]:
    """Where a path hangs: the object above it, and its last name."""
    *folders, name = path.split(".")
    parent: Any = package
    for folder in folders:
        parent = getattr(parent, folder)
    return parent, name


def _absent(place: str, name: str) -> Any:
    raise absent.error(place, name)


def _publish(package: ModuleType, path: str, held: Mapping[str, Any]) -> None:
    full = f"{package.__name__}.{path}"
    module = ModuleType(full, f"What programs import from `torch.{path}`.")
    vars(module).update(held, __getattr__=partial(_absent, f"torch.{path}"))
    sys.modules[full] = module
    parent, name = _place(package, path)
    setattr(parent, name, module)


_MODULES = """autograd distributions func nn.init nn.utils optim.lr_scheduler optim.swa_utils utils
    utils.checkpoint utils.data"""
"""Files of this package that programs know; a name they do not have is answered as elsewhere."""


def publish(package: ModuleType) -> None:
    """Make the files importable below `package`; its namespaces become modules too."""
    for path in _MODULES.split():
        module = sys.modules[f"{package.__name__}.{path}"]
        vars(module).setdefault("__getattr__", partial(_absent, f"torch.{path}"))
        for name, value in list(vars(module).items()):
            if isinstance(value, SimpleNamespace):
                _publish(package, f"{path}.{name}", vars(value))
    for path, held in _FILES.items():
        _publish(package, path, held)
    for name, value in list(vars(package).items()):
        _publish_namespaces(package, name, value)


def _publish_namespaces(package: ModuleType, path: str, value: Any) -> None:
    if isinstance(value, SimpleNamespace):
        _publish(package, path, vars(value))
        for name, inner in list(vars(value).items()):
            _publish_namespaces(package, f"{path}.{name}", inner)
