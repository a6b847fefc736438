"""What every test has: a random generator of its own and an untouched environment.

Warnings are errors (pyproject.toml). Helpers of one family belong beside its tests, not here.
"""

import numpy as np
import pytest
from hypothesis import settings

# The first example compiles kernels, and machines are busy: no test asserts a time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, new for every test."""
    return np.random.default_rng(20240607)
