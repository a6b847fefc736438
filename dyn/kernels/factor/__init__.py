"""Factors of matrices and what is solved with them, for arrays of any strides and dtype.

Half precision is computed in float32; complex numbers are left to numpy.
"""

from dyn.kernels.factor.face import (
    cholesky,
    det,
    inverse,
    qr,
    real_of,
    slogdet,
    solve,
    transposed_solve,
    triangular_solve,
)

__all__ = [
    "cholesky",
    "det",
    "inverse",
    "qr",
    "real_of",
    "slogdet",
    "solve",
    "transposed_solve",
    "triangular_solve",
]
