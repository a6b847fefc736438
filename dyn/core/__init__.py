"""The mechanisms every op stands on: op records, dispatch, observers, tape, tensors, sizes.

Nothing here computes: numbers are made in `dyn.kernels`, ops are declared in `dyn.ops`.
"""
