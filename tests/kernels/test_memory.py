"""The free list: when a buffer comes back, when it must not, and what the counters say."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyn.kernels.runtime import memory
from dyn.kernels.runtime.memory import LARGE, empty, empty_cache, empty_like, memory_info
from tests.kernels import guard

SIDE = 256  # of a square float32 array that is large


@pytest.fixture(autouse=True)
def settled():
    """Nothing waits, and nothing dead is still to be collected."""
    gc.collect()
    empty_cache()


def counted():
    """Fresh and reused buffers so far."""
    info = memory_info()
    return info["fresh_count"], info["reused_count"]


def test_a_dead_array_leaves_its_buffer_to_the_next():
    x = empty((SIDE, SIDE))
    address = x.ctypes.data
    fresh, reused = counted()
    del x
    assert memory_info()["waiting_bytes"] == SIDE * SIDE * 4
    y = empty((SIDE * SIDE,), np.int32)
    assert y.ctypes.data == address
    assert counted() == (fresh, reused + 1)
    assert memory_info()["waiting_bytes"] == 0


def test_two_living_arrays_never_share():
    held = [empty((SIDE, SIDE)) for _ in range(5)]
    for number, x in enumerate(held):
        x.fill(number)
    assert [x.min() == x.max() == number for number, x in enumerate(held)] == [True] * 5


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[3:],
        lambda x: x[1:][:, 2:].T,
        lambda x: x.reshape(-1)[5:],
        lambda x: x.view(np.uint8)[::2],
        lambda x: np.broadcast_to(x, (3, SIDE, SIDE)),
        lambda x: np.lib.stride_tricks.as_strided(x, (4,), (8,)),
        lambda x: np.frombuffer(memoryview(x), np.int32)[7:],
        lambda x: np.asarray(x.view(type("Other", (np.ndarray,), {}))[1:]),
        lambda x: memoryview(x)[1:],
        lambda x: np.from_dlpack(x)[2:],
        lambda x: x.flat,
    ],
)
def test_a_view_keeps_the_buffer(view):
    x = empty((SIDE, SIDE))
    address = x.ctypes.data
    kept = view(x)
    del x
    other = empty((SIDE, SIDE))
    assert other.ctypes.data != address
    assert memory_info()["live_bytes"] >= 2 * SIDE * SIDE * 4
    del kept
    gc.collect()
    again = empty((SIDE, SIDE))
    assert again.ctypes.data == address


@pytest.mark.parametrize("look", [lambda lease: lease[:8], lambda lease: lease.copy()])
def test_looking_at_a_lease_does_not_give_its_buffer_back(look):
    x = empty((SIDE, SIDE))
    look(x.base)
    gc.collect()
    assert not np.shares_memory(x, empty((SIDE, SIDE)))


def test_an_array_in_a_cycle_comes_back():
    x = empty((SIDE, SIDE))
    address = x.ctypes.data
    cycle: list = [x]
    cycle.append(cycle)
    del x, cycle
    gc.collect()
    assert empty((SIDE, SIDE)).ctypes.data == address


def test_a_repeated_step_asks_for_nothing_new():
    def step():
        held = [empty((size, SIDE)) for size in (256, 300, 512, 300)]
        grads = [empty_like(x) for x in reversed(held)]
        del held
        return grads

    step()
    fresh, _ = counted()
    for _ in range(5):
        step()
    assert counted()[0] == fresh


def test_small_arrays_are_numpys():
    before = memory_info()
    x = empty((LARGE // 4 - 1,))
    assert x.flags.owndata
    assert memory_info() == before
    assert not empty((LARGE // 4,)).flags.owndata


@given(
    st.lists(st.integers(0, 40), max_size=4),
    st.sampled_from(["float32", "float64", "int8", "bool", "complex64", "float16"]),
)
def test_shape_dtype_and_alignment(shape, dtype):
    x = empty(tuple(shape), dtype)
    assert (x.shape, x.dtype, x.flags.c_contiguous) == (tuple(shape), np.dtype(dtype), True)
    assert x.nbytes < LARGE or x.ctypes.data % memory.ALIGNMENT == 0
    x[...] = 1
    assert (x == 1).all()


@given(st.integers(LARGE, 1 << 40))
def test_a_size_is_rounded_by_an_eighth_at_most(size):
    rounded = memory._bucket(size)
    assert size <= rounded <= size + size // 8
    assert memory._bucket(rounded) == rounded


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (8, 16, 40, 40), (1, 1, 1, 1), (2, 3, 9)])
def test_channels_last_lies_as_said(shape):
    x = empty(shape, order="channels_last")
    inner = np.moveaxis(x, 1, -1)
    assert x.shape == shape
    assert inner.flags.c_contiguous
    assert x.strides == np.moveaxis(np.empty(inner.shape, np.float32), -1, 1).strides
    assert x.nbytes < LARGE or x.ctypes.data % memory.ALIGNMENT == 0


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4).flatmap(
        lambda shape: st.tuples(st.just(shape), st.permutations(range(len(shape))))
    ),
    st.sampled_from([None, np.float64, np.int8]),
)
def test_empty_like_keeps_dense_layouts(case, dtype):
    shape, axes = case
    x = np.empty(shape, np.float32).transpose(axes)
    y = empty_like(x, dtype)
    assert (y.shape, y.dtype) == (x.shape, np.dtype(dtype or np.float32))
    assert y.strides == tuple(stride // 4 * y.itemsize for stride in x.strides)
    assert y.transpose(np.argsort(axes)).flags.c_contiguous


def test_empty_like_of_gaps_overlaps_and_reversals_is_in_c_order():
    x = np.empty((8, 8), np.float32)
    for one in (x[:, ::2], np.broadcast_to(x[0], (8, 8)), x[::-1], x[:, ::-1]):
        assert empty_like(one).flags.c_contiguous
    assert empty_like(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(("shape", "order"), [((4, 4), "channels_last"), ((4, 4, 4), "F")])
def test_unknown_orders_are_refused(shape, order):
    with pytest.raises(ValueError, match="channels_last"):
        empty(shape, order=order)


def test_no_more_than_the_ceiling_waits(monkeypatch):
    size, before = SIDE * SIDE * 4, memory_info()["live_bytes"]
    monkeypatch.setattr(memory._list, "ceiling", 3 * size)
    held = [empty((SIDE, SIDE)) for _ in range(8)]
    held.clear()
    assert memory_info()["waiting_bytes"] == 3 * size
    assert memory_info()["live_bytes"] == before


def test_waiting_buffers_make_room_for_new_sizes(monkeypatch):
    held = [empty((SIDE, SIDE)) for _ in range(4)]
    held.clear()
    in_use = memory_info()["live_bytes"]
    size = SIDE * SIDE * 4
    monkeypatch.setattr(memory._list, "budget", in_use + 4 * size)
    x = empty((2 * SIDE, SIDE))
    assert memory_info()["waiting_bytes"] == 2 * size
    assert memory_info()["live_bytes"] == in_use + x.nbytes


def test_out_of_memory_releases_the_free_list_and_tries_again(monkeypatch):
    held = [empty((SIDE, SIDE)) for _ in range(4)]
    held.clear()
    made = memory._fresh
    calls = []

    def scarce(size):
        calls.append(memory_info()["waiting_bytes"])
        if calls[-1]:
            raise MemoryError
        return made(size)

    monkeypatch.setattr(memory, "_fresh", scarce)
    x = empty((3 * SIDE, SIDE))
    assert x.shape == (3 * SIDE, SIDE)
    assert len(calls) == 2
    assert calls[1] == 0
    before = memory_info()
    monkeypatch.setattr(memory, "_fresh", lambda size: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        empty((5 * SIDE, SIDE))
    assert memory_info() == before  # nothing was counted that was not had


def test_many_threads():
    wrong = []

    def work(number):
        for turn in range(300):
            x = empty((SIDE, SIDE + 8 * (turn % 3)))
            x[:, :4] = number
            y = empty_like(x)
            y[:, :4] = number
            if not ((x[:, :4] == number).all() and (y[:, :4] == number).all()):
                wrong.append(number)

    before = memory_info()["live_bytes"]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert memory_info()["live_bytes"] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_can_allocate_though_the_lock_was_held_at_the_fork():
    with memory._list.lock:
        child = os.fork()
        if child == 0:
            x = empty((7 * SIDE, SIDE))
            os._exit(0 if x.shape == (7 * SIDE, SIDE) and memory_info()["live_bytes"] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_peak_is_the_most_ever_held():
    peak = memory_info()["peak_bytes"]
    x = empty((peak // 4 + LARGE,))
    assert memory_info()["peak_bytes"] >= x.nbytes
    del x
    empty_cache()
    assert memory_info()["peak_bytes"] > peak
    assert memory_info()["waiting_bytes"] == 0


# The guards that other kernel tests rely on.

needs_guard = pytest.mark.skipif(not guard.AVAILABLE, reason="no mprotect on this system")


@needs_guard
@pytest.mark.parametrize("side", ["start", "end"])
def test_guarded_arrays_are_equal_and_usable(side):
    x = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)
    for one in (x, x.transpose(0, 2, 3, 1), x[:, ::2], x[::-1], x[:0]):
        made = guard.guarded(one, side)
        assert made.strides == one.strides
        np.testing.assert_array_equal(made, one)
    with guard.guarded_results(side):
        y = empty((3, 5), np.int16)
        z = empty((8, 16, 40, 41), order="channels_last")
        like = empty_like(z)
    assert (y.shape, y.dtype, y.flags.c_contiguous) == ((3, 5), np.int16, True)
    assert z.strides == like.strides == empty((8, 16, 40, 41), order="channels_last").strides
    assert z.ctypes.data % memory.ALIGNMENT == 0
    y[...] = 1
    z[...] = 2


@needs_guard
@pytest.mark.parametrize(("side", "step"), [("end", 1), ("start", -1)])
def test_a_step_past_a_guarded_array_stops_the_process(side, step):
    program = f"""
import ctypes, os, resource
import numpy as np
from tests.kernels import guard
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
x = guard.guarded(np.ones(10, np.float32), {side!r})
end = x.ctypes.data + (4 * 9 if {step} > 0 else 0)
ctypes.c_float.from_address(end).value
os.write(1, b"inside")
ctypes.c_float.from_address(end + 4 * {step}).value
os.write(1, b"outside")
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert done.stdout == b"inside"
    assert -done.returncode in (signal.SIGSEGV, signal.SIGBUS)
