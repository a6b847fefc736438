"""Kernels on plain numpy arrays, compiled by numba; they know no Tensor.

Nothing is imported here: a module loads numba only when one of its kernels is asked for.
"""
