"""Columns added up to images, against numpy's unbuffered additions."""

from __future__ import annotations

import numpy as np
import pytest

from dyn.kernels.rearrange import fold, unfold


def _added(x: np.ndarray, sizes: tuple, kernel: tuple, stride: tuple, padding: tuple,
           dilation: tuple, out: tuple) -> np.ndarray:  # fmt: skip
    n, c = x.shape[0], x.shape[1] // (kernel[0] * kernel[1])
    top, bottom, left, right = padding
    image = np.zeros((n, c, sizes[0] + top + bottom, sizes[1] + left + right), x.dtype)
    windows = x.reshape(n, c, *kernel, *out)
    i, j, y, k = np.indices((*kernel, *out))
    rows, columns = i * dilation[0] + y * stride[0], j * dilation[1] + k * stride[1]
    np.add.at(image, (slice(None), slice(None), rows, columns), windows)
    return image[:, :, top : top + sizes[0], left : left + sizes[1]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "bool", "complex64"])
@pytest.mark.parametrize(
    ("sizes", "kernel", "stride", "padding", "dilation"),
    [
        ((8, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
        ((7, 9), (2, 3), (2, 1), (0, 0, 0, 0), (1, 1)),
        ((7, 9), (3, 2), (3, 4), (2, 0, 1, 3), (1, 2)),
        ((5, 6), (3, 3), (1, 2), (4, 3, 5, 2), (2, 1)),
        ((1, 40), (1, 5), (1, 3), (0, 0, 2, 2), (1, 4)),
        ((60, 50), (4, 4), (2, 2), (1, 1, 1, 1), (1, 1)),
    ],
)
def test_columns_are_added(
    dtype: str, sizes: tuple, kernel: tuple, stride: tuple, padding: tuple, dilation: tuple
) -> None:
    ends = zip(sizes, kernel, stride, padding[::2], padding[1::2], dilation, strict=True)
    out = tuple((n + a + b - d * (k - 1) - 1) // s + 1 for n, k, s, a, b, d in ends)
    rng = np.random.default_rng(0)
    shape = 2, 3 * kernel[0] * kernel[1], out[0] * out[1]
    x = rng.integers(-4, 5, shape).astype(dtype)
    given = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    found = fold(x, sizes=sizes, out=out, **given)
    wanted = _added(x, sizes, out=out, **given)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    turned = x.transpose(1, 2, 0)[::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(
        fold(turned, sizes=sizes, out=out, **given), _added(turned, sizes, out=out, **given)
    )


def test_windows_back_and_forth() -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 8)).astype(np.float32)
    given = {"kernel": (2, 4), "stride": (2, 4), "padding": (0, 0, 0, 0), "dilation": (1, 1)}
    columns = unfold(x, out=(3, 2), **given)
    np.testing.assert_array_equal(fold(columns, sizes=(6, 8), out=(3, 2), **given), x)


def test_no_images() -> None:
    given = {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1)}
    assert fold(np.zeros((0, 8, 4)), sizes=(3, 3), out=(2, 2), **given).shape == (0, 2, 3, 3)
