"""Scratch buffers for the chunks of a task: one for each thread at work, not one for each chunk.

A buffer that the next chunk takes over is still in the cache of its thread. What is put into it is
up to the task.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, atomic_store, compare_swap, get_num_threads

HEAD = 64
"""Words before the first buffer: their number, then for each whether it is taken."""
BUFFERS = HEAD - 1
"""Most buffers."""


def words_for(size: int, buffers: int) -> int:
    """Words of memory for so many buffers of `size` bytes."""
    return HEAD + -(-size // 8) * buffers


def scratch(size: int, chunks: int) -> np.ndarray:
    """Memory for as many buffers of `size` bytes as chunks can run at once.

    Pass its address to the task and keep it alive until the task is done.
    """
    count = min(chunks, get_num_threads(), BUFFERS)
    memory = empty((words_for(size, count),), np.int64)
    memory[:HEAD] = 0
    memory[0] = count
    return memory


@kernel(forceinline=True)
def open_buffers(memory: int, count: int) -> None:
    """What `scratch` does to new memory."""
    put_word(memory, 0, count)
    for slot in range(1, HEAD):
        put_word(memory, slot, 0)


class Spare:
    """Scratch memory of one size for all threads, kept from call to call: for what is called often.

    Args:
        size: bytes of a buffer.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.waiting: dict[int, list[np.ndarray]] = {}

    def borrow(self) -> np.ndarray:
        """Memory as from `scratch`, to be given back; whoever calls meanwhile gets other memory."""
        try:
            return self.waiting[get_num_threads()].pop()
        except LookupError:
            return scratch(self.size, BUFFERS)

    def give_back(self, memory: np.ndarray) -> None:
        """Let the next call have it."""
        self.waiting.setdefault(get_num_threads(), []).append(memory)


@kernel
def take(memory: int) -> int:
    """The number of a buffer that is nobody else's until it is left."""
    count = argument(memory, 0)
    slot = 0
    while not compare_swap(memory + 8 + 8 * slot, 0, 1):
        slot = (slot + 1) % count
    return slot


@kernel
def buffer(memory: int, slot: int, size: int) -> int:
    """Address of a buffer; `size` as it was given to `scratch`."""
    return memory + 8 * HEAD + slot * ((size + 7) // 8 * 8)


@kernel
def leave(memory: int, slot: int) -> None:
    """Let others have a buffer."""
    atomic_store(memory + 8 + 8 * slot, 0)
