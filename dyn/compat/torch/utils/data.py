"""`torch.utils.data`: dyn's datasets, samplers and loader under PyTorch's names."""

from __future__ import annotations

from typing import Any

from dyn import io
from dyn.compat.torch.tensor import own
from dyn.io import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
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


def default_collate(batch: Any) -> Any:
    """Samples side by side in one tensor, or in containers of tensors."""
    return own(io.default_collate_fn(batch))


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
        **others: Any,
    ):
        if sampler is not None:
            batch_sampler = BatchSampler(
                sampler=sampler, batch_size=batch_size or 1, drop_last=drop_last
            )
        settings: dict[str, Any] = {"num_workers": num_workers}
        if batch_sampler is not None:
            settings["batch_sampler"] = batch_sampler
        else:
            settings |= {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
        super().__init__(dataset, collate_fn=collate_fn or default_collate, **settings)

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
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "get_worker_info",
    "random_split",
]
