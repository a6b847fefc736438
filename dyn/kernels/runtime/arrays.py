"""Looking at numpy arrays from inside a kernel that was given their addresses as integers.

A kernel that takes arrays is compiled for every memory layout of every argument. One that takes
`id(array)` and reads address, sizes and strides from the array object itself is compiled once, and
calling it costs no unpacking. The caller keeps the arrays alive.

The words read are the public head of every numpy array (`PyArrayObject_fields` in numpy's headers):
after the object header come data, number of axes, sizes, strides, owner of the memory, dtype. A
tuple of arrays is looked into likewise: after its header comes its length, and its items are what
it ends with.
"""

from __future__ import annotations

from dyn.kernels.runtime.jit import kernel
from dyn.kernels.runtime.threads import argument

_HEAD = object.__basicsize__ // 8
DATA, AXES, SIZES, STRIDES, TYPE = _HEAD, _HEAD + 1, _HEAD + 2, _HEAD + 3, _HEAD + 5
LENGTH, ITEMS = _HEAD, tuple.__basicsize__ // 8


@kernel(forceinline=True)
def data(array: int) -> int:
    """Address of the first element of the array with this `id`."""
    return argument(array, DATA)


@kernel(forceinline=True)
def axes(array: int) -> int:
    """Number of axes of the array with this `id`."""
    return argument(array, AXES) & 0xFFFFFFFF  # a C int, with nothing meant beside it


@kernel(forceinline=True)
def size(array: int, axis: int) -> int:
    """Number of elements along an axis."""
    return argument(argument(array, SIZES), axis)


@kernel(forceinline=True)
def stride(array: int, axis: int) -> int:
    """Bytes from one element to the next along an axis."""
    return argument(argument(array, STRIDES), axis)


@kernel(forceinline=True)
def length(items: int) -> int:
    """Number of items of the tuple with this `id`."""
    return argument(items, LENGTH)


@kernel(forceinline=True)
def item(items: int, place: int) -> int:
    """`id` of an item of a tuple."""
    return argument(items, ITEMS + place)
