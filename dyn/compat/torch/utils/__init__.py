"""`torch.utils`: the loading of data."""

from dyn.compat.torch.utils import data

__all__ = ["data"]
