"""Indices of every kind beside each other.

An int, or a tensor without axes, takes its axis away first, as in Paddle and PyTorch; numpy would
count it as an index array and bring the axes of the others to the front. What is expected is
therefore written with numpy's indices one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dyn
from exporter import InputSpec, Predictor, export

SHAPE = (3, 4, 5, 2)
DATA = np.arange(120, dtype=np.float32).reshape(SHAPE)
AT = np.array([2, 0, 1])
TABLE = np.array([[1, 0], [2, 1]])
KEEP = np.array([True, False, True, True])

CASES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "int, slice, tensor": ((0, slice(None), AT), lambda x: x[0][:, AT]),
    "tensor, slice, int": ((AT, slice(None), -1), lambda x: x[:, :, -1][AT]),
    "slice, int, slice, table": (
        (slice(None), 1, slice(None), TABLE % 2),
        lambda x: x[:, 1][:, :, TABLE % 2],
    ),
    "int between tensors": ((AT, 1, AT), lambda x: x[:, 1][AT, AT]),
    "slice, tensor, int, tensor": (
        (slice(1, None), AT, 3, AT % 2),
        lambda x: x[1:, :, 3][:, AT, AT % 2],
    ),
    "tensors apart": ((AT, slice(None), AT), lambda x: x[AT, :, AT]),
    "int, new axis, slice, tensors": (
        (1, None, slice(None), TABLE, TABLE % 2),
        lambda x: x[1][None][:, :, TABLE, TABLE % 2],
    ),
    "mask after a new axis": (
        (slice(None), None, KEEP),
        lambda x: x[:, KEEP][:, None],
    ),
    "mask after an int and a new axis": ((2, None, KEEP), lambda x: x[2][KEEP][None]),
    "int, slice, mask": (
        (1, slice(None), np.array([True, False, True, False, True])),
        lambda x: x[1][:, [True, False, True, False, True]],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_read(name: str) -> None:
    item, expected = CASES[name]
    np.testing.assert_array_equal(dyn.to_tensor(DATA)[item].numpy(), expected(DATA))


@pytest.mark.parametrize("name", CASES)
def test_written(name: str) -> None:
    item, expected = CASES[name]
    places = expected(np.arange(DATA.size).reshape(SHAPE))
    values = -1 - np.arange(places.size, dtype=np.float32).reshape(places.shape)
    wanted = DATA.copy()
    wanted.reshape(-1)[places] = values
    x = dyn.to_tensor(DATA)
    x[item] = dyn.to_tensor(values)
    np.testing.assert_array_equal(x.numpy(), wanted)


def test_a_tensor_without_axes_counts_as_an_int() -> None:
    at = dyn.to_tensor(1)
    wanted = DATA[1][:, AT]
    np.testing.assert_array_equal(dyn.to_tensor(DATA)[at, :, AT].numpy(), wanted)
    x = dyn.to_tensor(DATA)
    x[at, :, AT] = dyn.to_tensor(-wanted)
    changed = DATA.copy()
    changed[1][:, AT] = -wanted
    np.testing.assert_array_equal(x.numpy(), changed)


def test_in_a_file(tmp_path: Any) -> None:
    def forward(x: Any, at: Any) -> Any:
        return x[0, :, at]

    file = str(tmp_path / "index.onnx")
    specs = [InputSpec(["n", 4, 5], name="x"), InputSpec(["k"], "int64", name="at", example=AT)]
    export(forward, file, specs)
    x = DATA.reshape(6, 4, 5)
    (out,) = Predictor(file).run(x, AT)
    np.testing.assert_array_equal(out, x[0][:, AT])


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("kind", [bool, np.bool_, lambda t: dyn.to_tensor(np.array(t))])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_a_single_truth_value_selects_all_or_nothing(truth, kind, shape):
    a = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    x = dyn.to_tensor(a, stop_gradient=False)
    found = x[kind(truth)]
    np.testing.assert_array_equal(found.numpy(), a[truth])
    (g,) = dyn.grad([found.sum()], [x])
    np.testing.assert_array_equal(g.numpy(), np.full(shape, truth, np.float32))
    for value in (7.0, np.full(shape, 5, np.float32)):
        b, y = a.copy(), dyn.to_tensor(a)
        b[truth] = value
        y[kind(truth)] = dyn.to_tensor(value)
        np.testing.assert_array_equal(y.numpy(), b)
    if len(shape) == 2 and shape[0]:
        np.testing.assert_array_equal(x[kind(truth), 1].numpy(), a[1][truth])
        np.testing.assert_array_equal(x[1, kind(truth)].numpy(), a[1][truth])
