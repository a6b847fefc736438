"""Recurrent layers over whole sequences, and their gradients."""

from dyn.kernels.rnn.sequence import run, run_grad

__all__ = ["run", "run_grad"]
