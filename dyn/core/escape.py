"""The ways in which a tensor's value leaves for Python: numpy arrays, numbers, lists, conditions.

Every way is reported to the observers first; the tracer answers some of them and refuses others.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dyn.core import observe
from dyn.core.errors import AttributeValueError, DTypeError, ShapeError

if TYPE_CHECKING:
    from dyn.core.tensor import Tensor


class PythonValue:
    """Base of Tensor: reads its value through `_read` and gives it to Python."""

    _array: Any
    shape: Any

    def _read(self) -> np.ndarray:
        """The array of the tensor as it is now."""
        raise NotImplementedError(type(self).__name__)

    def _escape(self, how: str) -> Any:
        """Tell observers that the value leaves; what they answer, if anything, goes out instead."""
        for observer in observe.current():
            answer = observer.on_escape(self, how)  # type: ignore[arg-type]
            if answer is not None:
                return answer
        return None

    def numpy(self) -> np.ndarray:
        """A copy of the value as a numpy array, in logical (row-major) order."""
        self._read()
        self._escape("numpy")
        return np.array(self._array, order="C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._read()
        self._escape("numpy")
        if dtype is not None and np.dtype(dtype) != self._array.dtype:
            return self._array.astype(dtype)
        if copy is False:
            raise AttributeValueError("a Tensor's array is given out as a copy only")
        return np.array(self._array, order="C")

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def item(self, *index: int) -> Any:
        """The single element as a Python number, or the element at `index`.

        Raises:
            ShapeError: there are several elements and no index is given.
        """
        array = self._read()
        if not index and array.size != 1:
            raise ShapeError(
                f"item() needs a tensor of one element; this one has shape {list(array.shape)}"
            )
        answer = self._escape("item")
        return answer if answer is not None else array.item(*index)

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        array = self._read()
        answer = self._escape("tolist")
        return answer if answer is not None else array.tolist()

    def _one(self, how: str) -> Any:
        array = self._read()
        if array.size != 1:
            raise ShapeError(
                f"{how}() of a tensor of shape {list(array.shape)}: only a tensor of one element "
                "can be used as a Python number or condition"
            )
        answer = self._escape(how)
        return answer if answer is not None else array.item()

    def __bool__(self) -> bool:
        return bool(self._one("bool"))

    def __int__(self) -> int:
        return int(self._one("int"))

    def __float__(self) -> float:
        return float(self._one("float"))

    def __floor__(self) -> Any:
        return self._rounded("floor")

    def __ceil__(self) -> Any:
        return self._rounded("ceil")

    def __trunc__(self) -> Any:
        return self._rounded("trunc")

    def _rounded(self, how: str) -> Any:
        value = self._one(how)
        # A quotient of sizes, rounded, is a size: the observers answer with one.
        return getattr(math, how)(value) if isinstance(value, (bool, int, float)) else value

    def __complex__(self) -> complex:
        return complex(self._one("complex"))

    def __index__(self) -> int:
        return operator.index(self._place())

    def _place(self) -> Any:
        """The one element as an index, or the size that observers give for it."""
        if self._read().dtype.kind not in "iub":
            raise DTypeError(
                f"a tensor of dtype {self._array.dtype.name} cannot be used as an index; "
                "it must be an integer"
            )
        return self._one("index")

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        return format(self._one("format"), spec)

    def __len__(self) -> int:
        array = self._read()
        if array.ndim == 0:
            raise ShapeError("len() of a 0-d tensor, which has no axis; item() gives its number")
        size = self.shape[0]
        return size if isinstance(size, int) else size._escape("len")

    def __iter__(self) -> Iterator[Tensor]:
        if self._read().ndim == 0:
            raise ShapeError(
                "iteration over a 0-d tensor, which has no axis; item() gives its number"
            )
        size = self.shape[0]
        if not isinstance(size, int):
            size._escape("iteration")
        indexed: Any = self
        return (indexed[i] for i in range(self._array.shape[0]))
