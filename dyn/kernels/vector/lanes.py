"""How many float32 numbers a vector register of this processor holds: 16, 8 or 4.

`DYN_LANES` forces fewer, to test what other processors run. It is read when kernels are loaded.
"""

from __future__ import annotations

import os

import llvmlite.binding


def host_lanes() -> int:
    """16 with AVX-512, 8 with AVX2 and FMA, 4 elsewhere (SSE, NEON)."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 4


def _chosen() -> int:
    wanted = os.environ.get("DYN_LANES", "")
    if not wanted:
        return host_lanes()
    if wanted not in ("16", "8", "4"):
        raise ValueError(f"DYN_LANES={wanted!r}: it must be 16, 8 or 4")
    return int(wanted)


LANES = _chosen()
