"""Scaled dot-product attention: blocks of scores between products, never the whole score matrix."""

from dyn.kernels.attention.scaled_dot_product import attention, attention_grad

__all__ = ["attention", "attention_grad"]
