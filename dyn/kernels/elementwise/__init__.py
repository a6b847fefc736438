"""Arithmetic element by element: formulas, the loops that run them, and the choice of the loop."""

from dyn.kernels.elementwise.apply import (
    binary,
    cast,
    clip,
    clip_between,
    clip_grad,
    kernel_size,
    lerp,
    limits,
    power,
    ternary,
    unary,
    where,
)

__all__ = [
    "binary",
    "cast",
    "clip",
    "clip_between",
    "clip_grad",
    "kernel_size",
    "lerp",
    "limits",
    "power",
    "ternary",
    "unary",
    "where",
]
