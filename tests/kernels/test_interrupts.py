"""Signal handlers that raise while kernels compile and load: what they leave behind is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dyn.kernels.runtime import cache
from dyn.kernels.runtime.interrupts import interrupted, uninterrupted

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms here")


class Stop(TimeoutError):
    """What the handler raises: an OSError, which code that reads files passes over."""


@pytest.fixture
def handler():
    """A function that sets the handler of alarms, for this test."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.signal(signal.SIGALRM, before)


left: list[Stop] = []
"""What the handler is still to raise."""


def stop(*_):
    if left:
        raise left.pop()


def interrupt():
    """From the other thread: interrupt the main thread, wherever it waits."""
    left.append(Stop())
    while left:
        os.kill(os.getpid(), signal.SIGALRM)
        time.sleep(0.01)  # one that comes as the wait begins is seen at its end


def test_work_goes_on_to_its_end_before_the_interrupt(handler):
    seen = []

    def work():
        interrupt()
        while not interrupted():
            time.sleep(0.001)
        seen.append("the end")
        raise ValueError("not what the caller is told")

    handler(stop)
    with pytest.raises(Stop):
        uninterrupted(work)
    assert seen
    assert not interrupted()


def test_a_second_interrupt_does_not_wait(handler):
    go_on, seen = threading.Event(), []

    def work():
        interrupt()
        interrupt()
        go_on.wait(60)
        seen.append("the end")

    handler(stop)
    with pytest.raises(Stop):
        uninterrupted(work)
    assert not seen
    go_on.set()
    while not seen:
        time.sleep(0.001)


def test_results_and_errors_pass_through():
    def fail():
        raise ValueError("the reason")

    assert uninterrupted(lambda: 7) == 7
    with pytest.raises(ValueError, match="the reason"):
        uninterrupted(fail)


def test_other_threads_and_those_at_work_need_no_thread():
    places = []

    def place():
        places.append(threading.get_ident())

    def inner():
        place()
        uninterrupted(place)

    uninterrupted(inner)
    assert places[0] == places[1] != threading.get_ident()
    other = threading.Thread(target=lambda: (place(), uninterrupted(place)))
    other.start()
    other.join()
    assert places[2] == places[3]


def test_a_handler_may_compile_while_it_interrupts(handler):
    """It waits for nothing that waits for it."""
    seen = []
    handler(lambda *_: seen.append(uninterrupted(lambda: "inner")))

    def work():
        while not seen:
            os.kill(os.getpid(), signal.SIGALRM)
            time.sleep(0.01)
        return "outer"

    assert uninterrupted(work) == "outer"
    assert set(seen) == {"inner"}


PROGRAM = """
import atexit, signal
import numpy as np
from dyn.kernels.runtime import threads
from dyn.kernels.runtime.cache import cache_info
from dyn.kernels.runtime.jit import kernel, microkernel

class Stop(TimeoutError):
    pass

def stop(*_):
    global left
    if left:
        left -= 1
        raise Stop

def scale(x):
    return 3 * x

def total(x):
    s = 0.0
    for i in range(x.size):
        s += scaled(x[i])
    return s

def nothing(x, y):
    pass

def late(x):
    return x + 1

scaled = kernel(scale)
at_exit = kernel(late)
atexit.register(lambda: print(at_exit(1)))
alive = []  # kernels never die, so that only their making is at stake
left = stops = 0

def interrupt(kept, times, seconds):
    global left, stops
    call, micro = kernel(total), microkernel(2)(nothing)
    alive.extend((call, micro))
    call._cache.usable = micro.cache.usable = kept
    left = times
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)  # once, and only in here
            found = call(np.ones(5)), bool(micro.address), threads.pool() != 1
            left = 0
            break
        except Stop:
            stops += 1
    assert found == (15.0, True, True), found

signal.signal(signal.SIGALRM, stop)
for moment in range(1, 16):
    interrupt(False, 1 + moment % 4, moment / 200)
assert stops
interrupt(True, 0, 1)
misses = cache_info()["misses"]
for moment in range(1, 80):
    interrupt(True, 1 + moment % 4, moment / 10000)
assert cache_info()["misses"] == misses and cache_info()["hits"]
threads.set_num_threads(1)
"""


def test_interrupts_at_many_moments_leave_kernels_whole(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root, cold = str(cache.SOURCES.parents[1]), str(tmp_path / "cache")
    environment = dict(os.environ, PYTHONPATH=root, DYN_CACHE_DIR=cold, DYN_NUM_THREADS="2")
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    # An interrupt that falls into a callback of Python's own is told on stderr, and lost.
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert {path.suffix for path in (tmp_path / "cache" / "kernels").iterdir()} == {cache.SUFFIX}
