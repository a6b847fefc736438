"""Sampling of images at given places, and its gradients.

Images are [N, C, H, W], grids [N, h, w, 2] with x and y between -1 and 1. Places between pixels are
interpolated; places outside read zeros, the nearest border pixel, or the image reflected at its
borders.
"""

from __future__ import annotations

import numpy as np


def _unnormalised(at: np.ndarray, size: int, align_corners: bool) -> tuple[np.ndarray, float]:
    """Coordinates in pixels, and pixels per unit of the grid."""
    if align_corners:
        return (at + 1) * ((size - 1) / 2), (size - 1) / 2
    return ((at + 1) * size - 1) / 2, size / 2


def _bounded(
    at: np.ndarray, size: int, padding: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates brought into the image as the padding wants, and the slope of that."""
    slope = np.ones_like(at)
    if padding == "zeros":
        return at, slope
    if padding == "reflection":
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        span = high - low
        if span <= 0:
            return np.zeros_like(at), np.zeros_like(at)
        far = np.abs(at - low)
        turns = np.floor(far / span)
        rest = far - turns * span
        even = turns % 2 == 0
        slope = np.where(even, 1.0, -1.0) * np.where(at < low, -1.0, 1.0)
        at = np.where(even, rest + low, high - rest)
    inside = (at > 0) & (at < size - 1)
    return np.clip(at, 0, size - 1), np.where(inside, slope, 0.0)


def _coordinates(grid: np.ndarray, sizes: tuple[int, int], padding: str, align_corners: bool):
    """x and y in pixels with their slopes by the grid, all [N, h, w]."""
    found = []
    for axis, size in ((0, sizes[1]), (1, sizes[0])):
        at, unit = _unnormalised(grid[..., axis], size, align_corners)
        at, slope = _bounded(at, size, padding, align_corners)
        found.append((at, slope * unit))
    return found


def _read(x: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """x at integer places [N, h, w], zero outside: [N, C, h, w]."""
    h, w = x.shape[2:]
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    n = np.arange(len(x))[:, None, None]
    if not h * w:
        return np.zeros((*x.shape[:2], *row.shape[1:]), x.dtype)
    picked = x[n, :, np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)]
    return np.moveaxis(np.where(inside[..., None], picked, 0), -1, 1)


def _add(total: np.ndarray, row: np.ndarray, column: np.ndarray, g: np.ndarray) -> None:
    """g [N, C, h, w] added to `total` at integer places, what lies outside being dropped."""
    h, w = total.shape[2:]
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    n, i, j = np.nonzero(inside)
    np.add.at(total, (n, slice(None), row[n, i, j], column[n, i, j]), g[n, :, i, j])


def _corners(at: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """The two pixels around each coordinate: place, weight, slope of the weight."""
    low = np.floor(at)
    part = at - low
    place = low.astype(np.int64)
    return [(place, 1 - part, -1.0), (place + 1, part, 1.0)]


def grid_sample(
    x: np.ndarray, grid: np.ndarray, *, mode: str, padding: str, align_corners: bool
) -> np.ndarray:
    """x at the places of the grid: [N, C, h, w]. `mode` is "bilinear" or "nearest"."""
    (column, _), (row, _) = _coordinates(grid, x.shape[2:], padding, align_corners)
    if mode == "nearest":
        return np.array(_read(x, np.rint(row).astype(np.int64), np.rint(column).astype(np.int64)))
    total = np.zeros((*x.shape[:2], *grid.shape[1:3]), x.dtype)
    for i, wi, _ in _corners(row):
        for j, wj, _ in _corners(column):
            total += _read(x, i, j) * (wi * wj)[:, None].astype(x.dtype)
    return total


def grid_sample_grad(
    g: np.ndarray, x: np.ndarray, grid: np.ndarray, *, mode: str, padding: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(gx, ggrid)."""
    (column, sx), (row, sy) = _coordinates(grid, x.shape[2:], padding, align_corners)
    gx = np.zeros_like(x)
    ggrid = np.zeros_like(grid)
    if mode == "nearest":
        _add(gx, np.rint(row).astype(np.int64), np.rint(column).astype(np.int64), g)
        return gx, ggrid
    for i, wi, di in _corners(row):
        for j, wj, dj in _corners(column):
            _add(gx, i, j, g * (wi * wj)[:, None].astype(x.dtype))
            seen = (g * _read(x, i, j)).sum(axis=1)
            ggrid[..., 0] += seen * wi * dj * sx
            ggrid[..., 1] += seen * wj * di * sy
    return gx, ggrid
