"""Samplers: in which order the numbers of samples come, and how they are grouped into batches.

All randomness is drawn from dyn's random state when iteration starts, so `dyn.seed` fixes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np

from dyn.core import rng
from dyn.core.errors import AttributeValueError


class Sampler:
    """Base class: a subclass writes `__iter__()`, giving numbers of samples, and `__len__()`."""

    def __init__(self, data_source: Sized | None = None):
        self.data_source = data_source

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} needs an __iter__(self)")

    def __len__(self) -> int:
        if self.data_source is None:
            raise NotImplementedError(f"{type(self).__name__} needs a __len__(self)")
        return len(self.data_source)


class SequenceSampler(Sampler):
    """0, 1, 2 ... to the end of the dataset."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))


class RandomSampler(Sampler):
    """Samples in random order.

    Args:
        data_source: the dataset.
        replacement: whether a sample may come several times.
        num_samples: how many; all by default.
        generator: a numpy Generator; dyn's random state by default.

    Raises:
        AttributeValueError: more samples than there are without replacement, or fewer than one.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ):
        super().__init__(data_source)
        count = len(data_source) if num_samples is None else num_samples
        if num_samples is not None and num_samples < 1:
            raise AttributeValueError(f"num_samples must be positive, got {num_samples}")
        if count > len(data_source) and not replacement:
            raise AttributeValueError(
                f"{count} samples of {len(data_source)} need replacement=True"
            )
        self.replacement = replacement
        self.count = count
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        draw = self.generator or rng.generator()
        total = len(self.data_source)  # type: ignore[arg-type]
        if self.replacement:
            return iter(draw.integers(0, total, self.count).tolist())
        return iter(draw.permutation(total)[: self.count].tolist())

    def __len__(self) -> int:
        return self.count


class SubsetRandomSampler(Sampler):
    """The given numbers in random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None):
        super().__init__(indices)
        self.indices = [int(i) for i in indices]
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = (self.generator or rng.generator()).permutation(len(self.indices))
        return iter([self.indices[i] for i in order])


class WeightedRandomSampler(Sampler):
    """Samples drawn with probabilities in proportion to their weights."""

    def __init__(self, weights: Sequence[float], num_samples: int, replacement: bool = True):
        super().__init__()
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1 or not self.weights.sum() > 0 or (self.weights < 0).any():
            raise AttributeValueError("weights must be a list of non-negative numbers, not all 0")
        if not replacement and num_samples > np.count_nonzero(self.weights):
            raise AttributeValueError(
                f"{num_samples} samples of {np.count_nonzero(self.weights)} with a weight above 0 "
                "need replacement=True"
            )
        self.num_samples = num_samples
        self.replacement = replacement

    def __iter__(self) -> Iterator[int]:
        share = self.weights / self.weights.sum()
        drawn = rng.generator().choice(len(share), self.num_samples, self.replacement, share)
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of sample numbers.

    Args:
        dataset: the dataset, taken in order or shuffled.
        sampler: what gives the numbers instead.
        shuffle: take the dataset in random order.
        batch_size: samples in a batch.
        drop_last: leave out a last batch that is not full.

    Raises:
        AttributeValueError: the batch size is not positive, or not exactly one of `dataset` and
            `sampler` is given.
    """

    def __init__(
        self,
        dataset: Any = None,
        sampler: Any = None,
        shuffle: bool = False,
        batch_size: int = 1,
        drop_last: bool = False,
    ):
        if (dataset is None) == (sampler is None):
            raise AttributeValueError("BatchSampler takes either a dataset or a sampler")
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise AttributeValueError(f"batch_size must be a positive integer, got {batch_size!r}")
        if sampler is None:
            sampler = RandomSampler(dataset) if shuffle else SequenceSampler(dataset)
        super().__init__(sampler)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (rest > 0 and not self.drop_last)


class DistributedBatchSampler(BatchSampler):
    """The batches of one of several processes, of which there is one: all batches.

    Args:
        dataset: the dataset.
        batch_size: samples in a batch.
        num_replicas, rank: 1 and 0.
        shuffle: take the dataset in an order that depends on the epoch alone.
        drop_last: leave out a last batch that is not full.

    Raises:
        AttributeValueError: there are to be other processes.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
    ):
        if num_replicas not in (None, 1) or rank not in (None, 0):
            raise AttributeValueError(
                f"there is one process, got num_replicas={num_replicas} and rank={rank}"
            )
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last)
        self.dataset, self.shuffle, self.epoch = dataset, shuffle, 0

    def __iter__(self) -> Iterator[list[int]]:
        if self.shuffle:
            order = np.arange(len(self.dataset))
            np.random.RandomState(self.epoch).shuffle(order)
            self.epoch += 1
            self.sampler = order.tolist()
        return super().__iter__()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next: the order of a shuffled one depends on it."""
        self.epoch = epoch
