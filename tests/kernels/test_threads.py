"""The fork/join pool: every chunk once, whatever happens around it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyn.kernels.runtime import drive, limits, threads
from dyn.kernels.runtime.jit import kernel, task
from dyn.kernels.runtime.threads import (
    argument,
    argument_float,
    atomic_add,
    atomic_load,
    atomic_store,
    bounds,
    chunk_count,
    launch,
    pack,
    parallel_for,
)

posix = pytest.mark.skipif(os.name != "posix", reason="the pool needs POSIX threads")


@task
def mark(args, chunk, chunks):
    """Count the visits of a chunk in the array at argument 0."""
    atomic_add(argument(args, 0) + 8 * chunk, 1)


@task
def slow_mark(args, chunk, chunks):
    """`mark` after some work, so that every thread gets chunks."""
    total = 0
    for i in range(20_000):
        total = (total * 1103515245 + i) & 0xFFFF
    atomic_add(argument(args, 0) + 8 * chunk, 1 + (total >> 20))


@task
def partial_sum(args, chunk, chunks):
    """Sum of a chunk of the float64 bits at argument 0, as an order-sensitive fold."""
    start, stop = bounds(argument(args, 1), chunk, chunks, 8)
    total = 0.0
    for i in range(start, stop):
        total = total * 0.999 + argument_float(argument(args, 0), i)
    atomic_store(argument(args, 2) + 8 * chunk, argument(pack(total), 0))


@task
def nested(args, chunk, chunks):
    """Launch `mark` (argument 2) from within a chunk, on the pool at argument 1."""
    counts = argument(args, 0) + 80 * chunk
    parallel_for(argument(args, 1), argument(args, 2), pack(counts), 10)


@task
def record(args, chunk, chunks):
    """Store argument 1 plus float argument 2, as an integer."""
    atomic_store(argument(args, 0) + 8 * chunk, argument(args, 1) + int(argument_float(args, 2)))


@kernel
def drive_record(pool, code, out, number, fraction):
    parallel_for(pool, code, pack(out.ctypes.data, number, fraction), out.size)


@kernel
def storm(pool, code, counts, jobs):
    """Launch jobs of 1 to 9 chunks back to back; the number of chunks asked for."""
    asked = 0
    for job in range(jobs):
        chunks = 1 + job * 7 % 9
        parallel_for(pool, code, pack(counts.ctypes.data), chunks)
        asked += chunks
    return asked


@pytest.fixture(params=[1, 2, 4])
def count(request):
    """A number of threads, set for this test."""
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


@pytest.fixture
def four():
    before = threads.get_num_threads()
    threads.set_num_threads(4)
    yield
    threads.set_num_threads(before)


def marked(code, chunks):
    """How often each chunk was done."""
    counts = np.zeros(chunks, np.int64)
    launch(code, np.array([counts.ctypes.data]), chunks)
    return counts


@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 7, 64, 1000])
def test_every_chunk_is_done_once(count, chunks):
    for _ in range(20):
        np.testing.assert_array_equal(marked(mark, chunks), np.ones(chunks))
    np.testing.assert_array_equal(marked(slow_mark, min(chunks, 64)), np.ones(min(chunks, 64)))


def test_more_chunks_than_a_ticket_can_number(four):
    chunks = threads.LIMIT + 5
    counts = marked(mark, chunks)
    assert counts.min() == counts.max() == 1


def test_jobs_back_to_back(count):
    counts = np.zeros(9, np.int64)
    asked = storm(threads.pool(), mark.address, counts, 50_000)
    assert counts.sum() == asked
    assert counts[0] == 50_000


def test_results_do_not_depend_on_the_number_of_threads():
    x = np.random.default_rng(0).standard_normal(100_003)
    found = []
    before = threads.get_num_threads()
    for count in (1, 2, 4):
        threads.set_num_threads(count)
        out = np.zeros(chunk_count(x.size, 4096), np.float64)
        args = np.array([x.ctypes.data, x.size, out.ctypes.data])
        launch(partial_sum, args, out.size)
        found.append(out)
    threads.set_num_threads(before)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    assert np.count_nonzero(found[0]) == 24


def test_eight_callers_at_once(four):
    wrong = []

    def work():
        counts = np.zeros(9, np.int64)
        asked = storm(threads.pool(), mark.address, counts, 5_000)
        if counts.sum() != asked:
            wrong.append(counts)
        for _ in range(20):
            if not (marked(slow_mark, 8) == 1).all():
                wrong.append("slow")

    callers = [threading.Thread(target=work) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_a_task_may_launch_a_task(four):
    counts = np.zeros((16, 10), np.int64)
    args = np.array([counts.ctypes.data, threads.pool(), mark.address])
    launch(nested, args, 16)
    assert (counts == 1).all()


def test_parameters_from_the_stack(four):
    out = np.zeros(50, np.int64)
    drive_record(threads.pool(), record.address, out, 7, np.float32(5.5))
    np.testing.assert_array_equal(out, np.full(50, 12))
    drive_record(0, record.address, out, np.int8(-7), 2.0)
    np.testing.assert_array_equal(out, np.full(50, -5))


@posix
def test_idle_workers_sleep_and_are_woken(four):
    marked(slow_mark, 8)
    state = threads.pool()
    until = time.monotonic() + 20
    while word(state, threads.SLEEPERS) != 3 and time.monotonic() < until:
        time.sleep(0.001)
    assert word(state, threads.SLEEPERS) == 3
    for _ in range(3):
        assert (marked(slow_mark, 64) == 1).all()
        time.sleep(0.002)


@kernel
def word(state, place):
    return atomic_load(state + place)


def test_the_number_of_threads_can_change_under_running_kernels():
    before = threads.get_num_threads()
    stop = threading.Event()
    wrong = []

    def work():
        while not stop.is_set():
            if not (marked(slow_mark, 8) == 1).all():
                wrong.append("lost")

    callers = [threading.Thread(target=work) for _ in range(2)]
    for caller in callers:
        caller.start()
    for turn in range(30):
        threads.set_num_threads(1 + turn % 4)
        marked(mark, 4)
    stop.set()
    for caller in callers:
        caller.join()
    threads.set_num_threads(before)
    assert wrong == []


def test_the_number_of_threads_can_change_between_the_shares_of_a_job():
    """A job keeps the shares that it was cut into, however many workers there are by now."""
    before = threads.get_num_threads()
    stop = threading.Event()
    found = []

    def work():
        while not stop.is_set():
            counts = np.zeros(9, np.int64)
            found.append((counts, storm(threads.pool(), mark.address, counts, 5_000)))

    caller = threading.Thread(target=work)
    caller.start()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        threads.set_num_threads(8)
        threads.pool()
        threads.set_num_threads(2)
        threads.pool()
    stop.set()
    caller.join()
    threads.set_num_threads(before)
    assert found and all(counts.sum() == asked for counts, asked in found)


@posix
def test_threads_are_named_and_counted(four):
    threads.pool()
    names = [thread.name for thread in threading.enumerate() if "dyn-worker" in thread.name]
    assert sorted(names) == ["dyn-worker-1", "dyn-worker-2", "dyn-worker-3"]
    threads.set_num_threads(2)
    threads.pool()
    names = [thread.name for thread in threading.enumerate() if "dyn-worker" in thread.name]
    assert names == ["dyn-worker-1"]


def test_one_thread_is_all_there_is_on_one_thread(monkeypatch):
    """Nothing is asked of the pool, which would start a thread to look after its workers."""
    before = threads.get_num_threads()
    threads.set_num_threads(1)
    monkeypatch.setattr(threads, "uninterrupted", lambda work: pytest.fail("a thread was started"))
    try:
        assert threads.pool() == 0
    finally:
        threads.set_num_threads(before)


def test_without_a_pool_everything_runs_here(monkeypatch):
    threads._pool.stop()
    monkeypatch.setattr(threads._pool, "closed", True)
    assert threads.pool() == 0
    assert (marked(mark, 10) == 1).all()


@pytest.mark.parametrize("number", [0, -1, 2.0, "2", True, None])
def test_bad_numbers_of_threads_are_refused(number):
    with pytest.raises(ValueError, match="positive integer"):
        threads.set_num_threads(number)


def test_the_environment_sets_the_number(monkeypatch):
    monkeypatch.setattr(threads._pool, "count", 0)
    monkeypatch.setenv("DYN_NUM_THREADS", "3")
    assert threads.get_num_threads() == 3
    monkeypatch.setattr(threads._pool, "count", 0)
    monkeypatch.delenv("DYN_NUM_THREADS")
    assert threads.get_num_threads() == limits.available_cpus()
    for text in ("0", "-2", "two", "1.5"):
        monkeypatch.setattr(threads._pool, "count", 0)
        monkeypatch.setenv("DYN_NUM_THREADS", text)
        with pytest.raises(ValueError, match="DYN_NUM_THREADS"):
            threads.get_num_threads()


@given(st.integers(0, 10_000), st.integers(1, 64), st.integers(1, 70))
def test_bounds_cover_everything_once(size, chunks, step):
    ends = [bounds(size, chunk, chunks, step) for chunk in range(chunks)]
    assert ends[0][0] == 0
    assert ends[-1][1] == size
    for (_, stop), (start, _) in itertools.pairwise(ends):
        assert stop == start
    assert all(start % step == 0 or start == size for start, _ in ends)


@given(st.integers(0, 1 << 40), st.integers(1, 1 << 20))
def test_chunk_count(size, grain):
    count = chunk_count(size, grain)
    assert 1 <= count <= threads.MAX_CHUNKS
    assert count < 3 or count % 4 == 0
    assert count == 1 or size // count >= grain * 3 // 4
    assert drive.chunks_of(size, grain) == count


# What needs a process of its own.

PRELUDE = """
import os, sys, threading, time, warnings
import numpy as np
from dyn.kernels.runtime import threads
from tests.kernels.test_threads import mark, marked, slow_mark, storm
warnings.simplefilter("error")
threads.set_num_threads(4)
assert (marked(slow_mark, 16) == 1).all()
"""


def run(program, prelude=PRELUDE):
    """Run a program in a fresh process; it must end well and say nothing."""
    command = [sys.executable, "-c", prelude + program]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@posix
def test_a_forked_child_and_its_parent_both_go_on():
    run(
        """
for turn in range(5):
    child = os.fork()
    if child == 0:
        good = all((marked(slow_mark, 16) == 1).all() for _ in range(5))
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if (marked(slow_mark, 16) == 1).all() else 3)
        os._exit(0 if good and os.waitpid(grandchild, 0)[1] == 0 else 1)
    assert (marked(slow_mark, 16) == 1).all()
    assert os.waitpid(child, 0)[1] == 0
"""
    )


@posix
def test_a_fork_while_other_threads_run_kernels():
    run(
        """
warnings.simplefilter("ignore")  # the program itself has threads
stop = threading.Event()
def work():
    while not stop.is_set():
        assert (marked(slow_mark, 16) == 1).all()
callers = [threading.Thread(target=work) for _ in range(2)]
for caller in callers:
    caller.start()
for turn in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if (marked(slow_mark, 16) == 1).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for caller in callers:
    caller.join()
"""
    )


def test_without_posix_threads_everything_compiles_and_runs_in_one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("DYN_CACHE_DIR", str(tmp_path))  # this code must not be taken for the other
    program = """
import importlib, os, sys
from dyn.kernels.runtime.jit import KERNELS
modules = ("dyn.kernels.runtime.posix", "dyn.kernels.runtime.threads")
for module in modules:
    sys.modules.pop(module, None)
name, os.name = os.name, "other"
threads = [importlib.import_module(module) for module in modules][-1]
os.name = name
for name, made in sorted(KERNELS.items()):
    if name.startswith(modules):
        made.compile_all()
assert threads.pool() == 0 and threads._fork_join.address
"""
    run(program, prelude="")


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "sys.exit(0)",
        "time.sleep(0.05)",  # the workers sleep
        "counts = np.zeros(9, np.int64)\n"
        "job = lambda: storm(threads.pool(), mark.address, counts, 10_000)\n"
        "work = lambda: [job() for _ in range(10**6)]\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.05)",
        "import atexit\natexit.register(lambda: marked(mark, 8))",
    ],
    ids=["at once", "sys.exit", "asleep", "daemon running kernels", "kernels at exit"],
)
def test_the_interpreter_ends_cleanly(ending):
    run(ending)
