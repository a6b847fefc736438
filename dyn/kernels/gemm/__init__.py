"""Matrix products of arrays of any strides and dtype: tiles, packing, loops, and their face."""

from dyn.kernels.gemm.bound import bound
from dyn.kernels.gemm.matmul import linear, matmul

__all__ = ["bound", "linear", "matmul"]
