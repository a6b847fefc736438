"""Tensor: a handle on an immutable value, with its place on the tape.

The value is a numpy array that nobody writes to; writing to a tensor binds the handle to a new
array (`_write`), or to the same one where nobody can tell (`dyn/ops/sole.py`). Operators and
methods that compute are ops and are bound to this class by `dyn.ops.methods`; what must not go in
here is anything that computes, prints or reads files.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from dyn.core import dtype as dtypes
from dyn.core import observe
from dyn.core.alias import DetachedAlias
from dyn.core.dim import Dim
from dyn.core.errors import DTypeError, GradError, ShapeError, StateError
from dyn.core.escape import PythonValue
from dyn.core.modes import is_grad_enabled
from dyn.core.op import OPS
from dyn.core.place import CPU, CPUPlace, as_place

_names = itertools.count()


class Zero:
    """Stands for a gradient that was cleared: zeros, made only when somebody looks."""


ZERO = Zero()


class Tensor(PythonValue):
    """A multi-dimensional array that remembers how it was made.

    Attributes:
        stop_gradient: True if no gradient is wanted. Results of ops want one when any input does.
        persistable: whether the tensor is state that is saved (parameters and most buffers).
    """

    _array: Any = None
    stop_gradient: bool = True
    persistable: bool = False
    _node: Any = None
    """GradNode that made the value, and which output it is; None for leaves."""
    _index: int = 0
    _leaf: Any = None
    _grad: Any = None
    _alias: Any = None
    """How the value follows the base of which this is a view, or is computed when it is read; None
    for tensors that have a value of their own."""
    _followed: Any = None
    """A weak reference to what tensors detached from this one follow, if there are any."""
    _version: int = 0
    """Number of writes; views compare it with the version they were made from."""
    _assigned: bool = False
    """Whether the handle was ever bound to a second value: it may carry state between calls."""
    _name: str | None = None
    _kept: tuple[str, ...] = ("stop_gradient", "persistable", "_name")
    """Attributes that copies and files keep."""

    __array_priority__ = 100

    def __init__(
        self, data: Any = None, dtype: Any = None, place: Any = None, stop_gradient: bool = True
    ):
        """Make a tensor from numbers, nested lists, an array or a tensor (copied).

        Python floats become the default dtype, ints int64; arrays keep their dtype. Without data
        the tensor is not initialized: it must be written before it is read.
        """
        as_place(place)
        if data is not None:
            self._array = to_array(data, dtype)
        self.stop_gradient = stop_gradient
        for observer in observe.current():
            observer.on_create(self)

    @staticmethod
    def _of(array: np.ndarray) -> Tensor:
        """A constant tensor over `array` itself, which nobody may write to from now on."""
        out = Tensor.__new__(Tensor)
        out._array = array
        return out

    # -- the value ---------------------------------------------------------------------------

    def _read(self) -> np.ndarray:
        """The array, after following the base if this is a view of something written since."""
        if self._alias is not None:
            self._refresh()
        if self._array is None:
            raise StateError(
                "the tensor was created but never given a value; write to it with "
                "dyn.assign(value, tensor) before reading it"
            )
        return self._array

    def _refresh(self) -> None:
        """Derive a view anew if its base was written since; compute a deferred value."""
        self._alias.refresh(self)

    def _typed(self) -> np.ndarray:
        """An array of the tensor's shape and dtype; that of a deferred value is not computed."""
        known: Any = self._array if self._alias is None or self._alias.deferred else None
        return self._read() if known is None else known

    def _bind(self, value: Tensor) -> None:
        """Take over the value of another tensor and, while gradients are recorded, its history."""
        self._array = value._array
        if is_grad_enabled():
            if value._node is not None or not self._is_wanted_leaf():
                self.stop_gradient = value.stop_gradient
            self._node = value._node
            self._index = value._index
            self._leaf = None if value._node is not None else self._leaf

    def _is_wanted_leaf(self) -> bool:
        return self._node is None and not self.stop_gradient

    def _write(self, value: Tensor) -> Tensor:
        """Bind this handle to a new value; if it is a view, write its base as well.

        Raises:
            GradError: this is a leaf that wants a gradient and gradients are recorded.
            ShapeError: the value has another shape.
        """
        for observer in observe.current():
            observer.before_assign(self)
        if self._array is not None and value._read().shape != self._read().shape:
            raise ShapeError(
                f"a value of shape {list(value._array.shape)} cannot be written into a tensor of "
                f"shape {list(self._array.shape)}"
            )
        if self._array is not None and value._array.dtype != self._array.dtype:
            raise DTypeError(
                f"a value of dtype {value._array.dtype.name} cannot be written into a tensor of "
                f"dtype {self._array.dtype.name}; cast() it first"
            )
        if self._is_wanted_leaf() and is_grad_enabled():
            raise GradError(
                "a leaf tensor that wants a gradient is written in place; do it inside "
                "dyn.no_grad(), or write to a clone()"
            )
        if self._alias is not None:
            self._alias.write(self, value)
        else:
            self._bind(value)
        self._version += 1
        self._assigned = True
        for observer in observe.current():
            observer.on_assign(self)
        return self

    def set_value(self, value: Any) -> None:
        """Replace the value (same shape; numbers are cast), leaving the tape out of it."""
        own = self._read() if self._array is not None else None
        array = to_array(value, None if own is None else own.dtype)
        if own is not None and array.shape != own.shape:
            raise ShapeError(
                f"set_value was given shape {list(array.shape)}, the tensor has {list(own.shape)}"
            )
        fresh = value.detach() if isinstance(value, Tensor) and array is value._array else None
        self._assign(fresh if fresh is not None else Tensor._of(array))

    def _assign(self, value: Tensor) -> None:
        """Bind to the array of `value` as state: no gradient flows, whatever the mode."""
        if self._alias is not None:
            self._write(value)
            return
        for observer in observe.current():
            observer.before_assign(self)
        self._array = value._read()
        self._node = None
        self._version += 1
        self._assigned = True
        for observer in observe.current():
            observer.on_assign(self)

    def detach(self) -> Tensor:
        """The same value without history; a write to either is seen by both."""
        out = Tensor._of(self._read())
        out._alias = DetachedAlias(self)
        return out

    # -- what it is --------------------------------------------------------------------------

    @property
    def shape(self) -> list[Any]:
        """Sizes, as a list. While a model is traced, dynamic sizes are `Dim`s."""
        array = self._typed()
        for observer in observe.current():
            sizes = observer.shape_of(self)
            if sizes is not None:
                return list(sizes)
        return list(array.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._typed().ndim

    @property
    def size(self) -> Any:
        """Number of elements."""
        total: Any = 1
        for n in self.shape:
            total = total * n
        return total

    @property
    def dtype(self) -> dtypes.DType:
        """Element type, such as `dyn.float32`."""
        return dtypes.of_numpy(self._typed().dtype)

    @property
    def place(self) -> CPUPlace:
        """Where the tensor lives: always `CPUPlace`."""
        return CPU

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user rather than by an op on the tape."""
        return self._node is None

    @property
    def name(self) -> str:
        """A name, given on first use if the user gave none."""
        if self._name is None:
            self._name = f"generated_tensor_{next(_names)}"
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def grad(self) -> Tensor | None:
        """Gradient of the last backward passes, or None.

        A leaf accumulates until it is cleared. A result of an op shows the gradient of the last
        backward pass, before its own hooks, for as long as the tensor is held.
        """
        if self._node is not None:
            grads = self._node.grads
            found = grads[self._index] if grads is not None else None
            return None if found is None else Tensor._of(found)
        if self._grad is ZERO:
            self._grad = Tensor._of(np.zeros_like(self._array))
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and value._read().shape != self._read().shape:
            raise ShapeError(
                f"a gradient of shape {value.shape} was given to a tensor of shape {self.shape}"
            )
        if self._node is None:
            self._grad = value
        elif value is not None or self._node.grads is not None:
            grads = self._node.grads or [None] * self._node.count
            grads[self._index] = None if value is None else value._read()
            self._node.grads = grads

    def gradient(self) -> np.ndarray | None:
        """The gradient as a numpy array, or None."""
        g = self.grad
        return None if g is None else g.numpy()

    def clear_grad(self, set_to_zero: bool = True) -> None:
        """Forget the gradient: zeros if there was one (Paddle), None with `set_to_zero=False`."""
        self._grad = ZERO if set_to_zero and self._grad is not None else None

    clear_gradient = clear_grad

    def __getitem__(self, index: Any) -> Tensor:
        raise NotImplementedError("bound by dyn.ops.methods")

    def __hash__(self) -> int:
        return id(self)

    # -- copies ------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise GradError("only leaves can be deep-copied; detach() the result of an op first")
        if self._alias is not None:
            self._refresh()
        out = type(self).__new__(type(self))
        own = ("_leaf", "_alias", "_followed", "_grad")
        out.__dict__.update({k: v for k, v in self.__dict__.items() if k not in own})
        memo[id(self)] = out
        return out

    def __copy__(self) -> Tensor:
        # By the op, so that a traced value stays one.
        array = None if self._array is None else OPS["clone"](self.detach())._array
        return _unpickle(type(self), array, Tensor.__reduce__(self)[1][2])

    def __reduce__(self) -> Any:
        state = {k: v for k, v in self.__dict__.items() if k in self._kept}
        array = None if self._array is None else np.array(self._read(), order="C")
        return (_unpickle, (type(self), array, state))

    if TYPE_CHECKING:
        # Ops bound by dyn.ops.methods. Operators are looked up on the class, so they are listed.
        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...


def _unpickle(cls: type[Tensor], array: np.ndarray | None, state: dict[str, Any]) -> Tensor:
    out = cls.__new__(cls)
    out._array = array
    out.__dict__.update(state)
    return out


def to_array(data: Any, dtype: Any = None) -> np.ndarray:
    """A fresh array from numbers, sizes, nested lists (of tensors too), an array or a Tensor.

    Raises:
        DTypeError: the data is not numeric, or rows differ in length.
    """
    wanted = None if dtype is None else dtypes.as_numpy(dtype)
    if isinstance(data, Tensor):
        array = data._read()
        if wanted is None or wanted == array.dtype:
            return array
        # By the op, so that a traced value stays one.
        return OPS["cast"](Tensor._of(array), dtype=wanted.name)._array
    if isinstance(data, (list, tuple, Dim)) and holds_tensor(data):
        return to_array(_joined(data), dtype)
    typed = _has_typed_leaf(data)
    try:
        array = dtypes.copied(data)
    except ValueError as error:
        raise DTypeError(f"rows of differing length cannot become a tensor: {error}") from None
    if wanted is None:
        wanted = dtypes.of_data(array, typed)
    return array if array.dtype == wanted else dtypes.convert(array, wanted)


def holds_tensor(data: Any) -> bool:
    """Whether a Tensor or a symbolic size is in nested lists."""
    if isinstance(data, (list, tuple)):
        return any(map(holds_tensor, data))
    return isinstance(data, (Tensor, Dim))


def _joined(data: Any) -> Tensor:
    """Nested lists as one tensor made by ops: dtypes are promoted, traced values stay traced."""
    if isinstance(data, Dim):
        return data.scope.lift(data)
    if not isinstance(data, (list, tuple)):
        return data.detach() if isinstance(data, Tensor) else Tensor(data)
    if not data:
        return Tensor(())
    rows = [OPS["unsqueeze"](_joined(item), axes=(0,)) for item in data]
    if any(row._array.shape != rows[0]._array.shape for row in rows):
        raise DTypeError("rows of differing length cannot become a tensor")
    return OPS["concat"](*rows, axis=0)


def _has_typed_leaf(data: Any) -> bool:
    """Whether the first element has a dtype of its own, as arrays have and numbers have not."""
    while isinstance(data, (list, tuple)):
        if not data:
            return False
        data = data[0]
    return isinstance(data, np.generic) or hasattr(data, "__array__")
