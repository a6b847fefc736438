"""Datasets: samples by number, samples in a stream, and datasets made of datasets."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from dyn.core import rng
from dyn.core.errors import AttributeValueError, DTypeError, IndexRangeError, ShapeError
from dyn.core.tensor import Tensor


class Dataset:
    """Samples by number: a subclass writes `__getitem__(index)` and `__len__()`."""

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a __getitem__(self, index)")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a __len__(self)")

    def __add__(self, other: Dataset) -> Dataset:
        """The samples of another dataset behind those of this one."""
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Samples in a stream: a subclass writes `__iter__()`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} needs an __iter__(self)")

    def __getitem__(self, index: int) -> Any:
        raise DTypeError(f"{type(self).__name__} is a stream; its samples have no numbers")

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} is a stream and has no length")

    def __add__(self, other: Dataset) -> Dataset:
        """The stream of another dataset behind this one."""
        return ChainDataset([self, other])  # type: ignore[list-item]


class TensorDataset(Dataset):
    """Tensors or arrays whose first axes are the samples: sample i is the list of their i-th rows.

    Args:
        tensors: a list of them, or several arguments.

    Raises:
        ShapeError: their first sizes differ.
    """

    def __init__(self, *tensors: Any):
        if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
            tensors = tuple(tensors[0])
        if not tensors:
            raise AttributeValueError("TensorDataset needs at least one tensor")
        self.tensors = [t if isinstance(t, Tensor) else Tensor(t) for t in tensors]
        sizes = [t._read().shape[:1] for t in self.tensors]
        if len(set(sizes)) > 1 or sizes[0] == ():
            shapes = [list(t._read().shape) for t in self.tensors]
            raise ShapeError(f"the tensors must have one first size, got shapes {shapes}")

    def __getitem__(self, index: int) -> list[Tensor]:
        return [Tensor._of(np.asarray(t._read()[index])) for t in self.tensors]

    def __len__(self) -> int:
        return len(self.tensors[0]._read())

    def batch(self, indices: Sequence[int]) -> list[Tensor]:
        """Several samples at once, as one tensor per field; what the loader prefers."""
        rows = np.asarray(indices, np.int64)
        return [Tensor._of(t._read().take(rows, axis=0)) for t in self.tensors]


class ComposeDataset(Dataset):
    """Datasets of one length side by side: sample i holds the fields of all their i-th samples."""

    def __init__(self, datasets: Sequence[Dataset]):
        self.datasets = list(datasets)
        lengths = [len(dataset) for dataset in self.datasets]
        if len(set(lengths)) != 1:
            raise AttributeValueError(f"the datasets must have one length, got {lengths}")

    def __getitem__(self, index: int) -> list[Any]:
        fields: list[Any] = []
        for dataset in self.datasets:
            sample = dataset[index]
            fields.extend(sample if isinstance(sample, (list, tuple)) else [sample])
        return fields

    def __len__(self) -> int:
        return len(self.datasets[0])


class ConcatDataset(Dataset):
    """Datasets one after the other, by number."""

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AttributeValueError("ConcatDataset needs at least one dataset")
        self.ends = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexRangeError(f"sample {index} of {len(self)} does not exist")
        index %= len(self)
        which = bisect.bisect_right(self.ends, index)
        return self.datasets[which][index - (self.ends[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.ends[-1]


class ChainDataset(IterableDataset):
    """Streams one after the other."""

    def __init__(self, datasets: Iterable[IterableDataset]):
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)


class Subset(Dataset):
    """Some samples of a dataset, by their numbers."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = [int(i) for i in indices]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Dataset, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Divide a dataset at random into subsets that do not overlap.

    Args:
        dataset: what to divide.
        lengths: sizes that add up to the length of the dataset, or fractions that add up to 1.
        generator: a numpy Generator; dyn's random state by default.

    Raises:
        AttributeValueError: the sizes do not add up.
    """
    total = len(dataset)
    sizes = list(lengths)
    if any(isinstance(n, float) for n in sizes) and abs(sum(sizes) - 1) < 1e-6:
        sizes = [int(total * part) for part in sizes]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != total or any(n < 0 for n in sizes):
        raise AttributeValueError(f"the lengths {list(lengths)} do not add up to {total} samples")
    order = (generator or rng.generator()).permutation(total).tolist()
    ends = list(itertools.accumulate(int(n) for n in sizes))
    starts = [0, *ends[:-1]]
    return [Subset(dataset, order[a:b]) for a, b in zip(starts, ends, strict=True)]
