"""What the processor that kernels are compiled for can do, and how many float32 numbers a vector
register of it holds: 16, 8 or 4.

It is the one that numba compiles for, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may set: stored
kernels are told apart by its name and features. `DYN_LANES` forces fewer lanes, to test what other
processors run. All are read when kernels are loaded.
"""

from __future__ import annotations

import os

from numba.core import codegen, config

_FEATURES: str = (
    codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
)


def has(feature: str) -> bool:
    """Whether the processor has a feature, by LLVM's name of it."""
    return f"+{feature}" in _FEATURES.split(",")


def _lanes() -> int:
    """16 with AVX-512, 8 with AVX2 and FMA, 4 elsewhere (SSE, NEON)."""
    if has("avx512f"):
        return 16
    return 8 if has("avx2") and has("fma") else 4


def _chosen() -> int:
    wanted = os.environ.get("DYN_LANES", "")
    if not wanted:
        return _lanes()
    if wanted not in ("16", "8", "4"):
        raise ValueError(f"DYN_LANES={wanted!r}: it must be 16, 8 or 4")
    return int(wanted)


LANES = _chosen()
