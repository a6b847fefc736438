"""Convolution, its transpose and its gradients, for 1 to 3 spatial axes: one file per algorithm."""

from dyn.kernels.conv.convolve import bound, conv, conv_grad_w, conv_transpose

__all__ = ["bound", "conv", "conv_grad_w", "conv_transpose"]
