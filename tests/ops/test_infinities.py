"""Infinities and NaN in functions whose formula, taken literally, would make NaN or lose it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dyn
from dyn.compat import torch
from dyn.core.dtype import as_numpy
from dyn.nn import functional as F


def test_gradient_of_logaddexp_at_infinities() -> None:
    inf = math.inf
    x = dyn.to_tensor(np.array([inf, -inf, inf, -inf, 0], np.float32), stop_gradient=False)
    y = dyn.to_tensor(np.array([0, 0, -inf, inf, 200], np.float32), stop_gradient=False)
    dyn.logaddexp(x, y).sum().backward()
    assert x.grad is not None and y.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [1, 0, 1, 0, 0])
    np.testing.assert_array_equal(y.grad.numpy(), [0, 1, 0, 1, 1])


def test_nan_passes_a_threshold() -> None:
    x = dyn.to_tensor(np.array([math.nan, -math.inf, 0.5, 1, 2, math.inf], np.float32))
    found = F.thresholded_relu(x, 1.0, 7.0)
    np.testing.assert_array_equal(found.numpy(), [math.nan, 7, 7, 7, 2, math.inf])


INF, NAN = math.inf, math.nan
BOTH_RULES = pytest.mark.parametrize("create_graph", [False, True])


def slopes(function: Any, *arrays: Any, create_graph: bool = False) -> list[np.ndarray]:
    """The value of a function of float32 arrays, and the gradients of its sum."""
    inputs = [dyn.to_tensor(np.asarray(a, np.float32), stop_gradient=False) for a in arrays]
    out = function(*inputs)
    found = dyn.grad([out.sum()], inputs, create_graph=create_graph)
    return [out.numpy(), *(g.numpy() for g in found)]


@BOTH_RULES
def test_logits_beyond_all_bounds(create_graph: bool) -> None:
    loss = F.binary_cross_entropy_with_logits
    z, y = [INF, INF, -INF, -INF, INF, NAN], [0, 1, 0, 1, 0.25, 0]
    value, gz, _ = slopes(
        lambda z, y: loss(z, y, reduction="none"), z, y, create_graph=create_graph
    )
    np.testing.assert_array_equal(value, [INF, 0, 0, INF, INF, NAN])
    np.testing.assert_array_equal(gz, [1, 0, 0, -1, 0.75, NAN])


@BOTH_RULES
def test_divergence_of_what_is_no_probability(create_graph: bool) -> None:
    x, y = [-1, -INF, NAN, -0.5, -0.5], [0, 0, 0, -0.5, NAN]
    value, gx, gy = slopes(lambda x, y: F.kl_div(x, y, "none"), x, y, create_graph=create_graph)
    np.testing.assert_array_equal(value, [0, 0, NAN, NAN, NAN])
    np.testing.assert_array_equal(gx, [0, 0, 0, 0.5, NAN])
    np.testing.assert_array_equal(gy, [0, 0, 0, NAN, NAN])


@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "batchmean"])
def test_divergence_of_numbers(reduction: str) -> None:
    x, y = (dyn.to_tensor(np.array(v, np.float32)) for v in (-0.5, 0.25))
    np.testing.assert_allclose(F.kl_div(x, y, reduction).numpy(), -0.22157359, 1e-6)


@BOTH_RULES
def test_powers_of_zero(create_graph: bool) -> None:
    x, y = [0, 0, 0, -0.0, 0, 2], [-1, 0, 2, -1, -INF, 3]
    _, _, gy = slopes(dyn.pow, x, y, create_graph=create_graph)
    np.testing.assert_allclose(gy, [-INF, 0, 0, INF, -INF, 8 * math.log(2)], 1e-6)


@BOTH_RULES
def test_angles_of_points_near_and_far(create_graph: bool) -> None:
    scale = np.array([1e-30, 1e30, 0, 1], np.float32)
    _, gx, gy = slopes(dyn.atan2, 3 * scale, -4 * scale, create_graph=create_graph)
    np.testing.assert_allclose(gx[[0, 1, 3]], [-0.16e30, -0.16e-30, -0.16], 1e-6)
    np.testing.assert_allclose(gy[[0, 1, 3]], [-0.12e30, -0.12e-30, -0.12], 1e-6)
    assert gx[2] == gy[2] == 0


@BOTH_RULES
def test_nan_hands_its_gradient_on(create_graph: bool) -> None:
    x, y = [NAN, 1, NAN, 1, 2, 3], [1, NAN, NAN, 1, 3, 2]
    for function, wanted in (
        (dyn.maximum, [1, 1, 1, 0.5, 0, 1]),
        (dyn.minimum, [1, 1, 1, 0.5, 1, 0]),
    ):
        _, gx, gy = slopes(function, x, y, create_graph=create_graph)
        np.testing.assert_array_equal(gx, wanted)
        np.testing.assert_array_equal(gy, [1, 1, 1, 0.5, *wanted[:-3:-1]])
    for function in (dyn.fmax, dyn.fmin):
        value, gx, gy = slopes(function, x[:4], y[:4], create_graph=create_graph)
        np.testing.assert_array_equal(value, [1, 1, NAN, 1])
        np.testing.assert_array_equal(gx, [0, 1, 1, 1])
        np.testing.assert_array_equal(gy, [1, 0, 0, 0])
    for function in (F.relu, F.hardshrink, F.softshrink):
        _, gx = slopes(function, [NAN, 2, 0], create_graph=create_graph)
        np.testing.assert_array_equal(gx, [1, 1, 0])


def test_the_left_tail_of_gelu_by_its_formula() -> None:
    x = np.linspace(-9, -3, 200)
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    s, slope = 1 / (1 + np.exp(-2 * u)), np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    value, gx = slopes(lambda x: F.gelu(x, approximate=True), x)
    # The angle u has a rounding error of its own.
    np.testing.assert_allclose(value, x * s, 2e-5)
    np.testing.assert_allclose(gx, s + x * 2 * s * (1 - s) * slope, 2e-5)


@BOTH_RULES
def test_extremes_among_nan_have_no_gradient_but_nan(create_graph: bool) -> None:
    x = [[NAN, 1, 2], [2, 2, 1], [-INF, -INF, 0]]
    _, gx = slopes(lambda x: dyn.amax(x, 1), x, create_graph=create_graph)
    np.testing.assert_array_equal(gx, [[NAN] * 3, [0.5, 0.5, 0], [0, 0, 1]])
    _, gx = slopes(lambda x: dyn.amin(x, 1), x, create_graph=create_graph)
    np.testing.assert_array_equal(gx, [[NAN] * 3, [0, 0, 1], [0.5, 0.5, 0]])


@BOTH_RULES
def test_products_whose_parts_overflow(create_graph: bool) -> None:
    x = np.array([1e30, 1e30, 1e-30, 1e-30], np.float32)
    value, gx = slopes(dyn.prod, x, create_graph=create_graph)
    np.testing.assert_allclose(value, 1, 1e-6)
    np.testing.assert_allclose(gx, 1 / x, 1e-6)


@BOTH_RULES
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 12), (3, 700)])
def test_deviations_whose_squares_overflow_or_vanish(
    shape: tuple[int, ...], create_graph: bool
) -> None:
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    x[0] *= np.float32(1e30)
    x[1] *= np.float32(1e-30)
    axes = (1, 2) if len(shape) == 3 else 1
    value, gx = slopes(lambda x: dyn.std(x, axes), x, create_graph=create_graph)
    wide = x.astype(np.float64)
    wanted = wide.std(axes, ddof=1, keepdims=True)
    np.testing.assert_allclose(value, wanted.ravel(), 1e-6)
    away = wide - wide.mean(axes, keepdims=True)
    np.testing.assert_allclose(gx, away / wanted / (away[0].size - 1), 1e-4, 1e-6)
    whole = dyn.std(dyn.to_tensor(x)).numpy()
    np.testing.assert_allclose(whole, wide.std(ddof=1), 1e-6)


def test_deviation_of_large_half_precision() -> None:
    x = dyn.to_tensor(np.array([300, -300, 600], np.float16))
    np.testing.assert_allclose(dyn.std(x).numpy(), 458.2, 1e-3)


@pytest.mark.parametrize("by_norm", [False, True])
@pytest.mark.parametrize("away", [0.0, 1e-3, 0.5])
def test_slopes_of_short_distances_in_half_precision(away: float, by_norm: bool) -> None:
    x = np.array([[0.5, 0.25]], np.float16)
    y = x - np.array([[away, 0]], np.float16)
    a = dyn.to_tensor(x, stop_gradient=False)
    difference = a - dyn.to_tensor(y)
    if by_norm:
        near = float(np.float16(1e-5))
        far = x.astype(np.float64) - y + near
        found = dyn.linalg.norm(difference + near, 2, -1)
    else:
        far = x.astype(np.float64) - y + 1e-6
        found = F.pairwise_distance(a, dyn.to_tensor(y))
    # The slope is a direction, that of the slope what is square to it by the length.
    length = np.linalg.norm(far)
    weights = np.array([0.01, -0.02])
    (slope,) = dyn.grad([found], [a], create_graph=True)
    np.testing.assert_allclose(slope.numpy(), far / length, 2e-3, 1e-6)
    (bend,) = dyn.grad([slope], [a], [dyn.to_tensor(weights[None].astype(np.float16))])
    wanted = (weights - far * (far @ weights)[:, None] / length**2) / length
    np.testing.assert_allclose(bend.numpy(), wanted, 5e-3, 1e-5)


@BOTH_RULES
@pytest.mark.parametrize("scale", [1e30, 1e18, 1.0])
def test_cosines_of_long_vectors(scale: float, create_graph: bool) -> None:
    x, y = np.array([[1, 2, 3], [1, 0, 2]]), np.array([[3, 1, -2], [2, 1, 1]])
    value, gx, gy = slopes(
        F.cosine_similarity, x * [[scale], [1]], y * [[scale], [1]], create_graph=create_graph
    )
    lengths = [np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y)]
    wanted = (x * y).sum(1, keepdims=True) / lengths[0] / lengths[1]
    np.testing.assert_allclose(value, wanted[:, 0], 1e-6)
    wanted_x = (y / lengths[1] - x / lengths[0] * wanted) / lengths[0] / [[scale], [1]]
    wanted_y = (x / lengths[0] - y / lengths[1] * wanted) / lengths[1] / [[scale], [1]]
    np.testing.assert_allclose(gx, wanted_x, 1e-5)
    np.testing.assert_allclose(gy, wanted_y, 1e-5)


@BOTH_RULES
def test_cosines_of_a_long_and_a_short_vector(create_graph: bool) -> None:
    x, y = np.array([[1, 2, 3]]), np.array([[3, 1, -2]])
    value, gx, gy = slopes(F.cosine_similarity, x * 1e30, y, create_graph=create_graph)
    np.testing.assert_allclose(value, [-1 / 14], 1e-5)
    root = math.sqrt(14)
    np.testing.assert_allclose(gx * 1e30, (y / root + x / root / 14) / root, 1e-5)
    np.testing.assert_allclose(gy, (x / root + y / root / 14) / root, 1e-5)


@BOTH_RULES
@pytest.mark.parametrize("p", [0, -1, -2])
def test_norms_of_order_zero_and_below(p: float, create_graph: bool) -> None:
    x = np.array([[0, 2, -4], [0, 0, 0], [1, 2, -2]], np.float32)
    value, gx = slopes(lambda x: dyn.linalg.norm(x, p, axis=1), x, create_graph=create_graph)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(value, [np.linalg.norm(row, p) for row in x], 1e-6)
    slope = np.sign(x[2]) * np.abs(x[2]) ** (p - 1.0) * value[2] ** (1.0 - p) if p else np.zeros(3)
    np.testing.assert_allclose(gx, [np.zeros(3), np.zeros(3), slope], 1e-6)


@BOTH_RULES
def test_small_probabilities_keep_their_digits(create_graph: bool) -> None:
    p = np.array([1e-30, 1e-9, 0, 1, 0.25], np.float32)
    value, *_ = slopes(
        lambda p: F.binary_cross_entropy(p, dyn.zeros_like(p), reduction="none"),
        p,
        create_graph=create_graph,
    )
    np.testing.assert_allclose(value, [1e-30, 1e-9, 0, 100, -math.log(0.75)], 1e-6)
    value, gx = slopes(dyn.logit, p, create_graph=create_graph)
    np.testing.assert_allclose(value[2:], [-INF, INF, math.log(1 / 3)], 1e-6)
    np.testing.assert_allclose(gx, [1e30, 1e9, INF, INF, 16 / 3], 1e-6)


def test_variances_below_epsilon_have_the_gradient_there() -> None:
    x, y, variance = [0, 5, 1, 2], [0, 3, 1, 0], [0, 1e-10, 2, INF]
    _, _, _, gv = slopes(
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, reduction="sum"), x, y, variance
    )
    np.testing.assert_allclose(gv, [0.5e6, 0.5 * (1e6 - 4e12), 0.25, 0], 1e-5)


def test_products_are_scaled_first() -> None:
    x, a, b = (dyn.to_tensor(np.float32([v])) for v in (1, 1e30, 1e30))
    assert torch.addcmul(x, a, b, value=0).item() == 1
    assert torch.addcdiv(x, a, 1 / b, value=0).item() == 1
    np.testing.assert_allclose(torch.addcmul(x, a, b, value=1e-30).item(), 1e30, 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_slope_is_one_up_to_the_bounds(dtype: str) -> None:
    kind = as_numpy(dtype)
    one, zero = np.asarray(1, kind), np.asarray(0, kind)
    inside = [np.nextafter(one, zero), np.nextafter(-one, zero), zero]
    x = np.array([*inside, one, -one, np.nextafter(one, one + one)], kind)
    t = dyn.to_tensor(x, stop_gradient=False)
    (found,) = dyn.grad([F.hardtanh(t)], [t], [dyn.ones_like(t)])
    np.testing.assert_array_equal(found.numpy().astype(np.float32), [1, 1, 1, 0, 0, 0])


def test_margins_that_are_just_met_have_pytorchs_slope() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    torch.nn.functional.margin_ranking_loss(x, torch.tensor([1.0, 1.0]), torch.ones(2)).backward()
    np.testing.assert_array_equal(x.grad, [-0.5, 0])
    x = torch.tensor([1.0, 0.5, 3.0, 0.25], requires_grad=True)
    labels = torch.tensor([-1.0, 0.0, 0.0, 1.0])
    loss = torch.nn.functional.hinge_embedding_loss(x, labels, reduction="none")
    np.testing.assert_array_equal(loss.detach(), [0, 1, 3, 0.25])
    loss.sum().backward()
    np.testing.assert_array_equal(x.grad, [-1, 0, 1, 1])
