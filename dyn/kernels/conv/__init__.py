"""Convolution, its transpose and its gradients, for 1 to 3 spatial axes: one file per algorithm."""

from dyn.kernels.conv.convolve import (
    bound,
    bound_grad_w,
    bound_gradients,
    conv,
    conv_grad_w,
    conv_transpose,
)

__all__ = ["bound", "bound_grad_w", "bound_gradients", "conv", "conv_grad_w", "conv_transpose"]
