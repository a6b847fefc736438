"""Small arrays go straight to numpy's ufunc, or to the compiled formula, where an op is one; how a
matrix product is cut, and what only looks at memory in another way, is worked out beforehand.

That halves the cost of a tiny call. The rule is asked once per op, attributes, shapes and dtypes;
kernels remain the reference.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from dyn.core.op import OPS, Op, Type
from dyn.kernels import (
    cross_entropy,
    gemm,
    layer_norm,
    negative_log_likelihood,
    reduce,
    softmax,
)
from dyn.kernels import elementwise as kernels
from dyn.kernels.elementwise.formulas import FORMULAS
from dyn.kernels.elementwise.gradient_formulas import GRADIENTS
from dyn.kernels.elementwise.ufuncs import UFUNCS
from dyn.kernels.roll import rolled_of
from dyn.kernels.shape import expand_of

Run = Callable[..., Any]
SPREAD = 4096
"""Elements from which on numpy takes longer for rows or columns that repeat than our own kernel."""
_F32 = np.dtype(np.float32)
_DTYPES = frozenset(map(np.dtype, ("float32", "float64", "int32", "int64", "bool")))


def _as_ufunc(ufunc: Run, enough: int, *types: Type) -> Run | None:
    """The ufunc itself, if it does for inputs of these types what the kernel does."""
    if any(t.dtype not in _DTYPES for t in types):
        return None
    # A column times a row is far larger than either.
    if math.prod(np.broadcast_shapes(*(t.shape for t in types))) >= enough:
        return None
    # Of nothing but 0-d arrays a ufunc makes a scalar, not an array.
    return ufunc if any(t.shape for t in types) else None


def _as_formula(
    op: Op, name: str, numbers: Iterable[float], types: tuple[Type, ...], attrs: dict[str, Any]
) -> Run | None:
    """A formula for dense float32 arrays of one shape."""
    shape = types[0].shape
    if 0 in shape or any(t is None or t.dtype != _F32 or t.shape != shape for t in types):
        return None
    return kernels.bound(name, shape, tuple(numbers), partial(op.kernel, **attrs))


def _plain(op: Op, *types: Type, **attrs: Any) -> Run | None:
    return _as_formula(op, op.name, attrs.values(), types, attrs)


def _clipped(op: Op, *types: Type, **attrs: Any) -> Run | None:
    """A missing bound is infinite."""
    low, high = attrs["low"], attrs["high"]
    numbers = -math.inf if low is None else low, math.inf if high is None else high
    return _as_formula(op, op.name, numbers, types, attrs)


def _gelu(op: Op, *types: Type, **attrs: Any) -> Run | None:
    name = op.name.replace("gelu", "gelu_tanh") if attrs["approximate"] else op.name
    return _as_formula(op, name, (), types, attrs)


def _repeated(op: Op, types: tuple[Type, ...]) -> Run | None:
    """The formula for two dense float32 arrays of which one is repeated along an axis."""
    if len(types) != 2 or op.name not in FORMULAS or any(t.dtype != _F32 for t in types):
        return None
    (x, _), (y, _) = types
    if x == y or not x or not y or math.prod(np.broadcast_shapes(x, y)) < SPREAD:
        return None
    return kernels.bound_pair(op.name, x, y, op.kernel)


def _either(op: Op, ufunc: Run, *types: Type) -> Run | None:
    """The ufunc where it is quicker or the only one, else the formula."""
    repeated = _repeated(op, types)
    if repeated is not None:
        return repeated
    alike = all(t == types[0] for t in types)
    enough = kernels.dense_size(op.name) if alike else kernels.kernel_size(op.name)
    found = _as_ufunc(ufunc, enough, *types)
    return _plain(op, *types) if found is None and op.name in FORMULAS else found


def _lerp(op: Op, x: Type, y: Type, weight: Type) -> Run | None:
    if weight.shape:
        return _plain(op, x, y, weight)
    if x.dtype != _F32 or x.shape != y.shape or not x.shape or not kernels.is_small(x.shape):
        return None
    return kernels.bound_lerp(x.shape, op.kernel)


def _relu(op: Op, x: Type) -> Run | None:
    return _plain(op, x) or _as_ufunc(lambda x: np.maximum(x, 0), kernels.kernel_size("relu"), x)


def _power(op: Op, x: Type, y: Type) -> Run | None:
    """A single base or exponent may have a shorter way in the kernel."""
    return _either(op, np.power, x, y) if x.shape and y.shape else None


def _folded(op: Op, x: Type, **attrs: Any) -> Run | None:
    if x.dtype != _F32:
        return None
    axes, keepdims, correction = attrs["axes"], attrs["keepdims"], attrs.get("correction", 0)
    general = partial(op.kernel, **attrs)
    return reduce.bound(op.name, x.shape, axes, general, keepdims=keepdims, correction=correction)


def _normalized(x: Type, axes: tuple[int, ...], epsilon: float) -> Run | None:
    """The length and the quotient, each bound to shapes."""
    measure = _folded(OPS["norm"], x, axes=axes, keepdims=True)
    if measure is None:
        return None
    lengths = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    divide = _either(OPS["divide"], np.divide, x, Type(lengths, x.dtype)) or OPS["divide"].kernel
    least = _F32.type(epsilon)
    return lambda x: divide(x, np.maximum(measure(x), least))


def _element_loss(op: Op, *types: Type, reduction: str, **numbers: float) -> Run | None:
    formula = _as_formula(op, op.name, numbers.values(), types, {**numbers, "reduction": "none"})
    if formula is None or reduction == "none":
        return formula
    shape = types[0].shape
    attrs = {"axes": (*range(len(shape)),), "keepdims": False}
    fold = _folded(OPS[reduction], types[0], **attrs)
    return None if fold is None else lambda *arrays: fold(formula(*arrays))


def _softmax(op: Op, *types: Type, axis: int) -> Run | None:
    if any(t.dtype != _F32 for t in types):
        return None
    return softmax.bound(op.name, types[-1].shape, axis, partial(op.kernel, axis=axis))


def _layer_norm(x: Type, *rest: Type | None, **attrs: Any) -> Run | None:
    return layer_norm.bound(*x, **attrs) if x.dtype in layer_norm.FLOATS else None


def _cross_entropy(bound: Run, x: Type, label: Type, weight: Type | None, **attrs: Any) -> Any:
    return bound(x.shape, weight is not None, **attrs) if x.dtype == _F32 else None


def _flipped(x: Type, *, axes: tuple[int, ...]) -> Run:
    """The view that `numpy.flip` gives."""
    order = [slice(None, None, -1) if a in axes else slice(None) for a in range(len(x.shape))]
    return itemgetter((*order, Ellipsis))


def _matmul(x: Type, y: Type, *, transpose_x: bool, transpose_y: bool) -> Run | None:
    general = partial(OPS["matmul"].kernel, transpose_x=transpose_x, transpose_y=transpose_y)
    return gemm.bound(
        x.shape, y.shape, x.dtype, general, transpose_a=transpose_x, transpose_b=transpose_y
    )


def _linear(x: Type, w: Type, b: Type | None, *, transpose_w: bool) -> Run | None:
    general = partial(OPS["linear"].kernel, transpose_w=transpose_w)
    biased = b is not None
    return gemm.bound(
        x.shape, w.shape, x.dtype, general, transpose_b=transpose_w, biased=biased, weight=True
    )


def _linear_grad(g: Type, w: Type, x: Type | None, **attrs: Any) -> Run | None:
    transposed, wanted = attrs["transpose_w"], attrs["of"]
    return gemm.bound_linear_grad(g.shape, w.shape, g.dtype, transposed=transposed, wanted=wanted)


def _bind() -> None:
    for name, formula in (FORMULAS | GRADIENTS).items():
        parameters = list(inspect.signature(formula).parameters.values())[1:]
        numbers = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        op = OPS.get(name)
        if op is not None and [*op.names] == numbers:
            op.shortcut = partial(_plain, op)
    for name, ufunc in UFUNCS.items():
        OPS[name].shortcut = partial(_either, OPS[name], ufunc)
    for rule, names in ((_clipped, "clip clip_grad"), (_gelu, "gelu gelu_grad")):
        for name in names.split():
            OPS[name].shortcut = partial(rule, OPS[name])
    for name in ["sum", "mean", "max", "min", "prod", "var", "std", "norm"]:
        OPS[name].shortcut = partial(_folded, OPS[name])
    OPS["normalize"].shortcut = _normalized
    for name in ["huber", "margin_excess", "margin_ranking", "poisson_nll", "soft_margin"]:
        OPS[name].shortcut = partial(_element_loss, OPS[name])
    for name in ["softmax", "log_softmax", "softmax_grad", "log_softmax_grad"]:
        OPS[name].shortcut = partial(_softmax, OPS[name])
    OPS["layer_norm"].shortcut = _layer_norm
    OPS["roll"].shortcut = lambda x, cut, axis: rolled_of(*x, cut, axis)
    OPS["softmax_cross_entropy"].shortcut = partial(_cross_entropy, cross_entropy.bound)
    bound = negative_log_likelihood.bound
    OPS["negative_log_likelihood"].shortcut = partial(_cross_entropy, bound)
    OPS["expand"].shortcut = lambda x, shape: expand_of(x.shape, x.dtype, shape)
    OPS["flip"].shortcut = _flipped
    OPS["relu"].shortcut = partial(_relu, OPS["relu"])
    OPS["lerp"].shortcut = partial(_lerp, OPS["lerp"])
    OPS["pow"].shortcut = partial(_power, OPS["pow"])
    OPS["matmul"].shortcut = _matmul
    OPS["linear"].shortcut = _linear
    OPS["linear_grad"].shortcut = _linear_grad


_bind()
