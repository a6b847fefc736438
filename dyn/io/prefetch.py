"""Worker threads that make batches ahead, in order, and hand their exceptions to the user."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, TypeVar

from dyn.core.errors import StateError

Job = TypeVar("Job")


@dataclass(frozen=True)
class WorkerInfo:
    """Which worker thread of a DataLoader runs: its number, how many there are, the dataset."""

    id: int
    num_workers: int
    dataset: Any


_here = threading.local()


def get_worker_info() -> WorkerInfo | None:
    """The worker that runs this code, or None outside of a DataLoader's workers."""
    return getattr(_here, "info", None)


def prefetched(
    jobs: Iterable[Job],
    work: Callable[[Job], Any],
    *,
    workers: int,
    ahead: int,
    timeout: float,
    dataset: Any,
    init: Callable[[int], Any] | None,
) -> Iterator[Any]:
    """`map(work, jobs)`, done by threads.

    Args:
        jobs: what to work on; taken one by one, in the caller's thread.
        work: makes a batch.
        workers: number of threads.
        ahead: results that may wait to be taken.
        timeout: seconds to wait for one result; 0 for ever.
        dataset: told to the workers.
        init: called in each worker with its number, before it works.

    Raises:
        StateError: a result took longer than `timeout`.
        Exception: whatever `work` or `init` raised, at the place of its result.
    """
    ready = threading.local()
    numbers = iter(range(workers))

    def run(job: Job) -> Any:
        if not hasattr(ready, "error"):
            ready.error = None
            _here.info = WorkerInfo(next(numbers), workers, dataset)
            if init is not None:
                try:
                    init(_here.info.id)
                except Exception as error:
                    ready.error = error
        if ready.error is not None:
            raise ready.error
        return work(job)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="dyn-loader")
    waiting: deque[Future[Any]] = deque()
    try:
        source = iter(jobs)
        done = False
        while True:
            while not done and len(waiting) < ahead:
                try:
                    waiting.append(pool.submit(run, next(source)))
                except StopIteration:
                    done = True
            if not waiting:
                return
            try:
                yield waiting.popleft().result(timeout or None)
            except FutureTimeout:
                raise StateError(f"a worker took longer than timeout={timeout} seconds") from None
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=False, cancel_futures=True)
