"""Arithmetic element by element: formulas, the loops that run them, and the choice of the loop."""

from dyn.kernels.elementwise.apply import (
    along,
    binary,
    cast,
    clip,
    clip_between,
    clip_grad,
    dense_size,
    kernel_size,
    lerp,
    limits,
    power,
    ternary,
    total,
    unary,
    where,
)
from dyn.kernels.elementwise.binding import bound, bound_lerp, bound_pair, is_small

__all__ = [
    "along",
    "binary",
    "bound",
    "bound_lerp",
    "bound_pair",
    "cast",
    "clip",
    "clip_between",
    "clip_grad",
    "dense_size",
    "is_small",
    "kernel_size",
    "lerp",
    "limits",
    "power",
    "ternary",
    "total",
    "unary",
    "where",
]
