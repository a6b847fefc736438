"""Matrix products of arrays of any strides and dtype: tiles, packing, loops, and their face."""

from dyn.kernels.gemm.bound import bound
from dyn.kernels.gemm.linear import bound_linear_grad, linear, linear_grad, linear_vjp
from dyn.kernels.gemm.matmul import matmul

__all__ = ["bound", "bound_linear_grad", "linear", "linear_grad", "linear_vjp", "matmul"]
