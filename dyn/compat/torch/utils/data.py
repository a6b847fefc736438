"""`torch.utils.data`: dyn's datasets, samplers and loader under PyTorch's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dyn import io
from dyn.compat.torch.tensor import own
from dyn.core.tensor import Tensor
from dyn.io import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    Sampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)
from dyn.io import SequenceSampler as SequentialSampler


class TensorDataset(io.TensorDataset):
    """Samples are rows of several tensors of equal length."""

    def __init__(self, *tensors: Any):
        if any(t.shape[0] != tensors[0].shape[0] for t in tensors):
            raise AssertionError("Size mismatch between tensors")
        super().__init__(list(tensors))

    def __getitem__(self, index: Any) -> Any:
        return own(super().__getitem__(index))


class StackDataset(Dataset):
    """Samples side by side: a tuple of one of each dataset, or a dictionary if they have names.

    Raises:
        ValueError: there is no dataset, there are some with and some without a name, or their
            lengths differ.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if bool(args) == bool(kwargs):
            raise ValueError(
                "Supported either ``tuple``- (via ``args``) or ``dict``- (via ``kwargs``) like "
                "input/output"
            )
        self.datasets = kwargs or args
        self._length = len(next(iter(self._several())))
        if any(len(dataset) != self._length for dataset in self._several()):
            raise ValueError("Size mismatch between datasets")

    def _several(self) -> Any:
        return self.datasets.values() if isinstance(self.datasets, dict) else self.datasets

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class RandomSampler(io.RandomSampler):
    """Numbers of samples in random order; `generator` is a `torch.Generator`."""

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ):
        draws = None if generator is None else generator.draws
        super().__init__(data_source, replacement, num_samples, draws)


class BatchSampler(io.BatchSampler):
    """Lists of `batch_size` numbers from a sampler; the last may be shorter or is dropped."""

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool):
        super().__init__(sampler=sampler, batch_size=batch_size, drop_last=drop_last)


def random_split(dataset: Any, lengths: Any, generator: Any = None) -> list[Subset]:
    """Divide a dataset at random; see `dyn.io.random_split`."""
    return io.random_split(dataset, lengths, None if generator is None else generator.draws)


def default_collate(batch: Any) -> Any:
    """Samples side by side in one tensor, or in containers of tensors; Python floats in double."""
    return own(io.default_collate_fn([_doubled(sample) for sample in batch]))


def default_convert(data: Any) -> Any:
    """A sample by itself: arrays in it become tensors, tuples lists, the rest stays."""
    if isinstance(data, np.ndarray) and data.dtype.kind not in "SUO":
        return own(Tensor(data))
    if isinstance(data, dict):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    return [default_convert(one) for one in data] if isinstance(data, (list, tuple)) else data


def _doubled(sample: Any) -> Any:
    if type(sample) is float:
        return np.float64(sample)
    if isinstance(sample, Mapping):
        return {key: _doubled(value) for key, value in sample.items()}
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(_doubled, sample))
    return list(map(_doubled, sample)) if isinstance(sample, (tuple, list)) else sample


class DataLoader(io.DataLoader):
    """Batches of a dataset; see `dyn.io.DataLoader`. The arguments have PyTorch's order."""

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Any = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
    ):
        own_batches = batch_sampler is not None
        if shuffle and sampler is not None:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if own_batches and sampler is not None:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
                "drop_last"
            )
        if shuffle and generator is not None and sampler is None:
            sampler = RandomSampler(dataset, generator=generator)
        if sampler is not None:
            batch_sampler = BatchSampler(
                sampler=sampler, batch_size=batch_size or 1, drop_last=drop_last
            )
        settings: dict[str, Any] = {
            "num_workers": num_workers, "timeout": timeout, "worker_init_fn": worker_init_fn,
            "prefetch_factor": prefetch_factor or 2,
        }  # fmt: skip
        if batch_sampler is not None:
            settings["batch_sampler"] = batch_sampler
        else:
            settings |= {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
        single = batch_size is None and not own_batches
        collate_fn = collate_fn or (default_convert if single else default_collate)
        super().__init__(dataset, collate_fn=collate_fn, **settings)
        if not own_batches:
            self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = getattr(self.batch_sampler, "sampler", sampler)
        self.generator = generator
        self.pin_memory, self.persistent_workers = pin_memory, persistent_workers

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            yield own(batch)


__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]
