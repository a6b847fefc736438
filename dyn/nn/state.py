"""What a layer remembers: Parameter (trained) and Buffer (kept), and how a parameter is wished for.

State is a type: a tensor of any other class that hangs on a layer is a temporary. State is bound to
new values by `set_value`, `dyn.assign` and the optimisers, never changed in place.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dyn.core.errors import AttributeValueError, DTypeError
from dyn.core.modes import set_grad_enabled
from dyn.core.op import OPS
from dyn.core.tensor import Tensor, to_array

_counters: dict[str, itertools.count[int]] = {}


def unique_name(prefix: str) -> str:
    """`prefix_0`, `prefix_1` ...: a name not given before in this process."""
    return f"{prefix}_{next(_counters.setdefault(prefix, itertools.count()))}"


@cache
def snake_case(name: str) -> str:
    """`BatchNorm2D` as `batch_norm2d`."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


class Parameter(Tensor):
    """A tensor that an optimiser trains and `state_dict` saves.

    Attributes:
        learning_rate: factor on the optimiser's learning rate.
        regularizer: weight decay of its own, instead of the optimiser's; None for none.
        need_clip: whether gradient clipping counts it.
    """

    stop_gradient = False
    persistable = True
    learning_rate: float = 1.0
    regularizer: Any = None
    need_clip: bool = True
    _kept = (*Tensor._kept, "learning_rate", "regularizer", "need_clip")

    def __init__(
        self, data: Any, dtype: Any = None, name: str | None = None, trainable: bool = True
    ):
        """Make a parameter from numbers, an array or a tensor (whose array it shares).

        Raises:
            DTypeError: `data` is None or not numeric.
        """
        if data is None:
            raise DTypeError("a Parameter needs a value; Layer.create_parameter makes one by shape")
        super().__init__(data, dtype, stop_gradient=not trainable)
        if name is not None:
            self._name = name

    @property
    def trainable(self) -> bool:
        """Whether gradients reach it: the opposite of `stop_gradient`."""
        return not self.stop_gradient

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.stop_gradient = not value

    @property
    def optimize_attr(self) -> OptimizeAttr:
        """Paddle's way to `learning_rate`: `optimize_attr["learning_rate"]`, to read and to set."""
        return OptimizeAttr(self)

    @optimize_attr.setter
    def optimize_attr(self, value: Mapping[str, float]) -> None:
        OptimizeAttr(self).update(value)

    def set_value(self, value: Any) -> None:
        """Replace the value (same shape; numbers are cast), keeping its layout in memory."""
        own = self._array
        array = to_array(value, own.dtype)
        if array.shape == own.shape:
            value = Tensor._of(laid_out_like(array, own))
        super().set_value(value)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        out = super().__deepcopy__(memo)
        # Optimisers keep their state by name: a copy must not share that of the original.
        out._name = unique_name(f"{self.name}_deepcopy")
        return out

    def __reduce__(self) -> Any:
        make, (cls, array, state) = super().__reduce__()
        axes = memory_order(self._array)
        return (_unpickle_parameter, (make, cls, array, state, axes))


class OptimizeAttr(MutableMapping[str, float]):
    """The settings of a parameter that are read by optimisers, by Paddle's names: the rate alone.

    Raises:
        AttributeValueError: another name is set, or one is removed.
    """

    def __init__(self, parameter: Parameter):
        self._parameter = parameter

    def __getitem__(self, key: str) -> float:
        if key != "learning_rate":
            raise KeyError(key)
        return self._parameter.learning_rate

    def __setitem__(self, key: str, value: float) -> None:
        if key != "learning_rate":
            raise AttributeValueError(f"optimize_attr has 'learning_rate' alone, not {key!r}")
        self._parameter.learning_rate = float(value)

    def __delitem__(self, key: str) -> None:
        raise AttributeValueError(f"{key!r} cannot be removed from optimize_attr; set it to 1.0")

    def __iter__(self) -> Iterator[str]:
        return iter(("learning_rate",))

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return repr(dict(self))


class Buffer(Tensor):
    """A tensor that a layer keeps from call to call without training it.

    Attributes:
        persistable: whether `state_dict` and exported graphs hold it as state.
    """

    persistable = True

    def __init__(self, data: Any = None, dtype: Any = None, persistable: bool = True):
        super().__init__(data, dtype)
        self.persistable = persistable

    @staticmethod
    def adopt(tensor: Tensor, persistable: bool = True) -> Buffer:
        """Make a tensor a buffer, so that whoever holds it holds the buffer.

        A view becomes a tensor of its own: state must not follow something unregistered.

        Raises:
            DTypeError: the tensor is a Parameter.
        """
        if isinstance(tensor, Parameter):
            raise DTypeError("a Parameter cannot be registered as a buffer; detach() it first")
        if tensor._alias is not None:
            tensor._read()
            tensor._alias = None
        if not isinstance(tensor, Buffer):
            tensor.__class__ = Buffer
        tensor.persistable = persistable
        return tensor  # type: ignore[return-value]

    @staticmethod
    def holding(value: Tensor, before: Buffer | None) -> Buffer:
        """A buffer with the value and history of a tensor: what `layer.buffer = value` keeps.

        Args:
            value: of whatever shape. It stays as it is: a tensor of a user's, such as a constant
                that a state is reset to, must not turn into state.
            before: the buffer in whose place it comes.
        """
        buffer = Buffer.__new__(Buffer if before is None else type(before))
        if before is not None:
            buffer.persistable = before.persistable
        value._read()
        # An assignment binds to the history inside no_grad(), too.
        with set_grad_enabled(True):
            buffer._bind(OPS["clone"](value) if value._is_wanted_leaf() else value)
        return buffer


@dataclass
class ParamAttr:
    """Wishes about a parameter that a layer is going to create.

    Attributes:
        name: name of the tensor (not its key in `state_dict`).
        initializer: an initializer, or None for the layer's own.
        learning_rate: factor on the optimiser's learning rate.
        regularizer: weight decay of its own.
        trainable: whether it wants gradients.
        need_clip: whether gradient clipping counts it.
    """

    name: str | None = None
    initializer: Any = None
    learning_rate: float = 1.0
    regularizer: Any = None
    trainable: bool = True
    need_clip: bool = True

    @staticmethod
    def of(wish: Any) -> ParamAttr:
        """A ParamAttr from None, a name, an initializer or a ParamAttr."""
        if wish is None or wish is True:
            return ParamAttr()
        if isinstance(wish, ParamAttr):
            return wish
        if isinstance(wish, str):
            return ParamAttr(name=wish)
        if callable(wish):
            return ParamAttr(initializer=wish)
        raise DTypeError(
            f"a parameter attribute is None, False, a name, an initializer or a ParamAttr, "
            f"not {wish!r:.60}"
        )

    def mark(self, parameter: Parameter) -> Parameter:
        """Put the wishes on a parameter."""
        if self.name is not None:
            parameter._name = self.name
        parameter.stop_gradient = not self.trainable
        for key in ("learning_rate", "regularizer", "need_clip"):
            value = getattr(self, key)
            if value is not getattr(Parameter, key):
                setattr(parameter, key, value)
        return parameter


def memory_order(array: np.ndarray) -> tuple[int, ...]:
    """The axes of an array from the outermost to the innermost in memory."""
    return tuple(int(i) for i in np.argsort([-s for s in array.strides], kind="stable"))


def in_order(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The same values, lying in memory with `axes` from the outermost to the innermost."""
    back = tuple(int(i) for i in np.argsort(axes))
    return np.ascontiguousarray(array.transpose(axes)).transpose(back)


def laid_out_like(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The values of `array` with the strides of `like` (same shape)."""
    if array.strides == like.strides:
        return array
    out = np.empty_like(like, array.dtype)
    np.copyto(out, array)
    return out


def _unpickle_parameter(
    make: Any, cls: Any, array: np.ndarray, state: dict[str, Any], axes: tuple[int, ...]
) -> Parameter:
    return make(cls, in_order(array, axes), state)
