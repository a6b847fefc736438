"""Names of the package that need little: windows, places in shapes, facts, comparisons of tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from dyn.compat.torch import creation
from dyn.compat.torch.nn import functional as F
from dyn.compat.torch.tensor import Base, Tensor, of_name_or, own
from dyn.core.dtype import as_numpy, is_float
from dyn.core.errors import DTypeError
from dyn.ops.infer import whole
from dyn.ops.shape import sizes_of


def _turns(name: str, length: Any, periodic: bool) -> np.ndarray:
    """How much of a turn each place of a window is from its beginning."""
    count = whole(f"{name}: window_length", length)
    if count < 0:
        raise RuntimeError(f"{name} needs a length from 0 on, got {count}")
    return np.arange(count) / max(count if periodic else count - 1, 1)


def _finished(name: str, values: np.ndarray, dtype: Any, **given: Any) -> Any:
    kind = as_numpy(creation.get_default_dtype() if dtype is None else of_name_or(dtype))
    if not is_float(kind):
        raise RuntimeError(f"{name} expects floating point dtypes, got {dtype}")
    return creation.tensor(np.ones(1) if len(values) == 1 else values, dtype=kind, **given)


def _cosines(*weights: float) -> Callable[[np.ndarray], np.ndarray]:
    """A sum of cosines of multiples of a turn."""

    def values(turns: np.ndarray) -> np.ndarray:
        return np.sum([w * np.cos(2 * math.pi * k * turns) for k, w in enumerate(weights)], 0)

    return values


def _window(
    name: str, formula: Callable[[np.ndarray], np.ndarray], text: str
) -> Callable[..., Any]:
    """A window as PyTorch calls it; `formula` is over turns from 0 to 1."""

    def window(
        window_length: int,
        periodic: bool = True,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Any:
        values = formula(_turns(name, window_length, periodic))
        return _finished(name, values, dtype, device=device, requires_grad=requires_grad)

    window.__name__, window.__doc__ = name, text
    return window


hann_window = _window(
    "hann_window", _cosines(0.5, -0.5), "The window sin(pi n / N)**2, [window_length]."
)
blackman_window = _window(
    "blackman_window",
    _cosines(0.42, -0.5, 0.08),
    "Blackman's window of two cosines, [window_length].",
)
bartlett_window = _window(
    "bartlett_window",
    lambda turns: 1 - np.abs(2 * turns - 1),
    "The window 1 - |2 n / N - 1|, [window_length]; symmetric if not `periodic`.",
)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    **settings: Any,
) -> Any:
    """The window alpha - beta * cos(2 pi n / N), [window_length]; symmetric if not `periodic`.

    `settings` are those of the other windows: `dtype`, `device`, `requires_grad`.
    """
    return _window("hamming_window", _cosines(alpha, -beta), "")(
        window_length, periodic, **settings
    )


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """The coordinates of positions in a flattened tensor of a shape: a tensor for each axis.

    Raises:
        DTypeError: the positions, or a size, are no integers.
    """
    sizes = sizes_of(shape)
    if own(indices)._typed().dtype.kind not in "iu":
        raise DTypeError(
            f"unravel_index takes positions that are integers, got {indices.dtype}; convert them "
            "with long()"
        )
    found: list[Any] = []
    for n in reversed(sizes):
        found.append(own(indices % n))
        indices = own(indices // n)
    return tuple(reversed(found))


def is_same_size(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape."""
    return tuple(input.shape) == tuple(other.shape)


def is_signed(input: Any) -> bool:
    """Whether the dtype has negative numbers."""
    return own(input)._typed().dtype.kind not in "ub"


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    msg: Any = None,
    allow_subclasses: bool = True,
    check_device: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
) -> None:
    """Raise AssertionError unless two tensors, or sequences and dictionaries of them, are close.

    Args:
        actual, expected: tensors, numbers, or containers of them.
        rtol, atol: by default those of the dtype, as in PyTorch: 1.3e-6 and 1e-5 for float32.
        equal_nan: whether NaN equals NaN.
        check_dtype: whether dtypes must be the same.
        msg: what the error says instead, or a function of what it would say.
        allow_subclasses, check_device, check_layout: accepted; there is one of each.
        check_stride: refused; results are compared, not how they lie in memory.

    Raises:
        AssertionError: they are not close.
        TypeError: a container stands beside something else.
        ValueError: one of `rtol` and `atol` is given alone.
        NotImplementedError: `check_stride`.
    """
    if check_stride:
        raise NotImplementedError("assert_close: compare stride() of the tensors yourself")
    if (rtol is None) != (atol is None):
        raise ValueError("Both rtol and atol must be either specified or unspecified.")
    for kind in (dict, (tuple, list)):
        if isinstance(actual, kind) != isinstance(expected, kind):
            raise TypeError(
                f"assert_close compares like with like, got {type(actual).__name__} and "
                f"{type(expected).__name__}"
            )
    if isinstance(expected, dict):
        if actual.keys() != expected.keys():
            raise _unlike(msg, f"The keys differ: {set(actual) ^ set(expected)}")
        pairs = [(actual[key], value) for key, value in expected.items()]
    elif isinstance(expected, (tuple, list)):
        if len(actual) != len(expected):
            raise _unlike(msg, f"The lengths differ: {len(actual)} and {len(expected)}")
        pairs = list(zip(actual, expected, strict=True))
    else:
        _need_close(actual, expected, rtol, atol, equal_nan, check_dtype, msg)
        return
    for one, other in pairs:
        assert_close(
            one, other, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype, msg=msg
        )


def _unlike(msg: Any, text: str) -> AssertionError:
    return AssertionError(msg(text) if callable(msg) else msg or text)


_TOLERANCES = {"float16": 1e-3, "bfloat16": 1.6e-2, "float32": 1.3e-6, "float64": 1e-7}
_NEAR_ZERO = {"float16": 1e-5, "bfloat16": 1e-5, "float32": 1e-5, "float64": 1e-7}


def _need_close(
    actual: Any,
    expected: Any,
    rtol: float | None,
    atol: float | None,
    equal_nan: bool,
    check_dtype: bool,
    msg: Any,
) -> None:
    a, b = (np.asarray(x._read() if isinstance(x, Base) else x) for x in (actual, expected))
    if a.shape != b.shape:
        text = f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}."
        raise _unlike(msg, text)
    tensors = isinstance(actual, Base) and isinstance(expected, Base)
    if check_dtype and tensors and a.dtype != b.dtype:
        text = f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}."
        raise _unlike(msg, text)
    names = (a.dtype.name, b.dtype.name)
    relative = max(_TOLERANCES.get(n, 0.0) for n in names) if rtol is None else rtol
    absolute = max(_NEAR_ZERO.get(n, 0.0) for n in names) if atol is None else atol
    wide = (x.astype(np.float64) if x.dtype.kind in "fV" else x for x in (a, b))
    first, second = wide
    close = np.isclose(first, second, rtol=relative, atol=absolute, equal_nan=equal_nan)
    if not close.all():
        count = int(close.size - close.sum())
        away = np.abs(first.astype(np.float64) - second.astype(np.float64))
        raise _unlike(
            msg,
            f"Tensor-likes are not close!\n\nMismatched elements: {count} / {close.size}\n"
            f"Greatest absolute difference: {np.max(away)} (up to {absolute} allowed)\n"
            f"The relative tolerance is {relative}.",
        )


testing = SimpleNamespace(assert_close=assert_close)
"""`torch.testing`."""


def _in_place(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        return method(own(input), *args, **kwargs)

    call.__name__, call.__doc__ = name, f"`Tensor.{name}` as a function."
    return call


def functions() -> dict[str, Any]:
    """All names that the package gets from here."""
    made = (
        hann_window, blackman_window, hamming_window, bartlett_window, unravel_index,
        is_same_size, is_signed,
    )  # fmt: skip
    found: dict[str, Any] = {function.__name__: function for function in made}
    found.update({name: _in_place(name) for name in ("fill_", "zero_", "nan_to_num_", "detach_")})
    found["adaptive_max_pool1d"] = F.adaptive_max_pool1d
    return {**found, "testing": testing, "newaxis": None}
