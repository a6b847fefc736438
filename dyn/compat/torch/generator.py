"""`torch.Generator`: a random state of one's own, beside the common one of `dyn.seed`.

Random numbers are drawn by dyn's ops; here is only which state they are drawn from.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from dyn.compat.torch.types import device, need_cpu
from dyn.core import rng


class Generator:
    """A random state; starts from entropy until it is seeded.

    Args:
        device: must be the CPU.
    """

    def __init__(self, device: Any = "cpu"):
        need_cpu(device)
        self.draws = np.random.Generator(np.random.Philox())
        self._seed = 0

    @property
    def device(self) -> device:
        """Where it draws: `device(type='cpu')`."""
        return device("cpu")

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from `seed`; the same seed gives the same numbers."""
        self._seed = int(seed)
        self.draws.bit_generator.state = np.random.Philox(self._seed & (2**64 - 1)).state
        return self

    def initial_seed(self) -> int:
        """The last seed that was given; 0 before."""
        return self._seed

    def get_state(self) -> dict[str, Any]:
        """The whole state, as a dictionary of numbers and arrays."""
        return dict(self.draws.bit_generator.state)

    def set_state(self, new_state: dict[str, Any]) -> None:
        """Go on from a state given by `get_state`."""
        self.draws.bit_generator.state = new_state


class _Common(Generator):
    """The state that everything draws from unless it is told another."""

    def __init__(self) -> None:
        self._seed = 0

    @property
    def draws(self) -> Any:
        """dyn's own generator."""
        return rng.generator()


default_generator = _Common()


def manual_seed(seed: int) -> Generator:
    """Start the common random state anew: the same seed gives the same numbers."""
    return default_generator.manual_seed(seed)


def drawing(generator: Generator | None) -> AbstractContextManager[Any]:
    """Draw from `generator` for the length of a `with` block; None leaves the common state."""
    return nullcontext() if generator is None else rng.drawing_from(generator.draws)
