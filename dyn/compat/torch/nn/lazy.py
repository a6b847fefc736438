"""Modules that learn the number of their inputs from the first call: `LazyLinear` and its like.

Such a module is an ordinary one of the smallest size whose parameters are placeholders. The first
call makes the module that was meant, takes over what it holds and becomes one of its class. The
placeholders become its parameters, so whoever holds one holds the parameter.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np

from dyn.compat.torch.nn import conv, linear, norm
from dyn.compat.torch.nn.module import Mixin
from dyn.compat.torch.tensor import Buffer, Parameter
from dyn.compat.torch.types import of_name
from dyn.core.alias import Link
from dyn.core.errors import ShapeError, StateError
from dyn.core.observe import current
from dyn.core.tensor import Tensor


class _Waiting(Link):
    """What a placeholder has for a value: the module that will make it."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: Any, name: str):
        self.owner, self.name = owner, name

    def refresh(self, view: Tensor) -> None:
        raise StateError(
            f"the {self.name} of a {type(self.owner).__name__} has no shape before the first call: "
            "call the model once with an example, or load a state, and then ask for its "
            "parameters, give them to an optimizer, save or export it"
        )

    def write(self, view: Tensor, value: Tensor) -> None:
        view.set_value(value)


class _Placeholder:
    """A parameter or buffer of a module that was not called yet; reading it is an error."""

    _array: Any
    _alias: Any
    _name: Any

    def __init__(self, owner: Any, name: str):
        self._array, self._alias = None, _Waiting(owner, name)

    @property
    def dtype(self) -> Any:
        """That of the parameters which will be made."""
        return of_name(self._alias.owner._dtype)

    def set_value(self, value: Any) -> None:
        """Make the parameters of the module, of the size that this value has."""
        waiting = self._alias
        shape = value._read().shape if isinstance(value, Tensor) else np.shape(value)
        waiting.owner._begin(waiting.owner._count_in(waiting.name, shape))
        self.set_value(value)  # by now that of a parameter

    def materialize(self, made: Tensor) -> None:
        """Become a parameter or buffer like `made`, which nobody else refers to."""
        self._alias = None
        self._array, self._name = made._array, made.name
        self.__class__ = made.__class__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        out = memo[id(self)] = copy.copy(self)
        out._alias = _Waiting(copy.deepcopy(self._alias.owner, memo), self._alias.name)
        return out

    def __copy__(self) -> Any:
        out = type(self).__new__(type(self))
        out.__dict__.update(self.__dict__)
        return out

    def __reduce__(self) -> Any:
        return self._alias.refresh(self)


class UninitializedParameter(_Placeholder, Parameter):
    """A parameter without a shape."""


class UninitializedBuffer(_Placeholder, Buffer):
    """A buffer without a shape."""


def is_lazy(param: Any) -> bool:
    """Whether a parameter or buffer waits for the first call to know its shape."""
    return isinstance(param, _Placeholder)


_PLACEHOLDERS = {"parameter": UninitializedParameter, "buffer": UninitializedBuffer}


class _Lazy(Mixin):
    """What lazy modules share; the module that it becomes stands behind it in the list of bases."""

    cls_to_become: Any
    _counts: tuple[str, ...]
    """Attributes that hold the number of inputs."""
    _dtype: str

    def __init_subclass__(cls, **named: Any):
        super().__init_subclass__(**named)
        first, *rest = cls.__bases__
        if issubclass(first, _Lazy) and rest:
            (cls.cls_to_become,) = rest

    def __init__(self, *args: Any, **kwargs: Any):
        bound = inspect.signature(self.cls_to_become).bind(0, *args, **kwargs)
        # The smallest module there is: its other settings are checked at once.
        super().__init__(bound.arguments.get("groups", 1), *args, **kwargs)
        self.__dict__["_asked"] = args, kwargs
        for name in self._counts:
            self.__dict__[name] = 0
        for name, kind in self._kinds.items():
            held = self.__dict__[name]
            if held is not None and held._array.ndim:
                self.__dict__[name] = _PLACEHOLDERS[kind](self, name)

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        given = inputs[0] if inputs else kwargs.get("input")
        if isinstance(given, Tensor):
            self.initialize_parameters(given)
            return self(*inputs, **kwargs)
        return super().__call__(*inputs, **kwargs)

    def has_uninitialized_params(self) -> bool:
        """Whether parameters are still to be made: until the first call, True."""
        return any(isinstance(self.__dict__[name], _Placeholder) for name in self._kinds)

    def initialize_parameters(self, input: Any) -> None:
        """Make the parameters that an input needs.

        Raises:
            StateError: a model is being traced, which must have its parameters by then.
            ShapeError: the input has not as many axes as the module wants.
        """
        if current():
            raise StateError(
                f"{type(self).__name__} makes its parameters at its first call, which cannot be "
                "recorded or watched: call the model once with an example before"
            )
        self._begin(self._count_of(input))

    def _begin(self, size: int) -> None:
        """Become the module with so many inputs."""
        args, kwargs = self.__dict__.pop("_asked")
        made = self.cls_to_become(size, *args, **kwargs).to(dtype=self._dtype)
        for name in self._counts:
            self.__dict__[name] = made.__dict__[name]
        for name in self._kinds:
            held = self.__dict__[name]
            if isinstance(held, _Placeholder):
                held.materialize(made.__dict__[name])
        self.__class__ = self.cls_to_become

    def _count_of(self, input: Tensor) -> Any:
        """The number of inputs, by an input; every kind of lazy module says it."""
        raise NotImplementedError(f"{type(self).__name__} defines no _count_of")

    def _count_in(self, name: str, shape: tuple[int, ...]) -> int:
        """The number of inputs, by the shape of a parameter or buffer that is loaded; likewise."""
        raise NotImplementedError(f"{type(self).__name__} defines no _count_in")

    def _need_weight(self, name: str) -> None:
        if name != "weight":
            raise StateError(
                f"{type(self).__name__} has no shape yet, and a {name} alone does not tell it: "
                "load the weight as well, or call the module first"
            )


class _Channels(_Lazy):
    """Of images and sequences, with or without a batch."""

    _axes: int

    def _count_of(self, input: Tensor) -> Any:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ShapeError(
                f"{type(self).__name__} takes [N, C] or [C] and {self._axes} axes behind them, got "
                f"{list(input.shape)}"
            )
        return input.shape[-self._axes - 1]


class _Conv(_Channels):
    _counts = "_in_channels", "in_channels"
    _transposed: bool
    _groups: int

    def _count_in(self, name: str, shape: tuple[int, ...]) -> int:
        self._need_weight(name)
        return shape[0] if self._transposed else shape[1] * self._groups


class _Norm(_Lazy):
    """Everything that it keeps is as long as there are channels."""

    _counts = "_num_features", "num_features"

    def _count_in(self, name: str, shape: tuple[int, ...]) -> int:
        return shape[0]


class _BatchNorm(_Norm):
    _ranks: tuple[int, ...]

    def _count_of(self, input: Tensor) -> Any:
        if input.ndim not in self._ranks:
            wanted = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ShapeError(f"expected {wanted} input (got {input.ndim}D input)")
        return input.shape[1]


class _InstanceNorm(_Channels):
    """With parameters and running statistics, unlike those that are not lazy, as in PyTorch."""

    _counts, _count_in = _Norm._counts, _Norm._count_in

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(eps, momentum, affine, track_running_stats, device, dtype, bias=bias)


class LazyLinear(_Lazy, linear.Linear):
    """`Linear` that takes `in_features` from the last axis of its first input."""

    _counts = ("in_features",)

    def _count_of(self, input: Tensor) -> Any:
        return input.shape[-1]

    def _count_in(self, name: str, shape: tuple[int, ...]) -> int:
        self._need_weight(name)
        return shape[1]


class LazyConv1d(_Conv, conv.Conv1d):
    """`Conv1d` that takes `in_channels` from its first input."""


class LazyConv2d(_Conv, conv.Conv2d):
    """`Conv2d` that takes `in_channels` from its first input."""


class LazyConv3d(_Conv, conv.Conv3d):
    """`Conv3d` that takes `in_channels` from its first input."""


class LazyConvTranspose1d(_Conv, conv.ConvTranspose1d):
    """`ConvTranspose1d` that takes `in_channels` from its first input."""


class LazyConvTranspose2d(_Conv, conv.ConvTranspose2d):
    """`ConvTranspose2d` that takes `in_channels` from its first input."""


class LazyConvTranspose3d(_Conv, conv.ConvTranspose3d):
    """`ConvTranspose3d` that takes `in_channels` from its first input."""


class LazyBatchNorm1d(_BatchNorm, norm.BatchNorm1d):
    """`BatchNorm1d` that takes `num_features` from its first input."""


class LazyBatchNorm2d(_BatchNorm, norm.BatchNorm2d):
    """`BatchNorm2d` that takes `num_features` from its first input."""


class LazyBatchNorm3d(_BatchNorm, norm.BatchNorm3d):
    """`BatchNorm3d` that takes `num_features` from its first input."""


class LazyInstanceNorm1d(_InstanceNorm, norm.InstanceNorm1d):
    """`InstanceNorm1d` that takes `num_features` from its first input."""


class LazyInstanceNorm2d(_InstanceNorm, norm.InstanceNorm2d):
    """`InstanceNorm2d` that takes `num_features` from its first input."""


class LazyInstanceNorm3d(_InstanceNorm, norm.InstanceNorm3d):
    """`InstanceNorm3d` that takes `num_features` from its first input."""
