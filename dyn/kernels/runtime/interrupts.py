"""Work that no signal may break off half done: Ctrl-C, or an alarm whose handler raises.

Python runs signal handlers in its main thread, between any two of its instructions; numba and LLVM
keep tables and locks that an exception at such a moment leaves in pieces for good. So what changes
them on behalf of the main thread runs in another, in which no handler ever runs, while the main
thread only waits. What a handler raises meanwhile is raised when the work has ended; a second such
exception is not kept waiting, and the work then ends by itself.
"""

from __future__ import annotations

import atexit
import sys
import threading
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from numba.core.compiler_lock import global_compiler_lock

_here = threading.local()


def uninterrupted(work: Callable[[], Any]) -> Any:
    """What `work()` returns or raises; but what a signal handler raises meanwhile, once it is done.

    Costs a thread (40 us), in the main thread only. A thread that is compiling goes on in itself,
    and so does one that cannot have another: there are none as the interpreter ends.
    """
    main = threading.get_ident() == threading.main_thread().ident
    if not main or global_compiler_lock.is_locked() or sys.is_finalizing():
        return work()
    results: list[Any] = []
    errors: list[BaseException] = []
    raised: list[BaseException] = []  # by handlers
    ended = allocate_lock()
    ended.acquire()

    def run() -> None:
        _here.raised = raised
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.release()

    # Whatever raises from here on leaves the other thread to end its work by itself, which is no
    # harm: whoever compiles next waits for its lock.
    try:
        start_new_thread(copy_context().run, (run,))
    except RuntimeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # by a handler
        return work()
    while not results and not errors:
        try:
            ended.acquire()
        except BaseException as error:
            if raised:
                raise
            raised.append(error)
    if raised:
        raise raised.pop()
    if errors:
        raise errors.pop()
    return results.pop()


def interrupted() -> bool:
    """Whether the caller of the work at hand is to be interrupted: then it should not linger."""
    return bool(getattr(_here, "raised", ()))


@atexit.register
def _wait() -> None:
    """Let a compilation end before LLVM's own memory is torn down."""
    with global_compiler_lock:
        pass
