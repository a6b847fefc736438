"""Transforms of image samples in numpy: (height, width, channels) arrays of bytes or floats.

What is drawn comes from dyn's random state, which a DataLoader lends to its workers batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.core import rng
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.tensor import Tensor


def _image(image: Any) -> np.ndarray:
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise ShapeError(f"an image has 2 or 3 axes, got shape {list(array.shape)}")
    return array


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


class Compose:
    """Transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)

    def __call__(self, data: Any) -> Any:
        for transform in self.transforms:
            data = transform(data)
        return data


class ToTensor:
    """A float tensor (channels, height, width); bytes become numbers from 0 to 1."""

    def __call__(self, image: Any) -> Tensor:
        array = _image(image)
        scale = np.float32(255.0 if array.dtype == np.uint8 else 1.0)
        return Tensor(np.ascontiguousarray(array.transpose(2, 0, 1)).astype(np.float32) / scale)


class Normalize:
    """(x - mean) / std per channel.

    Args:
        mean, std: a number, or one per channel.
        data_format: where the channels are, "CHW" or "HWC".
    """

    def __init__(self, mean: Any = 0.0, std: Any = 1.0, data_format: str = "CHW"):
        if data_format not in ("CHW", "HWC"):
            raise AttributeValueError(f"data_format must be 'CHW' or 'HWC', got {data_format!r}")
        shape = (-1, 1, 1) if data_format == "CHW" else (1, 1, -1)
        self.mean = np.asarray(mean, np.float32).reshape(shape)
        self.std = np.asarray(std, np.float32).reshape(shape)

    def __call__(self, image: Any) -> Any:
        array = image._read() if isinstance(image, Tensor) else np.asarray(image)
        out = (array.astype(np.float32) - self.mean) / self.std
        return Tensor(out) if isinstance(image, Tensor) else out


class Transpose:
    """Another order of the axes, (channels, height, width) by default."""

    def __init__(self, order: Sequence[int] = (2, 0, 1)):
        self.order = tuple(order)

    def __call__(self, image: Any) -> np.ndarray:
        return _image(image).transpose(self.order)


class Resize:
    """Another size in pixels.

    Args:
        size: (height, width); an int is the shorter side.
        interpolation: "bilinear" or "nearest".
    """

    def __init__(self, size: Any, interpolation: str = "bilinear"):
        if interpolation not in ("bilinear", "nearest"):
            raise AttributeValueError(
                f"interpolation must be 'bilinear' or 'nearest', got {interpolation!r}"
            )
        self.size, self.interpolation = size, interpolation

    def __call__(self, image: Any) -> np.ndarray:
        array = _image(image)
        high, wide = array.shape[:2]
        if isinstance(self.size, int):
            short = min(high, wide)
            target = (round(high * self.size / short), round(wide * self.size / short))
        else:
            target = _pair(self.size)
        out = array
        for axis, (old, new) in enumerate(zip((high, wide), target, strict=True)):
            out = self._along(out, axis, old, new)
        if array.dtype.kind in "iu":
            out = np.rint(out)
        return out.astype(array.dtype)

    def _along(self, array: np.ndarray, axis: int, old: int, new: int) -> np.ndarray:
        if old == new:
            return array
        place = (np.arange(new) + 0.5) * old / new
        if self.interpolation == "nearest":
            return array.take(np.minimum(place.astype(np.int64), old - 1), axis)
        place = np.clip(place - 0.5, 0, old - 1)
        low = place.astype(np.int64)
        high = np.minimum(low + 1, old - 1)
        share = (place - low).reshape([-1 if i == axis else 1 for i in range(3)])
        return array.take(low, axis) * (1 - share) + array.take(high, axis) * share


class CenterCrop:
    """The middle of an image, (height, width) or a square."""

    def __init__(self, size: Any):
        self.size = _pair(size)

    def __call__(self, image: Any) -> np.ndarray:
        array = _image(image)
        top, left = ((n - m) // 2 for n, m in zip(array.shape, self.size, strict=False))
        return _cut(array, top, left, self.size)


class RandomCrop:
    """A part of an image at a random place.

    Args:
        size: (height, width) or a square.
        padding: zeros put around the image first, in pixels.
    """

    def __init__(self, size: Any, padding: int = 0):
        self.size, self.padding = _pair(size), padding

    def __call__(self, image: Any) -> np.ndarray:
        side = (self.padding, self.padding)
        array = np.pad(_image(image), (side, side, (0, 0)))
        draw = rng.generator()
        rooms = [n - m for n, m in zip(array.shape, self.size, strict=False)]
        top, left = (int(draw.integers(0, max(room, 0) + 1)) for room in rooms)
        return _cut(array, top, left, self.size)


def _cut(array: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    if array.shape[0] < size[0] or array.shape[1] < size[1]:
        raise ShapeError(
            f"a part of {size[0]} x {size[1]} pixels does not fit into {array.shape[0]} x "
            f"{array.shape[1]}"
        )
    return array[top : top + size[0], left : left + size[1]]


class _RandomFlip:
    _axis: int

    def __init__(self, prob: float = 0.5):
        self.prob = prob

    def __call__(self, image: Any) -> np.ndarray:
        array = _image(image)
        return np.flip(array, self._axis) if rng.generator().random() < self.prob else array


class RandomHorizontalFlip(_RandomFlip):
    """Left and right exchanged, with probability `prob`."""

    _axis = 1


class RandomVerticalFlip(_RandomFlip):
    """Top and bottom exchanged, with probability `prob`."""

    _axis = 0


__all__ = [
    "CenterCrop",
    "Compose",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Resize",
    "ToTensor",
    "Transpose",
]
