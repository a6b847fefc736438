"""Eager tensors, autograd, layers and optimisers on numba kernels."""
