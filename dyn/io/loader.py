"""DataLoader: batches of a dataset, shuffled, collated, prefetched by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, repeat, takewhile
from typing import Any

import numpy as np

from dyn.core import rng
from dyn.core.errors import AttributeValueError
from dyn.io.collate import default_collate_fn
from dyn.io.dataset import IterableDataset
from dyn.io.prefetch import prefetched
from dyn.io.sampler import BatchSampler

_END = object()
"""Stands for the batch after the last one of a stream."""


class DataLoader:
    """Batches of a dataset; iterate it once per epoch.

    What is drawn at random (the order, and whatever a dataset draws from `dyn` while it makes a
    sample) depends only on `dyn.seed` and the position of the batch, not on the number of workers.

    Args:
        dataset: a `Dataset`, anything with `__getitem__` and `__len__`, or an `IterableDataset`.
        places: accepted for Paddle's sake.
        return_list: accepted for Paddle's sake; batches are what `collate_fn` returns.
        batch_sampler: gives lists of sample numbers, instead of the next three arguments.
        batch_size: samples in a batch; None gives single samples, uncollated: `collate_fn`, if
            there is one, is called with a sample.
        shuffle: take the samples in a new random order each epoch.
        drop_last: leave out a last batch that is not full.
        collate_fn: makes a batch of a list of samples; `default_collate_fn` stacks them.
        num_workers: threads that make batches ahead; 0 makes each when it is asked for. A stream
            is read by one thread.
        prefetch_factor: batches each worker may be ahead.
        timeout: seconds to wait for a batch of a worker; 0 for ever.
        worker_init_fn: called with its number in each worker thread before it works.
        use_buffer_reader, use_shared_memory, persistent_workers: accepted for Paddle's sake.

    Raises:
        AttributeValueError: arguments contradict each other.
    """

    def __init__(
        self,
        dataset: Any,
        places: Any = None,
        return_list: bool = True,
        batch_sampler: Any = None,
        batch_size: int | None = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        use_buffer_reader: bool = True,
        use_shared_memory: bool = False,
        persistent_workers: bool = False,
    ):
        self._stream = isinstance(dataset, IterableDataset)
        if batch_sampler is not None and (batch_size != 1 or shuffle or drop_last):
            raise AttributeValueError(
                "with a batch_sampler, leave out batch_size, shuffle and drop_last"
            )
        if self._stream and (shuffle or batch_sampler is not None):
            raise AttributeValueError("a stream has an order of its own; shuffle inside it")
        if num_workers < 0 or prefetch_factor < 1 or timeout < 0:
            raise AttributeValueError(
                f"num_workers={num_workers} and timeout={timeout} must not be negative, "
                f"prefetch_factor={prefetch_factor} must be positive"
            )
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.collate_fn = collate_fn
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.batch_sampler: Any = batch_sampler
        if batch_sampler is None and not self._stream:
            self.batch_sampler = BatchSampler(
                dataset, None, shuffle, 1 if batch_size is None else batch_size, drop_last
            )

    def __len__(self) -> int:
        """Number of batches of an epoch; TypeError for a stream."""
        if self._stream:
            raise TypeError("a loader of a stream has no length")
        return len(self.batch_sampler)

    def __call__(self) -> Iterator[Any]:
        return iter(self)

    def __iter__(self) -> Iterator[Any]:
        epoch = int(rng.generator().integers(2**63))
        workers = self.num_workers
        if self._stream:
            # Its samples are read by the work itself, so that one worker can read ahead.
            parts: Any = repeat(self._slices())
            work, workers = self._read, min(workers, 1)
        else:
            parts, work = self.batch_sampler, self._fetch
        jobs = ((epoch, number, part) for number, part in enumerate(parts))
        if not workers:
            batches = map(_seeded(work), jobs)
        else:
            batches = prefetched(
                jobs,
                _seeded(work),
                workers=workers,
                ahead=workers * self.prefetch_factor,
                timeout=self.timeout,
                dataset=self.dataset,
                init=self.worker_init_fn,
            )
        return takewhile(lambda batch: batch is not _END, batches)

    def _read(self, slices: Iterator[list[Any]]) -> Any:
        samples = next(slices, None)
        return _END if samples is None else self._collate(samples)

    def _slices(self) -> Iterator[list[Any]]:
        """Lists of samples of a stream."""
        samples = iter(self.dataset)
        size = 1 if self.batch_size is None else self.batch_size
        while batch := list(islice(samples, size)):
            if len(batch) == size or not self.drop_last:
                yield batch

    def _fetch(self, indices: list[int]) -> Any:
        at_once = getattr(self.dataset, "batch", None)
        if at_once is not None and self.collate_fn is None and self.batch_size is not None:
            return at_once(indices)
        return self._collate([self.dataset[i] for i in indices])

    def _collate(self, samples: list[Any]) -> Any:
        collate = self.collate_fn
        if self.batch_size is None:
            return samples[0] if collate is None else collate(samples[0])
        return (collate or default_collate_fn)(samples)


def _seeded(work: Callable[[Any], Any]) -> Callable[[tuple[int, int, Any]], Any]:
    """`work`, drawing from a random state that belongs to the batch."""

    def run(job: tuple[int, int, Any]) -> Any:
        epoch, number, batch = job
        with rng.drawing_from(np.random.Generator(np.random.Philox(key=[epoch, number]))):
            return work(batch)

    return run
