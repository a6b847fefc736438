"""Arithmetic element by element, by op name: `unary`, `binary`, `cast`.

Inputs broadcast as in numpy. float16 and bfloat16 are computed in float32. Nothing here reduces or
looks at neighbours.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.formulas import BINARY, UNARY

_F32 = np.dtype(np.float32)
_EXACT = frozenset({"abs", "neg", "isnan", "isinf", "isfinite", "logical_not", "sign"})


def _is_half(dtype):
    return dtype.itemsize == 2 and dtype.kind not in "iub"


def unary(name, x, *params):
    """Function `name` of every element of `x`; `params` are numbers."""
    if _is_half(x.dtype) and name not in _EXACT:
        return unary(name, x.astype(_F32), *params).astype(x.dtype)
    out = UNARY[name](x, *params)
    return out if out.__class__ is np.ndarray else np.asarray(out)


def binary(name, x, y, *params):
    """Function `name` of the elements of `x` and `y`, which broadcast; `params` are numbers."""
    if _is_half(x.dtype):
        out = binary(name, x.astype(_F32), y.astype(_F32), *params)
        return out if out.dtype != _F32 else out.astype(x.dtype)
    out = BINARY[name](x, y, *params)
    return out if out.__class__ is np.ndarray else np.asarray(out)


def cast(x, dtype):
    """A new array with the elements of `x` as `dtype`; complex to real drops the imaginary part."""
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        x = x.real
    return x.astype(dtype, order="K")


def limits(dtype):
    """(lowest, highest, smallest normal) number of a floating-point dtype."""
    if dtype.name == "bfloat16":
        return -3.3895313892515355e38, 3.3895313892515355e38, 1.1754943508222875e-38
    info = np.finfo(dtype)
    return float(info.min), float(info.max), float(info.tiny)
