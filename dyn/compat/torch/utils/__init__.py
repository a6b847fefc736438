"""`torch.utils`: the loading of data, and recomputation."""

from dyn.compat.torch.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
