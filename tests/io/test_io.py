"""Datasets, samplers and the loader: order, batches, workers, determinism, exceptions."""

import threading
from typing import Any

import numpy as np
import pytest

import dyn
from dyn import io


class Squares(io.Dataset):
    def __init__(self, n=10):
        self.n = n

    def __getitem__(self, index):
        return np.float32(index), index * index

    def __len__(self):
        return self.n


class Stream(io.IterableDataset):
    def __iter__(self):
        return iter(range(10))


def flat(loader):
    return [int(v) for batch in loader for v in np.atleast_1d(batch[1].numpy())]


def test_batches_are_tensors_field_by_field():
    batches = list(io.DataLoader(Squares(), batch_size=4))
    assert [b[0].shape for b in batches] == [[4], [4], [2]]
    assert batches[0][0].dtype == dyn.float32 and batches[0][1].dtype == dyn.int64
    assert batches[2][1].tolist() == [64, 81]
    assert len(io.DataLoader(Squares(), batch_size=4)) == 3
    assert len(io.DataLoader(Squares(), batch_size=4, drop_last=True)) == 2
    assert len(list(io.DataLoader(Squares(), batch_size=4, drop_last=True)())) == 2


def test_shuffling_is_a_permutation_that_the_seed_decides():
    loader = io.DataLoader(Squares(), batch_size=3, shuffle=True)
    dyn.seed(1)
    first, second = flat(loader), flat(loader)
    dyn.seed(1)
    assert flat(loader) == first != second
    assert sorted(first) == sorted(second) == [i * i for i in range(10)]


class Noisy(Squares):
    def __getitem__(self, index):
        return dyn.rand([2]) + index, index


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_drawn_does_not_depend_on_the_workers(workers):
    def epochs(count):
        dyn.seed(7)
        loader = io.DataLoader(Noisy(), batch_size=3, shuffle=True, num_workers=count)
        return [batch[0].numpy() for _ in range(2) for batch in loader], dyn.rand([1]).item()

    (alone, after), (together, after_too) = epochs(0), epochs(workers)
    assert all(map(np.array_equal, alone, together)) and after == after_too
    assert not np.array_equal(alone[0], alone[4])


def test_workers_work_in_threads_of_their_own():
    seen: set = set()

    class Watched(Squares):
        def __getitem__(self, index):
            info = io.get_worker_info()
            assert info is not None and info.num_workers == 2 and info.dataset is data
            seen.add((info.id, threading.current_thread() is threading.main_thread()))
            return index

    data = Watched()
    started: list = []
    list(io.DataLoader(data, num_workers=2, worker_init_fn=started.append))
    assert {main for _, main in seen} == {False}
    assert sorted(started) == sorted({i for i, _ in seen})
    assert io.get_worker_info() is None


@pytest.mark.parametrize("workers", [0, 2])
def test_exceptions_reach_the_user_in_their_place(workers):
    class Broken(Squares):
        def __getitem__(self, index):
            if index == 4:
                raise KeyError("sample four")
            return index

    loader = iter(io.DataLoader(Broken(), batch_size=2, num_workers=workers))
    assert next(loader).tolist() == [0, 1] and next(loader).tolist() == [2, 3]
    with pytest.raises(KeyError, match="sample four"):
        next(loader)


def test_a_failing_worker_init_is_reported():
    def fail(number):
        raise RuntimeError("no camera")

    with pytest.raises(RuntimeError, match="no camera"):
        list(io.DataLoader(Squares(), num_workers=2, worker_init_fn=fail))


def test_a_worker_that_takes_too_long():
    gate = threading.Event()

    class Slow(Squares):
        def __getitem__(self, index):
            gate.wait(5)
            return index

    try:
        with pytest.raises(dyn.StateError, match=r"timeout=0.01"):
            next(iter(io.DataLoader(Slow(), num_workers=1, timeout=0.01)))
    finally:
        gate.set()


def test_an_epoch_that_is_given_up_leaves_no_threads():
    before = threading.active_count()
    batches: Any = iter(io.DataLoader(Squares(100), num_workers=2))
    next(batches)
    del batches
    for thread in threading.enumerate():
        if thread.name.startswith("dyn-loader"):
            thread.join(5)
    assert threading.active_count() <= before


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_streams(workers):
    loader = io.DataLoader(Stream(), batch_size=4, num_workers=workers)
    assert [b.tolist() for b in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(list(io.DataLoader(Stream(), batch_size=4, drop_last=True))) == 2
    with pytest.raises(TypeError):
        len(loader)
    chained = io.ChainDataset([Stream(), Stream()])
    assert len(list(io.DataLoader(chained, batch_size=None))) == 20


def test_tensor_dataset():
    x, y = np.arange(20.0).reshape(10, 2), dyn.arange(10)
    data = io.TensorDataset([x, y])
    assert len(data) == 10 and data[3][0].tolist() == [6.0, 7.0] and data[3][1].item() == 3
    batch = next(iter(io.DataLoader(data, batch_size=4)))
    assert np.array_equal(batch[0].numpy(), x[:4]) and batch[1].tolist() == [0, 1, 2, 3]
    subset = io.DataLoader(io.Subset(data, [7, 1]), batch_size=2)
    assert next(iter(subset))[1].tolist() == [7, 1]
    assert len(io.TensorDataset(x, y)) == 10
    with pytest.raises(dyn.ShapeError, match="one first size"):
        io.TensorDataset(x, dyn.arange(9))


def test_collation():
    collate = io.default_collate_fn
    assert collate([1.5, 2.5]).dtype == dyn.float32
    assert collate([True, False]).dtype == dyn.bool
    assert collate(["a", "b"]) == ["a", "b"]
    both = collate([{"x": 1, "n": "a"}, {"x": 2, "n": "b"}])
    assert both["x"].tolist() == [1, 2] and both["n"] == ["a", "b"]
    assert collate([(dyn.ones([2]), [1, 2])] * 3)[1][0].tolist() == [1, 1, 1]
    assert collate([np.float64(1), np.float64(2)]).dtype == dyn.float64
    with pytest.raises(dyn.ShapeError, match=r"\[2\], \[3\] do not make a batch"):
        collate([np.ones(2), np.ones(3)])
    with pytest.raises(dyn.ShapeError, match="fields"):
        collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="object cannot be stacked"):
        collate([object()])
    loader = io.DataLoader(Squares(), batch_size=4, collate_fn=len)
    assert list(loader) == [4, 4, 2]


def test_samplers():
    data = Squares()
    assert list(io.SequenceSampler(data)) == list(range(10))
    assert sorted(io.RandomSampler(data)) == list(range(10))
    assert len(list(io.RandomSampler(data, replacement=True, num_samples=30))) == 30
    assert sorted(io.SubsetRandomSampler([3, 5, 7])) == [3, 5, 7]
    drawn = list(io.WeightedRandomSampler([0, 1, 0, 3], 200))
    assert set(drawn) == {1, 3} and drawn.count(3) > drawn.count(1)
    assert sorted(io.WeightedRandomSampler([1, 0, 1], 2, replacement=False)) == [0, 2]
    batches = io.BatchSampler(sampler=io.SequenceSampler(data), batch_size=4)
    assert list(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and len(batches) == 3
    loader = io.DataLoader(data, batch_sampler=[[9, 0], [1]])
    assert [b[1].tolist() for b in loader] == [[81, 0], [1]]


def test_datasets_of_datasets():
    both = io.ComposeDataset([Squares(), Squares()])
    assert both[2] == [2.0, 4, 2.0, 4] and len(both) == 10
    joined: Any = io.ConcatDataset([Squares(3), Squares(2)])
    assert [joined[i][1] for i in range(5)] == [0, 1, 4, 0, 1] and joined[-1][1] == 1
    with pytest.raises(IndexError, match="sample 5 of 5"):
        joined[5]
    dyn.seed(0)
    parts = io.random_split(Squares(), [7, 3])
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(parts[0].indices + parts[1].indices) == list(range(10))
    assert [len(p) for p in io.random_split(Squares(), [0.5, 0.25, 0.25])] == [6, 2, 2]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: io.DataLoader(Squares(), batch_size=0), "batch_size"),
        (lambda: io.DataLoader(Squares(), num_workers=-1), "num_workers"),
        (lambda: io.DataLoader(Stream(), shuffle=True), "stream"),
        (lambda: io.DataLoader(Squares(), batch_sampler=[[0]], shuffle=True), "batch_sampler"),
        (lambda: io.BatchSampler(), "either a dataset or a sampler"),
        (lambda: io.RandomSampler(Squares(), num_samples=20), "replacement=True"),
        (lambda: io.RandomSampler(Squares(), num_samples=0), "positive"),
        (lambda: io.WeightedRandomSampler([0, 0], 1), "non-negative"),
        (lambda: io.WeightedRandomSampler([1, 0], 2, False), "replacement=True"),
        (lambda: io.random_split(Squares(), [3, 3]), "do not add up"),
        (lambda: io.ComposeDataset([Squares(3), Squares(4)]), "one length"),
        (lambda: io.ConcatDataset([]), "at least one"),
        (lambda: io.TensorDataset(), "at least one"),
    ],
)
def test_arguments_that_contradict_each_other(make, text):
    with pytest.raises(dyn.AttributeValueError, match=text):
        make()


def test_what_a_subclass_must_write():
    for call in (lambda: io.Dataset()[0], lambda: len(io.Dataset()), lambda: iter(io.Sampler())):
        with pytest.raises(NotImplementedError):
            call()
