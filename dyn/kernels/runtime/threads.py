"""The fork/join pool: `parallel_for` runs the chunks of a task on all threads and waits for them.

Launching costs about a microsecond. Workers are Python threads parked inside a compiled loop
without the GIL; between jobs they spin for SPIN nanoseconds, then sleep on a condition variable, so
an idle process uses no processor. Every thread has a share of the chunks, the same part of every
job, so that a processor finds in its cache what it wrote in the job before; whoever is done with
its own share draws from those of the others, and the caller never waits for a worker that has not
begun. One job runs at a time; a caller that finds the pool busy (another thread, or a task that
launches a task) does its chunks itself. Before a fork and at exit the workers are stopped; the next
launch starts them again.

A kernel splits its work into chunks by the size of the work alone, never by the number of threads:
only so are its results the same for every number of threads. A driver is written

    @task
    def _scale(args, chunk, chunks):
        start, stop = bounds(argument(args, 1), chunk, chunks, 16)
        ...                                     # elements start to stop of the array at argument 0

    @kernel
    def _drive(pool, scale, x):
        chunks = chunk_count(x.size, 65536)
        parallel_for(pool, scale, pack(x.ctypes.data, x.size), chunks)

and called from Python as `_drive(threads.pool(), _scale.address, x)`. An array made inside a driver
must be named again after `parallel_for`, or numba may free it before. Without POSIX threads (on
Windows) everything runs in the calling thread. What a chunk computes does not belong here.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from typing import Any

import numpy as np
from numba import types

from dyn.kernels.runtime.interrupts import uninterrupted
from dyn.kernels.runtime.jit import call_address, kernel, microkernel
from dyn.kernels.runtime.limits import available_cpus
from dyn.kernels.runtime.posix import POSIX, give_way, lock, now, unlock, wait, wake
from dyn.kernels.runtime.words import (
    argument,
    argument_float,
    atomic_add,
    atomic_load,
    atomic_store,
    compare_swap,
    pack,
    pause,
)

__all__ = [
    "argument",
    "argument_float",
    "atomic_add",
    "atomic_load",
    "atomic_store",
    "bounds",
    "chunk_count",
    "compare_swap",
    "get_num_threads",
    "launch",
    "pack",
    "parallel_for",
    "pool",
    "set_num_threads",
]

SPIN = 200_000  # nanoseconds a worker waits awake for the next job
PATIENCE = 50_000  # nanoseconds the caller waits awake for the last chunks
EAGER = 5_000  # nanoseconds either waits without offering its processor to others
MAX_CHUNKS = 64  # enough for any number of threads to share evenly, cheap to draw

# The pool's state: one block of 64-bit words, what different threads write on lines of its own.
LINE = 128
JOB = 0 * LINE  # number of the last job; workers watch it
TASK = 1 * LINE
ARGS = TASK + 8
CHUNKS = TASK + 16
SHARES = TASK + 24  # into which the chunks are divided
DONE = 3 * LINE  # chunks finished
WAITING = 4 * LINE  # the caller sleeps until the last chunk is done
SLEEPERS = 5 * LINE  # workers asleep
BUSY = 6 * LINE  # a job is running
WORKERS = 7 * LINE
GENERATION = WORKERS + 8  # workers of another generation leave
ENTRY = WORKERS + 16  # address of _fork_join, so that drivers need not compile it into themselves
MUTEX = 8 * LINE
OFFERED = 9 * LINE  # condition: there is a new job
FINISHED = 10 * LINE  # condition: the last chunk is done
TICKETS = 11 * LINE  # of each share: job number << BITS | next chunk
MAX_SHARES = 64
SIZE = TICKETS + MAX_SHARES * LINE
BITS = 20
LIMIT = (1 << BITS) - 1  # as a chunk number: nothing to draw


@kernel(forceinline=True)
def chunk_count(size: int, grain: int) -> int:
    """Chunks for `size` units of work, of which about `grain` are worth one: 1 to MAX_CHUNKS.

    From three on a multiple of 4, so that 2 and 4 threads get as many each.
    """
    wanted = max(1, min(MAX_CHUNKS, size // grain))
    return wanted if wanted < 3 else (wanted + 1) // 4 * 4


@kernel(forceinline=True)
def bounds(size: int, chunk: int, chunks: int, step: int) -> tuple[int, int]:
    """Start and stop of a chunk of `size` units, both multiples of `step` except the last stop."""
    steps = (size + step - 1) // step
    start = steps * chunk // chunks * step
    stop = steps * (chunk + 1) // chunks * step
    return min(start, size), min(stop, size)


@kernel
def _watch(address: int, wanted: int, patience: int) -> bool:
    """Wait awake for `patience` nanoseconds at most; whether the word has reached `wanted`."""
    begun = now()
    while True:
        for _ in range(32):
            if atomic_load(address) >= wanted:
                return True
            pause()
        waited = now() - begun
        if waited > patience:
            return False
        if waited > EAGER:  # perhaps the thread that is waited for needs this very processor
            give_way()


@kernel
def _draw(state: int, own: int) -> None:
    """Do chunks of the present job until none is left to draw, those of share `own` first."""
    # Perhaps those of the job before: the caller, who knows, visits all shares of its job.
    visited = max(1, atomic_load(state + SHARES))
    for turn in range(visited):
        share = (own + turn) % visited
        address = state + TICKETS + share * LINE
        chunks, drawn = 0, 0
        while True:
            ticket = atomic_load(address)
            chunk = ticket & LIMIT
            if chunk == LIMIT:
                break
            # Read after the ticket: were they those of another job, the share would have been
            # closed before they changed, and the swap would fail.
            code, args = atomic_load(state + TASK), atomic_load(state + ARGS)
            count, shares = atomic_load(state + CHUNKS), atomic_load(state + SHARES)
            last = chunk + 1 == count * (share + 1) // shares
            if compare_swap(address, ticket, ticket | LIMIT if last else ticket + 1):
                call_address(code, args, chunk, count)
                chunks, drawn = count, drawn + 1
        done = drawn != 0 and atomic_add(state + DONE, drawn) + drawn == chunks
        if done and atomic_load(state + WAITING) != 0:
            lock(state + MUTEX)
            wake(state + FINISHED)
            unlock(state + MUTEX)


@microkernel(4)
def _fork_join(state: int, code: int, args: int, chunks: int) -> None:
    """Run a job on the pool; in this thread alone if the pool is busy or has no workers."""
    workers = atomic_load(state + WORKERS)
    if workers == 0 or chunks >= LIMIT or not compare_swap(state + BUSY, 0, 1):
        for chunk in range(chunks):
            call_address(code, args, chunk, chunks)
        return
    job, shares = atomic_load(state + JOB) + 1, min(workers + 1, MAX_SHARES)
    # All shares are closed, so nobody draws while the parameters change.
    atomic_store(state + TASK, code)
    atomic_store(state + ARGS, args)
    atomic_store(state + CHUNKS, chunks)
    atomic_store(state + SHARES, shares)
    atomic_store(state + DONE, 0)
    for share in range(shares):
        first = chunks * share // shares
        if first < chunks * (share + 1) // shares:
            atomic_store(state + TICKETS + share * LINE, (job << BITS) | first)
    atomic_store(state + JOB, job)
    if atomic_load(state + SLEEPERS) != 0:
        lock(state + MUTEX)
        wake(state + OFFERED)
        unlock(state + MUTEX)
    _draw(state, 0)
    if not _watch(state + DONE, chunks, PATIENCE):
        lock(state + MUTEX)
        atomic_store(state + WAITING, 1)
        while atomic_load(state + DONE) < chunks:
            wait(state + FINISHED, state + MUTEX)
        atomic_store(state + WAITING, 0)
        unlock(state + MUTEX)
    atomic_store(state + BUSY, 0)


@kernel
def parallel_for(pool: int, code: int, args: int, chunks: int) -> None:
    """Run `task(args, chunk, chunks)` for every chunk, on all threads; returns when all are done.

    Args:
        pool: what `pool()` returned; 0 runs everything here.
        code: `.address` of a `@task`.
        args: address of its parameters, from `pack` or of an int64 array.
        chunks: number of chunks, a function of the work's size alone.
    """
    if pool != 0 and chunks > 1:
        call_address(atomic_load(pool + ENTRY), pool, code, args, chunks)
    else:
        for chunk in range(chunks):
            call_address(code, args, chunk, chunks)


@kernel(warm=["(int64, int64, int64)"])
def _work(state: int, generation: int, own: int) -> None:
    """The life of a worker: wait for a job, draw its chunks, until the generation ends."""
    seen = atomic_load(state + JOB)
    while atomic_load(state + GENERATION) == generation:
        if not _watch(state + JOB, seen + 1, SPIN):
            lock(state + MUTEX)
            atomic_add(state + SLEEPERS, 1)
            while (
                atomic_load(state + JOB) == seen and atomic_load(state + GENERATION) == generation
            ):
                wait(state + OFFERED, state + MUTEX)
            atomic_add(state + SLEEPERS, -1)
            unlock(state + MUTEX)
        seen = atomic_load(state + JOB)
        _draw(state, own)


@kernel(warm=["(int64,)"])
def _dismiss(state: int) -> None:
    """Make the workers leave once their present chunk is done."""
    atomic_store(state + WORKERS, 0)
    lock(state + MUTEX)
    atomic_add(state + GENERATION, 1)
    wake(state + OFFERED)
    unlock(state + MUTEX)


@kernel(warm=["(int64, int64, int64[::1], int64)"])
def _launch(pool: int, code: int, args: np.ndarray, chunks: int) -> None:
    # As a signed word: parallel_for must not be compiled once more for an unsigned one.
    parallel_for(pool, code, types.int64(args.ctypes.data), chunks)


class _Pool:
    """The Python side: starts and stops the workers."""

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self.count = 0  # threads in the budget; 0 until it is asked for
        self.address = 0  # of the state while the workers live
        self.state = 0
        self.threads: list[threading.Thread] = []
        self.closed = not POSIX

    def start(self) -> int:
        """Start the workers; the address of the state, or 0 where there are none."""
        if get_num_threads() == 1:
            return 0
        with self.guard:
            if self.closed:
                return 0
            if self.address:
                return self.address
            if not self.state:
                # The block must outlive the interpreter: workers may look at it to the very end.
                memory = np.zeros(SIZE // 8 + LINE // 8, np.int64)
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
                self.state = -(-memory.ctypes.data // LINE) * LINE
                self.prepare()
            words = ctypes.cast(self.state, ctypes.POINTER(ctypes.c_int64))
            _work.compile_all()
            _dismiss.compile_all()  # now, so that nothing need be compiled before a fork
            generation = words[GENERATION // 8]
            self.threads = [
                threading.Thread(
                    target=_work,
                    args=(self.state, generation, number),
                    name=f"dyn-worker-{number}",
                    daemon=True,
                )
                for number in range(1, self.count)
            ]
            for thread in self.threads:
                thread.start()
            words[ENTRY // 8] = _fork_join.address
            words[WORKERS // 8] = len(self.threads)
            self.address = self.state
            return self.address

    def prepare(self) -> None:
        """Set the state to: no workers, no job."""
        ctypes.memset(self.state, 0, SIZE)
        words = ctypes.cast(self.state, ctypes.POINTER(ctypes.c_int64))
        for share in range(MAX_SHARES):
            words[(TICKETS + share * LINE) // 8] = LIMIT
        process = ctypes.CDLL(None)
        process.pthread_mutex_init(ctypes.c_void_p(self.state + MUTEX), None)
        for condition in (OFFERED, FINISHED):
            process.pthread_cond_init(ctypes.c_void_p(self.state + condition), None)

    def stop(self) -> None:
        """Dismiss the workers and wait until they have left."""
        with self.guard:
            if self.address:
                self.address = 0
                _dismiss(self.state)
                for thread in self.threads:
                    thread.join(5)
                self.threads = []

    def close(self) -> None:
        """Stop for good: the interpreter is ending."""
        self.stop()
        self.closed = True

    def before_fork(self) -> None:
        """A child has no workers, so let there be none, and nobody starting them."""
        self.guard.acquire()
        self.stop()

    def after_fork_in_child(self) -> None:
        """Forget what threads that no longer exist were doing."""
        self.guard = threading.RLock()
        if self.state:
            self.prepare()


_pool = _Pool()
atexit.register(_pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_pool.before_fork,
        after_in_parent=lambda: _pool.guard.release(),
        after_in_child=_pool.after_fork_in_child,
    )


def pool() -> int:
    """The pool for `parallel_for`; starts the workers at the first call. Pass it to a driver.

    0, which is no pool, on one thread and where there can be no workers.
    """
    if _pool.address:
        return _pool.address
    if _pool.count == 1 or _pool.closed:
        return 0
    return uninterrupted(_pool.start)


def launch(task: Any, args: np.ndarray, chunks: int) -> None:
    """Run a task from Python over parameters in an int64 array."""
    _launch(pool(), task.address, args, chunks)


def get_num_threads() -> int:
    """Number of threads kernels use, the caller included.

    By default DYN_NUM_THREADS, else the processors this process may use: its affinity mask, cut to
    the CPU quota of its container.

    Raises:
        ValueError: DYN_NUM_THREADS is not a positive integer.
    """
    if not _pool.count:
        text = os.environ.get("DYN_NUM_THREADS")
        if text and not (text.strip().isdecimal() and int(text)):
            raise ValueError(f"DYN_NUM_THREADS must be a positive integer, not {text!r}")
        _pool.count = int(text) if text else available_cpus()
    return _pool.count


def set_num_threads(count: int) -> None:
    """Set the number of threads kernels use; results do not depend on it.

    Args:
        count: threads, the caller included; 1 runs everything in the calling thread.

    Raises:
        ValueError: `count` is not a positive integer.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"the number of threads must be a positive integer, not {count!r}")
    with _pool.guard:
        if count != _pool.count:
            _pool.stop()
            _pool.count = count
