"""Arguments of sliding windows (convolution, pooling, unfold) brought to one canonical form.

Canonical: one int per spatial axis, and padding as (low, high) pairs flattened in axis order.
Sizes may be symbolic. No op and no kernel lives here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.core.dim import Dim, maximum
from dyn.core.errors import AttributeValueError, DTypeError
from dyn.ops.infer import Type, as_numbers, need_rank, show, window


@lru_cache(1024)
def plain_window(
    count: int, kernel: int, stride: int, padding: int, dilation: int
) -> tuple[tuple[int, ...], ...] | None:
    """Kernel, stride, padding and dilation of `count` axes, each given as one number for all.

    None for numbers that make no window, which `per_axis` and `padding_pairs` complain about.
    """
    if min(kernel, stride, dilation) < 1 or padding < 0:
        return None
    each = (kernel,) * count, (stride,) * count, (dilation,) * count
    return each[0], each[1], (padding,) * (2 * count), each[2]


def window_of(
    count: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1
) -> tuple[tuple[Any, ...], ...]:
    """Kernel, stride (the kernel's if None), padding and dilation of a window over x."""
    step = kernel_size if stride is None else stride
    # Spelled out, as a generator would take as long as a tiny op.
    plain = kernel_size.__class__ is int and step.__class__ is int
    if plain and padding.__class__ is int and dilation.__class__ is int:
        found = plain_window(count, kernel_size, step, padding, dilation)
        if found is not None:
            return found
    kernel = per_axis("kernel_size", kernel_size, count)
    steps = kernel if stride is None else per_axis("stride", stride, count)
    gaps = per_axis("dilation", dilation, count)
    return kernel, steps, padding_pairs(padding, x.shape[2:], kernel, steps, gaps), gaps


def per_axis(name: str, value: Any, count: int) -> tuple[Any, ...]:
    """One positive int per spatial axis, from an int or a sequence of one or `count` ints."""
    if value.__class__ is int and value > 0:
        return (value,) * count
    listed = _integers(name, value)
    if len(listed) == 1:
        listed *= count
    if len(listed) != count:
        raise AttributeValueError(f"{name} must have 1 or {count} values, got {value!r}")
    if any(n < 1 for n in listed):
        raise AttributeValueError(f"{name} must be positive, got {value!r}")
    return tuple(n if isinstance(n, Dim) else int(n) for n in listed)


def _integers(name: str, value: Any) -> list[Any]:
    """An integer or a sequence of integers as a list; True and 2.0 are none."""
    value = as_numbers(value)
    listed = list(value) if isinstance(value, Iterable) else [value]
    if any(isinstance(n, bool) or not isinstance(n, (int, np.integer, Dim)) for n in listed):
        raise DTypeError(f"{name} must be an integer or a list of integers, got {value!r}")
    return listed


def is_dynamic(kernel: Sequence[Any]) -> bool:
    """Whether a window has a dynamic size."""
    return any(isinstance(n, Dim) for n in kernel)


def need_whole(
    x: Any, kernel: Sequence[Any], padding: Sequence[Any], dilation: Sequence[Any]
) -> None:
    """Raise unless a window is all of x: ONNX has no other windows of dynamic sizes.

    Raises:
        AttributeValueError: the window is not all of x, or padded, or dilated.
    """
    sizes, plain = tuple(x.shape[2:]), not any(padding) and all(n == 1 for n in dilation)
    if not (plain and all(k == n for k, n in zip(kernel, sizes, strict=True))):
        raise AttributeValueError(
            f"a window of the dynamic sizes {show(tuple(kernel))} must be all of the spatial sizes "
            f"{show(sizes)}, without padding and dilation; declare the sizes as numbers, or give "
            "kernel_size as one"
        )


def padding_pairs(
    padding: Any,
    sizes: Sequence[Any],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Any, ...]:
    """Padding in any of Paddle's forms as (low, high) pairs, flattened: (top, bottom, left, right).

    Args:
        padding: an int; one int per spatial axis; a (low, high) pair per axis, flattened or nested
            (nested also with the pairs of batch and channel axis in front, which must be zero);
            "VALID" (none) or "SAME" (output size = input size / stride, rounded up).
        sizes: spatial sizes of the input; only "SAME" looks at them.
        kernel, stride, dilation: one int per spatial axis.

    Raises:
        DTypeError: a value is no integer.
        AttributeValueError: the form is none of these, or a value is negative.
    """
    count = len(kernel)
    if padding.__class__ is int and padding >= 0:
        return (padding,) * (2 * count)
    if isinstance(padding, str):
        return _named_padding(padding, sizes, kernel, stride, dilation)
    if isinstance(padding, (list, tuple)) and padding and isinstance(padding[0], (list, tuple)):
        pairs = [tuple(pair) for pair in padding]
        if len(pairs) == count + 2 and pairs[:2] == [(0, 0), (0, 0)]:
            pairs = pairs[2:]
        values = _integers("padding", [n for pair in pairs for n in pair])
        if len(values) != 2 * count:
            raise AttributeValueError(f"padding {padding!r} does not fit {count} spatial axes")
    else:
        values = _integers("padding", padding)
    if len(values) == 1:
        values *= 2 * count
    elif len(values) == count:
        values = [n for n in values for _ in range(2)]
    if len(values) != 2 * count:
        raise AttributeValueError(
            f"padding must be 'SAME', 'VALID' or have 1, {count} or {2 * count} values, "
            f"got {padding!r}"
        )
    if any(n < 0 for n in values):
        raise AttributeValueError(f"padding must not be negative, got {padding!r}")
    return tuple(n if isinstance(n, Dim) else int(n) for n in values)


def follows_the_input(padding: Any) -> bool:
    """Whether padding is worked out from the sizes of the input: "SAME", in any case of letters."""
    return isinstance(padding, str) and padding.upper() == "SAME"


def _named_padding(
    padding: str,
    sizes: Sequence[Any],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Any, ...]:
    name = padding.upper()
    if name == "VALID":
        return (0,) * (2 * len(kernel))
    if name != "SAME":
        raise AttributeValueError(f"padding is called 'SAME' or 'VALID', not {padding!r}")
    found: list[Any] = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        positions = (size + s - 1) // s
        total = maximum((positions - 1) * s + d * (k - 1) + 1 - size, 0)
        found += [total // 2, total - total // 2]
    return tuple(found)


def window_sizes(
    x: Type,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Any],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[Any, ...]:
    """Spatial sizes after sliding a window over x [N, C, spatial...].

    Raises:
        ShapeError: x has not `len(kernel)` spatial axes.
        AttributeValueError: the padded input is smaller than the window.
    """
    need_rank("x", x, len(kernel) + 2)
    found = []
    for i, size in enumerate(x.shape[2:]):
        low, high = padding[2 * i], padding[2 * i + 1]
        n = window(size, kernel[i], stride[i], low, high, dilation[i], ceil=ceil_mode)
        if isinstance(n, int) and n < 1:
            raise AttributeValueError(
                f"the window {kernel[i]} (dilation {dilation[i]}) is larger than the size {size} "
                f"with padding {low} and {high}, in shape {show(x.shape)}"
            )
        found.append(n)
    return tuple(found)
