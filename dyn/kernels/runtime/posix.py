"""What compiled code asks of the system: its clock, and mutexes and conditions of POSIX threads.

Addresses are those of memory that `pthread_mutex_init` and `pthread_cond_init` have prepared. On a
system without POSIX threads nothing here may be called, though it compiles.
"""

from __future__ import annotations

import os
import time
from typing import Any

from numba import types

from dyn.kernels.runtime.jit import kernel
from dyn.kernels.runtime.words import argument, pack

CLOCK = getattr(time, "CLOCK_MONOTONIC", 0)
POSIX = os.name == "posix"


def _system(name: str, *parameters: Any) -> Any:
    """A C function of the system that returns an int; `_absent` where it has no POSIX threads."""
    return types.ExternalFunction(name, types.int32(*parameters)) if POSIX else _absent


@kernel
def _absent(*_: int) -> int:
    """Stands where there is no such function: never called, as there is no pool, but compiled."""
    return 0


_clock_gettime = _system("clock_gettime", types.int32, types.int64)
give_way = _system("sched_yield")
lock = _system("pthread_mutex_lock", types.int64)
unlock = _system("pthread_mutex_unlock", types.int64)
wait = _system("pthread_cond_wait", types.int64, types.int64)
wake = _system("pthread_cond_broadcast", types.int64)


@kernel
def now() -> int:
    """Nanoseconds of the monotonic clock."""
    moment = pack(0, 0)
    _clock_gettime(CLOCK, moment)
    return argument(moment, 0) * 1_000_000_000 + argument(moment, 1)
