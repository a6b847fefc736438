"""Rows of `dyn/ops/resample.py`, `rearrange.py` and `grid.py`. References go pixel by pixel."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy as np

from dyn.core.op import OPS
from tests.optable.case import OpCase, array

# ---- interpolation -----------------------------------------------------------------------------


def cubic(d: float, a: float = -0.75) -> float:
    """Keys' kernel."""
    d = abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def matrix(size: int, count: int, scale: float | None, mode: str, transform: str) -> np.ndarray:
    """What each output takes from each input along one axis, [count, size]."""
    found = np.zeros((count, size))
    ratio = size / count if scale is None else 1 / scale
    if mode in ("smooth-linear", "smooth-cubic"):
        return smooth(size, count, ratio, mode, transform)
    for i in range(count):
        at = {
            "asymmetric": i * ratio,
            "half_pixel": (i + 0.5) * ratio - 0.5,
            "align_corners": i * (size - 1) / (count - 1) if count > 1 else 0.0,
        }[transform]
        low = math.floor(at)
        if mode == "nearest":
            found[i, min(math.floor(at + 0.5 * (transform == "half_pixel")), size - 1)] = 1
            continue
        near = range(low, low + 2) if mode == "linear" else range(low - 1, low + 3)
        for j in near:
            weight = 1 - abs(at - j) if mode == "linear" else cubic(at - j)
            found[i, min(max(j, 0), size - 1)] += weight
    return found


def smooth(size: int, count: int, ratio: float, mode: str, transform: str) -> np.ndarray:
    """`matrix` of smoothed axes, as PyTorch has it: a window per output, that is normalised."""
    if transform == "align_corners":
        ratio = (size - 1) / (count - 1) if count > 1 else 0.0
    wide = max(ratio, 1.0)
    reach = wide * (1 if mode == "smooth-linear" else 2)
    found = np.zeros((count, size))
    for i in range(count):
        centre = (i + 0.5) * ratio
        for j in range(max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), size)):
            d = abs(j - centre + 0.5) / wide
            found[i, j] = max(1 - d, 0.0) if mode == "smooth-linear" else cubic(d, -0.5)
        found[i] /= found[i].sum()
    return found


def matrices(spatial: Any, sizes: Any, scales: Any, mode: str, transform: str) -> Any:
    rows = zip(spatial, sizes, scales, strict=True)
    return [matrix(n, o, s, mode, transform) for n, o, s in rows]


def along_axes(x: np.ndarray, ms: Any) -> np.ndarray:
    for axis, m in enumerate(ms, 2):
        x = np.moveaxis(np.tensordot(m, x, axes=(1, axis)), 0, axis)
    return x


def ref_interpolate(x, *, sizes, scales, mode, transform):
    return along_axes(x, matrices(x.shape[2:], sizes, scales, mode, transform))


def ref_interpolate_grad(g, *, x_shape, scales, mode, transform):
    ms = matrices(x_shape[2:], g.shape[2:], scales, mode, transform)
    return along_axes(g, [m.T for m in ms])


INTERPOLATE = []
for mode, transform in (
    ("nearest", "asymmetric"),
    ("nearest", "half_pixel"),
    ("linear", "half_pixel"),
    ("linear", "align_corners"),
    ("linear", "asymmetric"),
    ("cubic", "half_pixel"),
    ("cubic", "align_corners"),
    ("smooth-linear", "half_pixel"),
    ("smooth-linear", "align_corners"),
    ("smooth-cubic", "half_pixel"),
    ("smooth-cubic", "align_corners"),
):
    attrs: dict[str, Any] = {"scales": (None, None), "mode": mode, "transform": transform}
    INTERPOLATE.append(
        OpCase(
            "interpolate",
            [array("n", 2, "h", "w")],
            {"sizes": (7, 4), **attrs},
            ref_interpolate,
            sizes={"h": (5, 4), "w": (6, 7)},
            empty=False,
            # Before opset 18, and with aligned corners, smoothing is two products.
            onnx=None if mode.startswith("smooth") else "Resize",
            note=f"{mode}-{transform}",
        )
    )
    INTERPOLATE.append(
        OpCase(
            "interpolate_grad",
            [array("n", 2, 7, 4)],
            reference=lambda g, attrs=attrs: ref_interpolate_grad(
                g, x_shape=(g.shape[0], 2, 5, 6), **attrs
            ),
            run=lambda g, attrs=attrs: OPS["interpolate_grad"](
                g, x_shape=(g.shape[0], 2, 5, 6), **attrs
            ),
            note=f"{mode}-{transform}",
        )
    )
SCALED: dict[str, Any] = {"scales": (1.7, 0.6), "mode": "linear", "transform": "half_pixel"}
INTERPOLATE += [
    OpCase(
        "interpolate",
        [array("n", 2, 5, 6)],
        {"sizes": (8, 3), **SCALED},
        ref_interpolate,
        note="scaled",
        tol=1e-5,
    ),
    OpCase(
        "interpolate",
        [array("n", 2, 5, 6)],
        {"sizes": (8, 3), "scales": (1.7, 0.6), "mode": "smooth-cubic", "transform": "half_pixel"},
        ref_interpolate,
        note="smooth-scaled",
        tol=1e-5,
    ),
    OpCase(
        "interpolate",
        [array("n", 2, "t")],
        {"sizes": (7,), "scales": (None,), "mode": "linear", "transform": "half_pixel"},
        ref_interpolate,
        note="1d",
        empty=False,
    ),
]

# ---- rearranging -------------------------------------------------------------------------------


def ref_pixel_shuffle(x, *, factor):
    n, c, h, w = x.shape
    out = np.empty((n, c // factor**2, h * factor, w * factor))
    for k, i, j in itertools.product(range(c), range(h), range(w)):
        channel, place = divmod(k, factor**2)
        down, right = divmod(place, factor)
        out[:, channel, i * factor + down, j * factor + right] = x[:, k, i, j]
    return out


def ref_pixel_unshuffle(x, *, factor):
    n, c, h, w = x.shape
    out = np.empty((n, c * factor**2, h // factor, w // factor))
    for k, i, j in itertools.product(range(c), range(h), range(w)):
        place = k * factor**2 + i % factor * factor + j % factor
        out[:, place, i // factor, j // factor] = x[:, k, i, j]
    return out


def places(sizes: Any, *, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """(column, place in the window, row and column of the pixel) of all pairs inside."""
    counts = [
        (n + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (kernel[i] - 1) - 1) // stride[i]
        + 1
        for i, n in enumerate(sizes)
    ]
    found = []
    for number, at in enumerate(itertools.product(*map(range, counts))):
        for place, tap in enumerate(itertools.product(*map(range, kernel))):
            pixel = tuple(
                a * s + t * d - padding[2 * i]
                for i, (a, s, t, d) in enumerate(zip(at, stride, tap, dilation, strict=True))
            )
            if all(0 <= p < n for p, n in zip(pixel, sizes, strict=True)):
                found.append((number, place, *pixel))
    return found, math.prod(counts), math.prod(kernel)


def ref_unfold(x, **attrs):
    found, columns, count = places(x.shape[2:], **attrs)
    out = np.zeros((x.shape[0], x.shape[1], count, columns))
    for number, place, i, j in found:
        out[:, :, place, number] = x[:, :, i, j]
    return out.reshape(x.shape[0], x.shape[1] * count, columns)


def ref_fold(x, *, sizes, **attrs):
    found, columns, count = places(sizes, **attrs)
    x = x.reshape(x.shape[0], x.shape[1] // count, count, columns)
    out = np.zeros((*x.shape[:2], *sizes))
    for number, place, i, j in found:
        out[:, :, i, j] += x[:, :, place, number]
    return out


PLAIN = {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1)}
UNEVEN = {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 0, 1, 2), "dilation": (2, 1)}

REARRANGE = [
    OpCase(
        "pixel_shuffle",
        [array("n", 8, "h", 3)],
        {"factor": 2},
        ref_pixel_shuffle,
        onnx="DepthToSpace",
    ),
    OpCase(
        "pixel_unshuffle",
        [array("n", 2, "h", 6)],
        {"factor": 2},
        ref_pixel_unshuffle,
        sizes={"h": (4, 8)},
        single=False,
    ),
]
for note, attrs in (("", PLAIN), ("uneven", UNEVEN)):
    REARRANGE.append(
        OpCase(
            "unfold",
            [array("n", 2, "h", 5)],
            attrs,
            ref_unfold,
            sizes={"h": (4, 6)},
            single=False,
            empty=False,
            note=note,
        )
    )
    _, columns, count = places((4, 5), **attrs)
    REARRANGE.append(
        OpCase(
            "fold",
            [array("n", 2 * count, columns)],
            {"sizes": (4, 5), **attrs},
            ref_fold,
            onnx="Col2Im",
            note=note,
        )
    )

# ---- grids -------------------------------------------------------------------------------------


def locate(at: float, size: int, padding: str, align_corners: bool) -> tuple[float, float]:
    """A coordinate in pixels, and its slope by the grid."""
    unit = (size - 1) / 2 if align_corners else size / 2
    at = (at + 1) * unit if align_corners else (at + 1) * unit - 0.5
    slope = unit
    if padding == "reflection":
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        while not low <= at <= high:
            at, slope = (2 * low - at if at < low else 2 * high - at), -slope
    if padding != "zeros" and not 0 < at < size - 1:
        return min(max(at, 0.0), size - 1.0), 0.0
    return at, slope


def keys(d: float) -> tuple[float, float]:
    """The weight of a pixel at a distance in cubic interpolation, a = -3/4, and its derivative."""
    a, x = -0.75, abs(d)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1, (
            3 * (a + 2) * x**2 - 2 * (a + 3) * x
        ) * np.sign(d)
    return a * (x**3 - 5 * x**2 + 8 * x - 4), a * (3 * x**2 - 10 * x + 8) * np.sign(d)


def reads(at: float, size: int, mode: str, padding: str, align_corners: bool) -> list[Any]:
    """(pixel, weight, slope of the weight by the grid) of all that is read along an axis."""
    if mode == "bicubic":
        at, slope = locate(at, size, "zeros", align_corners)
        low = int(np.floor(at))
        found = []
        for k in range(low - 1, low + 3):
            weight, steep = keys(at - k)
            end = 0.0 if align_corners else 0.5
            while padding == "reflection" and size > 1 and not -end <= k <= size - 1 + end:
                k = int(-2 * end - k if k < 0 else 2 * (size - 1 + end) - k)
            k = k if padding == "zeros" else min(max(k, 0), size - 1)
            found.append((k, weight, steep * slope))
    else:
        at, slope = locate(at, size, padding, align_corners)
        low = int(np.floor(at))
        found = [(low, low + 1 - at, -slope), (low + 1, at - low, slope)]
        found = [(int(np.rint(at)), 1.0, 0.0)] if mode == "nearest" else found
    return [read for read in found if 0 <= read[0] < size]


def ref_grid_sample(x, grid, *, mode, padding, align_corners):
    n, c, h, w = x.shape
    out = np.zeros((n, c, *grid.shape[1:3]))
    for k, a, b in np.ndindex(n, *grid.shape[1:3]):
        columns = reads(grid[k, a, b, 0], w, mode, padding, align_corners)
        for i, wi, _ in reads(grid[k, a, b, 1], h, mode, padding, align_corners):
            for j, wj, _ in columns:
                out[k, :, a, b] += wi * wj * x[k, :, i, j]
    return out


def ref_grid_sample_grad(g, x, grid, *, mode, padding, align_corners):
    n, _, h, w = x.shape
    gx, ggrid = np.zeros_like(x), np.zeros_like(grid)
    for k, a, b in np.ndindex(n, *grid.shape[1:3]):
        columns = reads(grid[k, a, b, 0], w, mode, padding, align_corners)
        for i, wi, di in reads(grid[k, a, b, 1], h, mode, padding, align_corners):
            for j, wj, dj in columns:
                gx[k, :, i, j] += g[k, :, a, b] * wi * wj
                seen = (g[k, :, a, b] * x[k, :, i, j]).sum()
                ggrid[k, a, b] += seen * np.array([wi * dj, di * wj])
    return gx, ggrid


def ref_grid_sample_grad_x(g, grid, **attrs):
    return ref_grid_sample_grad(g, np.zeros((g.shape[0], 2, 4, 5)), grid, **attrs)[0]


def run_grid_sample_grad_x(g, grid, **attrs):
    return OPS["grid_sample_grad_x"](g, grid, x_shape=(g.shape[0], 2, 4, 5), **attrs)


def kinks(align_corners: bool) -> tuple[float, ...]:
    """Places at which another pixel of a 4 x 5 image begins to count."""
    found = []
    for size in (4, 5):
        unit, shift = ((size - 1) / 2, 0.0) if align_corners else (size / 2, 0.5)
        found += [(pixel + shift) / unit - 1 for pixel in range(-2, size + 2)]
    return tuple(found)


def steep(mode: str, padding: str) -> tuple[int, ...]:
    """The inputs by which sampling, or giving back, has a gradient everywhere that counts."""
    if mode == "nearest":
        return ()
    return (0, 1) if padding == "zeros" or mode == "bicubic" else (0,)


GRID = [
    row
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for align in (True, False)
    for row in (
        OpCase(
            "grid_sample",
            # A cubic bends where another pixel begins to count: no place for differences.
            [
                array("n", 2, 4, 5),
                array(
                    "n",
                    3,
                    2,
                    2,
                    low=-1.7,
                    high=1.7,
                    away=kinks(align) if mode == "bicubic" else (),
                ),
            ],
            {"mode": mode, "padding": padding, "align_corners": align},
            ref_grid_sample,
            order=0 if mode == "nearest" else 1,
            # The place where a border begins is a kink: there the row of the gradient op tells.
            wrt=steep(mode, padding),
            onnx="GridSample",
            note=f"{mode}-{padding}-{align}",
            tol=2e-5,
        ),
        OpCase(
            "grid_sample_grad_x",
            [array("n", 2, 3, 2), array("n", 3, 2, 2, low=-1.7, high=1.7, away=kinks(align))],
            {"mode": mode, "padding": padding, "align_corners": align},
            ref_grid_sample_grad_x,
            run=partial(run_grid_sample_grad_x, mode=mode, padding=padding, align_corners=align),
            order=0 if mode == "nearest" else 1,
            wrt=steep(mode, padding),
            note=f"{mode}-{padding}-{align}",
            tol=2e-5,
        ),
        OpCase(
            "grid_sample_grad_grid",
            [array("n", 2, 3, 2), array("n", 2, 4, 5), array("n", 3, 2, 2, low=-1.7, high=1.7)],
            {"mode": mode, "padding": padding, "align_corners": align},
            lambda g, x, grid, **attrs: ref_grid_sample_grad(g, x, grid, **attrs)[1],
            order=0,
            note=f"{mode}-{padding}-{align}",
            tol=2e-5,
        ),
    )
]


def ref_base(h: int, w: int, align_corners: bool) -> np.ndarray:
    """(x, y, 1) of all pixels, [h, w, 3]."""
    ends = []
    for size in (w, h):
        last = 1 if align_corners else 1 - 1 / max(size, 1)
        ends.append(np.linspace(-last, last, size) if size > 1 else np.zeros(size))
    x, y = np.meshgrid(*ends)
    return np.stack([x, y, np.ones_like(x)], -1)


AFFINE = [
    row
    for align in (True, False)
    for h, w in ((3, 5), (4, 1))
    for row in (
        OpCase(
            "affine_grid",
            [array("n", 2, 3)],
            {"align_corners": align},
            lambda theta, h=h, w=w, align_corners=align: np.einsum(
                "hwk,nik->nhwi", ref_base(h, w, align_corners), theta
            ),
            run=lambda theta, h=h, w=w, align=align: OPS["affine_grid"](
                theta, sizes=(theta.shape[0], h, w), align_corners=align
            ),
            note=f"{h}x{w}-{align}",
        ),
        OpCase(
            "affine_grid_grad",
            [array("n", "h", w, 2)],
            {"align_corners": align},
            lambda g, align_corners: np.einsum(
                "hwk,nhwi->nik", ref_base(g.shape[1], g.shape[2], align_corners), g
            ),
            sizes={"h": (h, h + 2)},
            tol=2e-6,
            note=f"{h}x{w}-{align}",
        ),
    )
]

ROWS = [*INTERPOLATE, *REARRANGE, *GRID, *AFFINE]
